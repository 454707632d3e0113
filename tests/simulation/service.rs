//! The service: answers the engine's calls as the world's faults have it, and creates what is created.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cwl_sink::service::{Answer, ApiError, LogsApi, NewGroup, PutLogEvents, RejectedEvents};
use tokio::time::sleep;

use crate::faults::{self, Means, meaning};
use crate::models::{End, Key, Pause};
use crate::put::{Action, Put};
use crate::world::{Mood, World};

/// What a simulated panic carries, so that it is not printed.
pub struct SimulatedPanic;

/// See the module. A clone is the same service.
#[derive(Clone)]
pub struct Service(pub Arc<Mutex<World>>);

/// A call under way: dropped before its end, its attempt was cut off.
struct Flight {
    service: Service,
    call: u64,
    what: Option<What>,
}

#[derive(Clone, Copy)]
enum What {
    Put(usize, Key),
    Create(usize, Key),
    Renewal,
}

impl Service {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flight(&self, call: u64, what: What) -> Flight {
        Flight { service: self.clone(), call, what: Some(what) }
    }

    /// The run has failed. What the engine hears now takes its time, so that it cannot go on for ever at one instant.
    async fn cannot_be_answered<T>() -> Result<T, ApiError> {
        sleep(Duration::from_millis(1)).await;
        Err(faults::not_found())
    }

    async fn create(&self, call: Creating, group: &str, stream: &str) -> Result<(), ApiError> {
        let Some((number, line, key, answer, delay)) = self.world().create_begins(call, group, stream) else {
            return Self::cannot_be_answered().await;
        };
        let mut flight = self.flight(number, What::Create(line, key));
        sleep(delay).await;
        let Some(answer) = answer else { std::panic::panic_any(SimulatedPanic) };
        flight.what = None;
        self.world().create_ends(call, group, stream, answer)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut world = self.service.world();
        let now = world.tick();
        world.calls.remove(&self.call);
        let Some(what) = self.what else { return };
        match what {
            // The engine itself ended it, for others that wait for its place in the slow lane.
            What::Put(line, key) | What::Create(line, key) if !world.stopped && !std::thread::panicking() => {
                world.note("cancelled", &[line as u64, key]);
                world.cancelled += 1;
                world.creating.retain(|_, creator| *creator != (line, key));
                world.put_fails(line, key, Means::Long, &faults::timed_out());
            }
            What::Put(line, key) | What::Create(line, key) => {
                world.note("cut", &[line as u64, key]);
                world.creating.retain(|_, creator| *creator != (line, key));
                if let Some(batch) = world.books.lines[line].batches.get_mut(&key) {
                    batch.panicked = true;
                }
                world.attempt_ended(line, key, End::Broken, Pause::No);
            }
            What::Renewal => {
                world.renewals_panicked += 1;
                world.renewal_lost(true);
                world.gate.broke(now, self.call);
            }
        }
    }
}

/// Which creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creating {
    Stream,
    Group,
    Retention(u32),
}

impl LogsApi for Service {
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
        Box::pin(async move {
            let Some(Put { call, line, key, action, delay }) = self.world().put_begins(&request) else {
                return Self::cannot_be_answered().await;
            };
            let mut flight = self.flight(call, What::Put(line, key));
            sleep(delay).await;
            if matches!(action, Action::Panic) {
                std::panic::panic_any(SimulatedPanic);
            }
            flight.what = None;
            self.world().put_ends(line, key, action)
        })
    }

    fn create_log_group<'a>(&'a self, group: NewGroup<'a>) -> Answer<'a, ()> {
        Box::pin(self.create(Creating::Group, group.name, ""))
    }

    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(self.create(Creating::Stream, group, stream))
    }

    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()> {
        Box::pin(self.create(Creating::Retention(days), group, ""))
    }

    fn renew_credentials(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let (call, delay, panics) = self.world().renewal_begins();
            let mut flight = self.flight(call, What::Renewal);
            sleep(delay).await;
            if panics {
                std::panic::panic_any(SimulatedPanic);
            }
            flight.what = None;
            self.world().renewal_ends(call)
        })
    }
}

/// A creation's answer to come (none: a panic), for which batch, and when.
type Creation = (u64, usize, Key, Option<Result<(), ApiError>>, Duration);

impl World {
    fn renewal_begins(&mut self) -> (u64, Duration, bool) {
        let now = self.tick();
        self.renewals += 1;
        let call = self.call_begins(None, None, 0);
        let kept = self.gate.renews(now, call, self.scenario.config.slow_after);
        self.check(kept);
        self.note("renew", &[]);
        let panics = !self.healed && self.scenario.panics && self.rng.u32(..20) == 0;
        let most = if self.healed { 5 } else { *crate::scenario::pick(&mut self.rng, &[0, 5, 2000]) };
        (call, Duration::from_millis(self.rng.u64(0..=most)), panics)
    }

    fn renewal_ends(&mut self, call: u64) -> Result<(), ApiError> {
        let now = self.tick();
        let gone = self.credentials_gone.filter(|(until, _)| now.at < *until);
        let failed = gone.is_some_and(|(_, fault)| self.faults[fault] == faults::not_sent());
        if gone.is_none() {
            self.renewal_needed = false;
        }
        self.paused += u32::from(failed);
        self.gate.renewed(!failed, now, call, self.scenario.config.slow_after);
        if failed {
            self.renewal_lost(false);
        }
        if failed { Err(faults::not_sent()) } else { Ok(()) }
    }

    fn create_begins(&mut self, call: Creating, group: &str, stream: &str) -> Option<Creation> {
        self.tick();
        self.note("create", &[call == Creating::Stream].map(u64::from));
        self.check_memory();
        let Some(&(line, key)) = self.creating.get(group) else {
            self.breaks(format!("{call:?} of {group}/{stream} was asked for, but nothing was missing there"));
            return None;
        };
        let steady = self.books.lines[line].batches[&key].steady;
        let call_number = self.call_begins(Some(line), steady, 0);
        let mood = if self.healed { Mood::Fine } else { self.moods[line / 2] };
        let latency = self.rng.u64(0..=if self.healed { 5 } else { self.scenario.latency_max_ms });
        let mut delay = Duration::from_millis(latency);
        let real = match call {
            Creating::Stream if !self.groups.contains_key(group) => Err(faults::not_found()),
            Creating::Stream if self.streams.contains(&(group.into(), stream.into())) => {
                Err(faults::exists())
            }
            Creating::Group if self.groups.contains_key(group) => Err(faults::exists()),
            Creating::Retention(_) if !self.groups.contains_key(group) => Err(faults::not_found()),
            _ => Ok(()),
        };
        let answer = match (self.endpoint_fault(), mood) {
            (Some(fault), _) => Some(Err(self.faults[fault].clone())),
            (None, Mood::Faulty(percent, _)) if self.rng.u32(..100) < percent / 2 => {
                let fault = self.any_fault();
                let error = &self.faults[fault];
                // No creation is ever answered so.
                Some(if meaning(error) == Means::Delivered { real } else { Err(error.clone()) })
            }
            (None, Mood::Hanging(percent)) if self.rng.u32(..100) < percent / 2 => {
                delay = self.scenario.config.request_timeout;
                Some(Err(faults::timed_out()))
            }
            (None, Mood::Panicking(percent)) if self.rng.u32(..100) < percent / 4 => None,
            _ => Some(real),
        };
        Some((call_number, line, key, answer, delay))
    }

    fn create_ends(
        &mut self,
        call: Creating,
        group: &str,
        stream: &str,
        answer: Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let now = self.tick();
        let Some(&(line, key)) = self.creating.get(group) else { return answer };
        if answer.is_ok() {
            match call {
                Creating::Stream => drop(self.streams.insert((group.into(), stream.into()))),
                Creating::Group => drop(self.groups.insert(group.into(), None)),
                Creating::Retention(days) => drop(self.groups.insert(group.into(), Some(days))),
            }
        }
        let exists = answer.as_ref().is_err_and(|error| *error == faults::exists());
        let batch = self.books.lines[line].batches.get_mut(&key);
        let Some(batch) = batch else { return answer };
        match (call, &answer) {
            (Creating::Retention(_), _) => {}
            (Creating::Group, Ok(())) => batch.group_created = true,
            (Creating::Group, Err(_)) if exists => batch.group_created = true,
            (Creating::Stream, Ok(())) => self.created(group, line, key, now.at),
            (Creating::Stream, Err(_)) if exists => self.created(group, line, key, now.at),
            // The group is missing too, and is created next.
            (Creating::Stream, Err(error))
                if error.is("ResourceNotFoundException")
                    && self.scenario.config.create_log_group
                    && !batch.group_created => {}
            (_, Err(error)) => {
                self.creating.remove(group);
                let means = match meaning(error) {
                    // What is wrong with a create is not wrong with the events.
                    Means::Create | Means::Never => Means::Short,
                    // Nor is their quota that of the events.
                    Means::Throttle => Means::Long,
                    means => means,
                };
                let error = error.clone();
                self.put_fails(line, key, means, &error);
            }
        }
        answer
    }

    fn created(&mut self, group: &str, line: usize, key: Key, at: tokio::time::Instant) {
        self.creating.remove(group);
        let line = &mut self.books.lines[line];
        line.created_at = Some(at);
        if let Some(batch) = line.batches.get_mut(&key) {
            batch.continues = true;
        }
    }
}
