//! Models of the breaker of a target and of the endpoint. They say which request may go out at which time, as far as
//! the service can see it. No model looks into the engine.

pub mod breaker;
pub mod endpoint;

use std::time::Duration;

use tokio::time::Instant;

pub use breaker::{AttemptEnd, BreakerModel, CountedFailure, OtherFailed};
pub use endpoint::{EndpointModel, EndpointSign};

/// The tolerance of every wait. Timers have a resolution of a millisecond, and a wait may begin and end with one.
pub const SLACK: Duration = Duration::from_millis(5);

/// Identifies a batch within its queue: the number of its first piece.
pub type BatchKey = u64;

/// Identifies a batch within the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId {
    /// The index of its queue.
    pub queue: usize,
    pub key: BatchKey,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: Instant,
    /// The time so far in which a target on trial could not send: no slot was free, or the endpoint was paused.
    pub blocked: Duration,
    /// The engine is closing, so it cuts waits short.
    pub closing: bool,
    /// Credentials were renewed in this run. A probe keeps its batch while it renews them, so a request may come
    /// later than its batch was taken.
    pub renewed: bool,
}
