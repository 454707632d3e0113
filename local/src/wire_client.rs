//! A client for the tests of this crate: one connection, signed requests, answers as they come off the socket, or out of
//! its TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::sigv4::{Canonical, Scope, signing_key};

/// How long a test waits for an answer before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The exception's name, or `Ok`.
    pub fn code(&self) -> String {
        if self.status == 200 { "Ok".to_owned() } else { self.json()["__type"].as_str().unwrap().to_owned() }
    }
}

/// What a connection is made of.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    addr: SocketAddr,
    /// Further headers of every request, signed.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The key requests are signed with.
    pub secret_key: &'static str,
}

impl Client {
    /// Connects, or says why not.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Box::new(connect(addr)?), addr))
    }

    /// Connects and shakes hands with who has one of these certificates, or says why not.
    pub fn connect_tls(addr: SocketAddr, trusted_pem: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trusted_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(config), addr.ip().into()).unwrap();
        let mut stream = connect(addr)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self::over(Box::new(StreamOwned::new(connection, stream)), addr))
    }

    fn over(stream: Box<dyn Stream>, addr: SocketAddr) -> Self {
        Self { stream: BufReader::new(stream), addr, headers: Vec::new(), secret_key: "test" }
    }

    /// Calls an operation.
    pub fn call(&mut self, operation: &str, body: &Value) -> io::Result<Answer> {
        self.call_bytes(operation, body.to_string().as_bytes())
    }

    /// Calls an operation with a body of any bytes.
    pub fn call_bytes(&mut self, operation: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(operation, body)?;
        self.receive()
    }

    /// Puts events of now, one for each message, into group `g`, stream `s`.
    pub fn put(&mut self, messages: &[&str]) -> io::Result<Answer> {
        self.call("PutLogEvents", &batch("g", messages))
    }

    /// Sends a signed request and reads no answer.
    pub fn send(&mut self, operation: &str, body: &[u8]) -> io::Result<()> {
        let date_time = now_date_time();
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        };
        set("host", self.addr.to_string());
        set("content-type", "application/x-amz-json-1.1".to_owned());
        set("x-amz-date", date_time.clone());
        set("x-amz-target", format!("Logs_20140328.{operation}"));
        for (name, value) in &self.headers {
            set(name, (*value).to_owned());
        }
        let names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let scope =
            Scope { date: &date_time[..8], region: "us-east-1", service: "logs", terminator: "aws4_request" };
        let canonical = Canonical {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            signed_headers: &names,
            body_hash: Sha256::digest(body).into(),
        };
        let signature = canonical.signature(&signing_key(self.secret_key, scope), &date_time, scope);
        let mut head = format!(
            "POST / HTTP/1.1\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=test/{}/us-east-1/logs/aws4_request, SignedHeaders={}, Signature={signature}\r\n",
            body.len(),
            scope.date,
            names.join(";")
        );
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        let request = [head.as_bytes(), b"\r\n", body].concat();
        self.stream.get_mut().write_all(&request)
    }

    /// Sends a request without a signature, as the control paths take it.
    pub fn control(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.receive()
    }

    /// Reads one answer.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        let length = headers.get("content-length").map_or("0", |length| length.to_str().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A `PutLogEvents` into stream `s`: an event of now for each message.
pub(crate) fn batch(group: &str, messages: &[&str]) -> Value {
    let now = now_ms();
    let event = |message: &&str| json!({"timestamp": now, "message": message});
    json!({"logGroupName": group, "logStreamName": "s", "logEvents": messages.iter().map(event).collect::<Vec<_>>()})
}

/// The machine's clock, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn now_date_time() -> String {
    crate::keys::format_date_time(time::UtcDateTime::now())
}
