//! Attempts that begin with a creation, since the target is known to be missing. Mostly the service cannot see the batch of
//! such an attempt before it comes in.

use tokio::task;

use crate::faults::{BACKOFF_MAX, Meaning};
use crate::models::{AttemptEnd, BatchId, CountedFailure, EndpointSign, OtherFailed};
use crate::record::FinalState;
use crate::world::{NextCall, World};

impl World {
    /// An attempt begins with a creation. `group`: the name as the engine's queue holds it.
    pub fn begins_with_create(&mut self, task: task::Id, group: &str, stream: &str) -> Result<(), String> {
        let now = self.tick();
        let queues = self.record.queues.iter().enumerate();
        let mut named = queues.filter(|(_, queue)| queue.group == group && queue.stream == stream);
        let is_caller =
            |engine_queue: &cwl_sink::target::Queue| engine_queue.group().as_ptr() == group.as_ptr();
        let caller =
            named.find(|(_, queue)| queue.engine_queue.upgrade().is_some_and(|queue| is_caller(&queue)));
        let Some((index, _)) = caller else {
            return Err(format!("{group}/{stream} was created, which nobody pushed to"));
        };
        let may_drop =
            self.may_drop_oldest(index) || now.closing || now.renewed || self.body_limit.is_known();
        let queue = &mut self.record.queues[index];
        if !queue.missing {
            return Err(format!("{} was created, but it was not missing", queue.name()));
        }
        if let Some(key) = queue.certain_next().filter(|_| !may_drop) {
            let id = BatchId { queue: index, key };
            let kept = self.check_attempt(id);
            let steadiness = self.record.queues[index].steadiness;
            let batch = self.record.batch_mut(id);
            batch.steadiness = steadiness;
            batch.begin_request(now.at);
            self.creations.batches.insert(task, id);
            return kept;
        }
        self.creations.unseen += 1;
        let id = BatchId::unseen(index, self.creations.unseen);
        self.creations.batches.insert(task, id);
        queue.in_flight += 1;
        queue.unseen_since.get_or_insert(now.at);
        queue.unseen_last = Some(now.at);
        let name = queue.name();
        let kept = queue.breaker.begins(id.key, now);
        let kept = kept.and_then(|()| self.endpoint.request_begins(id, now));
        kept.map_err(|what| format!("{name}: {what}"))
    }

    /// Returns true if an attempt may create what is missing of its target.
    pub fn may_create(&mut self, id: BatchId) -> bool {
        let is_allowed = self.scenario.config.create_log_stream;
        self.record.queues[id.queue].missing |= is_allowed;
        is_allowed && !self.creations.created.contains(&task::id())
    }

    /// The attempt goes on with the creation of the stream.
    pub fn begins_create(&mut self, id: BatchId) {
        let now = self.tick();
        self.endpoint.attempt_ends(id, EndpointSign::Answered, self.sent_at(), now);
        self.creations.batches.insert(task::id(), id);
        self.creations.expected = Some((task::id(), NextCall::Stream));
    }

    /// A creation failed in an attempt whose batch was not seen. `unavailable`: the sign if the target cannot be served.
    pub fn unseen_fails(&mut self, id: BatchId, meaning: Meaning, unavailable: EndpointSign) {
        let (counted, sign) = match meaning {
            Meaning::Pause => (CountedFailure::No, EndpointSign::Failed),
            Meaning::Unavailable if unavailable == EndpointSign::PerhapsAtFault => {
                (CountedFailure::Perhaps(meaning), unavailable)
            }
            Meaning::Unavailable => (CountedFailure::Yes(meaning), unavailable),
            Meaning::Missing => (CountedFailure::Yes(meaning), EndpointSign::Answered),
            _ => (CountedFailure::Yes(Meaning::Refused), EndpointSign::Answered),
        };
        self.unseen_ends(id, AttemptEnd::Requeued { counted, may_be_final: false }, sign);
    }

    /// The attempt ended before its batch was seen. Any batch of the queue may have been the one, also one that was never
    /// sent.
    pub fn unseen_ends(&mut self, id: BatchId, end: AttemptEnd, sign: EndpointSign) {
        let now = self.tick();
        let is_endpoint_failure = matches!(sign, EndpointSign::Failed | EndpointSign::PerhapsAtFault);
        self.counts.endpoint_failures += u32::from(is_endpoint_failure);
        self.endpoint.attempt_ends(id, sign, self.sent_at(), now);
        let max_age = self.scenario.config.retry_max_age;
        let latest_retry = now.at + BACKOFF_MAX;
        let queue = &mut self.record.queues[id.queue];
        let mut may_be_final = end == AttemptEnd::Final(FinalState::CutOff)
            || now.closing
            || queue.unseen_since.is_some_and(|since| since + max_age < latest_retry);
        for key in &queue.unfinished {
            let Some(batch) = queue.batches.get_mut(key) else { continue };
            if may_be_final || batch.earliest_attempt_at + max_age < latest_retry {
                batch.note_may_be_given_up();
                may_be_final = true;
            }
        }
        queue.in_flight -= 1;
        queue.may_be_final_unseen |= may_be_final;
        let end = match end {
            AttemptEnd::Requeued { counted, .. } => AttemptEnd::Requeued { counted, may_be_final },
            end => end,
        };
        queue.breaker.ends(id.key, end, now, OtherFailed::Perhaps);
    }
}
