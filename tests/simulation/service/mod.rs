//! The simulated service: it answers the calls of the engine as the faults of the moment have it.

mod answer;
mod attempt;
mod clock;
mod create;
mod credentials;
mod put;
mod refusal;
mod unseen;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cwl_sink::service::{Answer, ApiError, LogsApi, NewGroup, PutLogEvents, RejectedEvents};
use tokio::task;
use tokio::time::sleep;

use crate::faults;
use crate::models::{AttemptEnd, BatchId, EndpointSign};
use crate::record::FinalState;
use crate::world::World;

use answer::PutAnswer;
use create::{CreateCall, CreateOutcome, PendingCreate};
use credentials::PendingRenewal;
use put::PendingPut;

/// The payload of a simulated panic, by which the panic hook knows not to print it.
pub struct SimulatedPanic;

/// See the module. A clone is the same service.
#[derive(Clone)]
pub struct SimulatedService(pub Arc<Mutex<World>>);

/// A call under way. When it is dropped before it finished, its attempt was cut off.
struct CallGuard {
    service: SimulatedService,
    number: u64,
    /// `None` once the call has finished.
    kind: Option<CallKind>,
}

#[derive(Clone, Copy)]
enum CallKind {
    Put(BatchId),
    Create(BatchId, task::Id),
    Retention,
    Renewal,
}

impl SimulatedService {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self, number: u64, kind: CallKind) -> CallGuard {
        CallGuard { service: self.clone(), number, kind: Some(kind) }
    }

    /// Answers a call of a run that has failed already. The answer takes some time, so that the engine cannot go on
    /// for ever at one instant.
    async fn answer_after_failure<T>() -> Result<T, ApiError> {
        sleep(Duration::from_millis(1)).await;
        Err(faults::not_found())
    }

    async fn create(&self, call: CreateCall, group: &str, stream: &str) -> Result<(), ApiError> {
        let pending = self.world().create_begins(call, group, stream);
        let Some(PendingCreate { number, batch, signature, outcome, delay }) = pending else {
            return Self::answer_after_failure().await;
        };
        let kind = batch.map_or(CallKind::Retention, |batch| CallKind::Create(batch, task::id()));
        let guard = self.guard(number, kind);
        sleep(delay).await;
        if matches!(outcome, CreateOutcome::Panic) {
            std::panic::panic_any(SimulatedPanic);
        }
        guard.finish();
        let mut world = self.world();
        let answer = world.create_ends(call, group, stream, outcome);
        world.show_date(signature, &answer);
        answer
    }
}

impl CallGuard {
    fn finish(mut self) {
        self.kind = None;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let mut world = self.service.world();
        let now = world.tick();
        world.calls.end(self.number);
        let Some(kind) = self.kind else { return };
        if let CallKind::Create(_, task) = kind {
            world.create_is_lost(task);
        }
        match kind {
            // The engine cut the request short, to make room for others.
            CallKind::Put(batch) | CallKind::Create(batch, _)
                if !world.shutdown.is_stopped && !std::thread::panicking() =>
            {
                world.note("cut short", &batch.numbers());
                world.attempt_is_cut_short(batch);
            }
            CallKind::Put(batch) | CallKind::Create(batch, _) if !world.shutdown.is_stopped => {
                world.note("panic", &batch.numbers());
                world.attempt_panics(batch);
            }
            CallKind::Put(batch) | CallKind::Create(batch, _) => {
                world.note("cut", &batch.numbers());
                world.attempt_ends(batch, AttemptEnd::Final(FinalState::CutOff), EndpointSign::CutOff);
            }
            CallKind::Retention => {}
            // A shutdown starts over.
            CallKind::Renewal if !world.shutdown.is_stopped && !std::thread::panicking() => {
                world.note("renewal cut short", &[]);
                world.endpoint.renewal_is_cut_short(now, self.number);
            }
            CallKind::Renewal => {
                world.counts.renewals_panicked += 1;
                world.batch_is_lost_in_renewal(true);
                world.queue_fails_unseen();
                world.endpoint.renewal_panics(now, self.number);
            }
        }
    }
}

impl LogsApi for SimulatedService {
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
        Box::pin(async move {
            let Some(PendingPut { number, batch, signature, answer, delay }) =
                self.world().put_begins(&request)
            else {
                return Self::answer_after_failure().await;
            };
            let guard = self.guard(number, CallKind::Put(batch));
            sleep(delay).await;
            if matches!(answer, PutAnswer::Panic) {
                std::panic::panic_any(SimulatedPanic);
            }
            guard.finish();
            let mut world = self.world();
            let answer = world.put_ends(batch, answer);
            world.show_date(signature, &answer);
            answer
        })
    }

    fn create_log_group<'a>(&'a self, group: NewGroup<'a>) -> Answer<'a, ()> {
        Box::pin(self.create(CreateCall::Group, group.name, ""))
    }

    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(self.create(CreateCall::Stream, group, stream))
    }

    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()> {
        Box::pin(self.create(CreateCall::Retention(days), group, ""))
    }

    fn renew_credentials(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let PendingRenewal { number, delay, panics } = self.world().renewal_begins();
            let guard = self.guard(number, CallKind::Renewal);
            sleep(delay).await;
            if panics {
                std::panic::panic_any(SimulatedPanic);
            }
            guard.finish();
            self.world().renewal_ends(number)
        })
    }
}
