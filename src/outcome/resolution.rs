//! The four outcomes of an event, the reason for each, and the last error of the service.

use std::sync::Arc;

use crate::service::ApiError;

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took the event.
    Delivered,
    /// The service took the request but refused this event: too old, too new or expired.
    Rejected,
    /// The sink gave the event up: the service will never take it, it was tried for too long, or it had to make room.
    Dropped,
    /// The event was still unsent when the sink shut down.
    Abandoned,
}

impl Outcome {
    /// All outcomes, in the order of their counters.
    pub const ALL: [Outcome; 4] =
        [Outcome::Delivered, Outcome::Rejected, Outcome::Dropped, Outcome::Abandoned];

    /// The place of the outcome in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The reason for an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Delivered: there is no reason to give.
    None,
    /// Rejected: more than 14 days old when it arrived.
    TooOld,
    /// Rejected: more than 2 hours ahead when it arrived.
    TooNew,
    /// Rejected: older than the retention of its group.
    Expired,
    /// Dropped: the service will never take its request.
    NotRetryable,
    /// Dropped: it was tried for `retry_max_age_ms`.
    TriedTooLong,
    /// Dropped: it was the oldest event when there was no room.
    Overflow,
    /// Abandoned: the sink was shut down first.
    Shutdown,
    /// Abandoned: an internal error of the sink.
    InternalError,
}

impl Reason {
    /// The outcome that the reason belongs to.
    pub fn outcome(self) -> Outcome {
        match self {
            Reason::None => Outcome::Delivered,
            Reason::TooOld | Reason::TooNew | Reason::Expired => Outcome::Rejected,
            Reason::NotRetryable | Reason::TriedTooLong | Reason::Overflow => Outcome::Dropped,
            Reason::Shutdown | Reason::InternalError => Outcome::Abandoned,
        }
    }
}

/// The outcome of events with its reason, and the service's last error about them.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The reason; it decides the outcome.
    pub reason: Reason,
    /// The last error of the service or the transport, if there was one.
    pub error: Option<Arc<ApiError>>,
}

impl Resolution {
    /// The outcome that the reason belongs to.
    pub fn outcome(&self) -> Outcome {
        self.reason.outcome()
    }
}

impl From<Reason> for Resolution {
    fn from(reason: Reason) -> Self {
        Resolution { reason, error: None }
    }
}
