//! Reads a request: its body, the operation that it calls and the values for its record.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::error::ServiceError;
use crate::limits::BODY_BYTES;
use crate::operation::{OPERATIONS, PUT_LOG_EVENTS};
use crate::operations::Call;
use crate::request_log::{Outcome, RequestRecord};
use crate::server::Server;

/// The prefix of the operation in the header `x-amz-target`.
const TARGET_PREFIX: &str = "Logs_20140328.";

/// The largest buffer that is allocated for the size that a gzip body claims for its content.
const GUNZIP_MAX_INITIAL_BYTES: usize = 8 * 1024 * 1024;

/// The body of a request as received.
pub(super) struct ReceivedBody {
    pub bytes: Vec<u8>,
    pub sha256: [u8; 32],
}

/// Reads the body and computes its hash meanwhile. After more than [`BODY_BYTES`] it reads the rest and keeps nothing
/// of it.
pub(super) async fn read_body(
    server: &Server,
    head: &Parts,
    mut body: Incoming,
) -> Result<ReceivedBody, hyper::Error> {
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(BODY_BYTES));
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        server.body_bytes_read.fetch_add(data.len() as u64, Ordering::Relaxed);
        if let Some(uplink) = &server.uplink {
            uplink.carry(data.len()).await;
        }
        if bytes.len() <= BODY_BYTES {
            hash.update(&data);
            bytes.extend_from_slice(&data);
        }
    }
    Ok(ReceivedBody { bytes, sha256: hash.finalize().into() })
}

/// Makes the record of a request from its headers.
pub(super) fn new_record(head: &Parts, body_bytes: usize, connection: u64) -> RequestRecord {
    let target = header(head, "x-amz-target").unwrap_or("");
    RequestRecord {
        operation: target.strip_prefix(TARGET_PREFIX).unwrap_or(target).to_owned(),
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

/// Reads the call, and writes the group, the stream and the events that it names into the record.
pub(super) fn read_call(
    head: &Parts,
    body: Vec<u8>,
    discard: bool,
    record: &mut RequestRecord,
) -> Result<Call, ServiceError> {
    check_headers(head, &record.operation)?;
    let json = match record.content_encoding.as_deref() {
        None | Some("identity") => body,
        Some("gzip") if record.operation == PUT_LOG_EVENTS => gunzip(&body)?,
        Some(other) => {
            let message = format!("Content-Encoding '{other}' is not supported for {}", record.operation);
            return Err(ServiceError::serialization(message));
        }
    };
    let call = Call::parse(&record.operation, json, discard)?;
    match &call {
        Call::PutLogEvents(batch) => {
            record.group.clone_from(&batch.group);
            record.stream.clone_from(&batch.stream);
            record.events = batch.len();
            record.counted_bytes = batch.counted_bytes;
        }
        Call::Other { names, .. } => {
            record.group.clone_from(&names.group);
            record.stream.clone_from(&names.stream);
        }
    }
    Ok(call)
}

/// Refuses a request that does not call an operation of this endpoint.
fn check_headers(head: &Parts, operation: &str) -> Result<(), ServiceError> {
    if head.method != Method::POST || head.uri.path() != "/" {
        return Err(ServiceError::unknown_operation(format!("{} {}", head.method, head.uri.path())));
    }
    let target = header(head, "x-amz-target").unwrap_or("");
    if !target.starts_with(TARGET_PREFIX) || !OPERATIONS.contains(&operation) {
        return Err(ServiceError::unknown_operation(format!("unknown operation '{target}'")));
    }
    let content_type = header(head, CONTENT_TYPE.as_str()).unwrap_or("");
    if content_type.split(';').next().map(str::trim) != Some("application/x-amz-json-1.1") {
        return Err(ServiceError::unknown_operation(format!("unknown content type '{content_type}'")));
    }
    Ok(())
}

/// The body without its compression; the body itself when it is not gzip.
pub(super) fn decompressed(body: &[u8]) -> Vec<u8> {
    gunzip(body).unwrap_or_else(|_| body.to_vec())
}

fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, ServiceError> {
    // The last four bytes of a gzip member are the length of its content. A wrong value only costs time.
    let claimed = compressed.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut plain = Vec::with_capacity(claimed.min(GUNZIP_MAX_INITIAL_BYTES) + 1);
    let mut decoder = flate2::bufread::MultiGzDecoder::new(compressed).take(BODY_BYTES as u64 + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(|error| ServiceError::serialization(format!("the body is not gzip: {error}")))?;
    if plain.len() > BODY_BYTES {
        return Err(ServiceError::too_large());
    }
    Ok(plain)
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}
