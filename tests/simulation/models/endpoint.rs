//! The model of the endpoint: all targets pause together, and one probe at a time finds out when that is over.
//!
//! The service sees for certain only a pause whose cause are credentials: the engine looks for them again before each probe.
//! A pause after failures of several targets looks like a pause in the traffic.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{BatchId, Moment};
use crate::faults::Meaning;

/// Queues that fail one after the other, without an answer in between, before the endpoint may be at fault.
const AT_FAULT_MIN: usize = 3;

/// The conclusion about the endpoint from the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointSign {
    /// The endpoint answered.
    Answered,
    /// The attempt panicked or was cut off.
    CutOff,
    /// The attempt was cut short to make room for others.
    CutShort,
    /// The failure meets all targets.
    Failed,
    /// There was no connection, no answer, or an answer such as 503. That is the fault of the target.
    Unavailable,
    /// The same, and it may be the fault of the endpoint.
    PerhapsAtFault,
}

/// See the module.
#[derive(Debug)]
pub struct EndpointModel {
    slow_after: Duration,
    state: State,
    /// Failures since the endpoint was last up, each with a wait.
    failures: u32,
    /// The queues that failed since the last answer, to whatever target.
    suspects: BTreeSet<usize>,
    /// The time at which the last pause ended.
    came_up_at: Option<Instant>,
    /// All probes that are out, also those of an earlier pause.
    probes: Vec<Probe>,
}

#[derive(Debug)]
enum State {
    Up,
    /// The endpoint may be paused, because of credentials or not. Holds the time of the last failure.
    Unclear(Instant),
    Paused(PausedEndpoint),
}

#[derive(Debug)]
struct PausedEndpoint {
    /// The time of the last failure.
    failed_at: Instant,
    /// The time from which the next probe waits.
    paused_at: Instant,
    min_wait: Duration,
    /// The probe that counts. When it takes long, other probes may follow it.
    last: Option<LastProbe>,
}

#[derive(Clone, Copy, Debug)]
struct LastProbe {
    renewal: u64,
    begun_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The number of the call that renews credentials for the probe.
    renewal: u64,
    stage: ProbeStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeStage {
    /// Credentials are being renewed.
    Renewing,
    /// Credentials were renewed at this time. The request follows at once.
    Renewed(Instant),
    /// The request with this batch is out.
    Sent(BatchId),
}

impl EndpointModel {
    /// An endpoint that is up.
    pub fn new(slow_after: Duration) -> Self {
        EndpointModel {
            slow_after,
            state: State::Up,
            failures: 0,
            suspects: BTreeSet::new(),
            came_up_at: None,
            probes: Vec::new(),
        }
    }

    /// Returns true if all targets may have to wait.
    pub fn may_be_paused(&self) -> bool {
        !matches!(self.state, State::Up)
    }

    /// Returns true if the request with the batch went out as a probe, whatever the state of the endpoint is by now.
    pub fn was_probe(&self, batch: BatchId) -> bool {
        self.probe_index(batch).is_some()
    }

    /// Returns true if the endpoint may be at fault when this queue is not served now. `is_other_served`: the last request of
    /// another queue was served.
    pub fn may_be_at_fault(&self, queue: usize, is_other_served: bool) -> bool {
        let others = self.suspects.iter().filter(|other| **other != queue).count();
        self.may_be_paused() || others + 1 >= AT_FAULT_MIN || !is_other_served
    }

    fn probe_index(&self, batch: BatchId) -> Option<usize> {
        self.probes.iter().position(|probe| probe.stage == ProbeStage::Sent(batch))
    }

    fn renewal_index(&self, renewal: u64) -> Option<usize> {
        self.probes.iter().position(|probe| probe.renewal == renewal)
    }

    /// The engine renews credentials, which only a probe does.
    pub fn renewal_begins(&mut self, now: Moment, renewal: u64) -> Result<(), String> {
        self.probes.push(Probe { renewal, stage: ProbeStage::Renewing });
        let paused = match &mut self.state {
            State::Paused(paused) => paused,
            State::Unclear(_) => return Ok(()),
            // The probe may have been let through just before the pause ended.
            State::Up if self.came_up_at == Some(now.at) => return Ok(()),
            State::Up => return Err("a probe went out while the endpoint was up".into()),
        };
        match paused.last {
            Some(LastProbe { renewal: other, begun_at }) if now.at - begun_at < self.slow_after => {
                return Err(format!("a second probe of the endpoint went out beside {other}"));
            }
            None if now.at - paused.paused_at < paused.min_wait && !now.closing => {
                return Err(format!(
                    "the endpoint was probed {:?} after a failure",
                    now.at - paused.paused_at
                ));
            }
            _ => {}
        }
        paused.last = Some(LastProbe { renewal, begun_at: now.at });
        Ok(())
    }

    /// Credentials were renewed.
    pub fn renewal_succeeds(&mut self, now: Moment, renewal: u64) {
        if let Some(index) = self.renewal_index(renewal) {
            self.probes[index].stage = ProbeStage::Renewed(now.at);
        }
    }

    /// Credentials could not be renewed.
    pub fn renewal_fails(&mut self, now: Moment, renewal: u64) {
        if let Some(index) = self.renewal_index(renewal) {
            self.probe_fails(index, now);
        }
    }

    /// The renewal of credentials panicked. The next probe may go at once.
    pub fn renewal_panics(&mut self, now: Moment, renewal: u64) {
        if let Some(index) = self.renewal_index(renewal) {
            self.probe_is_lost(index, now);
        }
    }

    /// The renewal of credentials was cut short, by a shutdown that starts over. The next probe may go at once.
    pub fn renewal_is_cut_short(&mut self, now: Moment, renewal: u64) {
        self.renewal_panics(now, renewal);
    }

    fn probe_is_lost(&mut self, index: usize, now: Moment) {
        let lost = self.probes.remove(index).renewal;
        if let State::Paused(paused) = &mut self.state
            && paused.last.is_some_and(|last| last.renewal == lost)
        {
            (paused.paused_at, paused.min_wait, paused.last) = (now.at, Duration::ZERO, None);
        }
    }

    fn probe_fails(&mut self, index: usize, now: Moment) {
        let failed = self.probes.remove(index).renewal;
        match &self.state {
            State::Up => self.pause(now.at),
            State::Unclear(_) => self.state = State::Unclear(now.at),
            // After a probe that hangs, the next one may have been let through just before.
            State::Paused(PausedEndpoint { last: Some(last), .. }) if last.renewal == failed => {
                match now.at - last.begun_at >= self.slow_after {
                    true => self.state = State::Unclear(now.at),
                    false => self.pause(now.at),
                }
            }
            State::Paused(_) => {}
        }
    }

    /// A request goes out.
    pub fn request_begins(&mut self, batch: BatchId, now: Moment) -> Result<(), String> {
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.stage == ProbeStage::Renewed(now.at)) {
            probe.stage = ProbeStage::Sent(batch);
            return Ok(());
        }
        match &self.state {
            // The request was let through before the pause.
            State::Paused(paused) if paused.paused_at == now.at => Ok(()),
            State::Paused(_) => {
                Err(format!("batch {} went out while the endpoint is paused ({:?})", batch.key, self.probes))
            }
            State::Up | State::Unclear(_) => Ok(()),
        }
    }

    /// An attempt ended, whose last request with its batch was sent at `sent_at`.
    pub fn attempt_ends(&mut self, batch: BatchId, sign: EndpointSign, sent_at: Instant, now: Moment) {
        let probe = self.probe_index(batch);
        match sign {
            EndpointSign::CutOff => {
                if let Some(index) = probe {
                    self.probe_is_lost(index, now);
                }
            }
            EndpointSign::CutShort | EndpointSign::Unavailable if !self.may_be_paused() => {
                self.suspects.extend((sign == EndpointSign::Unavailable).then_some(batch.queue));
                probe.map(|index| self.probes.remove(index));
            }
            EndpointSign::CutShort if probe.is_none() => {}
            EndpointSign::CutShort => self.ends_unclearly(probe, now),
            EndpointSign::Answered => self.is_answered(probe, sent_at, now),
            EndpointSign::Failed => match (probe, &self.state) {
                (Some(index), _) => self.probe_fails(index, now),
                (None, State::Up) => self.pause(now.at),
                (None, State::Unclear(_)) => self.state = State::Unclear(now.at),
                (None, State::Paused(_)) => {}
            },
            EndpointSign::Unavailable | EndpointSign::PerhapsAtFault => {
                self.suspects.insert(batch.queue);
                match &self.state {
                    // Such a failure of another request does not end the pause.
                    State::Paused(_) if probe.is_none() => {}
                    _ => self.ends_unclearly(probe, now),
                }
            }
        }
    }

    fn ends_unclearly(&mut self, probe: Option<usize>, now: Moment) {
        if let Some(index) = probe {
            self.probes.remove(index);
        }
        self.state = State::Unclear(now.at);
    }

    fn is_answered(&mut self, probe: Option<usize>, sent_at: Instant, now: Moment) {
        self.suspects.clear();
        let is_probe = probe.map(|index| self.probes.remove(index)).is_some();
        let comes_up = match &self.state {
            State::Up => false,
            // A request that went out before a failure because of credentials does not show that they are good now.
            State::Unclear(failed_at) => sent_at > *failed_at,
            State::Paused(paused) if is_probe && sent_at >= paused.failed_at => true,
            State::Paused(paused) => {
                if sent_at >= paused.failed_at {
                    self.state = State::Unclear(now.at);
                }
                false
            }
        };
        if comes_up {
            (self.state, self.failures, self.came_up_at) = (State::Up, 0, Some(now.at));
        }
    }

    fn pause(&mut self, paused_at: Instant) {
        let min_wait = Duration::from_millis(Meaning::Pause.wait_ms(self.failures)) / 2;
        self.failures += 1;
        self.state = State::Paused(PausedEndpoint { failed_at: paused_at, paused_at, min_wait, last: None });
    }
}
