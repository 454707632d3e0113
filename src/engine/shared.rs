//! The parts of a sink that tasks and attempts share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::creation_pace::CreationPace;
use super::group_creations::GroupCreations;
use super::owed_settings::OwedSettings;
use crate::clock::Clock;
use crate::config::Config;
use crate::memory::Budget;
use crate::outcome::{Ledger, Reason};
use crate::report::stats::Stats;
use crate::report::transitions::Transitions;
use crate::schedule::backoff::Backoff;
use crate::schedule::body_limit::BodyLimit;
use crate::schedule::flush_timers::{FlushTimers, TimerQueue};
use crate::schedule::pool::Pool;
use crate::schedule::retry_heap::RetryHeap;
use crate::service::LogsApi;
use crate::sources::Sources;
use crate::sync::lock;
use crate::target::{Effects, Queue, Registry};

/// Memory that pushes leave for compression, for each thread that may compress, in bytes.
const HEADROOM_PER_THREAD: usize = 1024 * 1024;

/// The dependencies that an engine gets from outside.
pub struct Dependencies {
    /// The service.
    pub api: Arc<dyn LogsApi>,
    /// The time of day, as the service sees it.
    pub clock: Arc<dyn Clock>,
    /// The offsets of sources.
    pub sources: Sources,
    /// The seed of the jitter.
    pub seed: u64,
}

/// See the module.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) budget: Arc<Budget>,
    pub(super) registry: Registry,
    pub(super) pool: Pool,
    pub(super) retries: RetryHeap,
    pub(super) timers: FlushTimers,
    pub(super) creations: GroupCreations,
    pub(super) creation_pace: CreationPace,
    pub(super) owed_settings: OwedSettings,
    pub(super) body_limit: BodyLimit,
    pub(super) transitions: Transitions,
    pub(super) ledger: Arc<Ledger>,
    pub(super) stats: Stats,
    pub(super) api: Arc<dyn LogsApi>,
    pub(super) sources: Arc<Sources>,
    pub(super) clock: Arc<dyn Clock>,
    /// Guards the source of jitter. Nothing awaits while holding it.
    rng: Mutex<fastrand::Rng>,
    /// Guards the shutdown, once the sink is closing. Nothing awaits while holding it.
    closing: Mutex<Option<Closing>>,
    stopped: AtomicBool,
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) began_at: Instant,
    pub(super) deadline: Option<Instant>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(config: Config, dependencies: Dependencies) -> (Arc<Self>, TimerQueue) {
        let headroom = config.worker_threads.saturating_mul(HEADROOM_PER_THREAD);
        let budget = Budget::new(config.buffer_max_bytes, config.target_buffer_max_bytes, headroom);
        let (timers, timer_queue) = FlushTimers::new(config.flush_interval);
        let shared = Shared {
            budget: Arc::new(budget),
            registry: Registry::default(),
            pool: Pool::new(&config),
            retries: RetryHeap::new(),
            timers,
            creations: GroupCreations::default(),
            creation_pace: CreationPace::default(),
            owed_settings: OwedSettings::new(config.retention_days),
            body_limit: BodyLimit::default(),
            transitions: Transitions::default(),
            ledger: Arc::default(),
            stats: Stats::default(),
            api: dependencies.api,
            sources: Arc::new(dependencies.sources),
            clock: dependencies.clock,
            rng: Mutex::new(fastrand::Rng::with_seed(dependencies.seed)),
            closing: Mutex::new(None),
            stopped: AtomicBool::new(false),
            config,
        };
        (Arc::new(shared), timer_queue)
    }

    /// Does the work that a change of a queue leaves to its caller.
    pub(super) fn apply(&self, queue: &Arc<Queue>, effects: Effects) {
        if let Some(class) = effects.ready {
            self.pool.push(queue.clone(), class);
        }
        if let Some(opened_at) = effects.arm_timer {
            self.timers.arm(queue, opened_at);
        }
        if effects.has_grown {
            self.registry.holders.list(queue);
        }
        if effects.recovered {
            self.transitions.recovered(queue);
        }
    }

    /// Abandons everything that waits: nothing can be sent any more before the deadline.
    pub(super) fn abandon_all(&self) {
        for queue in self.registry.all() {
            let effects = queue.abandon();
            self.apply(&queue, effects);
        }
    }

    pub(super) fn begin_closing(&self, closing: Closing) {
        *lock(&self.closing) = Some(closing);
    }

    /// Returns whether the sink is closing.
    pub(super) fn is_closing(&self) -> bool {
        lock(&self.closing).is_some()
    }

    /// Returns whether the sink is closing, and will be shut down by `due`.
    pub(super) fn closes_before(&self, due: Instant) -> bool {
        let closing = *lock(&self.closing);
        closing.and_then(|closing| closing.deadline).is_some_and(|deadline| deadline <= due)
    }

    /// Returns whether the sink is closing, and began to at `attempt` or later.
    pub(super) fn closing_began_after(&self, attempt: Instant) -> bool {
        (*lock(&self.closing)).is_some_and(|closing| attempt <= closing.began_at)
    }

    pub(super) fn note_stopped(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The reason for the batch of an attempt that was cut off.
    pub(super) fn cut_off_reason(&self) -> Reason {
        if self.is_stopped() { Reason::Shutdown } else { Reason::InternalError }
    }

    /// A random number below `max`.
    pub(super) fn random_below(&self, max: usize) -> usize {
        lock(&self.rng).usize(..max)
    }

    /// The wait after `failures` earlier consecutive failures.
    pub(super) fn delay(&self, backoff: Backoff, failures: u32) -> Duration {
        backoff.delay(failures, self.retries.len(), &mut lock(&self.rng))
    }
}
