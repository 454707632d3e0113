//! The creation of groups and streams.

use std::time::Duration;

use cwl_sink::service::ApiError;
use tokio::time::Instant;

use crate::faults::{self, Meaning, meaning_of};
use crate::models::BatchId;
use crate::record::BatchState;
use crate::world::{FaultMode, World};

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
    /// The batch whose attempt creates.
    pub batch: BatchId,
    /// `None`: the call panics.
    pub answer: Option<Result<(), ApiError>>,
    pub delay: Duration,
}

impl World {
    /// A creation begins. `None` if nothing was missing.
    pub fn create_begins(&mut self, call: CreateCall, group: &str, stream: &str) -> Option<PendingCreate> {
        self.tick();
        self.note("create", &[call == CreateCall::Stream].map(u64::from));
        self.check_memory();
        let Some(creator) = self.resources.creators.get(group) else {
            self.report_broken(format!(
                "{call:?} of {group}/{stream} was asked for, but nothing was missing there"
            ));
            return None;
        };
        let batch = creator.batch;
        let now = self.tick().at;
        self.record.batch_mut(batch).last_call_at = now;
        let steadiness = self.record.batch(batch).steadiness;
        let number = self.call_begins(Some(batch.queue), steadiness, 0);
        let latency = self.latency();
        let (answer, delay) = self.decide_create(call, group, stream, batch, latency);
        Some(PendingCreate { number, batch, answer, delay })
    }

    fn decide_create(
        &mut self,
        call: CreateCall,
        group: &str,
        stream: &str,
        batch: BatchId,
        latency: Duration,
    ) -> (Option<Result<(), ApiError>>, Duration) {
        let without_fault = self.create_without_fault(call, group, stream);
        match (self.endpoint_fault(), self.faults.mode_of(batch.queue)) {
            (Some(fault), _) => (Some(Err(self.faults.errors[fault].clone())), latency),
            (None, FaultMode::Failing(percent, _)) if self.rng.u32(..100) < percent / 2 => {
                let fault = self.any_fault();
                let error = &self.faults.errors[fault];
                // A creation is never answered with "taken already".
                let is_answer = meaning_of(error) != Meaning::Delivered;
                (Some(if is_answer { Err(error.clone()) } else { without_fault }), latency)
            }
            (None, FaultMode::Hanging(percent)) if self.rng.u32(..100) < percent / 2 => {
                (Some(Err(faults::timed_out())), self.scenario.config.request_timeout)
            }
            (None, FaultMode::Panicking(percent)) if self.rng.u32(..100) < percent / 4 => (None, latency),
            _ => (Some(without_fault), latency),
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

    /// The answer to a creation goes out.
    pub fn create_ends(
        &mut self,
        call: CreateCall,
        group: &str,
        stream: &str,
        answer: Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let now = self.tick();
        let meaning = answer.as_ref().err().map_or(99, |error| meaning_of(error) as u64);
        self.note("create answer", &[meaning]);
        let resources = &mut self.resources;
        let Some(creator) = resources.creators.get_mut(group) else { return answer };
        if answer.is_ok() {
            match call {
                CreateCall::Stream => drop(resources.streams.insert((group.into(), stream.into()))),
                CreateCall::Group => drop(resources.groups.insert(group.into(), None)),
                CreateCall::Retention(days) => drop(resources.groups.insert(group.into(), Some(days))),
            }
        }
        let exists_now = answer.as_ref().err().is_none_or(|error| *error == faults::exists());
        match (call, &answer) {
            (CreateCall::Retention(_), _) => {}
            (CreateCall::Group, _) if exists_now => creator.group_created = true,
            (CreateCall::Stream, _) if exists_now => {
                let batch = creator.batch;
                resources.creators.remove(group);
                self.target_is_created(batch, now.at);
            }
            // The group is missing too, and is created next.
            (CreateCall::Stream, Err(error))
                if error.is("ResourceNotFoundException")
                    && self.scenario.config.create_log_group
                    && !creator.group_created => {}
            (_, Err(error)) => {
                let batch = creator.batch;
                resources.creators.remove(group);
                self.attempt_fails(batch, meaning_of_failed_create(error), error);
            }
            (_, Ok(())) => {}
        }
        answer
    }

    fn target_is_created(&mut self, batch: BatchId, now: Instant) {
        self.record.queues[batch.queue].created_at = Some(now);
        self.record.batch_mut(batch).state = BatchState::SendsAgain { after_clock_error: false };
    }
}

/// The meaning of a failed creation for the batch. An error that a creation meets says nothing about the events, and
/// creations have a quota of their own.
fn meaning_of_failed_create(error: &ApiError) -> Meaning {
    match meaning_of(error) {
        Meaning::Create | Meaning::RefusedContent | Meaning::TooLarge | Meaning::UnknownRefusal => {
            Meaning::Refused
        }
        Meaning::Throttle => Meaning::Unavailable,
        meaning => meaning,
    }
}
