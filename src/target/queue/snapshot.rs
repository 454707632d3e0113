//! A queue as others see it: its counters and its state, for statistics, for the schedule, and for the registry.

use std::sync::Arc;

use tokio::time::Instant;

use super::Queue;
use crate::batch::{Batch, OpenBatch};
use crate::health::Health;
use crate::outcome::EventCounts;
use crate::service::ApiError;
use crate::target::breaker::BreakerState;
use crate::target::ready_class::Standing;

/// The error of the last failed attempt.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The error of the service or the transport.
    pub error: Arc<ApiError>,
    /// The time of the failure, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// The counters of a queue, and whether its breaker is closed.
#[derive(Clone, Copy, Debug)]
pub struct QueueCounts {
    /// The events by outcome.
    pub events: EventCounts,
    /// True if the breaker is closed.
    pub breaker_closed: bool,
}

/// The state of a queue at one moment.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each member is the member of the statistics with that name")]
pub struct QueueSnapshot {
    pub group: String,
    pub stream: String,
    pub emf: bool,
    pub breaker: BreakerState,
    pub in_flight: usize,
    pub waiting_batches: usize,
    pub buffered_bytes: usize,
    pub counts: EventCounts,
    pub last_error: Option<LastError>,
    /// The time at which the open breaker lets the next batch go.
    pub next_attempt: Option<Instant>,
    pub waiting_events: usize,
    /// True if a request of the target is in the slow lane.
    pub in_slow_lane: bool,
}

impl Queue {
    /// The number of failures since the service last answered for a batch.
    pub fn consecutive_failures(&self) -> u32 {
        self.lock().breaker.failures()
    }

    /// The health of the target.
    pub fn health(&self) -> Health {
        self.lock().health()
    }

    /// The time at which the service last took a batch of the target.
    pub fn delivered_at(&self) -> Option<Instant> {
        self.lock().delivered_at
    }

    /// What became of the last request.
    pub fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// The state of the queue now. Whether a request of the target is in the slow lane is known to the caller.
    pub fn snapshot(&self, in_slow_lane: bool) -> QueueSnapshot {
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
            waiting_events: state.waiting.iter().map(Batch::events).sum::<usize>()
                + state.open.as_deref().map_or(0, OpenBatch::events),
            in_slow_lane,
        }
    }

    /// Returns whether nothing of the target is left to be sent, and it accepted no event after `used_by`, neither text nor
    /// metrics.
    pub fn is_idle(&self, used_by: Instant) -> bool {
        let idle = self.lock().is_idle(used_by);
        // Only this queue may hold its queue for metrics.
        idle && self.emf_queue().is_none_or(|emf| Arc::strong_count(emf) == 1 && emf.is_idle(used_by))
    }

    /// The counters of the queue.
    pub fn counts(&self) -> QueueCounts {
        let state = self.lock();
        QueueCounts { events: state.counts, breaker_closed: state.breaker.is_closed() }
    }
}
