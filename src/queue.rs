//! The queue of one target: a log group and a log stream, and what waits to be sent there.
//!
//! It is a plain state machine under one lock, without a thread, a task or a timer of its own: whoever calls
//! it is told in [`Effects`] what to do next, and does it after the lock is released. Invariants:
//!
//! * batches wait in the order in which they were opened; one that failed goes back to its old place;
//! * a queue stands in the ready line at most once, and only while it may send;
//! * a batch is in exactly one place: open, waiting, or in flight;
//! * once the queue is closed nothing more gets in, and every push that got in before is seen by the closer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use crate::ack::{Ending, Ledger, Outcome, Reason};
use crate::batch::{Batch, NewEvent, NotAdded, OpenBatch};
use crate::breaker::{CircuitBreaker, Failure, State as BreakerState, Ticket};
use crate::countdown::Part;
use crate::limits;
use crate::logs_api::{ApiError, RejectedEvents};
use crate::memory::{Account, Budget, Standing};
use crate::message::json_string;

/// See the module.
#[derive(Debug)]
pub struct Queue {
    group: Box<str>,
    stream: Box<str>,
    /// Whether it takes messages in the embedded metric format, and no others.
    emf: bool,
    /// The queue of the same target for those messages, once there was one.
    emf_queue: OnceLock<Arc<Queue>>,
    /// What every request's body to this target begins with.
    prefix: Box<[u8]>,
    target_concurrency: usize,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    /// All that changes together. Nothing awaits, calls back or logs while holding it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<OpenBatch>,
    waiting: VecDeque<Batch>,
    in_flight: Vec<u64>,
    breaker: CircuitBreaker,
    /// Stands in the ready line.
    in_line: bool,
    /// Waits for its group to be created by somebody else.
    parked: bool,
    closed: bool,
    /// A flush timer is running for it.
    timer_armed: bool,
    /// There was no room for an event of its while other batches of it were on their way: the open batch goes out
    /// behind them.
    starved: bool,
    next_batch: u64,
    /// Timestamp of the last event that brought one.
    last_timestamp_ms: Option<i64>,
    /// When its group or stream was last created by the sink.
    created_at: Option<Instant>,
    flushes: Vec<(u64, Part)>,
    counts: Counts,
    last_error: Option<Arc<ApiError>>,
}

/// Events of one target, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that pushes were told are taken.
    pub accepted: u64,
    /// Message bytes of those, as UTF-8.
    pub accepted_bytes: u64,
    /// Final events, by [`Outcome::index`].
    pub outcomes: [u64; Outcome::ALL.len()],
}

/// What a caller has to do after the queue changed.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Put the queue into the ready line.
    pub ready: bool,
    /// Start its flush timer, for a batch opened then.
    pub arm_timer: Option<Instant>,
    /// The breaker opened: put its ticket into the retry heap.
    pub opened: Option<Ticket>,
    /// The breaker closed.
    pub closed: bool,
    /// Flushes that have no more to wait for here: they end when this is dropped.
    pub flushed: Vec<Part>,
}

/// Why an event did not get into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sink is shut down.
    Closed,
    /// There is no room now.
    Full,
    /// There will never be room: the event takes more memory than its target may hold.
    NeverFits {
        /// What it takes.
        needs: usize,
        /// What there is at most.
        limit: usize,
    },
}

/// A look at a queue.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QueueSnapshot {
    pub group: String,
    pub stream: String,
    pub emf: bool,
    pub breaker: BreakerState,
    pub in_flight: usize,
    pub waiting_batches: usize,
    pub buffered_bytes: usize,
    pub counts: Counts,
    pub last_error: Option<String>,
}

impl Queue {
    /// An empty queue.
    pub fn new(
        group: &str,
        stream: &str,
        target_concurrency: usize,
        budget: &Arc<Budget>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let prefix = [
            br#"{"logGroupName":"#.as_slice(),
            &json_string(group),
            br#","logStreamName":"#,
            &json_string(stream),
            br#","logEvents":["#,
        ]
        .concat();
        Queue {
            group: group.into(),
            stream: stream.into(),
            emf: false,
            emf_queue: OnceLock::new(),
            prefix: prefix.into(),
            target_concurrency,
            ledger: ledger.clone(),
            account: Account::new(budget.clone()),
            state: Mutex::default(),
        }
    }

    /// The queue of the same target for messages in the embedded metric format, made if it is new. The caller
    /// sees to it that the registry is open.
    pub fn emf_queue_or_new(&self) -> &Arc<Queue> {
        self.emf_queue.get_or_init(|| {
            let budget = self.account.budget();
            let plain = Queue::new(&self.group, &self.stream, self.target_concurrency, budget, &self.ledger);
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

    /// How often it failed since it last got through.
    pub fn failures_in_a_row(&self) -> u32 {
        self.lock().breaker.failures()
    }

    /// Memory that it holds.
    pub fn buffered_bytes(&self) -> usize {
        self.account.held()
    }

    /// Takes one event, in as many pieces as it was split into; `None` as its timestamp means the last one's, or
    /// else `now_ms`.
    pub fn push(
        &self,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
        now_ms: i64,
        drop_oldest: bool,
    ) -> (Result<(), Refusal>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.closed {
            return (Err(Refusal::Closed), effects);
        }
        let stamp = timestamp_ms.or(state.last_timestamp_ms.filter(|last| timely(*last, now_ms)));
        let stamp = stamp.unwrap_or(now_ms);
        let pushed = loop {
            let added = match pieces {
                [event] => self.add(&mut state, stamp, event, &mut effects),
                pieces => self.add_split(&mut state, stamp, pieces),
            };
            match added {
                Ok(()) => break Ok(()),
                // The open batch was sealed and the next one is empty, so the loop ends.
                Err(NotAdded::BatchFull) => continue,
                Err(NotAdded::NoRoom) => match self.no_room(pieces) {
                    Refusal::Full if drop_oldest && self.make_room(&mut state, pieces) => continue,
                    refusal => break Err(refusal),
                },
            }
        };
        if pushed.is_ok() {
            for event in pieces {
                state.counts.accepted += 1;
                state.counts.accepted_bytes += event.message.text_bytes() as u64;
                if let Some(range) = &event.range {
                    range.source.accepted(range.begin);
                }
            }
            if timestamp_ms.is_some() {
                state.last_timestamp_ms = timestamp_ms;
            }
        }
        self.settle_line(&mut state, &mut effects);
        (pushed, effects)
    }

    fn no_room(&self, pieces: &[NewEvent<'_>]) -> Refusal {
        let needs = self.needs(pieces);
        let limit = self.account.budget().largest_charge();
        if needs > limit { Refusal::NeverFits { needs, limit } } else { Refusal::Full }
    }

    /// The least that the pieces take.
    pub fn needs(&self, pieces: &[NewEvent<'_>]) -> usize {
        pieces.iter().map(|event| OpenBatch::least_charge(self.prefix.len(), event, &self.ledger)).sum()
    }

    /// How it stands with the service.
    pub fn standing(&self) -> Standing {
        self.lock().standing()
    }

    /// Gives up the oldest batch that waits, if giving up all that wait would make the room.
    fn make_room(&self, state: &mut State, pieces: &[NewEvent<'_>]) -> bool {
        if state.waiting.is_empty() {
            state.seal();
        }
        let (held, budget) = (self.account.held(), self.account.budget());
        let waiting = state.bytes_to_free();
        let (held, used) = (held.saturating_sub(waiting), budget.used().saturating_sub(waiting));
        budget.admits(state.standing(), held, self.needs(pieces), used) && state.drop_front()
    }

    /// Adds the pieces of one event, each in a batch of its own, which all but the last fill anyway: all of them
    /// or none.
    fn add_split(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        pieces: &[NewEvent<'_>],
    ) -> Result<(), NotAdded> {
        state.seal();
        let (standing, now) = (state.standing(), Instant::now());
        let mut opened = Vec::with_capacity(pieces.len());
        for event in pieces {
            let id = state.next_batch + opened.len() as u64;
            opened.push(OpenBatch::open(
                id,
                &self.prefix,
                &self.account,
                &self.ledger,
                event,
                standing,
                now,
            )?);
        }
        let added = opened.iter_mut().zip(pieces).try_for_each(|(batch, event)| {
            // What it is charged was reserved when it was opened.
            batch.add(timestamp_ms, event, standing)
        });
        if added.is_err() {
            opened.into_iter().for_each(OpenBatch::cancel);
            return Err(NotAdded::NoRoom);
        }
        state.next_batch += opened.len() as u64;
        state.waiting.extend(opened.into_iter().map(OpenBatch::seal));
        Ok(())
    }

    /// Adds the event to the open batch, opening one if there is none. When it does not get in, the batch is
    /// sealed, so that it goes out and makes room; for want of memory only when nothing else of the queue will.
    fn add(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        event: &NewEvent<'_>,
        effects: &mut Effects,
    ) -> Result<(), NotAdded> {
        let standing = state.standing();
        if state.open.is_none() {
            let now = Instant::now();
            let batch = OpenBatch::open(
                state.next_batch,
                &self.prefix,
                &self.account,
                &self.ledger,
                event,
                standing,
                now,
            )?;
            state.next_batch += 1;
            state.open = Some(batch);
            if !state.timer_armed {
                state.timer_armed = true;
                effects.arm_timer = Some(now);
            }
        }
        let under_way = state.is_under_way();
        let Some(open) = state.open.as_mut() else { return Err(NotAdded::NoRoom) };
        let added = open.add(timestamp_ms, event, standing);
        match added {
            // What is on its way makes room when it is final. Sealed now, the batch could not go before that, and a
            // full buffer would be kept full of batches of single events.
            Err(NotAdded::NoRoom) if under_way => state.starved = true,
            Err(_) => state.seal(),
            Ok(()) if open.is_full() => state.seal(),
            Ok(()) => {}
        }
        added
    }

    /// Seals the open batch. With `opened_by`, only one opened by then; the instant at which a younger one
    /// will be due is in the result, for the flush timer to come back.
    pub fn seal(&self, opened_by: Option<Instant>) -> (Option<Instant>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let young =
            state.open.as_ref().map(OpenBatch::opened_at).filter(|at| opened_by.is_some_and(|by| *at > by));
        if opened_by.is_some() {
            state.timer_armed = young.is_some();
        }
        if young.is_none() {
            state.seal();
            self.settle_line(&mut state, &mut effects);
        }
        (young, effects)
    }

    /// Seals the open batch and takes note of who waits until all that is in the queue now is final.
    pub fn flush(&self, part: Part) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.seal();
        let upto = state.next_batch;
        state.flushes.push((upto, part));
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
        let upto = state.next_batch;
        state.flushes.push((upto, part));
        state.breaker.due_now();
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// Gives the next batch out, if one may go. It comes back through one of the methods below.
    pub fn take(&self) -> (Option<Batch>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.in_line = false;
        let batch = if state.may_send(self.target_concurrency) { state.waiting.pop_front() } else { None };
        if let Some(batch) = &batch {
            state.in_flight.push(batch.id());
            state.breaker.sent(batch.id());
        }
        self.settle_line(&mut state, &mut effects);
        (batch, effects)
    }

    /// The service took the batch, all but those of its events.
    pub fn delivered(&self, batch: Batch, rejected: RejectedEvents) -> Effects {
        self.finalized(batch, true, |batch, counts| {
            let refused = rejected.count(batch.events());
            counts.outcomes[Outcome::Delivered.index()] += (batch.events() - refused) as u64;
            counts.outcomes[Outcome::Rejected.index()] += refused as u64;
            batch.delivered(rejected);
        })
    }

    /// The batch is final without having been delivered.
    pub fn settled(&self, batch: Batch, ending: Ending) -> Effects {
        let answered = ending.reason == Reason::NotRetryable;
        self.finalized(batch, answered, |batch, counts| {
            counts.outcomes[ending.reason.outcome().index()] += batch.events() as u64;
            batch.settle(ending);
        })
    }

    fn finalized(&self, batch: Batch, got_through: bool, end: impl FnOnce(Batch, &mut Counts)) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        state.landed(id);
        if state.starved && !state.is_under_way() {
            state.seal();
        }
        let more_failed = state.waiting.front().is_some_and(|next| next.first_attempt().is_some());
        effects.closed = state.breaker.finalized(id, got_through, more_failed);
        if state.is_well() {
            state.last_error = None;
        }
        end(batch, &mut state.counts);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed and is to be tried again: it goes back to its place, and the breaker opens.
    pub fn failed(&self, batch: Batch, error: Arc<ApiError>) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        state.put_back(batch);
        state.last_error = Some(error);
        if let Failure::Opened(ticket) = state.breaker.failed(id) {
            effects.opened = Some(ticket);
        }
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed, but by no fault of the target's: it goes back to its place, and the breaker stays as it
    /// is.
    pub fn returned(&self, batch: Batch, error: Arc<ApiError>) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch);
        state.last_error = Some(error);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch was not tried, since its group is being created by somebody else: the queue sends nothing
    /// until [`Queue::unpark`].
    pub fn park(&self, batch: Batch) {
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch);
        state.parked = true;
    }

    /// The group was created, or could not be: on with it.
    pub fn unpark(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.parked = false;
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The ticket of the breaker is due: one batch may go, as its probe.
    pub fn due(&self, ticket: Ticket) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.breaker.due(ticket) {
            self.settle_line(&mut state, &mut effects);
        }
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

    /// Notes that its group or its stream was created just now.
    pub fn note_created(&self, now: Instant) {
        self.lock().created_at = Some(now);
    }

    /// Whether its group or its stream was created within [`limits::CREATED_REMEMBERED`].
    pub fn recently_created(&self, now: Instant) -> bool {
        self.lock().created_at.is_some_and(|at| now.duration_since(at) < limits::CREATED_REMEMBERED)
    }

    /// Memory that giving up all that waits, sealed or not, would give back.
    pub fn bytes_to_free(&self) -> usize {
        let state = self.lock();
        state.bytes_to_free() + state.open.as_ref().map_or(0, OpenBatch::bytes_to_free)
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
            let error = state.last_error.clone();
            batch.settle(Ending { reason: Reason::Shutdown, error });
        }
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// What it looks like now.
    pub fn snapshot(&self) -> QueueSnapshot {
        let state = self.lock();
        QueueSnapshot {
            group: self.group.to_string(),
            stream: self.stream.to_string(),
            emf: self.emf,
            breaker: state.breaker.state(),
            in_flight: state.in_flight.len(),
            waiting_batches: state.waiting.len() + usize::from(state.open.is_some()),
            buffered_bytes: self.account.held(),
            counts: state.counts,
            last_error: state.last_error.as_ref().map(ToString::to_string),
        }
    }

    /// Its counters alone, and whether its breaker is closed.
    pub fn counts(&self) -> (Counts, bool) {
        let state = self.lock();
        (state.counts, state.breaker.is_closed())
    }

    /// After every change: into the ready line if it may send, and out with the flushes that are through.
    fn settle_line(&self, state: &mut State, effects: &mut Effects) {
        if !state.in_line && state.may_send(self.target_concurrency) {
            state.in_line = true;
            effects.ready = true;
        }
        if !state.flushes.is_empty() {
            let floor = state.first_unfinished();
            let through = |(upto, _): &mut (u64, Part)| *upto <= floor;
            effects.flushed.extend(state.flushes.extract_if(.., through).map(|(_, part)| part));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a batch where it was or drops it, which settles it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether nothing of it has failed since the service last answered for a batch.
    fn is_well(&self) -> bool {
        self.breaker.is_closed() && self.breaker.failures() == 0
    }

    fn standing(&self) -> Standing {
        match self.is_well() {
            false => Standing::Failing,
            true if self.counts.outcomes[Outcome::Delivered.index()] > 0 => Standing::GetsThrough,
            true => Standing::Unheard,
        }
    }

    /// Whether batches of it wait or are in flight.
    fn is_under_way(&self) -> bool {
        !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    fn seal(&mut self) {
        self.starved = false;
        if let Some(open) = self.open.take().filter(|open| !open.is_empty()) {
            self.waiting.push_back(open.seal());
        }
    }

    /// Memory that giving up all that waits would give back.
    fn bytes_to_free(&self) -> usize {
        self.waiting.iter().map(Batch::bytes_to_free).sum()
    }

    /// Gives up the oldest batch that waits. False when none does.
    fn drop_front(&mut self) -> bool {
        let Some(batch) = self.waiting.pop_front() else { return false };
        self.counts.outcomes[Outcome::Dropped.index()] += batch.events() as u64;
        batch.settle(Reason::Overflow.into());
        true
    }

    fn may_send(&self, target_concurrency: usize) -> bool {
        !self.waiting.is_empty()
            && !self.parked
            && self.in_flight.len() < target_concurrency
            && self.breaker.allows()
    }

    fn landed(&mut self, batch: u64) {
        self.in_flight.retain(|id| *id != batch);
    }

    fn put_back(&mut self, batch: Batch) {
        self.landed(batch.id());
        let place = self.waiting.partition_point(|other| other.id() < batch.id());
        self.waiting.insert(place, batch);
    }

    /// The lowest id of a batch that is not final; all below are.
    fn first_unfinished(&self) -> u64 {
        let open = self.open.as_ref().map(OpenBatch::id);
        let waiting = self.waiting.front().map(Batch::id);
        let in_flight = self.in_flight.iter().copied().min();
        [open, waiting, in_flight].into_iter().flatten().min().unwrap_or(self.next_batch)
    }
}

/// Whether the service would take an event of this timestamp.
pub fn timely(timestamp_ms: i64, now_ms: i64) -> bool {
    (now_ms - limits::EVENT_AGE_MAX_MS..=now_ms + limits::EVENT_AHEAD_MAX_MS).contains(&timestamp_ms)
}
