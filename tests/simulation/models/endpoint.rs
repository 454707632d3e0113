//! The model of the endpoint: all targets pause together, and one probe at a time finds out when that is over.

use std::time::Duration;

use tokio::time::Instant;

use super::{BatchId, Moment};
use crate::faults::Meaning;

/// Probes that may follow each other at once, in a run with few targets.
const QUICK_PROBES_MIN: u32 = 5;
/// The same as a part of the queues.
const QUICK_PROBES_PART: u32 = 3;

/// The conclusion about the endpoint from the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointSign {
    /// The endpoint answered, or the end says nothing about it.
    Answered,
    /// The attempt panicked or was cut off.
    CutOff,
    /// The failure meets all targets.
    Failed,
    /// A probe got no answer.
    Unanswered,
}

/// See the module.
#[derive(Debug)]
pub struct EndpointModel {
    slow_after: Duration,
    paused: Option<PausedEndpoint>,
    /// The endpoint may have been paused at this time. A request got no answer, and the service cannot see whose
    /// fault the engine takes that for.
    maybe_paused_at: Option<Instant>,
    counts: ProbeCounts,
    quick_probes_max: u32,
    /// The time at which the last pause ended.
    came_up_at: Option<Instant>,
    /// All probes that are out, also those of an earlier pause.
    probes: Vec<Probe>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ProbeCounts {
    /// Failures since the endpoint was last up, each with a wait.
    failures: u32,
    /// Probes that followed each other at once, since it may not be the fault of the endpoint.
    quick: u32,
}

#[derive(Debug)]
struct PausedEndpoint {
    paused_at: Instant,
    min_wait: Duration,
    /// The probe that counts. When it takes long, other probes may follow it.
    last: Option<LastProbe>,
    /// The failure that paused the endpoint may not count, since the next probe was let through just before. These
    /// are the counts without it.
    counts_if_overtaken: Option<ProbeCounts>,
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
    /// An endpoint that is up, in a run with this number of queues.
    pub fn new(queues: usize, slow_after: Duration) -> Self {
        EndpointModel {
            slow_after,
            paused: None,
            maybe_paused_at: None,
            counts: ProbeCounts::default(),
            quick_probes_max: (queues as u32 / QUICK_PROBES_PART).max(QUICK_PROBES_MIN),
            came_up_at: None,
            probes: Vec::new(),
        }
    }

    /// Returns true if all targets may have to wait.
    pub fn may_be_paused(&self) -> bool {
        self.paused.is_some() || self.maybe_paused_at.is_some()
    }

    /// Returns true if the request with the batch is out as a probe of a paused endpoint.
    pub fn is_probe(&self, batch: BatchId) -> bool {
        self.paused.is_some() && self.was_probe(batch)
    }

    /// Returns true if the request with the batch went out as a probe, whatever the state of the endpoint is by now.
    pub fn was_probe(&self, batch: BatchId) -> bool {
        self.probe_index(batch).is_some()
    }

    fn probe_index(&self, batch: BatchId) -> Option<usize> {
        self.probes.iter().position(|probe| probe.stage == ProbeStage::Sent(batch))
    }

    fn renewal_index(&self, renewal: u64) -> Option<usize> {
        self.probes.iter().position(|probe| probe.renewal == renewal)
    }

    /// The engine renews credentials, which only a probe does.
    pub fn renewal_begins(&mut self, now: Moment, renewal: u64) -> Result<(), String> {
        if let Some(paused_at) = self.maybe_paused_at.take()
            && self.paused.is_none()
        {
            self.pause(paused_at, true);
        }
        let Some(paused) = &mut self.paused else {
            // The probe may have been let through just before the pause ended.
            self.probes.push(Probe { renewal, stage: ProbeStage::Renewing });
            let just_before = self.came_up_at == Some(now.at);
            return if just_before {
                Ok(())
            } else {
                Err("a probe went out while the endpoint was up".into())
            };
        };
        match paused.last {
            Some(LastProbe { renewal: other, begun_at }) if now.at - begun_at < self.slow_after => {
                return Err(format!("a second probe of the endpoint went out beside {other}"));
            }
            None if paused.counts_if_overtaken.is_some() && now.at == paused.paused_at => {
                self.counts = paused.counts_if_overtaken.take().unwrap_or_default();
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
        self.probes.push(Probe { renewal, stage: ProbeStage::Renewing });
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
            self.probe_fails(index, now, false);
        }
    }

    /// The renewal of credentials panicked. The next probe may go at once.
    pub fn renewal_panics(&mut self, now: Moment, renewal: u64) {
        if let Some(index) = self.renewal_index(renewal) {
            self.probe_is_lost(index, now);
        }
    }

    fn probe_is_lost(&mut self, index: usize, now: Moment) {
        let lost = self.probes.remove(index).renewal;
        if let Some(paused) = &mut self.paused
            && paused.last.is_some_and(|last| last.renewal == lost)
        {
            *paused = PausedEndpoint {
                paused_at: now.at,
                min_wait: Duration::ZERO,
                last: None,
                counts_if_overtaken: None,
            };
        }
    }

    fn probe_fails(&mut self, index: usize, now: Moment, unanswered: bool) {
        let failed = self.probes.remove(index).renewal;
        let counts_before = self.counts;
        let last = self.paused.as_ref().map(|paused| paused.last.filter(|last| last.renewal == failed));
        if !matches!(last, Some(None)) {
            self.pause(now.at, unanswered);
        }
        let may_be_overtaken = last.flatten().is_some_and(|last| now.at - last.begun_at >= self.slow_after);
        if let Some(paused) = self.paused.as_mut().filter(|_| may_be_overtaken) {
            paused.counts_if_overtaken = Some(counts_before);
        }
    }

    /// A request goes out.
    pub fn request_begins(&mut self, batch: BatchId, now: Moment) -> Result<(), String> {
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.stage == ProbeStage::Renewed(now.at)) {
            probe.stage = ProbeStage::Sent(batch);
            return Ok(());
        }
        // If the endpoint had been paused, a probe would have come first.
        self.maybe_paused_at = self.maybe_paused_at.filter(|paused_at| *paused_at == now.at);
        match &self.paused {
            // The request was let through before the pause.
            Some(paused) if paused.paused_at == now.at => Ok(()),
            Some(_) => {
                Err(format!("batch {} went out while the endpoint is paused ({:?})", batch.key, self.probes))
            }
            None => Ok(()),
        }
    }

    /// An attempt ended.
    pub fn attempt_ends(&mut self, batch: BatchId, sign: EndpointSign, now: Moment) {
        let unanswered = sign == EndpointSign::Unanswered;
        match (sign, self.probe_index(batch)) {
            (EndpointSign::CutOff, Some(index)) => self.probe_is_lost(index, now),
            (EndpointSign::Answered, Some(index)) => {
                self.probes.remove(index);
                (self.paused, self.counts) = (None, ProbeCounts::default());
                self.came_up_at = Some(now.at);
            }
            (EndpointSign::CutOff | EndpointSign::Answered, None) => {}
            (EndpointSign::Failed | EndpointSign::Unanswered, Some(index)) => {
                self.probe_fails(index, now, unanswered);
            }
            (EndpointSign::Failed | EndpointSign::Unanswered, None) if self.paused.is_none() => {
                let counts_before = self.counts;
                self.pause(now.at, unanswered);
                if let Some(paused) = self.paused.as_mut().filter(|_| self.maybe_paused_at.is_some()) {
                    // A request without an answer may have paused the endpoint just before. Then a probe may go at
                    // once, and this failure does not count.
                    paused.min_wait = Duration::ZERO;
                    self.counts = counts_before;
                }
            }
            (EndpointSign::Failed | EndpointSign::Unanswered, None) => {}
        }
    }

    /// A request got no answer, so the endpoint may be paused.
    pub fn may_pause(&mut self, batch: BatchId, now: Moment) {
        if let Some(index) = self.probe_index(batch) {
            self.probes.remove(index);
        }
        if self.paused.is_none() {
            self.maybe_paused_at.get_or_insert(now.at);
        }
    }

    fn pause(&mut self, paused_at: Instant, unanswered: bool) {
        let counts = &mut self.counts;
        let mut min_wait = Duration::ZERO;
        if unanswered && counts.quick < self.quick_probes_max {
            counts.quick += 1;
        } else {
            min_wait = Duration::from_millis(Meaning::Pause.wait_ms(counts.failures)) / 2;
            counts.failures += 1;
        }
        self.paused = Some(PausedEndpoint { paused_at, min_wait, last: None, counts_if_overtaken: None });
    }
}
