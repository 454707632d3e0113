//! A batch that is out of its queue, on its way through a worker.
//!
//! Whatever happens to it, it comes back to its queue in exactly one way: delivered, settled, put back for a
//! retry, or parked. Dropped without that, by a panic or a cancelled task, it ends as abandoned.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::ack::Outcome;
use crate::batch::{Batch, Body};
use crate::engine::Engine;
use crate::limits::RETRY_AGE_MAX;
use crate::logs_api::{ApiError, RejectedEvents};
use crate::queue::Queue;
use crate::retry::Backoff;

/// See the module.
#[derive(Debug)]
pub struct InFlight {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    /// Gone only once it came back.
    batch: Option<Batch>,
}

impl InFlight {
    /// A batch that was just taken out of its queue.
    pub fn new(engine: Arc<Engine>, queue: Arc<Queue>, batch: Batch) -> Self {
        InFlight { engine, queue, batch: Some(batch) }
    }

    /// Its target.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Notes an attempt and gives the body to send.
    pub fn begin_attempt(&mut self) -> Option<Body> {
        let compression = self.engine.config.compression();
        let batch = self.batch.as_mut()?;
        batch.attempted(Instant::now());
        Some(batch.body(compression))
    }

    /// The service answered.
    pub fn delivered(mut self, rejected: RejectedEvents) {
        let Some(batch) = self.batch.take() else { return };
        let refused = rejected.count(batch.events());
        if refused > 0 {
            warn!(
                "{}: the service refused {refused} of {} events by their age (too old, too new or past the group's retention)",
                self.queue.name(),
                batch.events()
            );
        }
        let effects = self.queue.delivered(batch, refused);
        self.engine.apply(&self.queue, effects);
    }

    /// The service will never take it.
    pub fn dropped(mut self, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        warn!(
            "{}: {} events are given up, since they cannot be retried: {why}",
            self.queue.name(),
            batch.events()
        );
        let effects = self.queue.settled(batch, Outcome::Dropped);
        self.engine.apply(&self.queue, effects);
    }

    /// It failed and is to be tried again, unless it was tried for too long, or the sink closes before the
    /// next attempt would be due.
    pub fn failed(mut self, backoff: Backoff, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let now = Instant::now();
        // A batch that was out when the sink began to close has its last attempt still to come, at once.
        let last_to_come = batch.last_attempt().is_some_and(|attempt| self.engine.closing_since(attempt));
        let delay = match last_to_come {
            true => Duration::ZERO,
            false => self.engine.delay(backoff, self.queue.failures_in_a_row()),
        };
        let due = now + delay;
        let tried_too_long = batch.first_attempt().is_some_and(|first| due > first + RETRY_AGE_MAX);
        if tried_too_long {
            warn!(
                "{}: {} events are given up after {} days of attempts: {why}",
                self.queue.name(),
                batch.events(),
                RETRY_AGE_MAX.as_secs() / 86_400
            );
            let effects = self.queue.settled(batch, Outcome::Dropped);
            return self.engine.apply(&self.queue, effects);
        }
        if self.engine.closes_before(due) {
            let effects = self.queue.settled(batch, Outcome::Abandoned);
            return self.engine.apply(&self.queue, effects);
        }
        self.engine.stats.batch_retried();
        let effects = self.queue.failed(batch, why.to_string());
        let ticket = effects.opened;
        self.engine.apply(&self.queue, effects);
        let Some(ticket) = ticket else { return };
        match self.engine.retries.push(due, self.queue.clone(), ticket) {
            Ok(()) => warn!(
                "{}: {why}; holding {} bytes, next try in {:.1} s",
                self.queue.name(),
                self.queue.buffered_bytes(),
                delay.as_secs_f64()
            ),
            Err(_closed) => {
                let effects = self.queue.abandon();
                self.engine.apply(&self.queue, effects);
            }
        }
    }

    /// It was not tried, since its group is being created by somebody else. Logs nothing: the caller holds a
    /// lock.
    pub fn parked(mut self) {
        let Some(batch) = self.batch.take() else { return };
        self.queue.park(batch);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            let effects = self.queue.settled(batch, Outcome::Abandoned);
            self.engine.apply(&self.queue, effects);
        }
    }
}
