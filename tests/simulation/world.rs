//! The world around an engine: the time, what is wrong at the moment, and what was seen to go wrong in the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cwl_sink::clock::Clock;
use cwl_sink::config::WhenFull;
use cwl_sink::engine::Engine;
use cwl_sink::service::ApiError;
use tokio::time::Instant;

use crate::books::{Books, Line};
use crate::faults::{self, Means, meaning};
use crate::models::{Breaker, End, Gate, Key, Now, Pause};
use crate::scenario::{Scenario, pick};

/// The true time of day at the start of a run.
const START_MS: i64 = 1_800_000_000_000;

/// What a target meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    /// So many percent of its requests meet this fault; none: any.
    Faulty(u32, Option<usize>),
    /// The events are taken, and so many percent of the answers lost.
    Losing(u32),
    /// So many percent get no answer.
    Hanging(u32),
    Slow,
    /// So many percent are partly refused.
    Rejecting(u32),
    /// So many percent panic.
    Panicking(u32),
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    begun: Instant,
    /// For which target, if for one.
    line: Option<usize>,
    /// Memory that its batch holds, at most.
    bytes: usize,
    /// That one gets through; none where it cannot be told from here.
    steady: Option<bool>,
}

/// A time in which the endpoint is down.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    begun: Instant,
    until: Instant,
    requests: usize,
}

/// A request may be thought slow from this age on, and its target then sends no other.
const LAGS: Duration = Duration::from_millis(25);

/// See the module.
pub struct World {
    pub scenario: Scenario,
    pub books: Books,
    pub rng: fastrand::Rng,
    pub faults: Vec<ApiError>,
    /// Which of them were met.
    pub met: Vec<bool>,
    pub moods: Vec<Mood>,
    /// The groups that exist, and their retention in days.
    pub groups: BTreeMap<String, Option<u32>>,
    pub streams: BTreeSet<(String, String)>,
    /// Who is creating in each group.
    pub creating: BTreeMap<String, (usize, Key)>,
    pub gate: Gate,
    /// Nobody has credentials until then, and so every request meets this fault.
    pub credentials_gone: Option<(Instant, usize)>,
    /// Nobody gets an answer until then.
    pub outage: Option<Outage>,
    /// Credentials are good again only once they were renewed.
    pub renewal_needed: bool,
    pub renewals: u32,
    pub renewals_panicked: u32,
    /// Requests that the engine ended for others that waited for their place in the slow lane.
    pub cancelled: u32,
    /// Targets that the engine forgot and that were pushed to again.
    pub forgotten: u32,
    /// Requests that were answered with something that pauses everybody.
    pub paused: u32,
    pub requests: u64,
    /// Calls under way, by number.
    pub calls: BTreeMap<u64, Call>,
    calls_begun: u64,
    /// How long in all a target on trial could not be sent to: no seat for it, or the endpoint paused.
    pub blocked: Duration,
    /// The same for one that gets through.
    blocked_steady: Duration,
    /// Everybody is slowed until then, perhaps.
    pub paced_until: Option<Instant>,
    /// Most requests in flight at the last look.
    limit: usize,
    pub healed: bool,
    pub closed_at: Option<Instant>,
    /// Everything was final before the time-out of the shutdown.
    pub closed_in_time: bool,
    pub stopped: bool,
    pub engine: Weak<Engine>,
    /// The first promise that was seen broken.
    pub broken: Option<String>,
    /// Whether what happens is printed.
    told: bool,
    /// A hash of all that happened.
    pub trace: u64,
    start: Instant,
    last_tick: Instant,
}

impl World {
    /// A world in which nothing happened yet.
    pub fn new(scenario: Scenario) -> Self {
        let mut rng = fastrand::Rng::with_seed(scenario.seed ^ 0x3017d);
        let faults = faults::all();
        let (mut books, mut groups, mut streams) = (Books::default(), BTreeMap::new(), BTreeSet::new());
        let mut moods = Vec::new();
        for target in 0..scenario.targets {
            let (group, stream) = (format!("g{}", target % scenario.groups), format!("s{target}"));
            let healthy = target < scenario.healthy;
            if healthy || !scenario.missing || rng.u32(..3) > 0 {
                groups.insert(group.clone(), None);
                if healthy || !scenario.missing || rng.bool() {
                    streams.insert((group.clone(), stream.clone()));
                }
            }
            books.lines.push(Line::new(&group, &stream, false, healthy));
            books.lines.push(Line::new(&group, &stream, true, healthy));
            moods.push(Mood::Fine);
        }
        if scenario.fault_percent > 0 {
            let target = rng.usize(scenario.healthy..scenario.targets);
            let percent = if scenario.stubborn { 100 } else { 50 };
            moods[target] = Mood::Faulty(percent, Some(scenario.favourite));
        }
        books.sources.resize_with(scenario.sources, Default::default);
        let now = Instant::now();
        World {
            met: vec![false; faults.len()],
            healed: false,
            books,
            rng,
            faults,
            moods,
            groups,
            streams,
            creating: BTreeMap::new(),
            gate: Gate::new(2 * scenario.targets),
            credentials_gone: None,
            outage: None,
            renewal_needed: false,
            renewals: 0,
            renewals_panicked: 0,
            cancelled: 0,
            forgotten: 0,
            paused: 0,
            requests: 0,
            calls: BTreeMap::new(),
            calls_begun: 0,
            blocked: Duration::ZERO,
            blocked_steady: Duration::ZERO,
            paced_until: None,
            limit: scenario.config.concurrency,
            closed_at: None,
            closed_in_time: false,
            stopped: false,
            engine: Weak::new(),
            broken: None,
            told: std::env::var_os("TRACE").is_some(),
            trace: 0xcbf2_9ce4_8422_2325,
            start: now,
            last_tick: now,
            scenario,
        }
    }

    /// Remembers that a promise was broken, unless one was before.
    pub fn breaks(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            let at = self.last_tick - self.start;
            self.broken = Some(format!("after {at:?}: {}", what.into()));
        }
    }

    /// The same for a check.
    pub fn check(&mut self, kept: Result<(), String>) {
        if let Err(what) = kept {
            self.breaks(what);
        }
    }

    /// Notes what happened, for comparing runs. The order in which a runtime drops its tasks is its own, so what
    /// happens then is not noted.
    pub fn note(&mut self, what: &str, numbers: &[u64]) {
        if self.stopped {
            return;
        }
        let at = (self.last_tick - self.start).as_millis() as u64;
        if self.told {
            eprintln!("{at} ms: {what} {numbers:?}");
        }
        let bytes = what.bytes().map(u64::from);
        for number in bytes.chain([at]).chain(numbers.iter().copied()) {
            self.trace = (self.trace ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(7);
        }
    }

    /// Brings the accounts of time up to now.
    pub fn tick(&mut self) -> Now {
        // Once stopped, the runtime is going, and with it its time.
        let at = if self.stopped { self.last_tick } else { Instant::now() };
        let passed = at - self.last_tick;
        if passed > Duration::ZERO {
            let trial = self.blocked_until(at, false) - self.last_tick;
            let steady = self.blocked_until(at, true) - self.last_tick;
            self.blocked += trial;
            self.blocked_steady += steady;
            let most = self.scenario.config.target_concurrency;
            for (index, line) in self.books.lines.iter_mut().enumerate() {
                let excused = if line.is_steady() { steady } else { trial };
                let lags = |call: &Call| call.line == Some(index) && at - call.begun >= LAGS;
                let busy = line.flying >= most
                    || line.breaker.may_wait()
                    || (line.flying > 0 && self.calls.values().any(lags));
                line.excused += if busy { passed } else { excused };
            }
        }
        self.last_tick = at;
        if let Some(engine) = self.engine.upgrade().filter(|_| !self.stopped) {
            self.limit = engine.concurrency_limit();
        }
        Now { at, blocked: self.blocked, closing: self.closed_at.is_some() }
    }

    /// What the engine has forgotten of a target is forgotten here; it may forget one only when that is idle.
    pub fn forgets_if_gone(&mut self, line: usize) -> Result<(), String> {
        let now = self.tick();
        let Self { books, scenario, renewals_panicked, .. } = self;
        let line = &mut books.lines[line];
        let Some(last_push) = line.last_push.filter(|_| line.queue.strong_count() == 0) else {
            return Ok(());
        };
        let idle = now.at - last_push;
        let overflows = scenario.config.when_full == WhenFull::DropOldest || line.emf;
        let unseen = overflows || *renewals_panicked > 0;
        let given_up = |key: &Key| line.batches[key].perhaps_over || unseen;
        if idle < scenario.config.target_idle || !line.unfinished.iter().all(given_up) {
            let left: Vec<_> = line.unfinished.iter().map(|key| &line.batches[key]).collect();
            return Err(format!("{} was forgotten {idle:?} after its last event ({left:?})", line.name()));
        }
        (line.last_push, line.last_timestamp_ms, line.created_at) = (None, None, None);
        line.was_delivered = false;
        line.breaker = Breaker::default();
        self.forgotten += 1;
        Ok(())
    }

    /// Until when, at most until `at`, a target that gets through (or one on trial) can have found no seat since the
    /// last look. Requests hold a seat until they are slow, and those on trial never more than half of the seats.
    fn blocked_until(&self, at: Instant, steady: bool) -> Instant {
        let paced = self.paced_until.is_some_and(|until| until > self.last_tick);
        // Whose batch a probe has with it while it renews credentials cannot be told.
        let renewing = self.calls.values().any(|call| call.line.is_none());
        // While the endpoint is coming back, who goes when is not promised; that all goes in the end is.
        let coming_back = self.limit < self.scenario.config.concurrency;
        if self.gate.is_closed() || paced || renewing || coming_back {
            return at;
        }
        let half = (self.limit / 2).max(1);
        let begun = |but: bool| {
            let calls = self.calls.values().filter(move |call| call.steady != Some(but));
            let mut begun: Vec<_> = calls.map(|call| call.begun).collect();
            begun.sort_by(|one, other| other.cmp(one));
            begun
        };
        let for_certain = |call: &&Call| call.steady == Some(false);
        let mut trial_seats: Vec<_> =
            self.calls.values().filter(for_certain).map(|call| call.begun).collect();
        trial_seats.sort_by(|one, other| other.cmp(one));
        trial_seats.truncate(half);
        let all_slow_after = |mut begun: Vec<Instant>, seats: usize| {
            begun.sort_by(|one, other| other.cmp(one));
            begun.get(seats - 1).map_or(self.last_tick, |begun| *begun + self.scenario.config.slow_after)
        };
        let until = all_slow_after([begun(false), trial_seats].concat(), self.limit);
        let until = match steady {
            true => until,
            // A slow one waits for its place in the slow lane.
            false if self.slow_lane_may_be_full(at) => at,
            false => until.max(all_slow_after(begun(true), half)),
        };
        until.clamp(self.last_tick, at)
    }

    /// Whether those that lag may be all that the slow lane has room for: it is made for 24 or more, and a quarter of
    /// the memory.
    fn slow_lane_may_be_full(&self, at: Instant) -> bool {
        let lagging = || self.calls.values().filter(|call| at - call.begun >= LAGS);
        let bytes: usize = lagging().map(|call| call.bytes).sum();
        lagging().count() >= 24 || bytes >= self.scenario.config.buffer_max_bytes / 4
    }

    /// A call begins. `steady`: as its target was when the attempt began that it is a part of, which keeps its seat.
    pub fn call_begins(&mut self, line: Option<usize>, steady: Option<bool>, body_bytes: usize) -> u64 {
        self.calls_begun += 1;
        let bytes = 2 * body_bytes + 2000;
        self.calls.insert(self.calls_begun, Call { begun: self.last_tick, line, bytes, steady });
        self.calls_begun
    }

    /// The shutdown begins.
    pub fn closes(&mut self) {
        self.closed_at = Some(self.tick().at);
        self.books.lines.iter_mut().for_each(|line| line.excused_at_close = line.excused);
    }

    /// How long the target could have been sent to since the shutdown began.
    pub fn free_since_close(&self, line: usize) -> Duration {
        let line = &self.books.lines[line];
        let since = self.closed_at.map_or(Duration::ZERO, |at| self.last_tick - at);
        since.saturating_sub(line.excused - line.excused_at_close)
    }

    /// The true time of day.
    pub fn true_ms(&self) -> i64 {
        START_MS + (self.last_tick - self.start).as_millis() as i64
    }

    /// Memory is within its bounds; checked at every push and request.
    pub fn check_memory(&mut self) {
        let Some(engine) = self.engine.upgrade().filter(|_| !self.stopped) else { return };
        let config = &self.scenario.config;
        let (total, each) = (config.buffer_max_bytes, config.target_buffer_max_bytes);
        let over = self.books.lines.iter().find_map(|line| {
            let held = line.queue.upgrade()?.buffered_bytes();
            (held > each).then(|| format!("target {} holds {held} bytes of {each}", line.name()))
        });
        if let Some(over) = over {
            self.breaks(over);
        }
        let snapshot = engine.snapshot();
        if snapshot.buffered_bytes > total as u64 || snapshot.buffered_bytes_peak > total as u64 {
            self.breaks(format!(
                "{} bytes are held, {} at the peak, of {total}",
                snapshot.buffered_bytes, snapshot.buffered_bytes_peak
            ));
        }
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        self.healed = true;
        self.moods.fill(Mood::Fine);
        self.credentials_gone = None;
        self.outage = None;
        self.renewal_needed = false;
        for line in &self.books.lines {
            self.groups.entry(line.group.clone()).or_default();
            self.streams.insert((line.group.clone(), line.stream.clone()));
        }
    }

    /// Some fault: one of any kind, but one that pauses everybody only in runs that have those.
    pub fn any_fault(&mut self) -> usize {
        loop {
            let index = self.rng.usize(..self.faults.len());
            if self.scenario.endpoint_faults || meaning(&self.faults[index]) != Means::Pause {
                return index;
            }
        }
    }

    /// Changes what one target meets.
    pub fn change_mood(&mut self) {
        let target = self.rng.usize(self.scenario.healthy..self.scenario.targets);
        if self.scenario.stubborn && matches!(self.moods[target], Mood::Faulty(100, _)) {
            return;
        }
        let percent = *pick(&mut self.rng, &[10, 50, 100]);
        self.moods[target] = match self.rng.u32(..12) {
            0..3 => Mood::Fine,
            3 => Mood::Faulty(percent, None),
            4 | 5 => Mood::Faulty(percent, Some(self.any_fault())),
            6 | 7 => Mood::Losing(percent),
            8 => Mood::Hanging(percent),
            9 => Mood::Slow,
            10 if self.scenario.panics => Mood::Panicking(percent),
            _ => Mood::Rejecting(percent),
        };
    }

    /// Takes the credentials away for a while, or the other way round.
    pub fn lose_credentials(&mut self, at_most: Duration) {
        let fault = loop {
            let index = self.rng.usize(..self.faults.len());
            if meaning(&self.faults[index]) == Means::Pause {
                break index;
            }
        };
        let until = self.tick().at + at_most.mul_f64(self.rng.f64());
        self.credentials_gone = Some((until, fault));
        self.renewal_needed = self.rng.bool();
    }

    /// Takes the endpoint down for a while.
    pub fn go_down(&mut self, at_most: Duration) {
        let begun = self.tick().at;
        self.outage = Some(Outage { begun, until: begun + at_most.mul_f64(self.rng.f64()), requests: 0 });
    }

    /// Whether the endpoint is down. It must not be asked much meanwhile: each target may find out for itself what it is
    /// like to be alone, and again; then there are probes, at the pace of the shortest waits.
    pub fn is_down(&mut self) -> bool {
        let now = self.tick();
        let Some(outage) = self.outage.as_mut().filter(|outage| now.at < outage.until) else { return false };
        outage.requests += 1;
        let outage = *outage;
        let lasted = now.at - outage.begun;
        let waits = |failures| Duration::from_millis(Means::Pause.wait_ms(failures)) / 2;
        let mut spent = Duration::ZERO;
        let is_over = |failures: &u32| {
            spent += waits(*failures);
            spent > lasted
        };
        let probes = (0..u32::MAX).find(is_over).unwrap_or(0) as usize;
        let most = 4 * self.scenario.targets + self.scenario.config.concurrency + 40 + probes;
        if outage.requests > most && !now.closing {
            self.breaks(format!("{} requests in an outage of {lasted:?}, {most} at most", outage.requests));
        }
        true
    }

    /// The fault that every request meets now, if any.
    pub fn endpoint_fault(&mut self) -> Option<usize> {
        let (until, fault) = self.credentials_gone?;
        if self.tick().at < until || self.renewal_needed {
            return Some(fault);
        }
        self.credentials_gone = None;
        None
    }

    /// An attempt at a batch ended.
    pub fn attempt_ended(&mut self, line: usize, key: Key, end: End, pause: Pause) {
        let now = self.tick();
        self.paused += u32::from(pause != Pause::No);
        let slow_after = self.scenario.config.slow_after;
        self.gate.ends(line, key, pause, end == End::Broken, now, slow_after);
        let unclear = self.overflows(line) || self.renewals_panicked > 0 || self.closed_at.is_some();
        let alone = self.scenario.config.target_concurrency == 1;
        let line = &mut self.books.lines[line];
        line.flying -= 1;
        line.suspect = false;
        let more_failed = line.more_failed(key);
        let unclear = unclear
            || line.unfinished.iter().any(|key| {
                let batch = &line.batches[key];
                batch.perhaps_over || batch.perhaps_returned
            });
        if let Some(batch) = line.batches.get_mut(&key) {
            batch.flies = false;
            batch.last_answer = Some(now.at);
            if matches!(end, End::Final | End::Broken) {
                batch.is_final = true;
                batch.body = None;
                line.unfinished.remove(&key);
            }
        }
        line.breaker.ends(key, end, now, alone, more_failed.then_some(!unclear));
    }

    /// A renewal failed or panicked, and some batch with it: ended if it was tried for too long, or in any case.
    pub fn renewal_lost(&mut self, panicked: bool) {
        let now = self.tick();
        let max_age = self.scenario.config.retry_max_age;
        let latest = now.at + Duration::from_secs(60);
        for line in &mut self.books.lines {
            let mut ended = panicked || now.closing;
            for key in &line.unfinished {
                let over = line.batches[key].first_attempt + max_age < latest;
                ended |= over;
                if over && let Some(batch) = line.batches.get_mut(key) {
                    batch.perhaps_over = true;
                }
            }
            if ended {
                line.breaker.doubt();
            }
        }
    }

    /// Whether the oldest events of the queue may make room for others.
    pub fn overflows(&self, line: usize) -> bool {
        self.scenario.config.when_full == WhenFull::DropOldest || self.books.lines[line].emf
    }
}

/// The host's clock: the true time and how wrong it is.
#[derive(Debug)]
pub struct HostClock {
    start: Instant,
    pub wrong_by_ms: AtomicI64,
}

impl HostClock {
    /// A clock that is right.
    pub fn new() -> Arc<Self> {
        Arc::new(HostClock { start: Instant::now(), wrong_by_ms: AtomicI64::new(0) })
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> i64 {
        START_MS + self.start.elapsed().as_millis() as i64 + self.wrong_by_ms.load(Ordering::Relaxed)
    }
}
