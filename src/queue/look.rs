//! What a queue looks like from outside: its counters and its state, for statistics, for the pool's choices, and for the
//! registry that forgets it.

use std::sync::Arc;

use tokio::time::Instant;

use super::Queue;
use crate::ack::Outcome;
use crate::batch::{Batch, OpenBatch};
use crate::breaker::State as BreakerState;
use crate::logs_api::ApiError;
use crate::memory::Standing;

/// Why the last attempt failed.
#[derive(Clone, Debug)]
pub struct LastError {
    /// What the service or the transport said.
    pub error: Arc<ApiError>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Events of one target, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that pushes were told are taken.
    pub accepted: u64,
    /// Message bytes of those, as UTF-8.
    pub accepted_bytes: u64,
    /// Final events, by [`Outcome::index`].
    pub outcomes: [u64; Outcome::ALL.len()],
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.accepted_bytes += other.accepted_bytes;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(mine, more)| *mine += more);
    }
}

/// A look at a queue.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QueueSnapshot {
    pub group: String,
    pub stream: String,
    pub emf: bool,
    pub breaker: BreakerState,
    pub in_flight: usize,
    pub waiting_batches: usize,
    pub buffered_bytes: usize,
    pub counts: Counts,
    pub last_error: Option<LastError>,
    /// When its open breaker lets the next batch go.
    pub next_attempt: Option<Instant>,
    /// Whether a request of it is in the slow lane.
    pub slow: bool,
    pub waiting_events: usize,
}

impl Queue {
    /// How often it failed since it last got through.
    pub fn failures_in_a_row(&self) -> u32 {
        self.lock().breaker.failures()
    }

    /// How it stands with the service.
    pub fn standing(&self) -> Standing {
        self.lock().standing()
    }

    /// When the service last took or refused a batch of it.
    pub fn answered_at(&self) -> Option<Instant> {
        self.lock().answered_at
    }

    /// When a batch of it last failed, while it fails.
    pub fn failed_at(&self) -> Option<Instant> {
        self.lock().failed_at
    }

    /// What it looks like now.
    pub fn snapshot(&self) -> QueueSnapshot {
        let state = self.lock();
        QueueSnapshot {
            group: self.group.to_string(),
            stream: self.stream.to_string(),
            emf: self.emf,
            breaker: state.breaker.state(),
            in_flight: state.in_flight.len(),
            waiting_batches: state.waiting.len() + usize::from(state.open.is_some()),
            buffered_bytes: self.account.held(),
            counts: state.counts,
            last_error: state.last_error.clone(),
            next_attempt: state
                .next_attempt
                .filter(|_| matches!(state.breaker.state(), BreakerState::Open(_))),
            slow: !state.in_lane.is_empty(),
            waiting_events: state.waiting.iter().map(Batch::events).sum::<usize>()
                + state.open.as_deref().map_or(0, OpenBatch::events),
        }
    }

    /// Whether nothing of it is left to be sent, and it took no event since then, neither as text nor as metrics.
    pub fn is_idle(&self, since: Instant) -> bool {
        let idle = self.lock().is_idle(since);
        // Nobody but this queue may hold its twin.
        idle && self.emf_queue().is_none_or(|twin| Arc::strong_count(twin) == 1 && twin.is_idle(since))
    }

    /// Its counters alone, and whether its breaker is closed.
    pub fn counts(&self) -> (Counts, bool) {
        let state = self.lock();
        (state.counts, state.breaker.is_closed())
    }
}
