//! The end of an attempt, and its meaning for the batch, for the target and for the endpoint.

use std::time::Duration;

use bytes::Bytes;
use cwl_sink::schedule::service_errors::may_be_clock;
use cwl_sink::service::{ApiError, Failure};

use crate::faults::{BACKOFF_MAX, Meaning, meaning_of};
use crate::models::{AttemptEnd, BatchId, CountedFailure, EndpointSign, OtherFailed, SLACK};
use crate::record::{BatchState, FinalState, GivenUp, QueueRecord, Steadiness};
use crate::world::World;

/// The time for which a throttled request may slow all targets. The slowest pace is one request in 2 s, and some
/// seconds after the next answer the pace is faster than anything here.
const PACED: Duration = Duration::from_secs(20);
impl World {
    /// An attempt ended.
    pub fn attempt_ends(&mut self, id: BatchId, end: AttemptEnd, sign: EndpointSign) {
        let now = self.tick();
        if id.is_unseen() {
            return self.unseen_ends(id, end, sign);
        }
        let is_endpoint_failure = matches!(sign, EndpointSign::Failed | EndpointSign::PerhapsAtFault);
        self.counts.endpoint_failures += u32::from(is_endpoint_failure);
        self.endpoint.attempt_ends(id, sign, self.sent_at(), now);
        // Parts of a batch that was halved unsent may wait before a batch that failed.
        let may_be_halved_unsent = self.body_limit.is_known() && self.scenario.config.target_concurrency > 1;
        let is_unclear = self.may_drop_oldest(id.queue)
            || self.counts.renewals_panicked > 0
            || now.closing
            || may_be_halved_unsent;
        let queue = &mut self.record.queues[id.queue];
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let has_other_failed = queue.has_other_failed(id.key);
        if let Some(batch) = queue.batches.get_mut(&id.key) {
            batch.end_attempt(end, now.at);
        }
        let is_unclear = is_unclear
            || queue.unfinished_batches().any(|batch| batch.may_be_given_up() || batch.is_failure_unclear());
        if matches!(end, AttemptEnd::Final(_)) {
            queue.unfinished.remove(&id.key);
        }
        let other_failed = match has_other_failed {
            true if is_unclear => OtherFailed::Perhaps,
            true => OtherFailed::Certainly,
            false if queue.unseen_since.is_some() && !queue.one_at_a_time => OtherFailed::Perhaps,
            false => OtherFailed::No,
        };
        queue.breaker.ends(id.key, end, now, other_failed);
    }

    /// A request of an attempt failed.
    pub fn attempt_fails(&mut self, id: BatchId, meaning: Meaning, error: &ApiError) {
        let now = self.tick();
        let was_probe = self.endpoint.was_probe(id);
        match error.failure {
            Failure::TimedOut | Failure::Connection => self.note_silence(id),
            Failure::NotSent | Failure::Internal => {}
            Failure::Answered | Failure::Unreadable => self.note_answer(id),
        }
        let is_other_served = self.is_other_served(id.queue);
        // A creation that is throttled was answered.
        let is_throttled = meaning_of(error) == Meaning::Throttle;
        let may_be_at_fault = !is_throttled && self.endpoint.may_be_at_fault(id.queue, is_other_served);
        let unavailable = match may_be_at_fault {
            true => EndpointSign::PerhapsAtFault,
            false if is_throttled => EndpointSign::Answered,
            false => EndpointSign::Unavailable,
        };
        self.record.queues[id.queue].is_served = match meaning {
            Meaning::Pause => self.record.queues[id.queue].is_served,
            meaning => meaning != Meaning::Unavailable || is_throttled,
        };
        if id.is_unseen() {
            return self.unseen_fails(id, meaning, unavailable);
        }
        let meaning = match meaning {
            Meaning::Create if !self.may_create(id) => Meaning::Missing,
            meaning => meaning,
        };
        let queue = &self.record.queues[id.queue];
        let backoff = match meaning {
            Meaning::Unavailable | Meaning::Throttle => Meaning::Unavailable,
            Meaning::Missing => Meaning::Missing,
            _ => Meaning::Refused,
        };
        let wait = queue.breaker.next_wait(id.key, backoff);
        let batch = self.record.batch_mut(id);
        batch.last_code = error.code.as_deref().map(str::to_owned);
        let was_repeated = batch.take_clock_error();
        match meaning {
            Meaning::Delivered => self.ends_final(id, FinalState::Delivered),
            Meaning::RefusedContent | Meaning::UnknownRefusal => self.on_refused(id, meaning),
            Meaning::TooLarge => {
                let bytes = self.record.batch(id).body.as_ref().map_or(0, bytes::Bytes::len);
                self.body_limit.on_refused(bytes);
                self.on_refused(id, meaning);
            }
            Meaning::Pause if was_probe && may_be_clock(error) && !was_repeated => {
                batch.state = BatchState::SendsAgain { after_clock_error: true };
            }
            Meaning::Pause => self.fails_with_endpoint(id),
            Meaning::Create => self.begins_create(id),
            Meaning::Throttle => {
                self.calls.paced_until = Some(now.at + PACED);
                self.fails_unclearly(id, wait.max, EndpointSign::Answered);
            }
            // Others failed since the last answer, or there are few targets: then the endpoint may be at fault.
            Meaning::Unavailable if may_be_at_fault => {
                self.fails_with_endpoint_or_alone(id, wait.max);
            }
            Meaning::Unavailable => {
                let may_be_final = self.note_retry(id, Some(wait.min), wait.max);
                let counted = CountedFailure::Yes(backoff);
                let end = AttemptEnd::Requeued { counted, may_be_final };
                self.attempt_ends(id, end, unavailable);
            }
            Meaning::Missing | Meaning::Refused => {
                let may_be_final = self.note_retry(id, Some(wait.min), wait.max);
                let counted = CountedFailure::Yes(backoff);
                self.attempt_ends(id, AttemptEnd::Requeued { counted, may_be_final }, EndpointSign::Answered);
            }
        }
    }

    /// Returns true if the last request of another queue was served, and the engine has not forgotten that queue.
    fn is_other_served(&mut self, queue: usize) -> bool {
        let (now, idle) = (self.tick().at, self.scenario.config.target_idle);
        let is_known = |queue: &QueueRecord| queue.last_push_at.is_some_and(|at| now - at < idle);
        let mut others = self.record.queues.iter().enumerate().filter(|(other, _)| *other != queue);
        others.any(|(_, other)| other.is_served && is_known(other))
    }

    /// A request was answered.
    pub fn note_answer(&mut self, id: BatchId) {
        let latency = self.tick().at - self.sent_at();
        let body = self.record.queues[id.queue].batches.get(&id.key).and_then(|batch| batch.body.as_ref());
        self.calls.note_rate(body.map_or(0, Bytes::len), latency);
        let slow_after = self.scenario.config.slow_after;
        self.record.queues[id.queue].steadiness = match latency {
            _ if latency + SLACK < slow_after => Steadiness::Steady,
            _ if latency > slow_after + SLACK => Steadiness::OnTrial,
            _ => Steadiness::Unknown,
        };
    }

    /// A request was waited for in vain. A short wait shows nothing.
    fn note_silence(&mut self, id: BatchId) {
        let body = self.record.queues[id.queue].batches.get(&id.key).and_then(|batch| batch.body.as_ref());
        self.body_limit.on_timed_out(body.map_or(0, Bytes::len));
        let waited = self.tick().at - self.sent_at();
        let slow_after = self.scenario.config.slow_after;
        let steadiness = &mut self.record.queues[id.queue].steadiness;
        *steadiness = match waited {
            _ if waited + SLACK < slow_after => *steadiness,
            _ if waited > slow_after + SLACK => Steadiness::OnTrial,
            _ => Steadiness::Unknown,
        };
    }

    /// An attempt was cut short to make room for others. Neither its target nor the endpoint is at fault.
    pub(super) fn attempt_is_cut_short(&mut self, id: BatchId) {
        self.note_silence(id);
        let end = AttemptEnd::Requeued { counted: CountedFailure::No, may_be_final: false };
        self.attempt_ends(id, end, EndpointSign::CutShort);
    }

    /// The attempt panicked. Its batch is tried again after a back-off.
    pub(super) fn attempt_panics(&mut self, id: BatchId) {
        let wait = self.record.queues[id.queue].breaker.next_wait(id.key, Meaning::Refused);
        let may_be_final = !id.is_unseen() && self.note_retry(id, Some(wait.min), wait.max);
        let end = AttemptEnd::Requeued { counted: CountedFailure::Yes(Meaning::Refused), may_be_final };
        self.attempt_ends(id, end, EndpointSign::CutOff);
    }

    pub(super) fn ends_final(&mut self, id: BatchId, state: FinalState) {
        self.attempt_ends(id, AttemptEnd::Final(state), EndpointSign::Answered);
    }

    /// The failure meets all targets.
    fn fails_with_endpoint(&mut self, id: BatchId) {
        let may_be_final = self.note_retry(id, None, BACKOFF_MAX);
        let end = AttemptEnd::Requeued { counted: CountedFailure::No, may_be_final };
        self.attempt_ends(id, end, EndpointSign::Failed);
    }

    /// The failure is the fault of the endpoint or of the target. One request does not tell which.
    fn fails_unclearly(&mut self, id: BatchId, max_wait: Duration, sign: EndpointSign) {
        let may_be_final = self.note_retry(id, Some(Duration::ZERO), max_wait);
        self.counts.endpoint_failures += 1;
        let end =
            AttemptEnd::Requeued { counted: CountedFailure::Perhaps(Meaning::Unavailable), may_be_final };
        self.attempt_ends(id, end, sign);
    }

    fn fails_with_endpoint_or_alone(&mut self, id: BatchId, max_wait: Duration) {
        self.fails_unclearly(id, max_wait.max(BACKOFF_MAX), EndpointSign::PerhapsAtFault);
    }

    /// The creation of the stream was throttled: the queue waits for the pace of creations.
    pub(super) fn attempt_is_throttled(&mut self, id: BatchId) {
        let may_be_final = !id.is_unseen() && self.note_retry(id, Some(Duration::ZERO), Duration::ZERO);
        let end = AttemptEnd::Requeued { counted: CountedFailure::No, may_be_final };
        self.attempt_ends(id, end, EndpointSign::Answered);
    }

    /// Notes that a batch is tried again after a wait between `min` and `max`. It is given up if that is too late;
    /// without a `min` that is never certain. Returns true if the batch may be final.
    pub(super) fn note_retry(&mut self, id: BatchId, min: Option<Duration>, max: Duration) -> bool {
        let now = self.tick();
        let max_age = self.scenario.config.retry_max_age;
        let batch = self.record.batch_mut(id);
        let (latest, latest_unseen) = (batch.first_attempt_at + max_age, batch.earliest_attempt_at + max_age);
        batch.max_wait = max;
        batch.given_up = if min.is_some_and(|min| now.at + min > latest) {
            GivenUp::Certainly
        } else if now.closing || now.at + max > latest_unseen {
            GivenUp::Perhaps
        } else {
            GivenUp::No
        };
        batch.may_be_given_up()
    }
}
