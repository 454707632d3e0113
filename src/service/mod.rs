//! The service: the calls to CloudWatch Logs as a trait, and their errors.
//!
//! [`LogsApi`] is implemented for AWS in [`aws`], the only place that names the SDK. A test brings its own implementation.

pub mod aws;
mod clock_skew;
mod credentials;
mod error_text;
mod http_client;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use thiserror::Error;

pub use error_text::{ERROR_TEXT_CHARS_MAX, ErrorText};

/// The future answer to a call.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// The calls that the engine makes. Each is one attempt: no call retries.
pub trait LogsApi: Send + Sync + 'static {
    /// `PutLogEvents`, with a serialized body.
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents>;
    /// `CreateLogGroup`.
    fn create_log_group<'a>(&'a self, group: NewGroup<'a>) -> Answer<'a, ()>;
    /// `CreateLogStream`.
    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()>;
    /// `PutRetentionPolicy`.
    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()>;
    /// Looks for credentials again, in all places where they may be. Sends no request to the service. Fails only if there are
    /// no valid credentials after it.
    fn renew_credentials(&self) -> Answer<'_, ()>;
}

/// A request body as it goes over the wire. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// The bytes.
    pub bytes: Bytes,
    /// True if the bytes are gzip.
    pub gzip: bool,
}

/// The parameters of one `CreateLogGroup`.
#[derive(Clone, Copy, Debug)]
pub struct NewGroup<'a> {
    /// The name of the log group.
    pub name: &'a str,
}

/// One `PutLogEvents`.
#[derive(Clone, Debug)]
pub struct PutLogEvents<'a> {
    /// The log group. The body names it too.
    pub group: &'a str,
    /// The log stream. The body names it too.
    pub stream: &'a str,
    /// The complete request body.
    pub body: RequestBody,
    /// True if the messages are in the embedded metric format. The request then says so in a header.
    pub emf: bool,
}

/// The events that the service refused while it took the rest of the request, as indices into the request. They have the
/// meaning of `rejectedLogEventsInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectedEvents {
    /// Events below this index are older than 14 days.
    pub too_old_end: usize,
    /// Events below this index are older than the group's retention.
    pub expired_end: usize,
    /// Events from this index on are too far in the future.
    pub too_new_start: Option<usize>,
}

impl RejectedEvents {
    /// The indices, in order and within a request of `events` events.
    pub fn bounds(&self, events: usize) -> RejectedBounds {
        let too_old = self.too_old_end.min(events);
        let expired = self.expired_end.clamp(too_old, events);
        let taken = self.too_new_start.unwrap_or(events).clamp(expired, events);
        RejectedBounds { too_old_end: too_old, expired_end: expired, taken_end: taken }
    }

    /// The number of refused events in a request of `events` events.
    pub fn count(&self, events: usize) -> usize {
        let bounds = self.bounds(events);
        bounds.expired_end + events - bounds.taken_end
    }
}

/// The parts of a request that was partly refused, each by the index of its end: first the events that are too old, then
/// the expired ones, then those that the service took. The rest is too new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectedBounds {
    /// End of the events that are older than 14 days.
    pub too_old_end: usize,
    /// End of the events that are older than the retention of the group.
    pub expired_end: usize,
    /// End of the events that the service took.
    pub taken_end: usize,
}

/// The errors that a wrong clock may cause: the service refuses the signature of the request.
pub const CLOCK_ERRORS: [&str; 4] =
    ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"];

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service, or a proxy in front of it, answered with an error.
    Answered,
    /// No answer within the time-out.
    TimedOut,
    /// There was no connection, or it broke: DNS, TLS, refused, reset.
    Connection,
    /// The request could not be sent: no credentials, no endpoint.
    NotSent,
    /// The answer is not one of the service.
    Unreadable,
    /// The library had an internal error, at any moment of the call.
    Internal,
}

/// A call that failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}{}", ErrorHead(self), message)]
pub struct ApiError {
    /// The kind of the failure.
    pub failure: Failure,
    /// The error code of the service, such as `AccessDeniedException`.
    pub code: Option<ErrorText>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// The message of the service or the transport.
    pub message: ErrorText,
}

/// The beginning of the text of an error: its code, or its HTTP status.
struct ErrorHead<'a>(&'a ApiError);

impl fmt::Display for ErrorHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.code, self.0.status) {
            (Some(code), _) => write!(f, "{code}: "),
            (None, Some(status)) => write!(f, "HTTP {status}: "),
            (None, None) => Ok(()),
        }
    }
}

impl ApiError {
    /// An internal error of the library.
    pub fn internal(message: &str) -> Self {
        ApiError { failure: Failure::Internal, code: None, status: None, message: message.into() }
    }

    /// Returns whether the request got no answer.
    pub fn is_unanswered(&self) -> bool {
        matches!(self.failure, Failure::TimedOut | Failure::Connection)
    }

    /// Returns whether the error has this code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_events_are_counted_from_both_ends_without_counting_one_twice() {
        let rejected = |too_old_end, expired_end, too_new_start| RejectedEvents {
            too_old_end,
            expired_end,
            too_new_start,
        };
        assert_eq!(rejected(0, 0, None).count(10), 0);
        assert_eq!(rejected(3, 0, None).count(10), 3);
        assert_eq!(rejected(3, 5, Some(8)).count(10), 7);
        assert_eq!(rejected(10, 0, Some(0)).count(10), 10);
        assert_eq!(rejected(99, 0, Some(99)).count(10), 10);
    }
}
