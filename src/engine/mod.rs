//! The engine: orchestration of all parts of a sink.
//!
//! [`Engine`] is what the sink uses: start, target, push, flush, close, stop, snapshot. `Shared` is what tasks and
//! attempts use: the parts themselves, the configuration, the clock, the randomness and the closing state.
//!
//! The engine gets the service, the clock and the seed of its randomness from outside and runs on whatever runtime its
//! tasks are started on, so that a test can determine a whole run.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::config::Config;
use crate::limits;
use crate::memory::Budget;
use crate::outcome::{AckQueue, Outcome};
use crate::report::stats::Snapshot;
use crate::sources::Sources;
use crate::target::registry::RegistrySnapshot;
use crate::target::{Queue, QueueSnapshot};
use crate::wait_group::WaitGroup;

pub use push_error::PushError;
pub use shared::Dependencies;

use shared::{Closing, Shared};

mod create;
mod creation_pace;
mod cut_short;
mod group_creations;
mod in_flight;
mod owed_settings;
mod permit;
mod push;
mod push_error;
mod retention;
mod sender;
mod shared;
mod tasks;

/// The engine of a sink. A clone is another handle to the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts an engine with a checked configuration, and its tasks on the runtimes: at least one.
    pub fn start(config: Config, dependencies: Dependencies, runtimes: &[Handle]) -> Self {
        let (shared, timers) = Shared::new(config, dependencies);
        tasks::start(&shared, timers, runtimes);
        Engine { shared }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The memory budget.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// The sources of the host.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.shared.sources
    }

    /// The acks that the host has not fetched yet.
    pub fn acks(&self) -> &AckQueue {
        &self.shared.ledger.acks
    }

    /// The queue of a target, created if it is new. A missing name is the configured one.
    pub fn target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        let shared = &*self.shared;
        let group = group.or(shared.config.log_group.as_deref()).ok_or(PushError::NoTarget("log_group"))?;
        let stream =
            stream.or(shared.config.log_stream.as_deref()).ok_or(PushError::NoTarget("log_stream"))?;
        if let Some(queue) = shared.registry.get(group, stream) {
            return Ok(queue);
        }
        limits::check_group_name(group).map_err(PushError::BadName)?;
        limits::check_stream_name(stream).map_err(PushError::BadName)?;
        let create = || {
            let (concurrency, slow_after) = (shared.config.target_concurrency, shared.config.slow_after);
            Queue::new(group, stream, concurrency, slow_after, &shared.budget, &shared.ledger)
        };
        shared.registry.get_or_insert(group, stream, create).ok_or(PushError::Closed)
    }

    /// Counts a push that was refused.
    pub fn count_refused(&self) {
        self.shared.stats.count_refused_event();
    }

    /// Seals and sends everything. The wait group is done when all events accepted before the call are final.
    pub fn flush(&self) -> Arc<WaitGroup> {
        let group = Arc::<WaitGroup>::default();
        for queue in self.shared.registry.all() {
            let effects = queue.flush(group.guard());
            self.shared.apply(&queue, effects);
        }
        group
    }

    /// Accepts no more events and sends what there is. A batch that would be tried again only after the deadline is
    /// abandoned at once. The wait group is done when every event is final.
    pub fn close(&self, deadline: Option<Instant>) -> Arc<WaitGroup> {
        let shared = &*self.shared;
        shared.begin_closing(Closing { began_at: Instant::now(), deadline });
        shared.registry.close();
        let group = Arc::<WaitGroup>::default();
        for queue in shared.registry.all() {
            let effects = queue.close(group.guard());
            shared.apply(&queue, effects);
        }
        shared.pool.start_over();
        shared.owed_settings.close();
        shared.budget.wake_all();
        group
    }

    /// The wait group is done when each setting that is owed now was tried once more. Call it after [`Engine::close`].
    pub fn wait_for_owed_settings(&self) -> Arc<WaitGroup> {
        self.shared.owed_settings.wait_for_last_tries()
    }

    /// Returns whether the sink is closing.
    pub fn is_closing(&self) -> bool {
        self.shared.is_closing()
    }

    /// Abandons everything that still waits, and starts no more attempts. Batches in flight are finalized with the tasks
    /// of their attempts.
    pub fn stop(&self) {
        self.shared.note_stopped();
        self.shared.pool.close();
        self.shared.retries.close();
        self.shared.creation_pace.close();
        self.shared.owed_settings.stop();
        self.shared.abandon_all();
    }

    /// The most requests in flight at present, without the slow lane.
    pub fn concurrency_limit(&self) -> usize {
        self.shared.pool.snapshot().limit
    }

    /// The statistics now.
    pub fn snapshot(&self) -> Snapshot {
        let shared = &*self.shared;
        let mut snapshot = Snapshot::default();
        shared.stats.fill(&mut snapshot);
        // Outcomes are read before the accepted events, so that the pending ones never come out too low.
        let ended = Outcome::ALL.map(|outcome| shared.ledger.events(outcome));
        [
            snapshot.delivered_events,
            snapshot.rejected_events,
            snapshot.dropped_events,
            snapshot.abandoned_events,
        ] = ended;
        snapshot.delivered_bytes = shared.ledger.delivered_bytes();
        let RegistrySnapshot { queues, forgotten } = shared.registry.snapshot();
        let mut total = forgotten;
        for queue in queues {
            let counts = queue.counts();
            snapshot.targets += 1;
            snapshot.targets_failing += u64::from(!counts.breaker_closed);
            total.add(counts.events);
        }
        (snapshot.accepted_events, snapshot.accepted_bytes) = (total.accepted, total.accepted_bytes);
        let pool = shared.pool.snapshot();
        snapshot.settings_owed = shared.owed_settings.count() as u64;
        snapshot.endpoint_paused = u64::from(!pool.endpoint_up);
        snapshot.concurrency_limit = pool.limit as u64;
        snapshot.requests_slow = pool.slow.len() as u64;
        snapshot.pending_events = snapshot.accepted_events.saturating_sub(ended.iter().sum());
        snapshot.buffered_bytes = shared.budget.used() as u64;
        snapshot.buffered_bytes_peak = shared.budget.peak() as u64;
        snapshot
    }

    /// The state of each target, by group and stream.
    pub fn target_snapshots(&self) -> Vec<QueueSnapshot> {
        let slow = self.shared.pool.snapshot().slow;
        let queues = self.shared.registry.all();
        let mut targets: Vec<_> =
            queues.iter().map(|queue| queue.snapshot(slow.contains(&queue.id()))).collect();
        targets.sort_by(|a, b| (&a.group, &a.stream).cmp(&(&b.group, &b.stream)));
        targets
    }
}
