//! Models of the breaker of a target and of the endpoint, which say which request may go out at which time, as far as the
//! service can see it, and of the clock. No model looks into the engine.

pub mod body_limit;
pub mod breaker;
pub mod clock;
pub mod endpoint;

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

pub use body_limit::BodyLimitModel;
pub use breaker::{AttemptEnd, BreakerModel, CountedFailure, OtherFailed};
pub use clock::{ClockErrors, ClockModel, ShownDate, Signed};
pub use endpoint::{EndpointModel, EndpointSign};

/// The tolerance of every wait. Timers have a resolution of a millisecond, and a wait may begin and end with one.
pub const SLACK: Duration = Duration::from_millis(5);

/// Identifies a batch within its queue. The order of the keys is the order in which the batches go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchKey {
    /// The number of the first piece of the batch that was sealed.
    pub first: u64,
    /// The place of the first event in that batch. It is above 0 for a part of a halved batch only.
    pub place: u64,
}

impl fmt::Display for BatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            0 => write!(f, "{}", self.first),
            place => write!(f, "{}+{place}", self.first),
        }
    }
}

/// Identifies a batch within the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId {
    /// The index of its queue.
    pub queue: usize,
    pub key: BatchKey,
}

impl BatchId {
    /// The id that a batch has until it is seen, in an attempt that began with a creation.
    pub fn unseen(queue: usize, number: u64) -> Self {
        BatchId { queue, key: BatchKey { first: u64::MAX, place: number } }
    }

    pub fn is_unseen(self) -> bool {
        self.key.first == u64::MAX
    }

    /// The numbers of the batch in the trace.
    pub fn numbers(self) -> [u64; 3] {
        [self.queue as u64, self.key.first, self.key.place]
    }
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
    /// Creations may have to wait for their pace, which the service cannot see.
    pub creations_paced: bool,
}
