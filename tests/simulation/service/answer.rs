//! The answer to a request, as the faults of the moment have it.

use std::time::Duration;

use cwl_sink::service::{ApiError, RejectedEvents};

use crate::faults::{self, Meaning, meaning_of};
use crate::models::BatchId;
use crate::record::BatchRecord;
use crate::scenario::pick;
use crate::world::{FaultMode, World};

/// The latency of a service without faults, in milliseconds.
const HEALED_LATENCY_MAX_MS: u64 = 5;

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum PutAnswer {
    /// The events are taken, except `refused`. `taken_already`: they were taken when the request came in. Otherwise
    /// they are taken when the answer goes out.
    Take { refused: RejectedEvents, taken_already: bool },
    /// The request fails with an error.
    Fail(ApiError),
    /// The call panics.
    Panic,
}

impl World {
    /// A random latency.
    pub fn latency(&mut self) -> Duration {
        let max = if self.faults.healed { HEALED_LATENCY_MAX_MS } else { self.scenario.latency_max_ms };
        Duration::from_millis(self.rng.u64(0..=max))
    }

    /// Decides the answer to a request, and the time after which it goes out.
    pub fn decide_answer(&mut self, batch: BatchId) -> (PutAnswer, Duration) {
        let latency = self.latency();
        if self.meets_outage() {
            return (PutAnswer::Fail(faults::refused()), latency);
        }
        if let Some(fault) = self.clock_fault().or_else(|| self.endpoint_fault()) {
            return (PutAnswer::Fail(self.faults.meet(fault)), latency);
        }
        let queue = &self.record.queues[batch.queue];
        if !self.resources.streams.contains(&(queue.group.clone(), queue.stream.clone())) {
            return (PutAnswer::Fail(faults::not_found()), latency);
        }
        if let Some(fault) = self.lasting_fault(batch) {
            return self.refuse(batch, fault, latency);
        }
        let (answer, delay) = self.decide_by_fault_mode(batch, latency);
        match answer {
            PutAnswer::Fail(error) => {
                self.record.queues[batch.queue].may_drop_any |= meaning_of(&error).is_refusal();
                (PutAnswer::Fail(error), delay)
            }
            PutAnswer::Take { refused, .. } if self.rng.bool() => {
                self.take(batch, refused);
                (PutAnswer::Take { refused, taken_already: true }, delay)
            }
            answer => (answer, delay),
        }
    }

    /// The index of the fault that the batch meets with every request: it holds a poisonous event, or it is too large.
    fn lasting_fault(&mut self, batch: BatchId) -> Option<usize> {
        let BatchRecord { pieces, body, .. } = self.record.batch(batch);
        let body_bytes = body.as_ref().map_or(0, bytes::Bytes::len);
        if self.scenario.wire_max_bytes.is_some_and(|max| body_bytes > max) {
            self.record.queues[batch.queue].may_drop_any |= pieces.len() == 1;
            return self.faults.errors.iter().position(|error| *error == faults::too_large());
        }
        let is_poison = |piece: &usize| self.record.events[self.record.pieces[*piece].event].is_poison;
        self.faults.poison_of(batch.queue).filter(|_| pieces.iter().any(is_poison))
    }

    /// Refuses a batch that is never taken. The faults of the moment may come first.
    fn refuse(&mut self, batch: BatchId, fault: usize, latency: Duration) -> (PutAnswer, Duration) {
        let timeout = self.scenario.config.request_timeout;
        let dice = self.rng.u32(..100);
        let (fault, delay) = match self.faults.mode_of(batch.queue) {
            FaultMode::Hanging(percent) if dice < percent => {
                return (PutAnswer::Fail(faults::timed_out()), timeout);
            }
            FaultMode::Panicking(percent) if dice < percent => return (PutAnswer::Panic, latency),
            FaultMode::Failing(percent, other) if dice < percent => {
                let other = other.unwrap_or_else(|| self.any_fault());
                let meaning = meaning_of(&self.faults.errors[other]);
                // "Taken already" would not be true.
                let is_possible = meaning != Meaning::Delivered && !meaning.is_refusal();
                (if is_possible { other } else { fault }, latency)
            }
            FaultMode::Slow => (fault, timeout.mul_f64(self.rng.f64() * 0.99)),
            _ => (fault, latency),
        };
        (PutAnswer::Fail(self.faults.meet(fault)), delay)
    }

    fn decide_by_fault_mode(&mut self, batch: BatchId, latency: Duration) -> (PutAnswer, Duration) {
        let timeout = self.scenario.config.request_timeout;
        let dice = self.rng.u32(..100);
        match self.faults.mode_of(batch.queue) {
            FaultMode::Failing(percent, fault) if dice < percent => {
                let fault = fault.unwrap_or_else(|| self.any_fault());
                (PutAnswer::Fail(self.faults.meet(fault)), latency)
            }
            FaultMode::LosingAnswers(percent) if dice < percent => {
                self.take(batch, RejectedEvents::default());
                (PutAnswer::Fail(pick(&mut self.rng, &faults::answer_lost()).clone()), latency)
            }
            FaultMode::Hanging(percent) if dice < percent => {
                self.take_perhaps(batch);
                (PutAnswer::Fail(faults::timed_out()), timeout)
            }
            FaultMode::Panicking(percent) if dice < percent => {
                self.take_perhaps(batch);
                (PutAnswer::Panic, latency)
            }
            FaultMode::Rejecting(percent) if dice < percent => {
                let refused = self.random_refusals(batch);
                (PutAnswer::Take { refused, taken_already: false }, latency)
            }
            FaultMode::Slow => {
                let delay = timeout.mul_f64(self.rng.f64() * 0.99);
                (PutAnswer::Take { refused: self.refused_by_age(batch), taken_already: false }, delay)
            }
            _ => (PutAnswer::Take { refused: self.refused_by_age(batch), taken_already: false }, latency),
        }
    }

    fn take_perhaps(&mut self, batch: BatchId) {
        if self.rng.bool() {
            self.take(batch, RejectedEvents::default());
        }
    }

    fn random_refusals(&mut self, batch: BatchId) -> RejectedEvents {
        let events = self.record.batch(batch).pieces.len();
        let rng = &mut self.rng;
        let mut place = || (rng.u32(..100) < 50).then(|| rng.usize(0..=events + 2));
        RejectedEvents {
            too_old_end: place().unwrap_or(0),
            expired_end: place().unwrap_or(0),
            too_new_start: place(),
        }
    }
}
