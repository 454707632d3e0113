//! A batch on its way out and back: an attempt takes it, and it comes back in exactly one of the ways below.

use tokio::time::Instant;

use super::snapshot::LastError;
use super::{Effects, Queue};
use crate::batch::Batch;
use crate::outcome::{EventCounts, Outcome, Reason, Resolution};
use crate::service::RejectedEvents;
use crate::target::breaker::{BreakerFailure, FinalBatch, Generation};
use crate::target::ready_class::ReadyClass;

/// Throttled requests in a row that may be chance: the account sends too much, and any request may be the one that is
/// throttled. A target that is throttled more often than that, while others are not, is throttled alone.
const THROTTLED_BY_CHANCE: u32 = 3;

/// Refusals for an unknown reason in a row, without a delivered batch in between, after which batches are halved only after
/// a back-off: the target itself may be at fault then. A batch of 10,000 events with one bad event takes 15.
const UNKNOWN_REFUSALS_MAX: u32 = 64;

/// The answer of the service to a batch that is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The service took the batch.
    Delivered,
    /// The service refused the batch for good.
    Refused,
    /// The batch is final without an answer.
    None,
}

/// The meaning of a throttled request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttling {
    /// The account sends more than it may.
    Account,
    /// This target alone is throttled, again and again, while batches of others are taken.
    Target,
}

impl Queue {
    /// Takes the next batch for an attempt, if the queue is the first of `class` and may still send. The batch comes
    /// back through one of the methods below.
    pub fn take_batch(&self, class: ReadyClass) -> (Option<Batch>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.queued_class != Some(class) {
            // The queue has moved to a better class since.
            return (None, effects);
        }
        state.queued_class = None;
        if state.standing.class > class {
            // The queue goes to the end of the class that it belongs to by now.
            self.update_readiness(&mut state, &mut effects);
            return (None, effects);
        }
        let may_send = state.may_send(self.target_concurrency);
        if may_send && state.waiting.iter().all(Batch::is_set_aside) {
            state.seal();
        }
        let place = state.next_place();
        let batch = if may_send { state.waiting.remove(place) } else { None };
        if let Some(batch) = &batch {
            state.in_flight.push(batch.id());
            state.breaker.on_sent(batch.id());
        }
        self.update_readiness(&mut state, &mut effects);
        (batch, effects)
    }

    /// Finalizes a batch that the service took, except its `rejected` events.
    pub fn finalize_delivered(&self, batch: Batch, rejected: RejectedEvents) -> Effects {
        self.finalize_with(batch, Answer::Delivered, |batch, counts| {
            let refused = rejected.count(batch.events());
            counts.count(Outcome::Delivered, batch.events() - refused);
            counts.count(Outcome::Rejected, refused);
            batch.finalize_delivered(rejected);
        })
    }

    /// Finalizes a batch that was not delivered.
    pub fn finalize(&self, batch: Batch, resolution: Resolution) -> Effects {
        let answer = match resolution.reason {
            Reason::NotRetryable => Answer::Refused,
            _ => Answer::None,
        };
        self.finalize_with(batch, answer, |batch, counts| {
            counts.count(resolution.outcome(), batch.events());
            batch.finalize(resolution);
        })
    }

    fn finalize_with(
        &self,
        batch: Batch,
        answer: Answer,
        finalize: impl FnOnce(Batch, &mut EventCounts),
    ) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let (id, sent_at) = (batch.id(), batch.last_attempt());
        state.remove_in_flight(&batch);
        let more_failed = state.waiting.front().is_some_and(|next| next.first_attempt().is_some());
        let answered = answer != Answer::None;
        effects.recovered = state.breaker.on_final(FinalBatch { id, answered, more_failed });
        state.used_at = Some(Instant::now());
        if answer == Answer::Delivered {
            state.delivered_at = state.delivered_at.max(sent_at);
            state.unknown_refusals = 0;
        }
        if state.has_no_failure() {
            (state.last_error, state.throttled) = (None, Default::default());
        }
        finalize(batch, &mut state.counts);
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Requeues a batch that failed and is to be tried again at `due`. The breaker opens.
    pub fn requeue_failed(&self, batch: Batch, error: LastError, due: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        let had_no_failure = state.has_no_failure();
        let known = state.last_error.as_ref().is_some_and(|last| last.error.code == error.error.code);
        state.requeue(batch);
        state.last_error = Some(error);
        if let BreakerFailure::Opened(generation) = state.breaker.on_failure(id) {
            effects.breaker_opened = Some(generation);
            effects.is_new_failure = had_no_failure || !known;
            state.next_attempt = Some(due);
        }
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Requeues a batch that failed by no fault of the target, or whose attempt was cut short. The breaker stays as it is.
    pub fn requeue(&self, batch: Batch, error: Option<LastError>) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.on_requeued(batch.id());
        state.requeue(batch);
        state.last_error = error.or(state.last_error.take());
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Requeues the halves of a batch whose content or size the service refused. They are sent at once: the target is not at
    /// fault.
    pub fn requeue_halves(&self, first: Batch, second: Batch) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.on_requeued(first.id());
        state.requeue(first);
        let place = state.waiting.partition_point(|other| other.id() < second.id());
        state.waiting.insert(place, second);
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Sets a batch aside that the service refused for an unknown reason, so that other batches of the target go first and
    /// show if the target is at fault. Returns the batch when there is no other.
    pub fn set_aside(&self, mut batch: Batch) -> Result<Effects, Box<Batch>> {
        batch.set_aside();
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.waiting.iter().all(Batch::is_set_aside) {
            return Err(Box::new(batch));
        }
        state.breaker.on_requeued(batch.id());
        state.requeue(batch);
        self.update_readiness(&mut state, &mut effects);
        Ok(effects)
    }

    /// Counts a refusal for an unknown reason. Returns whether batches are halved at once: not after many refusals without a
    /// delivered batch in between, since then the service may refuse everything, and each event would cost a request.
    pub fn count_unknown_refusal(&self) -> bool {
        let mut state = self.lock();
        state.unknown_refusals = state.unknown_refusals.saturating_add(1);
        state.unknown_refusals <= UNKNOWN_REFUSALS_MAX
    }

    /// Returns whether a batch of the target was sent after `at` and delivered.
    pub fn was_delivered_after(&self, at: Instant) -> bool {
        self.lock().delivered_at.is_some_and(|delivered_at| delivered_at > at)
    }

    /// Requeues a batch whose target is missing and cannot be created yet. The queue sends nothing until [`Queue::unpark`] or
    /// [`Queue::give_creation_turn`]. Returns false if the queue was parked before.
    pub fn park(&self, batch: Batch, error: Option<LastError>) -> bool {
        let mut state = self.lock();
        state.breaker.on_requeued(batch.id());
        state.requeue(batch);
        state.last_error = error.or(state.last_error.take());
        !std::mem::replace(&mut state.parked, true)
    }

    /// The group was created, or could not be created: the queue may send again.
    pub fn unpark(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.parked = false;
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// The pace of creations lets the queue go on.
    pub fn give_creation_turn(&self) -> Effects {
        self.lock().has_creation_turn = true;
        self.unpark()
    }

    /// Returns whether the pace of creations let the queue go on. The turn is used up.
    pub fn take_creation_turn(&self) -> bool {
        std::mem::take(&mut self.lock().has_creation_turn)
    }

    /// Returns whether the group or the stream was not found and may be created.
    pub fn is_missing(&self) -> bool {
        self.lock().missing
    }

    /// Notes that the group or the stream is missing and may be created, or that both exist.
    pub fn set_missing(&self, missing: bool) {
        self.lock().missing = missing;
    }

    /// The due time of an opened breaker has come: one batch may go out, as the probe.
    pub fn on_retry_due(&self, generation: Generation) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.breaker.on_due(generation) {
            self.update_readiness(&mut state, &mut effects);
        }
        effects
    }

    /// A request of the target was throttled. `delivered_batches` is the number of batches of all targets that the
    /// service has taken so far.
    pub fn on_throttled(&self, delivered_batches: u64) -> Throttling {
        let mut state = self.lock();
        let run = &mut state.throttled;
        if run.times == 0 || delivered_batches > run.delivered_batches {
            run.times += 1;
        }
        run.delivered_batches = delivered_batches;
        if run.times > THROTTLED_BY_CHANCE { Throttling::Target } else { Throttling::Account }
    }
}
