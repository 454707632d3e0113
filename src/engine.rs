//! What all parts of a sink share, and the way in: a push, up to the moment when its batch may be sent.
//!
//! The engine takes the service, the clock and the randomness from outside and runs on whatever runtime its
//! tasks are started on, so that a test can determine a whole run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::ack::{AckLine, Ledger, Outcome, Reason, Split};
use crate::batch::NewEvent;
use crate::buffers;
use crate::clock::Clock;
use crate::config::{Config, WhenFull};
use crate::countdown::Countdown;
use crate::event::{self, Fitted};
use crate::flush_timer::{self, Ask, FlushTimers};
use crate::limits;
use crate::logs_api::LogsApi;
use crate::memory::{Budget, Standing};
use crate::message::{Message, Scratch};
use crate::offsets::{Source, SourceRange};
use crate::pool::{self, Pool};
use crate::queue::{Effects, Queue, QueueSnapshot, Refusal, timely};
use crate::registry::{self, Registry};
use crate::retry::{self, Backoff, RetryHeap};
use crate::sources::{self, Sources};
use crate::stats::{Snapshot, Stats};
use crate::target_manager::TargetManager;
use crate::transitions::Transitions;

/// Memory kept for compressing, for each thread that may be at it.
const HEADROOM_PER_THREAD: usize = 1024 * 1024;

/// What an engine takes from outside.
pub struct Parts {
    /// The service.
    pub api: Arc<dyn LogsApi>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The offsets that are kept.
    pub sources: Sources,
    /// Seed of the jitter.
    pub seed: u64,
}

/// An event as it is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Milliseconds since the Unix epoch. None: the last timestamp that the same target was given, else now.
    pub timestamp_ms: Option<i64>,
    /// Any bytes but none at all; what is not UTF-8 becomes U+FFFD.
    pub message: &'a [u8],
    /// Comes back in the event's ack.
    pub token: u64,
    /// The source that the event covers a part of, and from where to where.
    pub range: Option<(&'a Arc<Source>, u64, u64)>,
}

/// Why an event was not taken. Nothing of it is kept then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)] // each variant's text says it
pub enum PushError {
    #[error(
        "the message is empty; CloudWatch Logs takes messages of 1 to {} bytes",
        limits::MESSAGE_BYTES_MAX
    )]
    Empty,
    #[error("the event's offsets go from {begin} to {end}; the end must be greater")]
    BadRange { begin: u64, end: u64 },
    #[error(
        "the message has {bytes} bytes as UTF-8; CloudWatch Logs takes at most {}",
        limits::MESSAGE_BYTES_MAX
    )]
    TooLarge { bytes: usize },
    #[error(
        "the event takes {needs} bytes of memory, and a target may hold {limit} (buffer_max_bytes, target_buffer_max_bytes)"
    )]
    NeverFits { needs: usize, limit: usize },
    #[error("timestamp_ms is {timestamp_ms}; allowed are milliseconds since 1970, or 0 for none")]
    NegativeTimestamp { timestamp_ms: i64 },
    #[error("timestamp_ms is {timestamp_ms}, {} s ago; CloudWatch Logs takes events of at most 14 days", (now_ms - timestamp_ms) / 1000)]
    TooOld { timestamp_ms: i64, now_ms: i64 },
    #[error("timestamp_ms is {timestamp_ms}, {} s ahead; CloudWatch Logs takes events of at most 2 hours", (timestamp_ms - now_ms) / 1000)]
    TooNew { timestamp_ms: i64, now_ms: i64 },
    #[error("the event has no {0}, and the option {0} is not set")]
    NoTarget(&'static str),
    #[error("{0}")]
    BadName(String),
    #[error(
        "no room: {buffered} of {limit} bytes (buffer_max_bytes) are taken, {held} of them by this target"
    )]
    Full { buffered: usize, limit: usize, held: usize },
    #[error("the sink is shut down")]
    Closed,
}

#[cold]
fn untimely(timestamp_ms: i64, now_ms: i64) -> PushError {
    match timestamp_ms {
        ..0 => PushError::NegativeTimestamp { timestamp_ms },
        _ if timestamp_ms < now_ms => PushError::TooOld { timestamp_ms, now_ms },
        _ => PushError::TooNew { timestamp_ms, now_ms },
    }
}

/// See the module.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) budget: Arc<Budget>,
    pub(crate) registry: Registry,
    pub(crate) pool: Pool,
    pub(crate) retries: RetryHeap,
    pub(crate) timers: FlushTimers,
    pub(crate) targets: TargetManager,
    pub(crate) transitions: Transitions,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stats: Stats,
    pub(crate) api: Arc<dyn LogsApi>,
    pub(crate) sources: Sources,
    clock: Arc<dyn Clock>,
    /// Guards the source of jitter. Nothing awaits while holding it.
    rng: Mutex<fastrand::Rng>,
    /// When the sink will be shut down, once it is closing. Nothing awaits while holding it.
    closing: Mutex<Option<Closing>>,
    stopped: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    since: Instant,
    deadline: Option<Instant>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes an engine of a checked configuration and starts its tasks on the runtime.
    pub fn start(config: Config, parts: Parts, runtime: &Handle) -> Arc<Self> {
        let headroom = config.worker_threads.saturating_mul(HEADROOM_PER_THREAD);
        let budget = Budget::new(config.buffer_max_bytes, config.target_buffer_max_bytes, headroom);
        let (timers, asked) = FlushTimers::new();
        let engine = Arc::new(Engine {
            budget: Arc::new(budget),
            registry: Registry::default(),
            pool: Pool::new(&config),
            retries: RetryHeap::new(),
            timers,
            targets: TargetManager::default(),
            transitions: Transitions::default(),
            ledger: Arc::default(),
            stats: Stats::default(),
            api: parts.api,
            sources: parts.sources,
            clock: parts.clock,
            rng: Mutex::new(fastrand::Rng::with_seed(parts.seed)),
            closing: Mutex::new(None),
            stopped: AtomicBool::new(false),
            config,
        });
        engine.clone().start_tasks(asked, runtime);
        engine
    }

    fn start_tasks(self: Arc<Self>, asked: UnboundedReceiver<Ask>, runtime: &Handle) {
        runtime.spawn(pool::run(self.clone()));
        runtime.spawn(retry::process_retries(self.clone()));
        runtime.spawn(sources::keep_offsets(self.clone()));
        runtime.spawn(buffers::give_back_when_idle(self.budget.buffers().clone()));
        runtime.spawn(registry::forget_idle_targets(self.clone()));
        runtime.spawn(flush_timer::run_flush_timers(self, asked));
    }

    /// The queue of a target, made if it is new. A missing name is the configured one.
    pub fn target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        let group = group.or(self.config.log_group.as_deref()).ok_or(PushError::NoTarget("log_group"))?;
        let stream = stream.or(self.config.log_stream.as_deref()).ok_or(PushError::NoTarget("log_stream"))?;
        if let Some(queue) = self.registry.get(group, stream) {
            return Ok(queue);
        }
        limits::check_group_name(group).map_err(PushError::BadName)?;
        limits::check_stream_name(stream).map_err(PushError::BadName)?;
        let make = || {
            let (concurrency, slow_after) = (self.config.target_concurrency, self.config.slow_after);
            Queue::new(group, stream, concurrency, slow_after, &self.budget, &self.ledger)
        };
        self.registry.get_or_insert(group, stream, make).ok_or(PushError::Closed)
    }

    /// Takes one event, or says at once why not, in a box, so that what was taken costs no more than it must. Never
    /// blocks: [`PushError::Full`] is for the caller to wait out, if that is what `when_full` asks for.
    pub fn push(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        if event.message.is_empty() {
            return Err(PushError::Empty.into());
        }
        let now_ms = match event.timestamp_ms {
            Some(_) => self.clock.roughly_now_ms(),
            None => self.clock.now_ms(),
        };
        if let Some(timestamp_ms) = event.timestamp_ms
            && !timely(timestamp_ms, now_ms)
        {
            return Err(untimely(timestamp_ms, now_ms).into());
        }
        if let Some((_, begin, end)) = event.range
            && begin >= end
        {
            return Err(PushError::BadRange { begin, end }.into());
        }
        if event::is_emf(self.config.emf, event.message) {
            let queue = self.registry.emf_queue(queue).ok_or(PushError::Closed)?;
            return self.push_fitted(&queue, event, now_ms);
        }
        self.push_fitted(queue, event, now_ms)
    }

    /// Makes the message fit what the service takes, and pushes it, in pieces if need be.
    fn push_fitted(&self, queue: &Arc<Queue>, event: &Event<'_>, now_ms: i64) -> Result<(), Box<PushError>> {
        if event.message.len() > limits::MESSAGE_BYTES_MAX / 3 {
            // It may be too long, if what is not UTF-8 in it grows to U+FFFD.
            return self.push_long(queue, event, now_ms);
        }
        let mut effects = Effects::default();
        if queue.push_at_once(event, now_ms, &mut effects) {
            if !effects.is_nothing() {
                self.apply(queue, effects);
            }
            return Ok(());
        }
        let mut scratch = Scratch::of_thread();
        let message = Message::write(event.message, &mut scratch);
        self.push_pieces(queue, event.timestamp_ms, &[NewEvent::whole(message, event)], now_ms)
    }

    fn push_long(&self, queue: &Arc<Queue>, event: &Event<'_>, now_ms: i64) -> Result<(), Box<PushError>> {
        let stamp = event.timestamp_ms;
        match event::fit(self.config.oversize, self.budget.largest_charge(), event.message) {
            Fitted::Whole(message) => {
                self.push_pieces(queue, stamp, &[NewEvent::whole(message, event)], now_ms)
            }
            Fitted::Cut(text) => {
                let message = Message::measure(text.as_bytes());
                self.push_pieces(queue, stamp, &[NewEvent::whole(message, event)], now_ms)?;
                self.stats.event_truncated();
                Ok(())
            }
            Fitted::Pieces(text, places) => {
                let split = Split::new(places.len() - 1, event.range.map(SourceRange::new));
                let piece = |place: &[usize]| NewEvent {
                    message: Message::measure(&text.as_bytes()[place[0]..place[1]]),
                    token: event.token,
                    range: None,
                    split: Some(split.clone()),
                };
                let pieces: Vec<_> = places.windows(2).map(piece).collect();
                self.push_pieces(queue, stamp, &pieces, now_ms)
            }
            Fitted::TooLong(bytes) => Err(PushError::TooLarge { bytes }.into()),
            Fitted::NeverFits { needs, limit } => Err(PushError::NeverFits { needs, limit }.into()),
        }
    }

    fn push_pieces(
        &self,
        queue: &Arc<Queue>,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
        now_ms: i64,
    ) -> Result<(), Box<PushError>> {
        // Of metrics the newest count, so the oldest make room rather than the host wait.
        let drop_oldest = self.config.when_full == WhenFull::DropOldest || queue.is_emf();
        loop {
            let mut effects = Effects::default();
            let pushed = queue.push(timestamp_ms, pieces, now_ms, drop_oldest, &mut effects);
            if !effects.is_nothing() {
                self.apply(queue, effects);
            }
            match pushed {
                Ok(()) => return Ok(()),
                Err(Refusal::Closed) => return Err(PushError::Closed.into()),
                Err(Refusal::NeverFits { needs, limit }) => {
                    return Err(PushError::NeverFits { needs, limit }.into());
                }
                Err(Refusal::Full) if drop_oldest && self.drop_oldest_of_others(queue, pieces) => continue,
                Err(Refusal::Full) => {
                    // Where nothing is on its way that would make room, open batches have to. But a target that fails
                    // has its share, and the batches of the others are not sent early for its sake.
                    let fails = queue.standing() == Standing::Failing;
                    if !fails && !self.stats.is_sending() && self.pool.is_empty() {
                        self.timers.seal_all();
                    }
                    let (limit, held) = (self.config.buffer_max_bytes, queue.buffered_bytes());
                    return Err(PushError::Full { buffered: self.budget.used(), limit, held }.into());
                }
            }
        }
    }

    /// The target has nothing left to drop that would make the room, so the others do, the largest first. A target
    /// that does not get through takes nothing from those that do, and metrics take only from metrics unless the host
    /// wants the oldest dropped anyway. False when that cannot make the room either; nothing is dropped then.
    fn drop_oldest_of_others(&self, pushed: &Queue, pieces: &[NewEvent<'_>]) -> bool {
        let standing = pushed.standing();
        let may_lose = |queue: &Arc<Queue>| {
            (standing == Standing::GetsThrough || queue.standing() != Standing::GetsThrough)
                && (self.config.when_full == WhenFull::DropOldest || queue.is_emf())
        };
        let others = self.registry.all().into_iter().filter(may_lose);
        let mut others: Vec<_> = others.map(|queue| (queue.bytes_to_free(), queue)).collect();
        others.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let all: usize = others.iter().map(|(bytes, _)| bytes).sum();
        let used = self.budget.used().saturating_sub(all);
        let held = pushed.buffered_bytes();
        let helps = self.budget.admits(standing, held, pushed.needs(pieces), used);
        helps
            && others.iter().any(|(_, queue)| {
                let (dropped, effects) = queue.drop_oldest();
                self.apply(queue, effects);
                dropped
            })
    }

    /// Does what a change of a queue asks for.
    pub(crate) fn apply(&self, queue: &Arc<Queue>, effects: Effects) {
        if let Some(line) = effects.ready {
            self.pool.push(queue.clone(), line);
        }
        if let Some(opened_at) = effects.arm_timer {
            self.timers.arm(queue, opened_at);
        }
        if effects.closed {
            self.transitions.recovered(queue);
        }
    }

    /// Seals and sends everything; the countdown is done when all events accepted before the call are final.
    pub fn flush(&self) -> Arc<Countdown> {
        let countdown = Arc::<Countdown>::default();
        for queue in self.registry.all() {
            let effects = queue.flush(countdown.part());
            self.apply(&queue, effects);
        }
        countdown
    }

    /// Takes no more events, and sends what there is; what would only be tried again after the deadline ends
    /// as abandoned at once. The countdown is done when every event is final.
    pub fn close(&self, deadline: Option<Instant>) -> Arc<Countdown> {
        let closing = Closing { since: Instant::now(), deadline };
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = Some(closing);
        self.registry.close();
        let countdown = Arc::<Countdown>::default();
        for queue in self.registry.all() {
            let effects = queue.close(countdown.part());
            self.apply(&queue, effects);
        }
        self.pool.endpoint(|endpoint, now| endpoint.due_now(now));
        self.budget.wake_all();
        countdown
    }

    /// Ends everything that still waits as abandoned and lets nobody go any more. What is in flight ends when
    /// its task does.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.pool.close();
        self.retries.close();
        self.abandon_all();
    }

    /// Why a batch ends whose attempt was cut off.
    pub(crate) fn cut_off(&self) -> Reason {
        if self.stopped.load(Ordering::Relaxed) { Reason::Shutdown } else { Reason::Defect }
    }

    /// The acks on their way to the host.
    pub fn acks(&self) -> &AckLine {
        &self.ledger.acks
    }

    /// Whether the sink will be shut down before that.
    pub(crate) fn closes_before(&self, due: Instant) -> bool {
        self.closing().and_then(|closing| closing.deadline).is_some_and(|deadline| deadline <= due)
    }

    /// Ends everything that waits as abandoned: nothing can be sent before the deadline any more.
    pub(crate) fn abandon_all(&self) {
        for queue in self.registry.all() {
            let effects = queue.abandon();
            self.apply(&queue, effects);
        }
    }

    /// Whether the sink is closing.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing().is_some()
    }

    /// Whether the sink is closing and began to after that.
    pub(crate) fn closing_since(&self, attempt: Instant) -> bool {
        self.closing().is_some_and(|closing| attempt <= closing.since)
    }

    fn closing(&self) -> Option<Closing> {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of day.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// How many targets there are besides this one, and how many of those fail.
    pub(crate) fn other_targets(&self, queue: &Queue) -> (usize, usize) {
        let others = self.registry.all().into_iter().filter(|other| !std::ptr::eq(&**other, queue));
        let failing: Vec<_> = others.map(|other| other.standing() == Standing::Failing).collect();
        (failing.len(), failing.into_iter().filter(|failing| *failing).count())
    }

    /// A number below that.
    pub(crate) fn random_below(&self, most: usize) -> usize {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).usize(..most)
    }

    /// How long to wait after so many failures in a row.
    pub(crate) fn delay(&self, backoff: Backoff, failures: u32) -> std::time::Duration {
        backoff.delay(failures, &mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Most requests in flight at present, the slow lane apart.
    pub fn concurrency_limit(&self) -> usize {
        self.pool.snapshot().limit
    }

    /// What the sink did and holds.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.stats.fill(&mut snapshot);
        // Outcomes are read before what was accepted, so that pending never comes out too low.
        let ended = Outcome::ALL.map(|outcome| self.ledger.events(outcome));
        [
            snapshot.delivered_events,
            snapshot.rejected_events,
            snapshot.dropped_events,
            snapshot.abandoned_events,
        ] = ended;
        snapshot.delivered_bytes = self.ledger.delivered_bytes();
        let (queues, mut total) = self.registry.all_and_forgotten();
        for queue in queues {
            let (counts, closed) = queue.counts();
            snapshot.targets += 1;
            snapshot.targets_failing += u64::from(!closed);
            total.add(counts);
        }
        (snapshot.accepted_events, snapshot.accepted_bytes) = (total.accepted, total.accepted_bytes);
        let pool = self.pool.snapshot();
        snapshot.endpoint_paused = u64::from(!pool.endpoint_open);
        snapshot.concurrency_limit = pool.limit as u64;
        snapshot.requests_slow = pool.slow as u64;
        snapshot.pending_events = snapshot.accepted_events.saturating_sub(ended.iter().sum());
        snapshot.buffered_bytes = self.budget.used() as u64;
        snapshot.buffered_bytes_peak = self.budget.peak() as u64;
        snapshot
    }

    /// What each target looks like, by group and stream.
    pub fn target_snapshots(&self) -> Vec<QueueSnapshot> {
        let mut targets: Vec<_> = self.registry.all().iter().map(|queue| queue.snapshot()).collect();
        targets.sort_by(|a, b| (&a.group, &a.stream).cmp(&(&b.group, &b.stream)));
        targets
    }
}
