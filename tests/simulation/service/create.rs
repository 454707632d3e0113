//! The creation of groups and streams, and the retention of groups.

use std::time::Duration;

use cwl_sink::schedule::service_errors::may_be_clock;
use cwl_sink::service::{ApiError, Failure};
use tokio::task;

use super::clock::RequestSignature;
use crate::faults::{self, Meaning, meaning_of};
use crate::models::BatchId;
use crate::record::{BatchState, Steadiness};
use crate::scenario::pick;
use crate::world::{FaultMode, NextCall, World};

/// The time for which a throttled creation may slow others.
const PACED: Duration = Duration::from_secs(60);

/// A call that creates something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateCall {
    Stream,
    Group,
    /// Sets the retention of a group in days.
    Retention(u32),
}

/// A creation that gets this answer after this time.
pub struct PendingCreate {
    pub number: u64,
    /// The batch whose attempt creates. `None` for a retention, which no attempt sets.
    pub batch: Option<BatchId>,
    pub signature: RequestSignature,
    pub outcome: CreateOutcome,
    pub delay: Duration,
}

/// The outcome of a creation.
pub enum CreateOutcome {
    /// The service answers, and does it if the answer is no error.
    Answer(Result<(), ApiError>),
    /// The service does it, if it can be done, and this error is all that arrives.
    AnswerLost(ApiError),
    /// The call panics.
    Panic,
}

impl World {
    /// A creation begins. `None` if it must not.
    pub fn create_begins(&mut self, call: CreateCall, group: &str, stream: &str) -> Option<PendingCreate> {
        let task = task::id();
        let next = match call {
            CreateCall::Stream => NextCall::Stream,
            CreateCall::Group => NextCall::Group,
            CreateCall::Retention(days) => return self.retention_begins(group, days),
        };
        let is_expected = self.take_expected_call(task, next);
        self.tick();
        self.note("create", &[u64::from(call == CreateCall::Stream)]);
        self.check_memory();
        if !is_expected {
            let kept = match call {
                CreateCall::Stream => self.begins_with_create(task, group, stream),
                _ => Err(format!("the group {group} was created, and no stream was found missing before")),
            };
            self.report_if_broken(kept);
        }
        let batch = *self.creations.batches.get(&task)?;
        let steadiness = match batch.is_unseen() {
            true => Steadiness::Unknown,
            false => self.record.batch(batch).steadiness,
        };
        self.note_sent();
        let number = self.call_begins(Some(batch.queue), steadiness, 0);
        let latency = self.latency();
        let (outcome, delay) = self.decide_create(call, group, stream, batch.queue, latency);
        Some(PendingCreate { number, batch: Some(batch), signature: self.sign(), outcome, delay })
    }

    /// Only a group that the engine created gets its retention.
    fn retention_begins(&mut self, group: &str, days: u32) -> Option<PendingCreate> {
        self.tick();
        self.note("retention", &[u64::from(days)]);
        if !self.creations.own_groups.contains(group) || self.scenario.config.retention_days != Some(days) {
            self.report_broken(format!("the retention of {group} was set to {days}, and is not owed"));
            return None;
        }
        let queue = self.record.queues.iter().position(|queue| queue.group == group)?;
        let latency = self.latency();
        let (outcome, delay) = self.decide_create(CreateCall::Retention(days), group, "", queue, latency);
        Some(PendingCreate { number: 0, batch: None, signature: self.sign(), outcome, delay })
    }

    fn decide_create(
        &mut self,
        call: CreateCall,
        group: &str,
        stream: &str,
        queue: usize,
        latency: Duration,
    ) -> (CreateOutcome, Duration) {
        use CreateOutcome::{Answer, AnswerLost, Panic};
        let is_group = call == CreateCall::Group && !self.faults.healed && self.scenario.fault_percent > 0;
        if is_group && self.rng.u32(..6) == 0 {
            // Another process is faster.
            self.resources.groups.entry(group.into()).or_default();
        }
        if self.meets_outage() {
            return (Answer(Err(faults::refused())), latency);
        }
        let without_fault = self.create_without_fault(call, group, stream);
        let endpoint_fault = self.clock_fault().or_else(|| self.endpoint_fault());
        match (endpoint_fault, self.faults.mode_of(queue)) {
            (Some(fault), _) => (Answer(Err(self.faults.errors[fault].clone())), latency),
            (None, FaultMode::Failing(percent, _)) if self.rng.u32(..100) < percent / 2 => {
                let fault = self.any_fault();
                let error = &self.faults.errors[fault];
                // A creation is never answered with "taken already".
                let is_answer = meaning_of(error) != Meaning::Delivered;
                (Answer(if is_answer { Err(error.clone()) } else { without_fault }), latency)
            }
            (None, FaultMode::LosingAnswers(percent)) if self.rng.u32(..100) < percent / 2 => {
                (AnswerLost(pick(&mut self.rng, &faults::answer_lost()).clone()), latency)
            }
            (None, _) if is_group && self.rng.u32(..4) == 0 => {
                (AnswerLost(pick(&mut self.rng, &faults::answer_lost()).clone()), latency)
            }
            (None, FaultMode::Hanging(percent)) if self.rng.u32(..100) < percent / 2 => {
                (Answer(Err(faults::timed_out())), self.scenario.config.request_timeout)
            }
            (None, FaultMode::Panicking(percent)) if self.rng.u32(..100) < percent / 4 => (Panic, latency),
            _ => (Answer(without_fault), latency),
        }
    }

    fn create_without_fault(&self, call: CreateCall, group: &str, stream: &str) -> Result<(), ApiError> {
        let group_exists = self.resources.groups.contains_key(group);
        let stream_exists = self.resources.streams.contains(&(group.into(), stream.into()));
        match call {
            CreateCall::Stream | CreateCall::Retention(_) if !group_exists => Err(faults::not_found()),
            CreateCall::Stream if stream_exists => Err(faults::exists()),
            CreateCall::Group if group_exists => Err(faults::exists()),
            _ => Ok(()),
        }
    }

    /// The service does what the call asks for.
    fn create(&mut self, call: CreateCall, group: &str, stream: &str) {
        let resources = &mut self.resources;
        match call {
            CreateCall::Stream => drop(resources.streams.insert((group.into(), stream.into()))),
            CreateCall::Group => drop(resources.groups.insert(group.into(), None)),
            CreateCall::Retention(days) => drop(resources.groups.insert(group.into(), Some(days))),
        }
    }

    /// The answer to a creation goes out.
    pub fn create_ends(
        &mut self,
        call: CreateCall,
        group: &str,
        stream: &str,
        outcome: CreateOutcome,
    ) -> Result<(), ApiError> {
        self.tick();
        let answer = match outcome {
            // Another call may have done it meanwhile.
            CreateOutcome::Answer(Ok(())) => self.create_without_fault(call, group, stream),
            CreateOutcome::Answer(error) => error,
            CreateOutcome::AnswerLost(error) => {
                if self.create_without_fault(call, group, stream).is_ok() {
                    self.create(call, group, stream);
                }
                Err(error)
            }
            CreateOutcome::Panic => unreachable!("the call has panicked"),
        };
        if answer.is_ok() {
            self.create(call, group, stream);
        }
        match call {
            CreateCall::Stream => self.stream_create_ends(group, &answer),
            CreateCall::Group => self.group_create_ends(group, &answer),
            CreateCall::Retention(_) => {}
        }
        answer
    }

    fn stream_create_ends(&mut self, group: &str, answer: &Result<(), ApiError>) {
        let now = self.tick();
        let task = task::id();
        let Some(id) = self.creations.batches.get(&task).copied() else { return };
        match answer {
            Err(error) if *error != faults::exists() => match meaning_of(error) {
                Meaning::Create
                    if self.scenario.config.create_log_group
                        && !self.creations.created_group.contains(&task) =>
                {
                    self.is_answered(id);
                    if self.creations.groups_out.contains_key(group) {
                        self.creations.batches.remove(&task);
                        return self.attempt_parks(id);
                    }
                    let refused =
                        self.creations.refused_groups.get(group).filter(|(_, until, _)| now.at < *until);
                    if let Some((error, ..)) = refused.cloned() {
                        return self.create_fails(task, &error);
                    }
                    self.creations.groups_out.insert(group.into(), task);
                    self.creations.expected = Some((task, NextCall::Group));
                }
                Meaning::Throttle => {
                    self.creations.paced_until = Some(now.at + PACED);
                    self.counts.endpoint_failures += 1;
                    self.creations.batches.remove(&task);
                    self.attempt_is_throttled(id);
                }
                Meaning::Pause if self.endpoint.was_probe(id) && self.repeats_for_clock(task, error) => {
                    self.creations.expected = Some((task, NextCall::Stream));
                }
                _ => self.create_fails(task, error),
            },
            _ => {
                self.is_answered(id);
                self.record.queues[id.queue].missing = false;
                self.creations.created.insert(task);
                self.creations.expected = Some((task, NextCall::Put));
                if !id.is_unseen() {
                    self.record.batch_mut(id).state = BatchState::SendsAgain { after_clock_error: false };
                }
                self.creations.refused_groups.remove(group);
                // While a creation of the group is out, the engine takes the group for its own.
                let is_out = self.creations.groups_out.contains_key(group);
                if self.creations.unknown_groups.remove(group) || is_out {
                    self.creations.own_groups.insert(group.into());
                }
            }
        }
    }

    /// A probe that fails because of the clock is sent once more.
    fn repeats_for_clock(&mut self, task: task::Id, error: &ApiError) -> bool {
        may_be_clock(error) && self.creations.repeated.insert(task)
    }

    fn group_create_ends(&mut self, group: &str, answer: &Result<(), ApiError>) {
        let now = self.tick();
        let task = task::id();
        self.creations.groups_out.remove(group);
        let Some(id) = self.creations.batches.get(&task).copied() else { return };
        match answer {
            Err(error) if *error != faults::exists() => {
                if faults::may_be_done(error) {
                    self.creations.unknown_groups.insert(group.into());
                }
                let is_retried = matches!(meaning_of(error), Meaning::Refused | Meaning::Unavailable);
                if is_retried && error.failure == Failure::Answered {
                    let refusals = self.creations.refused_groups.get(group).map_or(0, |refused| refused.2);
                    let until = now.at + Duration::from_millis(Meaning::Missing.wait_ms(refusals));
                    let refused = (error.clone(), until, refusals + 1);
                    self.creations.refused_groups.insert(group.into(), refused);
                }
                self.create_fails(task, error);
            }
            answer => {
                self.creations.created_group.insert(task);
                self.creations.refused_groups.remove(group);
                let was_unknown = self.creations.unknown_groups.remove(group);
                if was_unknown || answer.is_ok() {
                    self.creations.own_groups.insert(group.into());
                }
                self.is_answered(id);
                self.creations.expected = Some((task, NextCall::Stream));
            }
        }
    }

    fn create_fails(&mut self, task: task::Id, error: &ApiError) {
        if let Some(id) = self.creations.batches.remove(&task) {
            self.attempt_fails(id, meaning_of_failed_create(error), error);
        }
    }

    /// A creation was cancelled or cut off. The service may have done it.
    pub fn create_is_lost(&mut self, task: task::Id) {
        self.creations.batches.remove(&task);
        let groups = self.creations.groups_out.iter();
        let lost: Vec<_> = groups.filter(|(_, by)| **by == task).map(|(group, _)| group.clone()).collect();
        for group in lost {
            self.creations.groups_out.remove(&group);
            self.creations.unknown_groups.insert(group);
        }
    }
}

/// The meaning of a failed creation for the batch. An error that a creation meets says nothing about the events, and
/// creations have a quota of their own.
fn meaning_of_failed_create(error: &ApiError) -> Meaning {
    match meaning_of(error) {
        Meaning::Create => Meaning::Missing,
        Meaning::RefusedContent | Meaning::TooLarge | Meaning::UnknownRefusal => Meaning::Refused,
        Meaning::Throttle => Meaning::Unavailable,
        meaning => meaning,
    }
}
