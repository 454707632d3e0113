//! The seam to the service: what the engine asks of CloudWatch Logs, and what it can hear back.
//!
//! [`LogsApi`] is implemented for AWS in [`aws`], the one place that names the SDK; a test puts its own in.

pub mod aws;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use thiserror::Error;

use crate::ack::Reason;
use crate::body::Body;

/// An answer that comes later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// The calls that the engine makes. Each is one attempt: no call retries by itself.
pub trait LogsApi: Send + Sync + 'static {
    /// `PutLogEvents` with a body that is already serialized.
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents>;
    /// `CreateLogGroup`.
    fn create_log_group<'a>(&'a self, group: &'a str) -> Answer<'a, ()>;
    /// `CreateLogStream`.
    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()>;
    /// `PutRetentionPolicy`.
    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()>;
    /// Looks for credentials anew, in all the places where they may be by now. Asks nothing of the service.
    fn renew_credentials(&self) -> Answer<'_, ()>;
}

/// One `PutLogEvents`.
#[derive(Clone, Debug)]
pub struct PutLogEvents<'a> {
    /// The log group; the body names it too.
    pub group: &'a str,
    /// The log stream; the body names it too.
    pub stream: &'a str,
    /// The whole request's body.
    pub body: Body,
    /// Whether the messages are in the embedded metric format, which the request then says in a header.
    pub emf: bool,
}

/// Which events of a request the service refused while it took the others: indices into the request, in the
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
    /// What became of `events`: up to each index, those from the one before it on.
    pub fn parts(&self, events: usize) -> [(usize, Reason); 4] {
        let too_old = self.too_old_end.min(events);
        let expired = self.expired_end.clamp(too_old, events);
        let taken = self.too_new_start.unwrap_or(events).clamp(expired, events);
        [
            (too_old, Reason::TooOld),
            (expired, Reason::Expired),
            (taken, Reason::None),
            (events, Reason::TooNew),
        ]
    }

    /// How many of `events` were refused.
    pub fn count(&self, events: usize) -> usize {
        let [_, (expired, _), (taken, _), _] = self.parts(events);
        expired + events - taken
    }
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service, or something in its place, answered with an error.
    Answered,
    /// No answer within the time-out.
    TimedOut,
    /// No connection, or it broke: DNS, TLS, refused, reset.
    Connection,
    /// The request could not be made: no credentials, no endpoint.
    NotSent,
    /// An answer that is not one of the service's.
    Unreadable,
}

/// A call that failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}{}", ErrorHead(self), message)]
pub struct ApiError {
    /// What kind of failure.
    pub failure: Failure,
    /// The service's name for it, such as `AccessDeniedException`.
    pub code: Option<String>,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// What the service or the transport said.
    pub message: String,
}

/// The beginning of an error's text: its code, or what stands in for one.
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
    /// Whether the service named the error so.
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
