//! A refusal of a whole request, for its content, for its size or for an unknown reason: what it means for the batch.
//!
//! A batch with several events is halved, and its halves go next. An event that is refused alone is dropped. If the
//! reason is unknown, the event is dropped only after another batch of its queue was delivered: that shows that the
//! event is at fault and not the target. Until then the batch is set aside, so that others go first.

use crate::faults::Meaning;
use crate::models::{AttemptEnd, BatchId, CountedFailure, EndpointSign};
use crate::record::{FinalState, Halving};
use crate::world::World;

/// Refusals for an unknown reason in a row, without a delivered batch in between, after which a batch is set aside before
/// it is halved.
const UNKNOWN_REFUSALS_MAX: u32 = 64;

impl World {
    /// A request was refused for its content or its size.
    pub fn on_refused(&mut self, id: BatchId, refusal: Meaning) {
        let now = self.tick();
        let queue = &mut self.record.queues[id.queue];
        let is_known = refusal != Meaning::UnknownRefusal;
        queue.unknown_refusals += u32::from(!is_known);
        let are_few = queue.unknown_refusals <= UNKNOWN_REFUSALS_MAX;
        let batch = self.record.batch_mut(id);
        let was_set_aside = std::mem::take(&mut batch.is_set_aside);
        if batch.pieces.len() > 1 {
            batch.refused_at = Some(now.at);
            return match is_known || are_few || was_set_aside {
                true => self.halve_or_retry(id),
                false => self.set_aside(id),
            };
        }
        let refused_at = *batch.refused_at.get_or_insert(now.at);
        match is_known || self.record.queues[id.queue].was_delivered_after(refused_at) {
            true => self.ends_final(id, FinalState::NotRetryable),
            false => self.set_aside(id),
        }
    }

    /// The batch is halved. If there may be no memory for the halves, the whole batch may be set aside instead, or tried
    /// again later.
    fn halve_or_retry(&mut self, id: BatchId) {
        if self.has_memory_to_halve(id) {
            self.requeue(id, CountedFailure::No);
            return self.record.halve(id);
        }
        let batch = self.record.batch_mut(id);
        (batch.halving, batch.was_set_aside, batch.may_need_memory) = (Halving::Perhaps, true, true);
        self.requeue(id, CountedFailure::Perhaps(Meaning::Refused));
    }

    /// The batch lets others go first. If no other waits, it is tried again after a back-off.
    fn set_aside(&mut self, id: BatchId) {
        self.tick();
        let batch = self.record.batch_mut(id);
        (batch.is_set_aside, batch.was_set_aside) = (true, true);
        let queue = &self.record.queues[id.queue];
        let others = queue.unfinished.iter().filter(|key| **key != id.key).map(|key| &queue.batches[key]);
        let waiting: Vec<_> = others.filter(|batch| !batch.is_in_flight() && !batch.is_set_aside).collect();
        let is_any_unsent = queue.pieces.iter().any(|piece| self.record.pieces[*piece].batch.is_none());
        // With several requests at once, the others may have been taken from the queue already.
        let does_any_wait = queue.one_at_a_time
            && !self.may_drop_oldest(id.queue)
            && waiting.iter().any(|batch| !batch.may_be_given_up());
        let counted = if does_any_wait {
            CountedFailure::No
        } else if waiting.is_empty() && !is_any_unsent {
            CountedFailure::Yes(Meaning::Refused)
        } else {
            CountedFailure::Perhaps(Meaning::Refused)
        };
        self.requeue(id, counted);
    }

    fn requeue(&mut self, id: BatchId, counted: CountedFailure) {
        let wait = self.record.queues[id.queue].breaker.next_wait(id.key, Meaning::Refused);
        let may_be_final = match counted {
            CountedFailure::Yes(_) => self.note_retry(id, Some(wait.min), wait.max),
            CountedFailure::Perhaps(_) => self.note_retry(id, None, wait.max),
            CountedFailure::No => false,
        };
        self.attempt_ends(id, AttemptEnd::Requeued { counted, may_be_final }, EndpointSign::Answered);
    }
}
