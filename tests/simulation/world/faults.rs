//! The faults of the moment: those of each target, lost credentials, and outages of the endpoint.

use std::time::Duration;

use cwl_sink::service::ApiError;
use tokio::time::Instant;

use super::World;
use crate::faults::{self, Meaning, meaning_of};
use crate::scenario::{Scenario, pick};

/// Requests that an outage may see at once, besides those of each target and each worker.
const OUTAGE_REQUESTS_MIN: usize = 60;

/// The faults of one target. Each number is the part of its requests in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMode {
    Fine,
    /// Requests fail with the fault of this index. `None`: with any fault.
    Failing(u32, Option<usize>),
    /// The events are taken, and the answer is lost.
    LosingAnswers(u32),
    /// Requests get no answer.
    Hanging(u32),
    /// Answers take long.
    Slow,
    /// Some events of a request are refused.
    Rejecting(u32),
    /// Requests panic.
    Panicking(u32),
}

/// See the module.
pub struct Faults {
    /// All faults to choose from.
    pub errors: Vec<ApiError>,
    /// For each of them: a request met it.
    pub met: Vec<bool>,
    /// The faults of each target.
    pub modes: Vec<FaultMode>,
    /// For each target: the index of the fault of every request that holds a poisonous event. `None`: the target has
    /// no such events.
    pub poison: Vec<Option<usize>>,
    pub credentials_gone: Option<CredentialsGone>,
    /// Credentials are good again only after a renewal.
    pub renewal_needed: bool,
    outage: Option<Outage>,
    /// All faults have ended.
    pub healed: bool,
}

/// A time without credentials.
#[derive(Clone, Copy, Debug)]
pub struct CredentialsGone {
    pub until: Instant,
    /// The index of the fault that every request meets.
    pub fault: usize,
}

/// A time in which no request gets an answer.
#[derive(Clone, Copy, Debug)]
struct Outage {
    begun_at: Instant,
    until: Instant,
    requests: usize,
}

impl Faults {
    /// The faults at the start of a run: one target meets the first fault of the scenario.
    pub fn new(scenario: &Scenario, rng: &mut fastrand::Rng) -> Self {
        let errors = faults::all();
        let mut modes = vec![FaultMode::Fine; scenario.targets];
        if scenario.fault_percent > 0 {
            let target = rng.usize(scenario.healthy..scenario.targets);
            let percent = if scenario.stubborn { 100 } else { 50 };
            modes[target] = FaultMode::Failing(percent, Some(scenario.first_fault));
        }
        let poison = (0..scenario.targets).map(|target| {
            let is_poisoned = scenario.poison_percent > 0 && target >= scenario.healthy && rng.bool();
            is_poisoned.then(|| random_poison(&errors, rng))
        });
        Faults {
            poison: poison.collect(),
            met: vec![false; errors.len()],
            errors,
            modes,
            credentials_gone: None,
            renewal_needed: false,
            outage: None,
            healed: false,
        }
    }

    /// The error of this index, which a request meets now.
    pub fn meet(&mut self, fault: usize) -> ApiError {
        self.met[fault] = true;
        self.errors[fault].clone()
    }

    /// The fault of a queue's poisonous events, if it has such events.
    pub fn poison_of(&self, queue: usize) -> Option<usize> {
        self.poison[queue / 2]
    }

    /// The faults of a queue's target now.
    pub fn mode_of(&self, queue: usize) -> FaultMode {
        if self.healed { FaultMode::Fine } else { self.modes[queue / 2] }
    }
}

/// The index of a random fault of a request that holds a poisonous event.
fn random_poison(errors: &[ApiError], rng: &mut fastrand::Rng) -> usize {
    loop {
        let index = rng.usize(..errors.len());
        if matches!(meaning_of(&errors[index]), Meaning::RefusedContent | Meaning::UnknownRefusal) {
            return index;
        }
    }
}

impl World {
    /// Ends every fault. Poisonous events stay, and so does the largest size of a request.
    pub fn heal(&mut self) {
        let faults = &mut self.faults;
        faults.healed = true;
        faults.modes.fill(FaultMode::Fine);
        (faults.credentials_gone, faults.outage, faults.renewal_needed) = (None, None, false);
        for queue in &self.record.queues {
            self.resources.groups.entry(queue.group.clone()).or_default();
            self.resources.streams.insert((queue.group.clone(), queue.stream.clone()));
        }
    }

    /// The index of a random fault. Only runs with faults of the endpoint have faults that pause all targets.
    pub fn any_fault(&mut self) -> usize {
        loop {
            let index = self.rng.usize(..self.faults.errors.len());
            if self.scenario.endpoint_faults || meaning_of(&self.faults.errors[index]) != Meaning::Pause {
                return index;
            }
        }
    }

    /// Changes the faults of one target.
    pub fn change_fault_mode(&mut self) {
        let target = self.rng.usize(self.scenario.healthy..self.scenario.targets);
        if self.scenario.stubborn && matches!(self.faults.modes[target], FaultMode::Failing(100, _)) {
            return;
        }
        let percent = *pick(&mut self.rng, &[10, 50, 100]);
        self.faults.modes[target] = match self.rng.u32(..12) {
            0..3 => FaultMode::Fine,
            3 => FaultMode::Failing(percent, None),
            4 | 5 => FaultMode::Failing(percent, Some(self.any_fault())),
            6 | 7 => FaultMode::LosingAnswers(percent),
            8 => FaultMode::Hanging(percent),
            9 => FaultMode::Slow,
            10 if self.scenario.panics => FaultMode::Panicking(percent),
            _ => FaultMode::Rejecting(percent),
        };
    }

    /// Takes the credentials away for a random time up to `max`.
    pub fn lose_credentials(&mut self, max: Duration) {
        let fault = loop {
            let index = self.rng.usize(..self.faults.errors.len());
            if meaning_of(&self.faults.errors[index]) == Meaning::Pause {
                break index;
            }
        };
        let until = self.tick().at + max.mul_f64(self.rng.f64());
        self.faults.credentials_gone = Some(CredentialsGone { until, fault });
        self.faults.renewal_needed = self.rng.bool();
    }

    /// Takes the endpoint down for a random time up to `max`.
    pub fn begin_outage(&mut self, max: Duration) {
        let begun_at = self.tick().at;
        let until = begun_at + max.mul_f64(self.rng.f64());
        self.faults.outage = Some(Outage { begun_at, until, requests: 0 });
    }

    /// A request comes in. Returns true if the endpoint is down. The engine must not send many requests then: each
    /// target may find out twice that it is not answered, and then there are probes after the shortest waits.
    pub fn meets_outage(&mut self) -> bool {
        let now = self.tick();
        let Some(outage) = self.faults.outage.as_mut().filter(|outage| now.at < outage.until) else {
            return false;
        };
        outage.requests += 1;
        let requests = outage.requests;
        let lasted = now.at - outage.begun_at;
        let mut waited = Duration::ZERO;
        let is_over = |failures: &u32| {
            waited += Duration::from_millis(Meaning::Pause.wait_ms(*failures)) / 2;
            waited > lasted
        };
        let probes = (0..u32::MAX).find(is_over).unwrap_or(0) as usize;
        // Two targets do not show that the endpoint is down, and each tries again after its own back-off.
        let own_retries = 2 * (lasted.as_secs() / 4) as usize;
        let of_all = 4 * self.scenario.targets + self.scenario.config.concurrency + OUTAGE_REQUESTS_MIN;
        let max = of_all + probes + own_retries;
        if requests > max && !now.closing {
            self.report_broken(format!("{requests} requests in an outage of {lasted:?}, {max} at most"));
        }
        true
    }

    /// The index of the fault that every request meets now, if there is one.
    pub fn endpoint_fault(&mut self) -> Option<usize> {
        let CredentialsGone { until, fault } = self.faults.credentials_gone?;
        if self.tick().at < until || self.faults.renewal_needed {
            return Some(fault);
        }
        self.faults.credentials_gone = None;
        None
    }
}
