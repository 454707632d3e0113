//! The model of the breaker of one queue.

use std::time::Duration;

use tokio::time::Instant;

use super::{BatchKey, Moment, SLACK};
use crate::faults::{BACKOFF_MAX, Meaning};
use crate::record::FinalState;

/// The end of an attempt to send a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The batch is final.
    Final(FinalState),
    /// The batch is requeued. `may_be_final`: it may also have been given up, and then it is final.
    Requeued { counted: CountedFailure, may_be_final: bool },
}

/// Tells if a failed attempt counts as a failure of its target. The target then waits for a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedFailure {
    Yes(Meaning),
    No,
    /// The service cannot see which.
    Perhaps(Meaning),
}

/// Tells if another batch of the target failed before and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherFailed {
    Certainly,
    Perhaps,
    No,
}

/// Bounds of the number of consecutive failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureBounds {
    min: u32,
    max: u32,
}

impl FailureBounds {
    fn plus(self, min: u32, max: u32) -> Self {
        FailureBounds { min: self.min + min, max: self.max + max }
    }

    /// The same bounds, if the last failure may not have counted.
    fn perhaps_one_less(self) -> Self {
        FailureBounds { min: self.min.saturating_sub(1), max: self.max }
    }

    /// The wait after another failure.
    fn wait(self, meaning: Meaning) -> WaitBounds {
        let base = |failures| Duration::from_millis(meaning.wait_ms(failures));
        let min = base(self.min).min(base(self.max)) / 2;
        WaitBounds { min, max: base(self.max) }
    }
}

/// Bounds of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitBounds {
    pub min: Duration,
    pub max: Duration,
}

impl WaitBounds {
    const NONE: WaitBounds = WaitBounds { min: Duration::ZERO, max: Duration::ZERO };
}

/// See the module.
#[derive(Debug)]
pub struct BreakerModel {
    /// The target sends one request at a time.
    one_at_a_time: bool,
    open: Option<OpenBreaker>,
    /// The state of the breaker is not known.
    uncertain: bool,
    /// Consecutive failures that the closed breaker still remembers, since the service has not answered since.
    remembered: FailureBounds,
}

#[derive(Debug)]
struct OpenBreaker {
    failures: FailureBounds,
    opened_at: Instant,
    /// The wait for the next probe. It is zero when a probe may go at once.
    wait: WaitBounds,
    /// The batch whose failure opened the breaker.
    failed: BatchKey,
    probe: Option<BatchKey>,
    /// [`Moment::blocked`] when the breaker opened.
    blocked_before: Duration,
    /// The breaker may have closed in a way that cannot be seen from the service's side.
    may_have_closed: bool,
}

impl BreakerModel {
    /// A closed breaker. `one_at_a_time`: the target sends one request at a time.
    pub fn new(one_at_a_time: bool) -> Self {
        let remembered = FailureBounds::default();
        BreakerModel { one_at_a_time, open: None, uncertain: false, remembered }
    }

    /// A batch goes out.
    pub fn begins(&mut self, key: BatchKey, now: Moment) -> Result<(), String> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.may_have_closed && key != open.failed {
            // The failed batch was given up and the breaker closed, or it was dropped to make room and the breaker
            // is as it was.
            self.remembered = open.failures.perhaps_one_less();
            (self.open, self.uncertain) = (None, true);
            return Ok(());
        }
        open.may_have_closed = false;
        // The batch may have been taken from its queue before the breaker opened.
        let was_taken_before =
            !self.one_at_a_time && (now.renewed || now.at == open.opened_at || self.uncertain);
        if let Some(probe) = open.probe {
            let fault = format!("batch {key} went out while batch {probe} was out as the probe");
            return if was_taken_before { Ok(()) } else { Err(fault) };
        }
        let waited = now.at - open.opened_at;
        let (failures, wait) = (open.failures, open.wait);
        if waited < wait.min && !now.closing {
            let fault = format!(
                "batch {key} went out {waited:?} after failure {failures:?} of its target; the wait is {:?} or more",
                wait.min
            );
            return if was_taken_before { Ok(()) } else { Err(fault) };
        }
        let free = waited.saturating_sub(now.blocked - open.blocked_before);
        let is_known =
            self.one_at_a_time && !self.uncertain && key == open.failed && wait.max > Duration::ZERO;
        let is_known = is_known && !now.creations_paced;
        if is_known && free > wait.max + SLACK {
            return Err(format!(
                "batch {key} went out {waited:?} after failure {failures:?} of its target, \
                 and could have gone out for {free:?} of that; the wait is below {:?}",
                wait.max
            ));
        }
        open.probe = Some(key);
        Ok(())
    }

    /// The batch of an attempt that began with a creation is seen.
    pub fn is_seen(&mut self, unseen: BatchKey, key: BatchKey) {
        if let Some(probe) =
            self.open.as_mut().and_then(|open| open.probe.as_mut()).filter(|probe| **probe == unseen)
        {
            *probe = key;
        }
    }

    /// An attempt ended.
    pub fn ends(&mut self, key: BatchKey, end: AttemptEnd, now: Moment, other_failed: OtherFailed) {
        let is_probe = self.is_probe(key);
        match end {
            AttemptEnd::Final(state) => self.ends_final(key, state, now, other_failed),
            AttemptEnd::Requeued { counted, may_be_final } if is_probe || self.open.is_none() => {
                self.ends_requeued(key, counted, may_be_final, now);
            }
            AttemptEnd::Requeued { .. } => {}
        }
    }

    fn ends_final(&mut self, key: BatchKey, state: FinalState, now: Moment, other_failed: OtherFailed) {
        let failures = if state == FinalState::CutOff { self.failures() } else { FailureBounds::default() };
        if self.is_probe(key) || (self.uncertain && self.one_at_a_time) {
            // With several requests at once, the breaker may have been closed all the time.
            let may_have_closed =
                other_failed == OtherFailed::Perhaps || (self.uncertain && !self.one_at_a_time);
            self.uncertain = false;
            self.remembered = failures;
            match other_failed {
                OtherFailed::No => self.open = None,
                _ => self.opens(key, failures, WaitBounds::NONE, may_have_closed, now),
            }
        } else if self.open.is_none() {
            self.remembered = failures;
        } else if let Some(open) = self.open.as_mut().filter(|open| open.may_have_closed) {
            // A closed breaker forgets its failures.
            open.failures.min = open.failures.min.min(failures.min);
        }
    }

    /// The batch was the probe, or the breaker was closed.
    fn ends_requeued(&mut self, key: BatchKey, counted: CountedFailure, may_be_final: bool, now: Moment) {
        let is_probe = self.is_probe(key);
        let before = self.failures();
        match counted {
            CountedFailure::Yes(meaning) => {
                self.opens(key, before.plus(1, 1), before.wait(meaning), may_be_final, now);
            }
            CountedFailure::Perhaps(meaning) => {
                // If it was not the fault of the target, other batches of the target may go as well.
                self.uncertain |= !self.one_at_a_time && !is_probe;
                let wait = WaitBounds { min: Duration::ZERO, ..before.wait(meaning) };
                self.opens(key, before.plus(0, 1), wait, may_be_final, now);
            }
            CountedFailure::No if is_probe => self.opens(key, before, WaitBounds::NONE, may_be_final, now),
            CountedFailure::No => {}
        }
    }

    fn opens(
        &mut self,
        failed: BatchKey,
        failures: FailureBounds,
        wait: WaitBounds,
        may_have_closed: bool,
        now: Moment,
    ) {
        let (opened_at, blocked_before) = (now.at, now.blocked);
        self.open = Some(OpenBreaker {
            failures,
            opened_at,
            wait,
            failed,
            probe: None,
            blocked_before,
            may_have_closed,
        });
    }

    fn is_probe(&self, key: BatchKey) -> bool {
        self.open.as_ref().is_some_and(|open| open.probe == Some(key))
    }

    fn failures(&self) -> FailureBounds {
        self.open.as_ref().map_or(self.remembered, |open| open.failures)
    }

    /// Returns true if the target may be waiting for its next attempt.
    pub fn may_wait(&self) -> bool {
        self.uncertain || self.open.as_ref().is_some_and(|open| open.wait.max > Duration::ZERO)
    }

    /// A batch that may have been the probe ended without a trace at the service, or a failure did not count after all.
    /// So the breaker may have closed.
    pub fn may_close(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.probe.is_none()) {
            (self.remembered, self.uncertain) = (open.failures.perhaps_one_less(), true);
        }
    }

    /// A batch may have failed without a trace at the service.
    pub fn may_fail(&mut self) {
        match &mut self.open {
            Some(open) => open.failures.max += 1,
            None => (self.remembered.max, self.uncertain) = (self.remembered.max + 1, true),
        }
    }

    /// The wait if the batch fails now.
    pub fn next_wait(&self, key: BatchKey, meaning: Meaning) -> WaitBounds {
        let failures = if self.is_probe(key) { self.failures() } else { self.remembered };
        let wait = failures.wait(meaning);
        WaitBounds { max: if self.uncertain { BACKOFF_MAX } else { wait.max }, ..wait }
    }
}
