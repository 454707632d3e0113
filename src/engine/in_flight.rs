//! A batch that is out of its queue, in the hands of an attempt.
//!
//! The batch comes back in exactly one way: finalized, requeued for another attempt, or parked. When it is dropped without
//! that, by a panic, it is requeued. When the sink has stopped, its events are finalized as abandoned.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::cut_short::NotTaken;
use super::shared::Shared;
use crate::batch::{Batch, HalfBodies, NotHalved};
use crate::memory::NoRoom;
use crate::outcome::{Reason, Resolution};
use crate::report::transitions::NewFailure;
use crate::schedule::backoff::Backoff;
use crate::schedule::service_errors::words;
use crate::service::{ApiError, Failure, RejectedEvents, RequestBody};
use crate::target::Queue;
use crate::target::queue::LastError;

/// The kind of a refusal of a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The service refuses the content.
    Content,
    /// The service refuses the size of the request.
    Size,
    /// The error is unknown.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// `None` once the batch has come back.
    batch: Option<Batch>,
    /// The batch is coming back from an attempt that panicked.
    is_rescued: bool,
}

impl InFlight {
    /// A batch that was just taken from its queue.
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue>, batch: Batch) -> Self {
        InFlight { shared, queue, batch: Some(batch), is_rescued: false }
    }

    /// The queue that the batch came from.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Notes an attempt that begins with a creation.
    pub(super) fn note_attempt(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.note_attempt(Instant::now());
        }
    }

    /// Notes an attempt and returns the body to send. Without memory for the body there is no attempt, and the batch does not
    /// grow older by it.
    pub(super) fn begin_attempt(&mut self) -> Result<RequestBody, NotTaken> {
        let compression = self.shared.config.compression();
        let batch = self.batch.as_mut().ok_or(NotTaken::CutShort)?;
        let body = batch.body(compression).map_err(|NoRoom| NotTaken::NoMemory)?;
        batch.note_attempt(Instant::now());
        Ok(body)
    }

    /// Finalizes a batch that the service took, except its `rejected` events.
    pub(super) fn finalize_delivered(mut self, rejected: RejectedEvents) {
        let Some(batch) = self.batch.take() else { return };
        let events = batch.events();
        let effects = self.queue.finalize_delivered(batch, rejected);
        self.shared.apply(&self.queue, effects);
        let refused = rejected.count(events);
        if refused > 0 {
            warn!(
                "{}: the service refused {refused} of {events} events for their age (too old, too new or past the group's retention)",
                self.queue.name()
            );
        }
    }

    /// Halves the batch when its body is larger than any that the endpoint takes, so that sending it would be useless.
    /// Returns the flight when there is something to send: the body is small enough, or there is no memory for the halves.
    pub(super) fn halve_if_too_large(mut self) -> Option<Self> {
        let compression = self.shared.config.compression();
        let batch = self.batch.as_mut()?;
        let is_exceeded_by = |body: RequestBody| self.shared.body_limit.is_exceeded_by(body.bytes.len());
        if batch.events() < 2 || !batch.body(compression).is_ok_and(is_exceeded_by) {
            return Some(self);
        }
        match batch.write_halves() {
            Ok(bodies) => {
                self.requeue_halves(bodies);
                None
            }
            Err(_) => Some(self),
        }
    }

    /// Halves a batch that the service refused, so that one bad event costs only itself.
    ///
    /// An event that is refused alone is dropped. If the reason is unknown, it is dropped only after another batch of the
    /// target was delivered. After many unknown refusals in a row, batches are halved only one by one, after a back-off each.
    pub(super) fn halve(mut self, refusal: Refusal, why: &ApiError) {
        let compression = self.shared.config.compression();
        let Some(batch) = self.batch.as_mut() else { return };
        if refusal == Refusal::Size
            && let Ok(body) = batch.body(compression)
        {
            self.shared.body_limit.on_refused(body.bytes.len());
        }
        let was_set_aside = batch.note_refusal(Instant::now());
        let is_known = refusal != Refusal::Unknown;
        if !is_known && !self.queue.count_unknown_refusal() && !was_set_aside && batch.events() > 1 {
            return self.set_aside(why);
        }
        match batch.write_halves() {
            Ok(bodies) => {
                debug!("{}: {why}; sending the halves of the batch", self.queue.name());
                self.requeue_halves(bodies);
            }
            // The batches that go first give their memory back.
            Err(NotHalved::NoRoom) => self.set_aside(why),
            Err(NotHalved::Single) => {
                let is_at_fault =
                    is_known || batch.refused_at().is_some_and(|at| self.queue.was_delivered_after(at));
                match is_at_fault {
                    true => self.drop_refused(why),
                    false => self.set_aside(why),
                }
            }
        }
    }

    /// Lets other batches of the target go before a refused one. If there is no other, the batch is tried again after a
    /// back-off.
    fn set_aside(mut self, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        match self.queue.set_aside(batch) {
            Ok(effects) => self.shared.apply(&self.queue, effects),
            Err(batch) => {
                self.batch = Some(*batch);
                self.retry_later(Backoff::Refused, why);
            }
        }
    }

    fn requeue_halves(&mut self, bodies: HalfBodies) {
        let Some(batch) = self.batch.take() else { return };
        self.shared.stats.count_retried_batch();
        let (first, second) = batch.into_halves(bodies);
        let effects = self.queue.requeue_halves(first, second);
        self.shared.apply(&self.queue, effects);
    }

    /// Drops events that the service will never take.
    fn drop_refused(mut self, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let events = batch.events();
        self.finalize(batch, Reason::NotRetryable, why);
        warn!(
            "{}: {events} events are lost: CloudWatch Logs will never accept their request: {why}",
            self.queue.name()
        );
    }

    /// Requeues a batch that failed, for another attempt after a back-off. Finalizes it instead when it was tried for too
    /// long, or when the sink will be shut down before the next attempt.
    pub(super) fn retry_later(mut self, backoff: Backoff, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let was_closing = self.shared.is_closing();
        // A batch that was in flight when the sink began to close gets one last attempt at once.
        let is_last_attempt_due =
            batch.last_attempt().is_some_and(|attempt| self.shared.closing_began_after(attempt));
        let delay = match is_last_attempt_due {
            true => Duration::ZERO,
            false => self.shared.delay(backoff, self.queue.consecutive_failures()),
        };
        let due = Instant::now() + delay;
        let Some(batch) = self.unless_too_late(batch, due, why) else { return };
        self.shared.stats.count_retried_batch();
        let effects = self.queue.requeue_failed(batch, self.last_error(why), due);
        let (generation, is_new_failure) = (effects.breaker_opened, effects.is_new_failure);
        self.shared.apply(&self.queue, effects);
        let Some(generation) = generation else { return };
        match self.shared.retries.push(due, self.queue.clone(), generation) {
            // The sink began to close between the choice of the delay and now.
            Ok(()) if self.shared.is_closing() && !was_closing => {
                let effects = self.queue.make_retry_due();
                self.shared.apply(&self.queue, effects);
            }
            Ok(()) if is_new_failure => {
                let failure = NewFailure { error: why, words: words(why), next_attempt_in: delay };
                self.shared.transitions.failing(&self.shared.registry, &self.queue, &failure);
            }
            Ok(()) => debug!("{}: {why}; next try in {:.1} s", self.queue.name(), delay.as_secs_f64()),
            Err(_closed) => {
                let effects = self.queue.abandon();
                self.shared.apply(&self.queue, effects);
            }
        }
    }

    /// Requeues a batch that failed by no fault of its target. It is sent when the endpoint is due again, at `due`.
    pub(super) fn requeue(mut self, due: Instant, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let Some(batch) = self.unless_too_late(batch, due, why) else {
            if self.shared.closes_before(due) {
                // No request to any target can go out before the shutdown.
                self.shared.abandon_all();
            }
            return;
        };
        self.shared.stats.count_retried_batch();
        let effects = self.queue.requeue(batch, Some(self.last_error(why)));
        self.shared.apply(&self.queue, effects);
    }

    /// Requeues a batch for which there is no memory to make its request, for another attempt after a back-off.
    pub(super) fn retry_without_memory(self) {
        let why = ApiError {
            failure: Failure::NotSent,
            code: None,
            status: None,
            message: "this process has no memory to sort the events by time".into(),
        };
        self.retry_later(Backoff::Refused, &why);
    }

    /// Requeues a batch whose request was cut short to make room for others. Nobody is blamed: it is sent at its turn.
    pub(super) fn requeue_cut_short(mut self) {
        let Some(batch) = self.batch.take() else { return };
        debug!("{}: the request was cut short to make room for others", self.queue.name());
        self.shared.stats.count_retried_batch();
        let effects = self.queue.requeue(batch, None);
        self.shared.apply(&self.queue, effects);
    }

    /// Returns the batch if it may be tried again at `due`. Finalizes it when that would be too late.
    fn unless_too_late(&self, batch: Batch, due: Instant, why: &ApiError) -> Option<Batch> {
        let max_age = self.shared.config.retry_max_age;
        let reason = if batch.first_attempt().is_some_and(|first| due > first + max_age) {
            Reason::TriedTooLong
        } else if self.shared.closes_before(due) {
            Reason::Shutdown
        } else {
            return Some(batch);
        };
        let events = batch.events();
        self.finalize(batch, reason, why);
        if reason == Reason::TriedTooLong {
            let (name, seconds) = (self.queue.name(), max_age.as_secs());
            warn!("{name}: {events} events are dropped after {seconds} s of attempts: {why}");
        }
        None
    }

    fn last_error(&self, why: &ApiError) -> LastError {
        LastError { error: Arc::new(why.clone()), at_ms: self.shared.clock.now_ms() }
    }

    fn finalize(&self, batch: Batch, reason: Reason, why: &ApiError) {
        let error = Some(Arc::new(why.clone()));
        let effects = self.queue.finalize(batch, Resolution { reason, error });
        self.shared.apply(&self.queue, effects);
    }

    /// Parks a batch whose group is being created by another attempt. Returns whether the queue was not parked before. Logs
    /// nothing: the caller holds a lock.
    pub(super) fn park(mut self) -> bool {
        self.batch.take().is_some_and(|batch| self.queue.park(batch, None))
    }

    /// Parks a batch until the pace of creations lets its queue go on. `why`: its creation was throttled.
    pub(super) fn wait_for_creation_pace(mut self, why: Option<&ApiError>) {
        let Some(mut batch) = self.batch.take() else { return };
        if let Some(why) = why {
            let Some(in_time) = self.unless_too_late(batch, Instant::now(), why) else { return };
            batch = in_time;
            self.shared.stats.count_retried_batch();
        }
        if self.queue.park(batch, why.map(|why| self.last_error(why))) {
            self.shared.creation_pace.push(self.queue.clone());
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let (shared, queue) = (self.shared.clone(), self.queue.clone());
        if shared.is_stopped() || self.is_rescued {
            let effects = queue.finalize(batch, shared.cut_off_reason().into());
            return shared.apply(&queue, effects);
        }
        let why = ApiError::internal("an attempt to send panicked");
        let rescue = move || {
            let flight = InFlight { shared, queue, batch: Some(batch), is_rescued: true };
            flight.retry_later(Backoff::Refused, &why);
        };
        // A panic in a destructor would end the host. It drops the rescued batch, which finalizes it.
        let _ = panic::catch_unwind(AssertUnwindSafe(rescue));
    }
}

#[cfg(test)]
mod tests;
