//! The world around an engine: the time, the groups and streams that exist, the faults of the moment, and the first
//! promise that the engine broke.

mod clock;
mod creations;
mod faults;
mod memory;
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cwl_sink::config::WhenFull;
use cwl_sink::engine::Engine;
use tokio::time::Instant;

use crate::models::{BodyLimitModel, ClockModel, EndpointModel, Moment};
use crate::record::{QueueRecord, Record, Steadiness};
use crate::scenario::Scenario;

pub use clock::{EngineClock, HostClock, errors_of, signing_error_ms};
pub use creations::NextCall;
pub use faults::FaultMode;

use clock::START_MS;
use creations::Creations;
use faults::Faults;
use slots::Calls;

/// See the module.
pub struct World {
    pub scenario: Scenario,
    pub record: Record,
    pub rng: fastrand::Rng,
    pub resources: Resources,
    pub faults: Faults,
    pub endpoint: EndpointModel,
    pub body_limit: BodyLimitModel,
    pub clock: Arc<EngineClock>,
    pub clock_model: ClockModel,
    /// A proxy wrote the date of the last answer.
    pub last_date_was_foreign: bool,
    pub calls: Calls,
    pub creations: Creations,
    pub counts: Counts,
    pub shutdown: Shutdown,
    pub engine: Weak<Engine>,
    /// The first promise that was seen broken.
    pub broken: Option<String>,
    pub trace: Trace,
    /// See [`Moment::blocked`].
    blocked: Duration,
    start: Instant,
    last_tick: Instant,
}

/// The groups and streams of the service.
#[derive(Default)]
pub struct Resources {
    /// The groups that exist, with their retention in days.
    pub groups: BTreeMap<String, Option<u32>>,
    /// The streams that exist, as group and stream.
    pub streams: BTreeSet<(String, String)>,
}

/// Counts of what happened in the run. Some promises are less exact after that.
#[derive(Default)]
pub struct Counts {
    pub renewals: u32,
    pub renewals_panicked: u32,
    /// Failures that pause all targets, or slow them.
    pub endpoint_failures: u32,
}

/// The end of the engine.
#[derive(Default)]
pub struct Shutdown {
    /// The time at which the shutdown began.
    pub closed_at: Option<Instant>,
    /// Everything was final before the time-out of the shutdown.
    pub is_in_time: bool,
    /// A batch waited for the memory to halve it when the shutdown began.
    pub is_blocked: bool,
    /// The engine was stopped, and the runtime may be gone.
    pub is_stopped: bool,
}

/// A hash of everything that happened, to compare runs.
pub struct Trace {
    pub hash: u64,
    prints: bool,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(scenario: Scenario) -> Self {
        let mut rng = fastrand::Rng::with_seed(scenario.seed ^ 0x3017d);
        let (mut record, mut resources) = (Record::default(), Resources::default());
        let one_at_a_time = scenario.config.target_concurrency == 1;
        for target in 0..scenario.targets {
            let (group, stream) = (format!("g{}", target % scenario.groups), format!("s{target}"));
            let healthy = target < scenario.healthy;
            if healthy || !scenario.missing || rng.u32(..3) > 0 {
                resources.groups.insert(group.clone(), None);
                if healthy || !scenario.missing || rng.bool() {
                    resources.streams.insert((group.clone(), stream.clone()));
                }
            }
            for emf in [false, true] {
                record.queues.push(QueueRecord::new(&group, &stream, emf, healthy, one_at_a_time));
            }
        }
        record.sources.resize_with(scenario.sources, Default::default);
        let faults = Faults::new(&scenario, &mut rng);
        let now = Instant::now();
        World {
            endpoint: EndpointModel::new(scenario.config.slow_after),
            body_limit: BodyLimitModel::default(),
            clock: Arc::new(EngineClock::new(HostClock::new())),
            clock_model: ClockModel::default(),
            last_date_was_foreign: false,
            calls: Calls::new(scenario.config.concurrency),
            creations: Creations::default(),
            record,
            rng,
            resources,
            faults,
            counts: Counts::default(),
            shutdown: Shutdown::default(),
            engine: Weak::new(),
            broken: None,
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, prints: std::env::var_os("TRACE").is_some() },
            blocked: Duration::ZERO,
            start: now,
            last_tick: now,
            scenario,
        }
    }

    /// Remembers that a promise was broken, if it is the first one.
    pub fn report_broken(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            let at = self.last_tick - self.start;
            self.broken = Some(format!("after {at:?}: {}", what.into()));
        }
    }

    /// The same for the result of a check.
    pub fn report_if_broken(&mut self, kept: Result<(), String>) {
        if let Err(what) = kept {
            self.report_broken(what);
        }
    }

    /// Adds something that happened to the trace. A runtime drops its tasks in an order of its own, so the trace ends
    /// when the engine is stopped.
    #[allow(clippy::print_stderr, reason = "`TRACE=1` asks for it")]
    pub fn note(&mut self, what: &str, numbers: &[u64]) {
        if self.shutdown.is_stopped {
            return;
        }
        let at = (self.last_tick - self.start).as_millis() as u64;
        if self.trace.prints {
            eprintln!("{at} ms: {what} {numbers:?}");
        }
        let bytes = what.bytes().map(u64::from);
        for number in bytes.chain([at]).chain(numbers.iter().copied()) {
            self.trace.hash = (self.trace.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(7);
        }
    }

    /// Brings the accounts of time up to now.
    pub fn tick(&mut self) -> Moment {
        self.resolve_expected_call();
        // When the engine is stopped, the runtime goes away, and with it its time.
        let at = if self.shutdown.is_stopped { self.last_tick } else { Instant::now() };
        let passed = at - self.last_tick;
        if passed > Duration::ZERO {
            let for_trial = self.blocked_until(at, Steadiness::OnTrial) - self.last_tick;
            let for_steady = self.blocked_until(at, Steadiness::Steady) - self.last_tick;
            self.blocked += for_trial;
            let in_flight_max = self.scenario.config.target_concurrency;
            for queue in &mut self.record.queues {
                let waits_for_itself = queue.in_flight >= in_flight_max
                    || queue.breaker.may_wait()
                    // A target on trial sends one request at a time.
                    || (queue.in_flight > 0 && queue.steadiness != Steadiness::Steady);
                queue.excused += match queue.steadiness {
                    _ if waits_for_itself => passed,
                    Steadiness::Steady => for_steady,
                    Steadiness::OnTrial | Steadiness::Unknown => for_trial,
                };
            }
        }
        self.last_tick = at;
        if let Some(engine) = self.engine.upgrade().filter(|_| !self.shutdown.is_stopped) {
            self.calls.limit = engine.concurrency_limit();
        }
        Moment {
            at,
            blocked: self.blocked,
            closing: self.shutdown.closed_at.is_some(),
            renewed: self.counts.renewals > 0,
            creations_paced: self.creations.paced_until.is_some_and(|until| until > at),
        }
    }

    /// Forgets of a target what the engine has forgotten. The engine may forget a target only when it is idle.
    pub fn forget_if_gone(&mut self, index: usize) -> Result<(), String> {
        let now = self.tick();
        let unseen = self.may_drop_oldest(index) || self.counts.renewals_panicked > 0;
        let config = &self.scenario.config;
        let queue = &mut self.record.queues[index];
        let Some(last_push_at) = queue.last_push_at.filter(|_| queue.engine_queue.strong_count() == 0) else {
            return Ok(());
        };
        let idle = now.at - last_push_at;
        let may_be_empty = queue.unfinished_batches().all(|batch| batch.may_be_given_up() || unseen);
        if idle < config.target_idle || !may_be_empty {
            let left: Vec<_> = queue.unfinished_batches().collect();
            return Err(format!("{} was forgotten {idle:?} after its last event ({left:?})", queue.name()));
        }
        queue.forget();
        Ok(())
    }

    /// The shutdown begins.
    pub fn begin_shutdown(&mut self) {
        self.shutdown.closed_at = Some(self.tick().at);
        for queue in &mut self.record.queues {
            queue.excused_before_close = queue.excused;
        }
    }

    /// The time since the shutdown began in which the target could have been sent to.
    pub fn free_since_close(&self, queue: usize) -> Duration {
        let queue = &self.record.queues[queue];
        let since = self.shutdown.closed_at.map_or(Duration::ZERO, |at| self.last_tick - at);
        since.saturating_sub(queue.excused - queue.excused_before_close)
    }

    /// The true time of day in milliseconds since the Unix epoch.
    pub fn true_ms(&self) -> i64 {
        START_MS + (self.last_tick - self.start).as_millis() as i64
    }

    /// Returns true if the oldest events of the queue may be dropped to make room.
    pub fn may_drop_oldest(&self, queue: usize) -> bool {
        self.scenario.config.when_full == WhenFull::DropOldest || self.record.queues[queue].emf
    }
}
