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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ack::{Ending, Ledger, Outcome, Reason};
use crate::batch::{Batch, NewEvent, NotAdded, OpenBatch, Situation, Start, Target};
use crate::breaker::{Failure, State as BreakerState, Ticket};
use crate::countdown::Part;
use crate::escape;
use crate::limits;
use crate::logs_api::{ApiError, RejectedEvents};
use crate::memory::{Account, Budget, NoRoom, Standing};
use crate::pool::Line;
use rivalry::Rivalry;
use state::State;

mod rivalry;
mod state;

/// Of requests that an account may send too many of, any may be the one that is throttled. One target alone, so many
/// times in a row, is not chance any more.
const THROTTLED_BY_CHANCE: u32 = 3;

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

/// Why the last attempt failed.
#[derive(Clone, Debug)]
pub struct LastError {
    /// What the service or the transport said.
    pub error: Arc<ApiError>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
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

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.accepted_bytes += other.accepted_bytes;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(mine, more)| *mine += more);
    }
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
    pub last_error: Option<LastError>,
    /// When its open breaker lets the next batch go.
    pub next_attempt: Option<Instant>,
    /// Whether a request of it is in the slow lane.
    pub slow: bool,
    pub waiting_events: usize,
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
        const KEYS: [&[u8]; 3] = [br#"{"logGroupName":""#, br#"","logStreamName":""#, br#"","logEvents":["#];
        let names = self.group.len() + self.stream.len();
        let mut prefix = Vec::with_capacity(KEYS.iter().map(|key| key.len()).sum::<usize>() + names);
        prefix.extend_from_slice(KEYS[0]);
        escape::append(self.group.as_bytes(), |json| prefix.extend_from_slice(json));
        prefix.extend_from_slice(KEYS[1]);
        escape::append(self.stream.as_bytes(), |json| prefix.extend_from_slice(json));
        prefix.extend_from_slice(KEYS[2]);
        prefix
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
    #[inline]
    pub fn push(
        &self,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
        now_ms: i64,
        drop_oldest: bool,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let mut state = self.lock_for_push();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let stamp = timestamp_ms.or(state.last_timestamp_ms.filter(|last| timely(*last, now_ms)));
        let stamp = stamp.unwrap_or(now_ms);
        let pushed = loop {
            let added = match pieces {
                [event] => self.add(&mut state, stamp, event, effects),
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
        self.settle_line(&mut state, effects);
        pushed
    }

    fn no_room(&self, pieces: &[NewEvent<'_>]) -> Refusal {
        let needs = self.needs(pieces);
        let limit = self.account.budget().largest_charge();
        if needs > limit { Refusal::NeverFits { needs, limit } } else { Refusal::Full }
    }

    /// The least that the pieces take.
    pub fn needs(&self, pieces: &[NewEvent<'_>]) -> usize {
        let prefix_bytes = self.prefix().len();
        pieces.iter().map(|event| OpenBatch::least_charge(prefix_bytes, event, &self.ledger)).sum()
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

    fn open_batch(
        &self,
        id: u64,
        first: &NewEvent<'_>,
        standing: Standing,
        start: Start,
        now: Instant,
    ) -> Result<OpenBatch, NoRoom> {
        let target = Target { prefix: self.prefix(), account: &self.account, ledger: &self.ledger };
        OpenBatch::open(id, target, first, standing, start, now)
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
            opened.push(self.open_batch(id, event, standing, Start::default(), now)?);
        }
        let added = opened.iter_mut().zip(pieces).try_for_each(|(batch, event)| {
            // What it is charged was reserved when it was opened.
            batch.add(timestamp_ms, event, Situation { standing, under_way: false })
        });
        if added.is_err() {
            opened.into_iter().for_each(OpenBatch::cancel);
            return Err(NotAdded::NoRoom);
        }
        state.next_batch += opened.len() as u64;
        state.used_at = Some(now);
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
            let start = Start { at_once: self.account.budget().is_plenty(), ..state.last_size };
            let batch = self.open_batch(state.next_batch, event, standing, start, now)?;
            state.next_batch += 1;
            state.used_at = Some(now);
            state.open = Some(Box::new(batch));
            if !state.timer_armed {
                state.timer_armed = true;
                effects.arm_timer = Some(now);
            }
        }
        let under_way = state.is_under_way();
        let Some(open) = state.open.as_mut() else { return Err(NotAdded::NoRoom) };
        let added = open.add(timestamp_ms, event, Situation { standing, under_way });
        match added {
            // What is on its way makes room when it is final. Sealed now, the batch could not go before that, and a
            // full buffer would be kept full of batches of single events.
            Err(NotAdded::NoRoom) if under_way => state.due = true,
            Err(_) => state.seal(),
            Ok(()) if open.is_full() => state.seal(),
            Ok(()) => {}
        }
        added
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

    /// It is the first of that line: gives the next batch out, if one may go. It comes back through one of the
    /// methods below.
    pub fn take(&self, line: Line) -> (Option<Batch>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.in_line != Some(line) {
            // It has moved to a better line since.
            return (None, effects);
        }
        state.in_line = None;
        if line == Line::Steady && state.line() != line {
            // It has failed since: to the end of the line that it belongs to.
            self.settle_line(&mut state, &mut effects);
            return (None, effects);
        }
        let may_send = state.may_send(self.target_concurrency);
        if may_send && state.waiting.is_empty() {
            state.seal();
        }
        let batch = if may_send { state.waiting.pop_front() } else { None };
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
        state.landed(&batch, self.slow_after);
        let more_failed = state.waiting.front().is_some_and(|next| next.first_attempt().is_some());
        effects.closed = state.breaker.finalized(id, got_through, more_failed);
        let now = Instant::now();
        state.used_at = Some(now);
        if got_through {
            state.answered_at = Some(now);
        }
        if state.is_well() {
            (state.last_error, state.failed_at, state.throttled) = (None, None, (0, 0));
        }
        end(batch, &mut state.counts);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed and is to be tried again: it goes back to its place, and the breaker opens.
    pub fn failed(&self, batch: Batch, error: LastError, due: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        let was_well = state.is_well();
        let known = state.last_error.as_ref().is_some_and(|last| last.error.code == error.error.code);
        state.put_back(batch, self.slow_after);
        state.last_error = Some(error);
        state.failed_at = Some(Instant::now());
        if let Failure::Opened(ticket) = state.breaker.failed(id) {
            effects.opened = Some(ticket);
            effects.news = was_well || !known;
            state.next_attempt = Some(due);
        }
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed, but by no fault of the target's: it goes back to its place, and the breaker stays as it
    /// is. `unanswered`: it may have been the target's fault after all, so others go before it.
    pub fn returned(&self, batch: Batch, error: LastError, unanswered: bool) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch, self.slow_after);
        (state.last_error, state.suspect) = (Some(error), unanswered);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch was not tried, since its group is being created by somebody else: the queue sends nothing
    /// until [`Queue::unpark`].
    pub fn park(&self, batch: Batch) {
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch, self.slow_after);
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

    /// Its request is in the slow lane from now on.
    pub fn entered_lane(&self, batch: u64) {
        let mut state = self.lock();
        if state.in_flight.contains(&batch) && !state.in_lane.contains(&batch) {
            state.in_lane.push(batch);
        }
    }

    /// It was throttled. True when it was before, again and again, and all the time others got through: so many
    /// `answers` had there been by now.
    pub fn is_throttled_alone(&self, answers: u64) -> bool {
        let mut state = self.lock();
        let (times, by_then) = state.throttled;
        let times = if times == 0 || answers > by_then { times + 1 } else { times };
        state.throttled = (times, answers);
        times > THROTTLED_BY_CHANCE
    }

    /// When the service last took or refused a batch of it.
    pub fn answered_at(&self) -> Option<Instant> {
        self.lock().answered_at
    }

    /// When a batch of it last failed, while it fails.
    pub fn failed_at(&self) -> Option<Instant> {
        self.lock().failed_at
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
            last_error: state.last_error.clone(),
            next_attempt: state
                .next_attempt
                .filter(|_| matches!(state.breaker.state(), BreakerState::Open(_))),
            slow: !state.in_lane.is_empty(),
            waiting_events: state.waiting.iter().map(Batch::events).sum::<usize>()
                + state.open.as_deref().map_or(0, OpenBatch::events),
        }
    }

    /// Whether nothing of it is left to be sent, and it took no event since then, neither as text nor as metrics.
    pub fn is_idle(&self, since: Instant) -> bool {
        let idle = self.lock().is_idle(since);
        // Nobody but this queue may hold its twin.
        idle && self.emf_queue().is_none_or(|twin| Arc::strong_count(twin) == 1 && twin.is_idle(since))
    }

    /// Its counters alone, and whether its breaker is closed.
    pub fn counts(&self) -> (Counts, bool) {
        let state = self.lock();
        (state.counts, state.breaker.is_closed())
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
            let through = |(upto, _): &mut (u64, Part)| *upto <= floor;
            effects.flushed.extend(state.flushes.extract_if(.., through).map(|(_, part)| part));
            if state.flushes.is_empty() {
                state.flushes = Vec::new();
            }
        }
    }

    /// The lock, for a push: see [`Rivalry`].
    #[inline]
    fn lock_for_push(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => {
                self.rivalry.none_met();
                state
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.rivalry.stay_away_until(|| self.state.try_lock().ok()).unwrap_or_else(|| self.lock())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a batch where it was or drops it, which settles it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the service would take an event of this timestamp.
pub fn timely(timestamp_ms: i64, now_ms: i64) -> bool {
    (now_ms - limits::EVENT_AGE_MAX_MS..=now_ms + limits::EVENT_AHEAD_MAX_MS).contains(&timestamp_ms)
}
