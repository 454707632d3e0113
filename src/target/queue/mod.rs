//! The queue of one target: a log group and a log stream, and the batches that wait to be sent there.
//!
//! The queue is a state machine under one lock. It has no thread, no task and no timer of its own. Each change returns
//! its [`Effects`]: what the caller has to do next, after the lock is released.
//!
//! Invariants:
//!
//! * Batches wait in the order in which they were opened. A batch that failed goes back to its old place.
//! * A queue waits in one ready class at most, and only while it may send.
//! * A batch is in exactly one place: open, waiting, or in flight.
//! * A closed queue accepts nothing more, and the closer sees every event that was accepted before.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Generation;
use super::ready_class::{ReadyClass, Standing};
use crate::batch::OpenBatch;
use crate::json;
use crate::memory::{Account, Budget};
use crate::outcome::{Ledger, Outcome, Reason, Resolution};
use crate::sync::lock;
use crate::wait_group::WaitGuard;

pub use attempt::Throttling;
pub use list_place::ListPlace;
pub use push::Refusal;
pub use snapshot::{LastError, QueueCounts, QueueSnapshot};

use contention::Contention;
use list_place::binary_digits;
use state::State;

mod attempt;
mod contention;
mod list_place;
mod push;
mod snapshot;
mod state;

/// See the module.
#[derive(Debug)]
pub struct Queue {
    group: Box<str>,
    stream: Box<str>,
    /// True if the queue takes messages in the embedded metric format, and no others.
    emf: bool,
    /// The queue of the same target for messages in the embedded metric format, once there was one.
    emf_queue: OnceLock<Arc<Queue>>,
    target_concurrency: usize,
    slow_after: Duration,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    contention: Contention,
    /// The place of the target among the [`Holders`](super::holders::Holders), or 0. Changed under their lock only.
    list_place: AtomicU64,
    /// Guards everything that changes together. Nothing awaits, calls back or logs while holding it.
    state: Mutex<State>,
}

/// The work that a change of a queue leaves to the caller.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Put the queue at the end of this ready class.
    pub ready: Option<ReadyClass>,
    /// Start the flush timer of the queue, for a batch that was opened then.
    pub arm_timer: Option<Instant>,
    /// The breaker opened: put this generation into the retry heap.
    pub breaker_opened: Option<Generation>,
    /// The breaker opened for a reason that was not known of the target before.
    pub is_new_failure: bool,
    /// The target recovered: its breaker closed after failures.
    pub recovered: bool,
    /// The target holds more than it is listed with among the [`Holders`](crate::target::holders::Holders).
    pub has_grown: bool,
    /// Guards of flushes that have nothing left to wait for in this queue. Dropping them releases the flushes.
    pub flushed: Vec<WaitGuard>,
}

impl Effects {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        // The breaker opens or closes only with a batch that comes back, and then more than this is looked at.
        self.ready.is_none()
            && self.arm_timer.is_none()
            && self.flushed.is_empty()
            && !self.recovered
            && !self.has_grown
    }
}

/// The service of the last request of a target, as far as it shows whether the endpoint is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// There was no request.
    #[default]
    None,
    /// The service took the batch, or refused it.
    Served,
    /// At this time there was no connection, no answer, or an answer such as 503.
    UnavailableAt(Instant),
}

/// The result of an expired flush timer.
#[derive(Debug)]
pub struct FlushTimerExpired {
    /// The open batch is younger than the timer: arm the timer again for a batch that was opened then.
    pub younger_opened_at: Option<Instant>,
    /// The work that is left to the caller.
    pub effects: Effects,
}

impl Queue {
    /// An empty queue.
    pub fn new(
        group: &str,
        stream: &str,
        target_concurrency: usize,
        slow_after: Duration,
        budget: &Arc<Budget>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        Queue {
            group: group.into(),
            stream: stream.into(),
            emf: false,
            emf_queue: OnceLock::new(),
            target_concurrency,
            slow_after,
            ledger: ledger.clone(),
            account: Account::new(budget.clone()),
            contention: Contention::default(),
            list_place: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The queue of the same target for messages in the embedded metric format, created if it is new. The caller makes
    /// sure that the registry is open.
    pub fn emf_queue_or_new(&self) -> &Arc<Queue> {
        self.emf_queue.get_or_init(|| {
            let budget = self.account.budget();
            let (concurrency, slow_after) = (self.target_concurrency, self.slow_after);
            let plain = Queue::new(&self.group, &self.stream, concurrency, slow_after, budget, &self.ledger);
            Arc::new(Queue { emf: true, ..plain })
        })
    }

    /// The queue of the same target for messages in the embedded metric format, if there is one.
    pub fn emf_queue(&self) -> Option<&Arc<Queue>> {
        self.emf_queue.get()
    }

    /// Returns whether the queue takes messages in the embedded metric format, and no others.
    pub fn is_emf(&self) -> bool {
        self.emf
    }

    /// The name of the log group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name of the log stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The name of the target in a log line: group and stream.
    pub fn name(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| write!(f, "{}/{}", self.group, self.stream))
    }

    /// The JSON that every request body to this target begins with. It is not kept: it is needed once a batch.
    fn body_prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(self.body_prefix_bytes());
        self.write_body_prefix(|json| prefix.extend_from_slice(json));
        prefix
    }

    /// The length of the prefix in bytes.
    fn body_prefix_bytes(&self) -> usize {
        let mut bytes = 0;
        self.write_body_prefix(|json| bytes += json.len());
        bytes
    }

    fn write_body_prefix(&self, mut write: impl FnMut(&[u8])) {
        write(br#"{"logGroupName":""#);
        json::append(self.group.as_bytes(), &mut write);
        write(br#"","logStreamName":""#);
        json::append(self.stream.as_bytes(), &mut write);
        write(br#"","logEvents":["#);
    }

    /// Identifies the queue as long as it exists.
    pub fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The last request was answered, after this time.
    pub fn note_answer(&self, latency: Duration) {
        self.lock().standing = Standing::answered(latency, self.slow_after);
    }

    /// Notes whether the service could serve the last request. Returns the same of the one before.
    pub fn set_service(&self, service: Service) -> Service {
        std::mem::replace(&mut self.lock().service, service)
    }

    /// Returns whether the service could serve the last request.
    pub fn is_served(&self) -> bool {
        self.lock().service == Service::Served
    }

    /// The last request was waited for this long, in vain.
    pub fn note_silence(&self, waited: Duration) {
        let mut state = self.lock();
        state.standing = state.standing.unanswered(waited, self.slow_after);
    }

    /// Memory that the target holds, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.account.held()
    }

    /// Notes the place of the target among the [`Holders`](super::holders::Holders). Returns the one before.
    pub(super) fn move_in_list(&self, place: Option<ListPlace>) -> Option<ListPlace> {
        ListPlace::of_bits(self.list_place.swap(place.map_or(0, |place| place.0), Ordering::Relaxed))
    }

    /// Returns whether the target holds more than it is listed with among the [`Holders`](super::holders::Holders).
    pub(super) fn has_outgrown_its_place(&self) -> bool {
        let place = ListPlace::of_bits(self.list_place.load(Ordering::Relaxed));
        binary_digits(self.buffered_bytes()) > place.map_or(0, ListPlace::size)
    }

    /// The flush timer expired: makes the open batch due if it was opened by `opened_by`.
    pub fn expire_flush_timer(&self, opened_by: Option<Instant>) -> FlushTimerExpired {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let younger =
            state.open.as_deref().map(OpenBatch::opened_at).filter(|at| opened_by.is_some_and(|by| *at > by));
        if opened_by.is_some() {
            state.timer_armed = younger.is_some();
        }
        if younger.is_none() {
            self.make_due(&mut state, &mut effects);
        }
        FlushTimerExpired { younger_opened_at: younger, effects }
    }

    /// Makes the open batch due now, whatever its age.
    pub fn make_open_batch_due(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        self.make_due(&mut state, &mut effects);
        effects
    }

    fn make_due(&self, state: &mut State, effects: &mut Effects) {
        if state.open.is_some() {
            // Behind others, or while nothing may go, the batch continues to grow: one request then carries it all.
            state.due = true;
            self.update_readiness(state, effects);
        }
    }

    /// Seals the open batch. The guard is released when everything that is in the queue now is final.
    pub fn flush(&self, guard: WaitGuard) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.seal();
        state.add_flush(guard);
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Accepts nothing more, and makes batches that wait for a retry due at once. The guard is released when everything
    /// in the queue is final.
    pub fn close(&self, guard: WaitGuard) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.closed = true;
        state.seal();
        state.add_flush(guard);
        state.breaker.make_due();
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Makes batches that wait for a retry due at once, for a sink that is closing.
    pub fn make_retry_due(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.make_due();
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Finalizes everything that waits as abandoned, and accepts nothing more.
    pub fn abandon(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.closed = true;
        state.seal();
        while let Some(batch) = state.waiting.pop_front() {
            state.counts.count(Outcome::Abandoned, batch.events());
            let error = state.last_error.as_ref().map(|last| last.error.clone());
            batch.finalize(Resolution { reason: Reason::Shutdown, error });
        }
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    /// Follows every change: asks for a place in a ready class if the queue may send, and releases the flushes that have
    /// nothing left to wait for.
    fn update_readiness(&self, state: &mut State, effects: &mut Effects) {
        if state.may_send(self.target_concurrency) {
            let class = state.standing.class;
            if state.queued_class.is_none_or(|queued| class < queued) {
                state.queued_class = Some(class);
                effects.ready = Some(class);
            }
        }
        if !state.flushes.is_empty() {
            state.take_finished_flushes(&mut effects.flushed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a batch where it was, or drops the batch, which finalizes it.
        lock(&self.state)
    }
}
