//! The way of one request: body, signature, faults, operation, record, answer.
//!
//! Promises: a request that does not carry a good signature meets neither rules nor operations; every request is
//! recorded once, in the moment its end is decided and together with its effect; a connection error means that
//! the fault rules wanted it.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use sha2::{Digest, Sha256};

use crate::error::ServiceError;
use crate::faults::{Effect, Reject, ResetWhen};
use crate::keys::Signed;
use crate::ledger::{Outcome, RequestRecord};
use crate::limits::BODY_BYTES;
use crate::listener::Connection;
use crate::put_log_events::{Batch, Taken};
use crate::response::{self, Body};
use crate::server::{OPERATIONS, Server};
use crate::{control, describe, get_log_events, manage};

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// A fault rule resets the connection.
    #[error("the connection was reset by a fault rule")]
    Reset,
    /// The client did not send its body to the end.
    #[error("the request's body broke off: {0}")]
    Body(#[from] hyper::Error),
}

/// Who asks, and with what clock they are answered.
pub(crate) struct Context<'a> {
    /// This endpoint's clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The region the request was signed for.
    pub region: &'a str,
}

/// An operation whose parameters could be read as far as the rules need them.
enum Call {
    Put(Batch),
    Other(Vec<u8>),
}

/// Answers a request.
pub(crate) async fn handle(
    server: Arc<Server>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/_local/") {
        let body = body.collect().await?.to_bytes();
        return Ok(control::answer(&server, &head, &body));
    }
    let in_flight = InFlight::begin(&server);
    let (body, body_hash) = read(&head, body).await?;
    let mut record = new_record(&head, body.len(), connection.number);
    if body.len() > BODY_BYTES {
        let error = ServiceError::new(413, "RequestEntityTooLargeException", "Request is too large.");
        return Ok(in_flight.refuse(record, &error));
    }
    let signed = Signed {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        body_hash,
    };
    let region = match server.keys.verify(&signed, server.now()) {
        Ok(region) => region,
        Err(error) => return Ok(in_flight.refuse(record, &error)),
    };
    let call = read_call(&head, body, server.discard, &mut record);
    let plan = server.faults().plan(&record.operation, &record.group, &record.stream, Instant::now());
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    let carry_out = |record, reject, fault| in_flight.carry_out(record, call, region, reject, fault);
    let none = Reject::default();
    Ok(match plan.effect {
        None | Some(Effect::DelayMs(_) | Effect::ThrottlePerSecond(_) | Effect::DenyThenAllowMs { .. }) => {
            carry_out(record, none, None)
        }
        Some(Effect::Reject(reject)) => carry_out(record, reject, None),
        Some(Effect::CutResponse) => response::cut(carry_out(record, none, Some("cut_response"))),
        Some(Effect::Reset(ResetWhen::After)) => {
            // The connection is made ready to break before anybody can see that the data was taken.
            connection.reset_when_dropped();
            carry_out(record, none, Some("reset_after"));
            return Err(NoAnswer::Reset);
        }
        Some(Effect::Reset(ResetWhen::Before)) => {
            connection.reset_when_dropped();
            in_flight.fault(record, "reset_before", None);
            return Err(NoAnswer::Reset);
        }
        Some(Effect::Hang) => {
            in_flight.fault(record, "hang", None);
            std::future::pending().await
        }
        Some(Effect::Error { code, status, message }) => {
            in_flight.fault(record, "error", Some(code.clone()));
            response::error(&ServiceError::new(status, code, message), server.now())
        }
        Some(Effect::Html(status)) => {
            in_flight.fault(record, "html", None);
            response::html(status, server.now())
        }
        Some(Effect::Empty(status)) => {
            in_flight.fault(record, "empty", None);
            response::empty(status, server.now())
        }
    })
}

/// A request that was begun and is not answered yet; it counts as in flight until it is dropped.
struct InFlight<'a>(&'a Server);

impl<'a> InFlight<'a> {
    fn begin(server: &'a Server) -> Self {
        let now = server.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        server.in_flight_peak.fetch_max(now, Ordering::Relaxed);
        server.notify();
        Self(server)
    }

    fn refuse(&self, mut record: RequestRecord, error: &ServiceError) -> Response<Body> {
        record.outcome = Outcome::Refused { status: error.status, code: error.code.clone().into_owned() };
        self.record(record);
        response::error(error, self.0.now())
    }

    fn fault(&self, mut record: RequestRecord, name: &'static str, code: Option<String>) {
        record.outcome = Outcome::Fault { name, code };
        self.record(record);
    }

    fn record(&self, record: RequestRecord) {
        self.0.state().ledger.record(record, 0);
        self.0.notify();
    }

    /// Carries the operation out and records it, both under one lock; `fault` names the rule that spoils the answer.
    fn carry_out(
        &self,
        mut record: RequestRecord,
        call: Result<Call, ServiceError>,
        region: &str,
        reject: Reject,
        fault: Option<&'static str>,
    ) -> Response<Body> {
        let server = self.0;
        let mut state = server.state();
        let context = Context { now_ms: server.now_ms(), region };
        let store = &mut state.store;
        let result = call.and_then(|call| match call {
            Call::Put(batch) => batch.take(store, context.now_ms, reject),
            Call::Other(json) => match record.operation.as_str() {
                "CreateLogGroup" => manage::create_log_group(store, &json, &context),
                "CreateLogStream" => manage::create_log_stream(store, &json, &context),
                "PutRetentionPolicy" => manage::put_retention_policy(store, &json),
                "DeleteLogGroup" => manage::delete_log_group(store, &json),
                "DeleteLogStream" => manage::delete_log_stream(store, &json),
                "DescribeLogGroups" => describe::log_groups(store, &json),
                "DescribeLogStreams" => describe::log_streams(store, &json),
                "GetLogEvents" => get_log_events::get_log_events(store, &json),
                other => Err(ServiceError::unknown_operation(format!("unknown operation {other}"))),
            }
            .map(|json| (json, Taken::default())),
        });
        let taken = result.as_ref().map_or_else(|_| Taken::default(), |(_, taken)| *taken);
        record.taken_events = taken.events;
        record.outcome = match (fault, &result) {
            (Some(name), _) => Outcome::Fault { name, code: None },
            (None, Ok(_)) => Outcome::Ok,
            (None, Err(error)) => {
                Outcome::Refused { status: error.status, code: error.code.clone().into_owned() }
            }
        };
        state.ledger.record(record, taken.counted_bytes);
        drop(state);
        server.notify();
        match result {
            Ok((json, _)) => response::success(json, server.now()),
            Err(error) => response::error(&error, server.now()),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.notify();
    }
}

/// Reads the body and hashes it as it comes. Past [`BODY_BYTES`] it reads on and keeps no more.
async fn read(head: &Parts, mut body: Incoming) -> Result<(Vec<u8>, [u8; 32]), NoAnswer> {
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(BODY_BYTES));
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && bytes.len() <= BODY_BYTES
        {
            hash.update(&data);
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes, hash.finalize().into()))
}

fn new_record(head: &Parts, body_bytes: usize, connection: u64) -> RequestRecord {
    let target = header(head, "x-amz-target").unwrap_or("");
    RequestRecord {
        operation: target.strip_prefix("Logs_20140328.").unwrap_or(target).to_owned(),
        group: String::new(),
        stream: String::new(),
        at: Instant::now(),
        events: 0,
        taken_events: 0,
        counted_bytes: 0,
        body_bytes,
        content_encoding: header(head, CONTENT_ENCODING.as_str()).map(str::to_owned),
        emf: header(head, "x-amzn-logs-format") == Some("json/emf"),
        outcome: Outcome::Ok,
        connection,
    }
}

/// Reads what is asked, and writes into the record what it is about.
fn read_call(
    head: &Parts,
    body: Vec<u8>,
    discard: bool,
    record: &mut RequestRecord,
) -> Result<Call, ServiceError> {
    let target = header(head, "x-amz-target").unwrap_or("");
    if head.method != Method::POST || head.uri.path() != "/" {
        return Err(ServiceError::unknown_operation(format!("{} {}", head.method, head.uri.path())));
    }
    if !target.starts_with("Logs_20140328.") || !OPERATIONS.contains(&record.operation.as_str()) {
        return Err(ServiceError::unknown_operation(format!("unknown operation '{target}'")));
    }
    let content_type = header(head, CONTENT_TYPE.as_str()).unwrap_or("");
    if content_type.split(';').next().map(str::trim) != Some("application/x-amz-json-1.1") {
        return Err(ServiceError::unknown_operation(format!("unknown content type '{content_type}'")));
    }
    let is_put = record.operation == "PutLogEvents";
    let body = match record.content_encoding.as_deref() {
        None | Some("identity") => body,
        Some("gzip") if is_put => gunzip(&body)?,
        Some(other) => {
            let message = format!("Content-Encoding '{other}' is not supported for {}", record.operation);
            return Err(ServiceError::serialization(message));
        }
    };
    if is_put {
        let batch = Batch::parse(&body, discard)?;
        record.group.clone_from(&batch.group);
        record.stream.clone_from(&batch.stream);
        record.events = batch.len();
        record.counted_bytes = batch.counted_bytes;
        return Ok(Call::Put(batch));
    }
    let names = manage::names(&body)?;
    record.group = names.group;
    record.stream = names.stream;
    Ok(Call::Other(body))
}

fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, ServiceError> {
    // The last four bytes of a gzip member say how long it gets; only a hint, so a lie costs nothing but time.
    let hint = compressed.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut plain = Vec::with_capacity(hint.min(8 * 1024 * 1024) + 1);
    let mut decoder = flate2::bufread::MultiGzDecoder::new(compressed).take(BODY_BYTES as u64 + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(|error| ServiceError::serialization(format!("the body is not gzip: {error}")))?;
    if plain.len() > BODY_BYTES {
        return Err(ServiceError::new(413, "RequestEntityTooLargeException", "Request is too large."));
    }
    Ok(plain)
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}
