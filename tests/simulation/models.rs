//! What may go out when: the breaker of a target and the gate of the endpoint, as they must look from the
//! service's side. Neither looks into the engine.

use std::time::Duration;

use tokio::time::Instant;

use crate::faults::Means;

/// Timers have a resolution of a millisecond, and a wait may begin and end with one.
pub const SLACK: Duration = Duration::from_millis(5);

/// The number of a batch's first event within its queue.
pub type Key = u64;

/// How an attempt at a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer after which the batch is final.
    Final,
    /// It is tried again after a back-off.
    Retry(Means),
    /// Like a retry, but the batch may have been tried for too long and then is final.
    PerhapsOver(Means),
    /// It goes back without counting as a failure.
    Returned,
    /// Like that, but perhaps final like above.
    ReturnedOrOver,
    /// The attempt panicked or was cut off: the batch is final.
    Broken,
}

/// The breaker of one queue.
#[derive(Debug, Default)]
pub struct Breaker {
    open: Option<Open>,
    /// It is not known where it stands.
    doubtful: bool,
    /// Failures in a row that are not forgotten while it is closed, since the service did not answer since: the
    /// fewest that it can be.
    kept: u32,
}

#[derive(Debug)]
struct Open {
    failures: u32,
    since: Instant,
    /// The wait before jitter; none when a probe may go at once.
    base: Duration,
    /// The batch whose failure opened it.
    failed: Key,
    probe: Option<Key>,
    /// How long nothing could be sent at all, until it opened.
    blocked: Duration,
    /// It may have closed in a way that cannot be seen from here.
    unsure: bool,
}

/// The moment of a look.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub at: Instant,
    /// How long in all nothing could be sent: every worker held, or the endpoint paused.
    pub blocked: Duration,
    /// The engine is closing, so that waits are cut short.
    pub closing: bool,
}

impl Breaker {
    /// A batch goes out. `alone`: the target sends one at a time. `late`: it may have been taken before now.
    pub fn begins(&mut self, key: Key, now: Now, alone: bool, late: bool) -> Result<(), String> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.unsure && key != open.failed {
            // It was given up and the breaker closed, or it made room and the breaker is as it was.
            let least = open.failures.saturating_sub(1);
            (self.kept, self.open, self.doubtful) = (least, None, true);
            return Ok(());
        }
        open.unsure = false;
        let straggles = !alone && (late || now.at == open.since || self.doubtful);
        if let Some(probe) = open.probe {
            let fault = format!("batch {key} went out while batch {probe} was out as the probe");
            return if straggles { Ok(()) } else { Err(fault) };
        }
        let waited = now.at - open.since;
        if waited < open.base / 2 && !now.closing {
            let fault = format!(
                "batch {key} went out {waited:?} after failure {} of its target, whose wait is {:?} or more",
                open.failures,
                open.base / 2
            );
            return if straggles { Ok(()) } else { Err(fault) };
        }
        let free = waited.saturating_sub(now.blocked - open.blocked);
        let known = alone && !self.doubtful && key == open.failed && open.base > Duration::ZERO;
        if known && free > open.base + SLACK {
            return Err(format!(
                "batch {key} went out {waited:?} after failure {} of its target ({free:?} of it free to send), whose wait is below {:?}",
                open.failures, open.base
            ));
        }
        open.probe = Some(key);
        Ok(())
    }

    /// An attempt ended. `more_failed`: another batch of the target failed and waits, and whether that is sure.
    pub fn ends(&mut self, key: Key, end: End, now: Now, alone: bool, more_failed: Option<bool>) {
        let probe = self.open.as_ref().is_some_and(|open| open.probe == Some(key));
        let opened = |failures: u32, base: Duration, unsure: bool| {
            let (since, blocked) = (now.at, now.blocked);
            Some(Open { failures, since, base, failed: key, probe: None, blocked, unsure })
        };
        match end {
            End::Final | End::Broken => {
                let failures = match (end, &self.open) {
                    (End::Final, _) => 0,
                    (_, Some(open)) => open.failures,
                    (_, None) => self.kept,
                };
                if probe || (self.doubtful && alone) {
                    self.doubtful = false;
                    self.kept = failures;
                    self.open = more_failed.and_then(|sure| opened(failures, Duration::ZERO, !sure));
                } else if self.open.is_none() {
                    self.kept = failures;
                }
            }
            End::Retry(means) | End::PerhapsOver(means) if probe || self.open.is_none() => {
                let failures = self.open.as_ref().map_or(self.kept, |open| open.failures);
                let base = Duration::from_millis(means.wait_ms(failures));
                self.open = opened(failures + 1, base, matches!(end, End::PerhapsOver(_)));
            }
            End::Retry(_) | End::PerhapsOver(_) => {}
            End::Returned | End::ReturnedOrOver if probe => {
                let failures = self.open.as_ref().map_or(0, |open| open.failures);
                self.open = opened(failures, Duration::ZERO, end == End::ReturnedOrOver);
            }
            End::Returned | End::ReturnedOrOver => {}
        }
    }

    /// A batch that may have been its probe ended where it cannot be seen, so that it may have closed.
    pub fn doubt(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.probe.is_none()) {
            (self.kept, self.doubtful) = (open.failures.saturating_sub(1), true);
        }
    }

    /// The shortest and the longest that a failure of the batch now makes it wait.
    pub fn next_wait(&self, key: Key, means: Means) -> (Duration, Duration) {
        let open = self.open.as_ref().filter(|open| open.probe == Some(key));
        let base = Duration::from_millis(means.wait_ms(open.map_or(self.kept, |open| open.failures)));
        (base / 2, if self.doubtful { Duration::from_secs(60) } else { base })
    }
}

/// The gate before everybody.
#[derive(Debug, Default)]
pub struct Gate {
    closed: Option<Closed>,
    failures: u32,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    base: Duration,
    probe: Option<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Credentials are being renewed for it.
    Renewing,
    /// They were, at that time; its request comes at once.
    Renewed(Instant),
    /// The request of that queue's batch is out.
    Out(usize, Key),
}

impl Gate {
    /// Whether everybody has to wait.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether the request of that queue's batch is out as the probe.
    pub fn is_probe(&self, queue: usize, key: Key) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.probe == Some(Probe::Out(queue, key)))
    }

    /// Credentials are asked for anew, which only the probe does.
    pub fn renews(&mut self, now: Now) -> Result<(), String> {
        let Some(closed) = &mut self.closed else { return Err("a probe went through an open gate".into()) };
        if let Some(other) = closed.probe {
            return Err(format!("a second probe of the endpoint went out beside {other:?}"));
        }
        if now.at - closed.since < closed.base / 2 && !now.closing {
            return Err(format!("the endpoint was probed {:?} after a failure", now.at - closed.since));
        }
        closed.probe = Some(Probe::Renewing);
        Ok(())
    }

    /// They were renewed, or could not be.
    pub fn renewed(&mut self, renewed: bool, now: Now) {
        if !renewed {
            return self.fails(now);
        }
        if let Some(closed) = &mut self.closed {
            closed.probe = Some(Probe::Renewed(now.at));
        }
    }

    /// Renewing them panicked: the next may try at once.
    pub fn broke(&mut self, now: Now) {
        if let Some(closed) = &mut self.closed {
            (closed.since, closed.base, closed.probe) = (now.at, Duration::ZERO, None);
        }
    }

    /// A request goes out. `true` when it is the probe's.
    pub fn begins(&mut self, queue: usize, key: Key, now: Now) -> Result<(), String> {
        let Some(closed) = &mut self.closed else { return Ok(()) };
        match closed.probe {
            Some(Probe::Renewed(at)) if at == now.at => {
                closed.probe = Some(Probe::Out(queue, key));
                Ok(())
            }
            // It was let through before the gate closed.
            _ if closed.since == now.at => Ok(()),
            probe => Err(format!("batch {key} went out while the endpoint is paused (its probe: {probe:?})")),
        }
    }

    /// An attempt ended.
    pub fn ends(&mut self, queue: usize, key: Key, paused: bool, broken: bool, now: Now) {
        let probe = self.is_probe(queue, key);
        match (paused, &self.closed) {
            (true, None) => self.fails(now),
            (true, Some(_)) if probe => self.fails(now),
            (false, Some(_)) if probe && broken => self.broke(now),
            (false, Some(_)) if probe => (self.closed, self.failures) = (None, 0),
            _ => {}
        }
    }

    fn fails(&mut self, now: Now) {
        let base = Duration::from_millis(Means::Short.wait_ms(self.failures));
        self.failures += 1;
        self.closed = Some(Closed { since: now.at, base, probe: None });
    }
}
