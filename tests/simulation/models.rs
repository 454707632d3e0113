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
    /// Either it counts as a failure, or it goes back without.
    Either(Means),
    /// Like that, but perhaps final like above.
    EitherOrOver(Means),
    /// The attempt panicked or was cut off: the batch is final.
    Broken,
}

/// How often something failed in a row, as far as that can be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    least: u32,
    most: u32,
}

impl Count {
    fn plus(self, least: u32, most: u32) -> Self {
        Count { least: self.least + least, most: self.most + most }
    }

    /// The shortest and the longest wait after another failure.
    fn waits(self, means: Means) -> (Duration, Duration) {
        let base = |failures| Duration::from_millis(means.wait_ms(failures));
        (base(self.least).min(base(self.most)) / 2, base(self.most))
    }
}

/// The breaker of one queue.
#[derive(Debug, Default)]
pub struct Breaker {
    open: Option<Open>,
    /// It is not known where it stands.
    doubtful: bool,
    /// Failures in a row that are not forgotten while it is closed, since the service did not answer since.
    kept: Count,
}

#[derive(Debug)]
struct Open {
    failures: Count,
    since: Instant,
    /// The shortest and the longest wait; none when a probe may go at once.
    least: Duration,
    most: Duration,
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
            let least = open.failures.least.saturating_sub(1);
            let kept = Count { least, most: open.failures.most };
            (self.kept, self.open, self.doubtful) = (kept, None, true);
            return Ok(());
        }
        open.unsure = false;
        let straggles = !alone && (late || now.at == open.since || self.doubtful);
        if let Some(probe) = open.probe {
            let fault = format!("batch {key} went out while batch {probe} was out as the probe");
            return if straggles { Ok(()) } else { Err(fault) };
        }
        let waited = now.at - open.since;
        if waited < open.least && !now.closing {
            let fault = format!(
                "batch {key} went out {waited:?} after failure {:?} of its target, whose wait is {:?} or more",
                open.failures, open.least
            );
            return if straggles { Ok(()) } else { Err(fault) };
        }
        let free = waited.saturating_sub(now.blocked - open.blocked);
        let known = alone && !self.doubtful && key == open.failed && open.most > Duration::ZERO;
        if known && free > open.most + SLACK {
            return Err(format!(
                "batch {key} went out {waited:?} after failure {:?} of its target ({free:?} of it free to send), whose wait is below {:?}",
                open.failures, open.most
            ));
        }
        open.probe = Some(key);
        Ok(())
    }

    /// An attempt ended. `more_failed`: another batch of the target failed and waits, and whether that is sure.
    pub fn ends(&mut self, key: Key, end: End, now: Now, alone: bool, more_failed: Option<bool>) {
        let probe = self.open.as_ref().is_some_and(|open| open.probe == Some(key));
        let before = self.open.as_ref().map_or(self.kept, |open| open.failures);
        let opened = |failures: Count, (least, most): (Duration, Duration), unsure: bool| {
            let (since, blocked) = (now.at, now.blocked);
            Some(Open { failures, since, least, most, failed: key, probe: None, blocked, unsure })
        };
        let at_once = (Duration::ZERO, Duration::ZERO);
        match end {
            End::Final | End::Broken => {
                let failures = if end == End::Final { Count::default() } else { before };
                if probe || (self.doubtful && alone) {
                    self.doubtful = false;
                    self.kept = failures;
                    self.open = more_failed.and_then(|sure| opened(failures, at_once, !sure));
                } else if self.open.is_none() {
                    self.kept = failures;
                }
            }
            End::Retry(means) | End::PerhapsOver(means) if probe || self.open.is_none() => {
                self.open =
                    opened(before.plus(1, 1), before.waits(means), matches!(end, End::PerhapsOver(_)));
            }
            End::Either(means) | End::EitherOrOver(means) if probe || self.open.is_none() => {
                // If it was not the target's fault, others of it may go as well.
                self.doubtful |= !alone && !probe;
                let (_, most) = before.waits(means);
                let waits = (Duration::ZERO, most);
                self.open = opened(before.plus(0, 1), waits, matches!(end, End::EitherOrOver(_)));
            }
            End::Retry(_) | End::PerhapsOver(_) | End::Either(_) | End::EitherOrOver(_) => {}
            End::Returned | End::ReturnedOrOver if probe => {
                self.open = opened(before, at_once, end == End::ReturnedOrOver);
            }
            End::Returned | End::ReturnedOrOver => {}
        }
    }

    /// Whether its target may wait for its next try.
    pub fn may_wait(&self) -> bool {
        self.doubtful || self.open.as_ref().is_some_and(|open| open.most > Duration::ZERO)
    }

    /// Whether its target fails for certain.
    pub fn fails(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.unsure && !self.doubtful && open.failures.least > 0)
    }

    /// Whether it is closed for certain, and no failure is remembered.
    pub fn is_well(&self) -> bool {
        self.open.is_none() && !self.doubtful && self.kept == Count::default()
    }

    /// A batch that may have been its probe ended where it cannot be seen, so that it may have closed.
    pub fn doubt(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.probe.is_none()) {
            let least = open.failures.least.saturating_sub(1);
            (self.kept, self.doubtful) = (Count { least, most: open.failures.most }, true);
        }
    }

    /// The shortest and the longest that a failure of the batch now makes it wait.
    pub fn next_wait(&self, key: Key, means: Means) -> (Duration, Duration) {
        let open = self.open.as_ref().filter(|open| open.probe == Some(key));
        let (least, most) = open.map_or(self.kept, |open| open.failures).waits(means);
        (least, if self.doubtful { Duration::from_secs(60) } else { most })
    }
}

/// What an attempt's end means to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    No,
    /// Nobody would fare better.
    Sure,
    /// Nothing was heard.
    Unanswered,
}

/// The breaker of the endpoint, before everybody.
#[derive(Debug, Default)]
pub struct Gate {
    closed: Option<Closed>,
    /// It may have closed: a request got no answer, and whose fault that is cannot be seen from here.
    perhaps: Option<Instant>,
    failures: u32,
    /// Probes that followed each other at once, since it may not be the endpoint's fault, and how many may.
    quick: u32,
    quick_max: u32,
    /// When it last opened.
    opened: Option<Instant>,
    /// All probes that are out, those of an earlier time when it was closed among them.
    probes: Vec<Probe>,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    /// The shortest wait.
    least: Duration,
    /// The probe that counts, and since when it is out. One that takes long may have others behind it.
    last: Option<(u64, Instant)>,
    /// The failure that closed it may not count, since the next probe had just been let through: the counts before.
    overtaken: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The call in which credentials are renewed for it.
    renewal: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Renewing,
    /// They were, at that time; its request comes at once.
    Renewed(Instant),
    /// The request of that queue's batch is out.
    Out(usize, Key),
}

impl Gate {
    /// An open one before so many queues: a probe for a third of those that got through may go at once, and for five.
    pub fn new(queues: usize) -> Self {
        Gate { quick_max: (queues as u32 / 3).max(5), ..Self::default() }
    }

    /// Whether everybody has to wait, perhaps.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some() || self.perhaps.is_some()
    }

    /// Whether the request of that queue's batch is out as a probe of an endpoint that is closed.
    pub fn is_probe(&self, queue: usize, key: Key) -> bool {
        self.closed.is_some() && self.place(queue, key).is_some()
    }

    /// Whether it went out as a probe, wherever the endpoint stands by now.
    pub fn was_probe(&self, queue: usize, key: Key) -> bool {
        self.place(queue, key).is_some()
    }

    fn place(&self, queue: usize, key: Key) -> Option<usize> {
        self.probes.iter().position(|probe| probe.stage == Stage::Out(queue, key))
    }

    /// Credentials are asked for anew, which only a probe does.
    pub fn renews(&mut self, now: Now, renewal: u64, slow_after: Duration) -> Result<(), String> {
        if let Some(since) = self.perhaps.take()
            && self.closed.is_none()
        {
            self.fails(since, true);
        }
        let Some(closed) = &mut self.closed else {
            // It was let through just before.
            self.probes.push(Probe { renewal, stage: Stage::Renewing });
            let just_before = self.opened == Some(now.at);
            return if just_before { Ok(()) } else { Err("a probe went through an open gate".into()) };
        };
        match closed.last {
            Some((other, begun)) if now.at - begun < slow_after => {
                return Err(format!("a second probe of the endpoint went out beside {other}"));
            }
            None if closed.overtaken.is_some() && now.at == closed.since => {
                (self.failures, self.quick) = closed.overtaken.take().unwrap_or_default();
            }
            None if now.at - closed.since < closed.least && !now.closing => {
                return Err(format!("the endpoint was probed {:?} after a failure", now.at - closed.since));
            }
            _ => {}
        }
        closed.last = Some((renewal, now.at));
        self.probes.push(Probe { renewal, stage: Stage::Renewing });
        Ok(())
    }

    /// They were renewed, or could not be.
    pub fn renewed(&mut self, renewed: bool, now: Now, renewal: u64, slow_after: Duration) {
        let Some(place) = self.probes.iter().position(|probe| probe.renewal == renewal) else { return };
        if renewed {
            self.probes[place].stage = Stage::Renewed(now.at);
        } else {
            self.probe_failed(place, now, false, slow_after);
        }
    }

    /// Renewing them panicked: the next may try at once.
    pub fn broke(&mut self, now: Now, renewal: u64) {
        if let Some(place) = self.probes.iter().position(|probe| probe.renewal == renewal) {
            self.probe_lost(place, now);
        }
    }

    fn probe_lost(&mut self, place: usize, now: Now) {
        let lost = self.probes.remove(place).renewal;
        if let Some(closed) = &mut self.closed
            && closed.last.is_some_and(|(last, _)| last == lost)
        {
            *closed = Closed { since: now.at, least: Duration::ZERO, last: None, overtaken: None };
        }
    }

    fn probe_failed(&mut self, place: usize, now: Now, unanswered: bool, slow_after: Duration) {
        let failed = self.probes.remove(place).renewal;
        let before = (self.failures, self.quick);
        let last = self.closed.as_ref().map(|closed| closed.last.filter(|(last, _)| *last == failed));
        if last != Some(None) {
            self.fails(now.at, unanswered);
        }
        let old = last.flatten().is_some_and(|(_, begun)| now.at - begun >= slow_after);
        if let Some(closed) = self.closed.as_mut().filter(|_| old) {
            closed.overtaken = Some(before);
        }
    }

    /// A request goes out.
    pub fn begins(&mut self, queue: usize, key: Key, now: Now) -> Result<(), String> {
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.stage == Stage::Renewed(now.at)) {
            probe.stage = Stage::Out(queue, key);
            return Ok(());
        }
        // Had it closed, a probe would have come first.
        self.perhaps = self.perhaps.filter(|since| *since == now.at);
        match &self.closed {
            // It was let through before the gate closed.
            Some(closed) if closed.since == now.at => Ok(()),
            Some(_) => Err(format!("batch {key} went out while the endpoint is paused ({:?})", self.probes)),
            None => Ok(()),
        }
    }

    /// An attempt ended.
    pub fn ends(
        &mut self,
        queue: usize,
        key: Key,
        pause: Pause,
        broken: bool,
        now: Now,
        slow_after: Duration,
    ) {
        match (pause, self.place(queue, key)) {
            (Pause::No, Some(place)) if broken => self.probe_lost(place, now),
            (Pause::No, Some(place)) => {
                self.probes.remove(place);
                (self.closed, self.failures, self.quick) = (None, 0, 0);
                self.opened = Some(now.at);
            }
            (Pause::No, None) => {}
            (_, Some(place)) => self.probe_failed(place, now, pause == Pause::Unanswered, slow_after),
            (_, None) if self.closed.is_none() => self.fails(now.at, pause == Pause::Unanswered),
            (_, None) => {}
        }
    }

    /// A request got no answer.
    pub fn perhaps_fails(&mut self, queue: usize, key: Key, now: Now) {
        if let Some(place) = self.place(queue, key) {
            self.probes.remove(place);
        }
        if self.closed.is_none() {
            self.perhaps.get_or_insert(now.at);
        }
    }

    fn fails(&mut self, since: Instant, unanswered: bool) {
        let quick = unanswered && self.quick < self.quick_max;
        let mut least = Duration::ZERO;
        match quick {
            true => self.quick += 1,
            false => {
                least = Duration::from_millis(Means::Pause.wait_ms(self.failures)) / 2;
                self.failures += 1;
            }
        }
        self.closed = Some(Closed { since, least, last: None, overtaken: None });
    }
}
