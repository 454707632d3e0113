//! The queue of one target: a log group and a log stream, and what waits to be sent there.
//!
//! It is a plain state machine under one lock, without a thread, a task or a timer of its own: whoever calls
//! it is told in [`Effects`] what to do next, and does it after the lock is released. Invariants:
//!
//! * batches wait in the order in which they were opened; one that failed goes back to its old place;
//! * a queue stands in one line at most, and only while it may send;
//! * a batch is in exactly one place: open, waiting, or in flight;
//! * once the queue is closed nothing more gets in, and every push that got in before is seen by the closer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ack::{Ending, Ledger, Outcome, Reason};
use crate::batch::OpenBatch;
use crate::breaker::Ticket;
use crate::countdown::Part;
use crate::escape;
use crate::memory::{Account, Budget};
use crate::pool::Line;
pub use look::{Counts, LastError, QueueSnapshot};
pub use push::{Refusal, timely};
use rivalry::Rivalry;
use state::State;

mod attempt;
mod look;
mod push;
mod rivalry;
mod state;

/// See the module.
#[derive(Debug)]
pub struct Queue {
    group: Box<str>,
    stream: Box<str>,
    /// Whether it takes messages in the embedded metric format, and no others.
    emf: bool,
    /// The queue of the same target for those messages, once there was one.
    emf_queue: OnceLock<Arc<Queue>>,
    target_concurrency: usize,
    slow_after: Duration,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    rivalry: Rivalry,
    /// All that changes together. Nothing awaits, calls back or logs while holding it.
    state: Mutex<State>,
}

/// What a caller has to do after the queue changed.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Put the queue into this line.
    pub ready: Option<Line>,
    /// Start its flush timer, for a batch opened then.
    pub arm_timer: Option<Instant>,
    /// The breaker opened: put its ticket into the retry heap.
    pub opened: Option<Ticket>,
    /// It opened for a reason that was not known of the target before.
    pub news: bool,
    /// The breaker closed.
    pub closed: bool,
    /// Flushes that have no more to wait for here: they end when this is dropped.
    pub flushed: Vec<Part>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        // It opens or closes only with a batch that comes back.
        self.ready.is_none() && self.arm_timer.is_none() && self.flushed.is_empty() && !self.closed
    }
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
            rivalry: Rivalry::default(),
            state: Mutex::default(),
        }
    }

    /// The queue of the same target for messages in the embedded metric format, made if it is new. The caller
    /// sees to it that the registry is open.
    pub fn emf_queue_or_new(&self) -> &Arc<Queue> {
        self.emf_queue.get_or_init(|| {
            let budget = self.account.budget();
            let (concurrency, slow_after) = (self.target_concurrency, self.slow_after);
            let plain = Queue::new(&self.group, &self.stream, concurrency, slow_after, budget, &self.ledger);
            Arc::new(Queue { emf: true, ..plain })
        })
    }

    /// The same, if there is one.
    pub fn emf_queue(&self) -> Option<&Arc<Queue>> {
        self.emf_queue.get()
    }

    /// Whether it takes messages in the embedded metric format, and no others.
    pub fn is_emf(&self) -> bool {
        self.emf
    }

    /// The log group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The log stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Its name in a log line: group and stream.
    pub fn name(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| write!(f, "{}/{}", self.group, self.stream))
    }

    /// What every request's body to this target begins with. Not kept: it is needed once a batch.
    fn prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(self.prefix_bytes());
        self.write_prefix(|json| prefix.extend_from_slice(json));
        prefix
    }

    /// How long that is.
    fn prefix_bytes(&self) -> usize {
        let mut bytes = 0;
        self.write_prefix(|json| bytes += json.len());
        bytes
    }

    fn write_prefix(&self, mut write: impl FnMut(&[u8])) {
        write(br#"{"logGroupName":""#);
        escape::append(self.group.as_bytes(), &mut write);
        write(br#"","logStreamName":""#);
        escape::append(self.stream.as_bytes(), &mut write);
        write(br#"","logEvents":["#);
    }

    /// Memory that it holds.
    pub fn buffered_bytes(&self) -> usize {
        self.account.held()
    }

    /// Makes the open batch due. With `opened_by`, only one opened by then; the instant at which a younger one
    /// was opened is in the result, for the flush timer to come back.
    pub fn due_open(&self, opened_by: Option<Instant>) -> (Option<Instant>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let young =
            state.open.as_deref().map(OpenBatch::opened_at).filter(|at| opened_by.is_some_and(|by| *at > by));
        if opened_by.is_some() {
            state.timer_armed = young.is_some();
        }
        if young.is_none() && state.open.is_some() {
            // Behind others, or while nothing may go, it goes on growing: one request then carries it all.
            state.due = true;
            self.settle_line(&mut state, &mut effects);
        }
        (young, effects)
    }

    /// Seals the open batch and takes note of who waits until all that is in the queue now is final.
    pub fn flush(&self, part: Part) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.seal();
        state.add_flush(part);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// Lets nothing more in, makes what waits for a retry due at once, and takes note of who waits until all
    /// of it is final.
    pub fn close(&self, part: Part) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.closed = true;
        state.seal();
        state.add_flush(part);
        state.breaker.due_now();
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The sink is closing: what waits for a retry is due at once.
    pub fn due_now(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.due_now();
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// Memory that giving up all that waits, sealed or not, would give back.
    pub fn bytes_to_free(&self) -> usize {
        let state = self.lock();
        state.bytes_to_free() + state.open.as_deref().map_or(0, OpenBatch::bytes_to_free)
    }

    /// Gives up the oldest batch that waits. False when none does.
    pub fn drop_oldest(&self) -> (bool, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.seal();
        let dropped = state.drop_front();
        self.settle_line(&mut state, &mut effects);
        (dropped, effects)
    }

    /// Ends everything that waits as abandoned, and lets nothing more in.
    pub fn abandon(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.closed = true;
        state.seal();
        while let Some(batch) = state.waiting.pop_front() {
            state.counts.outcomes[Outcome::Abandoned.index()] += batch.events() as u64;
            let error = state.last_error.as_ref().map(|last| last.error.clone());
            batch.settle(Ending { reason: Reason::Shutdown, error });
        }
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// After every change: into its line if it may send, and out with the flushes that are through.
    fn settle_line(&self, state: &mut State, effects: &mut Effects) {
        if state.may_send(self.target_concurrency) {
            let line = state.line();
            let moves_up = line == Line::Steady && state.in_line != Some(line);
            if state.in_line.is_none() || moves_up {
                state.in_line = Some(line);
                effects.ready = Some(line);
            }
        }
        if !state.flushes.is_empty() {
            let floor = state.first_unfinished();
            let through = state.flushes.partition_point(|(upto, _)| *upto <= floor);
            effects.flushed.extend(state.flushes.drain(..through).map(|(_, part)| part));
            if state.flushes.is_empty() {
                state.flushes = Vec::new();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a batch where it was or drops it, which settles it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
