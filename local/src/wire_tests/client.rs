//! A client for the tests of this crate: one connection, plain or with TLS, that sends signed requests and reads the
//! responses.

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

use crate::auth::{CanonicalRequest, CredentialScope, format_date_time, signing_key};

/// The longest time that a test waits before it fails.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A response as received.
#[derive(Debug)]
pub(super) struct WireResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl WireResponse {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// Returns the name of the exception, or `Ok`.
    pub fn code(&self) -> String {
        if self.status == 200 { "Ok".to_owned() } else { self.json()["__type"].as_str().unwrap().to_owned() }
    }
}

/// A TCP stream, with or without TLS.
trait ByteStream: Read + Write + Send {}

impl<S: Read + Write + Send> ByteStream for S {}

/// A client with one connection.
pub(super) struct Client {
    stream: BufReader<Box<dyn ByteStream>>,
    addr: SocketAddr,
    /// More headers for every request; they are signed too.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The key that signs the requests.
    pub secret_key: &'static str,
}

impl Client {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Box::new(connect(addr)?), addr))
    }

    /// Connects with TLS and trusts only these certificates.
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

    fn over(stream: Box<dyn ByteStream>, addr: SocketAddr) -> Self {
        Self { stream: BufReader::new(stream), addr, headers: Vec::new(), secret_key: "test" }
    }

    /// Calls an operation.
    pub fn call(&mut self, operation: &str, body: &Value) -> io::Result<WireResponse> {
        self.call_bytes(operation, body.to_string().as_bytes())
    }

    /// Calls an operation with any bytes as the body.
    pub fn call_bytes(&mut self, operation: &str, body: &[u8]) -> io::Result<WireResponse> {
        self.send(operation, body)?;
        self.receive()
    }

    /// Puts one event per message into stream `s` of group `g`, with the time of now.
    pub fn put(&mut self, messages: &[&str]) -> io::Result<WireResponse> {
        self.call("PutLogEvents", &batch("g", messages))
    }

    /// Sends a signed request and reads no response.
    pub fn send(&mut self, operation: &str, body: &[u8]) -> io::Result<()> {
        let date_time = now_date_time();
        let mut headers = HeaderMap::new();
        let mut insert = |name: &'static str, value: String| {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        };
        insert("host", self.addr.to_string());
        insert("content-type", "application/x-amz-json-1.1".to_owned());
        insert("x-amz-date", date_time.clone());
        insert("x-amz-target", format!("Logs_20140328.{operation}"));
        for (name, value) in &self.headers {
            insert(name, (*value).to_owned());
        }
        let names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let scope = CredentialScope {
            date: &date_time[..8],
            region: "us-east-1",
            service: "logs",
            terminator: "aws4_request",
        };
        let canonical = CanonicalRequest {
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

    /// Sends a request without a signature to a control path and reads the response.
    pub fn control(&mut self, method: &str, path: &str, body: &str) -> io::Result<WireResponse> {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.receive()
    }

    /// Reads one response.
    pub fn receive(&mut self) -> io::Result<WireResponse> {
        let status_line = self.read_line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        let length = headers.get("content-length").map_or("0", |length| length.to_str().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok(WireResponse { status, headers, body })
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Makes the parameters of `PutLogEvents` for stream `s`: one event per message, with the time of now.
pub(super) fn batch(group: &str, messages: &[&str]) -> Value {
    let now = now_ms();
    let event = |message: &&str| json!({"timestamp": now, "message": message});
    json!({"logGroupName": group, "logStreamName": "s", "logEvents": messages.iter().map(event).collect::<Vec<_>>()})
}

/// Returns the time of the machine's clock, in milliseconds since the Unix epoch.
fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn now_date_time() -> String {
    format_date_time(time::UtcDateTime::now())
}
