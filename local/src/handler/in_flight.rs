//! A request that has begun and has no response yet, and the record of its outcome.

use std::sync::atomic::Ordering;

use hyper::Response;

use crate::error::ServiceError;
use crate::faults::Reject;
use crate::operations::{Accepted, Call, CallContext};
use crate::request_log::{Outcome, RequestRecord};
use crate::response::{self, Body};
use crate::server::Server;

/// A request with a valid signature.
pub(super) struct VerifiedRequest<'a> {
    pub record: RequestRecord,
    /// The call, or the error to respond with when the operation would be carried out.
    pub call: Result<Call, ServiceError>,
    /// The region that the request was signed for.
    pub region: &'a str,
}

/// Counts a request as in flight until it is dropped.
pub(super) struct InFlight<'a>(&'a Server);

impl<'a> InFlight<'a> {
    pub fn begin(server: &'a Server) -> Self {
        let in_flight = server.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        server.in_flight_peak.fetch_max(in_flight, Ordering::Relaxed);
        server.notify();
        Self(server)
    }

    pub fn server(&self) -> &'a Server {
        self.0
    }

    /// Records a refused request and returns the response.
    pub fn refuse(&self, mut record: RequestRecord, error: &ServiceError) -> Response<Body> {
        record.outcome = refusal(error);
        self.record(record);
        response::error(error, self.0.now())
    }

    /// Records a request that a fault rule ends before the operation is carried out.
    pub fn record_fault(&self, mut record: RequestRecord, name: &'static str, code: Option<String>) {
        record.outcome = Outcome::Fault { name, code };
        self.record(record);
    }

    fn record(&self, record: RequestRecord) {
        self.0.state().request_log.record(record, 0);
        self.0.notify();
    }

    /// Carries the operation out and records it, both under one lock, and returns the response. `fault` is the name of
    /// the fault that keeps the client from getting the whole response.
    pub fn execute(
        &self,
        request: VerifiedRequest<'_>,
        reject: Reject,
        fault: Option<&'static str>,
    ) -> Response<Body> {
        let server = self.0;
        let VerifiedRequest { mut record, call, region } = request;
        let mut state = server.state();
        let context = CallContext { now_ms: server.now_ms(), region };
        let result = call.and_then(|call| call.execute(&mut state.store, &context, reject));
        let accepted = result.as_ref().map_or_else(|_| Accepted::default(), |output| output.accepted);
        record.taken_events = accepted.events;
        record.outcome = match (fault, &result) {
            (Some(name), _) => Outcome::Fault { name, code: None },
            (None, Ok(_)) => Outcome::Ok,
            (None, Err(error)) => refusal(error),
        };
        state.request_log.record(record, accepted.counted_bytes);
        drop(state);
        server.notify();
        match result {
            Ok(output) => response::success(output.body, server.now()),
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

fn refusal(error: &ServiceError) -> Outcome {
    Outcome::Refused { status: error.status, code: error.code.clone().into_owned() }
}
