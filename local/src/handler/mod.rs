//! Handles one request: body, signature, fault rules, operation, record, response.
//!
//! - A request without a valid signature reaches neither the fault rules nor the operations.
//! - Every request is recorded once, when its outcome is decided, together with its effect on the data.
//! - Only a fault rule or a client that breaks off its request ends a connection without a response.
//!
//! `request.rs` reads the request and `in_flight.rs` records its outcome; this file imports both.

mod in_flight;
mod request;

use std::sync::Arc;
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::auth::SignedRequest;
use crate::connection::Connection;
use crate::control;
use crate::error::ServiceError;
use crate::faults::{Action, FaultRequest, Reject, ResetWhen};
use crate::limits::BODY_BYTES;
use crate::response::{self, Body};
use crate::server::Server;
use in_flight::{InFlight, VerifiedRequest};
use request::{read_body, read_call};

/// The connection ends without a response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoResponse {
    /// A fault rule resets the connection.
    #[error("the connection was reset by a fault rule")]
    Reset,
    /// A fault rule sent bytes that are not HTTP.
    #[error("the response was garbled by a fault rule")]
    Garbled,
    /// The client did not send the whole body.
    #[error("the body of the request is incomplete: {0}")]
    IncompleteBody(#[from] hyper::Error),
}

/// Handles a request and returns the response.
pub(crate) async fn handle(
    server: Arc<Server>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoResponse> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/_local/") {
        let body = body.collect().await?.to_bytes();
        return Ok(control::handle(&server, &head, &body));
    }
    let in_flight = InFlight::begin(&server);
    let body = read_body(&server, &head, body).await?;
    let mut record = request::new_record(&head, body.bytes.len(), connection.number);
    if body.bytes.len() > BODY_BYTES {
        return Ok(in_flight.refuse(record, &ServiceError::too_large()));
    }
    let signed = SignedRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        body_hash: body.sha256,
    };
    let region = match server.signature_verifier.verify(&signed, server.now()) {
        Ok(region) => region,
        Err(error) => return Ok(in_flight.refuse(record, &error)),
    };
    let text = if server.faults().reads_bodies() { request::decompressed(&body.bytes) } else { Vec::new() };
    let call = read_call(&head, body.bytes, server.discard, &mut record);
    let fault_request = FaultRequest {
        operation: &record.operation,
        group: &record.group,
        stream: &record.stream,
        body_bytes: record.body_bytes,
        body: &text,
    };
    let plan = server.faults().plan(&fault_request, Instant::now());
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    let request = VerifiedRequest { record, call, region };
    let mut response = respond(&in_flight, &connection, request, plan.action).await?;
    if plan.date_offset_ms != 0 {
        response::set_date(&mut response, server.now_plus_ms(plan.date_offset_ms));
    }
    Ok(response)
}

/// Responds to a request as the fault rules have decided.
async fn respond(
    in_flight: &InFlight<'_>,
    connection: &Connection,
    request: VerifiedRequest<'_>,
    action: Action,
) -> Result<Response<Body>, NoResponse> {
    let now = || in_flight.server().now();
    let no_reject = Reject::default();
    Ok(match action {
        Action::Proceed => in_flight.execute(request, no_reject, None),
        Action::Reject(reject) => in_flight.execute(request, reject, None),
        Action::CutResponse => response::cut(in_flight.execute(request, no_reject, Some("cut_response"))),
        Action::Reset(ResetWhen::After) => {
            // The reset comes first: when the new events become visible, the connection is already sure to break.
            connection.reset_when_dropped();
            in_flight.execute(request, no_reject, Some("reset_after"));
            return Err(NoResponse::Reset);
        }
        Action::Reset(ResetWhen::Before) => {
            connection.reset_when_dropped();
            in_flight.record_fault(request.record, "reset_before", None);
            return Err(NoResponse::Reset);
        }
        Action::Garbled => {
            connection.write_garbage();
            in_flight.record_fault(request.record, "garbled", None);
            return Err(NoResponse::Garbled);
        }
        Action::Hang => {
            in_flight.record_fault(request.record, "hang", None);
            std::future::pending().await
        }
        Action::Error { code, status, message } => {
            in_flight.record_fault(request.record, "error", Some(code.clone()));
            response::error(&ServiceError::new(status, code, message), now())
        }
        Action::Html(status) => {
            in_flight.record_fault(request.record, "html", None);
            response::html(status, now())
        }
        Action::Empty(status) => {
            in_flight.record_fault(request.record, "empty", None);
            response::empty(status, now())
        }
    })
}
