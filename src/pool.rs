//! The workers, the lines in which targets wait for one, and the slow lane.
//!
//! A worker is a seat: the right to have one request in flight. A target that has a batch to send, and may, stands in
//! line once; the first of a line takes a free seat, gives its next batch one attempt, and leaves. Invariants:
//!
//! * one batch a turn, whatever a target's backlog; the lines take turns as well;
//! * targets on trial (they failed, or were not heard of yet) never have more than half of the seats, or one where there
//!   is but one, so that the other half is there at once for those that get through;
//! * a request that takes long gives its seat up when somebody waits for one, and finishes in the slow lane: when it is
//!   `slow_after` old, or much older than requests are as a rule. So targets that never answer hold no seat;
//! * the slow lane is bounded in number and bytes. A target that was slow the last time starts there, and holds no
//!   seat at all; when a newcomer finds it full, the oldest is cancelled and tried again later. So is the oldest of
//!   those that never got through when a late one, which does, finds too many there; and of those that fail and are
//!   slow, one may go however many late ones there are;
//! * seats are never more than the endpoint's limit, and while the endpoint is closed only its probe goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::endpoint::{Endpoint, May};
use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::latency::Latencies;
use crate::queue::Queue;
use crate::sender;
use crate::turn::Turn;

/// Requests in the slow lane at most: so many for each worker, and never fewer than the second number.
const LANE_PER_WORKER: usize = 8;
const LANE_MIN: usize = 32;

/// The parts of the slow lane, in quarters, that targets which were slow before may fill: late ones, so that a quarter
/// is left for requests that turn out to be slow, and those that never answer, so that late ones find room beside them.
const LANE_QUARTERS_LATE: usize = 3;
const LANE_QUARTERS_SLOW: usize = 2;

/// The part of `buffer_max_bytes` whose batches may be in the slow lane.
const LANE_BYTES_PART: usize = 4;

/// In which line a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It gets through.
    Steady,
    /// It was not heard of yet.
    New,
    /// It failed.
    Trial,
    /// It gets through, but its last answer was slow.
    Late,
    /// Its last answer was slow, or never came, and it fails.
    Slow,
}

const LINES: [Line; 5] = [Line::Steady, Line::New, Line::Trial, Line::Late, Line::Slow];

/// See the module.
#[derive(Debug)]
pub struct Pool {
    /// Guards the lines, the seats, the lane and the endpoint. A queue's lock may be taken under it, never the other
    /// way; nothing awaits.
    state: Mutex<State>,
    /// Something changed that may let somebody go.
    changed: Notify,
    /// How many stand in the lines, for a look without the lock.
    standing: AtomicUsize,
    slow_after: Duration,
    lane_max: usize,
    lane_bytes_max: usize,
}

#[derive(Debug)]
struct State {
    lines: [VecDeque<Arc<Queue>>; LINES.len()],
    /// The line that went last.
    last: usize,
    /// Every attempt under way, by number: the oldest come first.
    attempts: BTreeMap<u64, Attempt>,
    begun: u64,
    seats: usize,
    trial_seats: usize,
    lane: usize,
    lane_bytes: usize,
    endpoint: Endpoint,
    latencies: Latencies,
    closed: bool,
}

#[derive(Debug)]
struct Attempt {
    queue: Arc<Queue>,
    /// From which line it came.
    line: Line,
    since: Instant,
    /// The batch's number and bytes, once it was taken.
    batch: Option<(u64, usize)>,
    place: Place,
    cancel: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Seat,
    Lane,
    /// It was told to end, and no longer counts.
    Cancelled,
}

/// What the pool has to do next.
enum Next {
    Go(Turn, Line),
    At(Instant),
    Wait,
    Closed,
}

/// A look at the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSnapshot {
    /// Whether the endpoint is open.
    pub endpoint_open: bool,
    /// Most requests in flight at present, the slow lane apart.
    pub limit: usize,
    /// Requests in the slow lane.
    pub slow: usize,
}

impl Pool {
    /// A pool with every seat free.
    pub fn new(config: &Config) -> Self {
        let state = State {
            lines: Default::default(),
            last: 0,
            attempts: BTreeMap::new(),
            begun: 0,
            seats: 0,
            trial_seats: 0,
            lane: 0,
            lane_bytes: 0,
            endpoint: Endpoint::new(config.concurrency, config.slow_after),
            latencies: Latencies::default(),
            closed: false,
        };
        Pool {
            state: Mutex::new(state),
            changed: Notify::new(),
            standing: AtomicUsize::new(0),
            slow_after: config.slow_after,
            lane_max: LANE_MIN.max(LANE_PER_WORKER * config.concurrency),
            lane_bytes_max: config.buffer_max_bytes / LANE_BYTES_PART,
        }
    }

    /// Puts a queue at the end of its line.
    pub fn push(&self, queue: Arc<Queue>, line: Line) {
        let mut state = self.lock();
        if !state.closed {
            state.lines[line as usize].push_back(queue);
            self.standing.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Whether nobody stands in line.
    pub fn is_empty(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == 0
    }

    /// Lets nobody go any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let lines = std::mem::take(&mut state.lines);
        self.standing.store(0, Ordering::Relaxed);
        drop(state);
        drop(lines);
        self.changed.notify_one();
    }

    /// What it looks like now.
    pub fn snapshot(&self) -> PoolSnapshot {
        let state = self.lock();
        let (endpoint_open, limit) = (state.endpoint.is_open(), state.endpoint.limit());
        PoolSnapshot { endpoint_open, limit, slow: state.lane }
    }

    /// Changes what is known of the endpoint; that may let somebody go.
    pub(crate) fn endpoint<T>(&self, change: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let changed = change(&mut self.lock().endpoint, Instant::now());
        self.changed.notify_one();
        changed
    }

    /// The attempt has its batch now.
    pub(crate) fn took(&self, attempt: u64, batch: u64, bytes: usize) {
        let mut state = self.lock();
        let Some(known) = state.attempts.get_mut(&attempt) else { return };
        known.batch = Some((batch, bytes));
        if known.place == Place::Lane {
            known.queue.entered_lane(batch);
            state.lane_bytes += bytes;
        }
    }

    /// The attempt was answered for the first time.
    pub(crate) fn answered_after(&self, took: Duration) {
        self.lock().latencies.add(took);
    }

    /// The attempt is over.
    pub(crate) fn ended(&self, attempt: u64, lost_probe: Option<u64>) {
        let mut state = self.lock();
        if let Some(ended) = state.attempts.remove(&attempt) {
            state.leave(&ended);
        }
        if let Some(probe) = lost_probe {
            state.endpoint.probe_lost(Instant::now(), probe);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Who goes next. The queue has not been asked for its batch yet.
    fn next(&self, engine: &Arc<Engine>) -> Next {
        let now = Instant::now();
        let mut state = self.lock();
        if state.closed {
            return Next::Closed;
        }
        loop {
            if state.lines.iter().all(VecDeque::is_empty) {
                return Next::Wait;
            }
            let probe = match state.endpoint.may_send(now) {
                May::Send => false,
                May::Probe => true,
                May::At(at) => return Next::At(at),
            };
            let line = if probe { state.first_in_line() } else { self.line_to_go(&state) };
            let Some(line) = line else {
                match self.make_room(&mut state, now) {
                    Ok(()) => continue,
                    Err(Some(at)) => return Next::At(at),
                    Err(None) => return Next::Wait,
                }
            };
            let standing = &mut state.lines[line as usize];
            let place = if probe { likeliest(standing, engine) } else { 0 };
            let Some(queue) = standing.remove(place) else { return Next::Wait };
            self.standing.fetch_sub(1, Ordering::Relaxed);
            state.last = line as usize;
            let probe = state.endpoint.sent(now, probe);
            let place = if matches!(line, Line::Late | Line::Slow) && probe.is_none() {
                Place::Lane
            } else {
                Place::Seat
            };
            let (number, cancel) = state.begin(queue.clone(), line, place, now);
            return Next::Go(Turn::new(engine.clone(), queue, number, probe, now, cancel), line);
        }
    }

    /// The first line, beginning behind the one that went last, of which somebody may go.
    fn line_to_go(&self, state: &State) -> Option<Line> {
        let seat_free = state.seats < state.endpoint.limit();
        first_behind(state.last, |line| {
            if state.lines[line as usize].is_empty() {
                return false;
            }
            match line {
                Line::Steady => seat_free,
                Line::New | Line::Trial => seat_free && state.trial_seats < state.trial_seats_max(),
                Line::Late => self.lane_has_room_for_late(state),
                Line::Slow => {
                    let alone =
                        !state.attempts.values().any(|attempt| attempt.is_in_lane_from(&[Line::Slow]));
                    let most = if alone { self.lane_max } else { self.lane_max / 4 * LANE_QUARTERS_SLOW };
                    self.lane_has_room(state, most)
                }
            }
        })
    }

    fn lane_has_room_for_late(&self, state: &State) -> bool {
        self.lane_has_room(state, self.lane_max / 4 * LANE_QUARTERS_LATE)
    }

    fn lane_has_room(&self, state: &State, most: usize) -> bool {
        state.lane < most && state.lane_bytes < self.lane_bytes_max
    }

    /// Nobody may go: makes room for one of those who wait. Otherwise when that can be done at the earliest, if at all.
    fn make_room(&self, state: &mut State, now: Instant) -> Result<(), Option<Instant>> {
        let late_waits = !state.lines[Line::Late as usize].is_empty() && !self.lane_has_room_for_late(state);
        let in_lane = match late_waits {
            true => self.cancel_oldest(state, now, &[Line::New, Line::Trial, Line::Slow]),
            false => Err(None),
        };
        in_lane.or_else(|at| {
            self.free_a_seat(state, now).map_err(|seat_at| [at, seat_at].into_iter().flatten().min())
        })
    }

    /// Moves one request that takes long into the slow lane, for those who wait for a seat. Otherwise when that can be
    /// done at the earliest, if at all.
    fn free_a_seat(&self, state: &mut State, now: Instant) -> Result<(), Option<Instant>> {
        let waits = |line: Line| !state.lines[line as usize].is_empty();
        let trial_seat = waits(Line::New) || waits(Line::Trial);
        let any_seat = waits(Line::Steady) || (trial_seat && state.trial_seats < state.trial_seats_max());
        if !any_seat && !trial_seat {
            return Err(None);
        }
        let fits =
            |attempt: &&Attempt| attempt.place == Place::Seat && (any_seat || attempt.line != Line::Steady);
        let Some(oldest) = state.attempts.iter().find(|(_, attempt)| fits(attempt)) else { return Err(None) };
        let (number, patient_until) = (*oldest.0, oldest.1.since + state.latencies.patience(self.slow_after));
        if patient_until > now {
            return Err(Some(patient_until));
        }
        self.make_room_in_lane(state, now)?;
        let Some(attempt) = state.attempts.remove(&number) else { return Err(None) };
        state.leave(&attempt);
        state.lane += 1;
        if let Some((batch, bytes)) = attempt.batch {
            state.lane_bytes += bytes;
            attempt.queue.entered_lane(batch);
        }
        state.attempts.insert(number, Attempt { place: Place::Lane, ..attempt });
        Ok(())
    }

    /// Cancels the oldest of a full lane, if that had its time. Otherwise when it will have had it.
    fn make_room_in_lane(&self, state: &mut State, now: Instant) -> Result<(), Option<Instant>> {
        while !self.lane_has_room(state, self.lane_max) {
            self.cancel_oldest(state, now, &LINES)?;
        }
        Ok(())
    }

    /// Cancels the oldest in the lane that came from one of these lines, if it had its time. Otherwise when it will have
    /// had it, if there is one.
    fn cancel_oldest(&self, state: &mut State, now: Instant, of: &[Line]) -> Result<(), Option<Instant>> {
        let oldest = state.attempts.values_mut().find(|attempt| attempt.is_in_lane_from(of));
        let Some(oldest) = oldest else { return Err(None) };
        let had_its_time = oldest.since + self.slow_after;
        if had_its_time > now {
            return Err(Some(had_its_time));
        }
        oldest.place = Place::Cancelled;
        oldest.cancel.notify_one();
        let bytes = oldest.batch.map_or(0, |(_, bytes)| bytes);
        state.lane -= 1;
        state.lane_bytes -= bytes;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines take turns: the first behind the one that went last, of those that may go.
fn first_behind(last: usize, may_go: impl Fn(Line) -> bool) -> Option<Line> {
    (1..=LINES.len()).map(|step| LINES[(last + step) % LINES.len()]).find(|line| may_go(*line))
}

impl Attempt {
    fn is_in_lane_from(&self, lines: &[Line]) -> bool {
        self.place == Place::Lane && lines.contains(&self.line)
    }
}

impl State {
    fn trial_seats_max(&self) -> usize {
        (self.endpoint.limit() / 2).max(1)
    }

    /// Who is most likely to get through comes first.
    fn first_in_line(&self) -> Option<Line> {
        LINES.into_iter().find(|line| !self.lines[*line as usize].is_empty())
    }

    fn begin(&mut self, queue: Arc<Queue>, line: Line, place: Place, since: Instant) -> (u64, Arc<Notify>) {
        match place {
            Place::Seat => {
                self.seats += 1;
                self.trial_seats += usize::from(line != Line::Steady);
            }
            Place::Lane => self.lane += 1,
            Place::Cancelled => {}
        }
        let cancel = Arc::<Notify>::default();
        self.begun += 1;
        self.attempts
            .insert(self.begun, Attempt { queue, line, since, batch: None, place, cancel: cancel.clone() });
        (self.begun, cancel)
    }

    /// The attempt gives up its place.
    fn leave(&mut self, attempt: &Attempt) {
        match attempt.place {
            Place::Seat => {
                self.seats -= 1;
                self.trial_seats -= usize::from(attempt.line != Line::Steady);
            }
            Place::Lane => {
                self.lane -= 1;
                self.lane_bytes -= attempt.batch.map_or(0, |(_, bytes)| bytes);
            }
            Place::Cancelled => {}
        }
    }
}

/// Where the one stands whose answer proves most: the service answered it last. It is looked for among so many, taken
/// at random, since those that failed together may stand together.
fn likeliest(standing: &VecDeque<Arc<Queue>>, engine: &Engine) -> usize {
    const LOOKED_AT: usize = 64;
    let any = |n| if standing.len() <= LOOKED_AT { n } else { engine.random_below(standing.len()) };
    (0..standing.len().min(LOOKED_AT))
        .map(any)
        .max_by_key(|place| standing[*place].answered_at())
        .unwrap_or(0)
}

/// Lets one after the other go, until the pool is closed.
pub async fn run(engine: Arc<Engine>) {
    loop {
        match engine.pool.next(&engine) {
            Next::Go(turn, line) => start(&engine, turn, line),
            // A change meanwhile leaves a permit behind, so none is missed.
            Next::At(at) => drop(timeout_at(at, engine.pool.changed.notified()).await),
            Next::Wait => engine.pool.changed.notified().await,
            Next::Closed => return,
        }
    }
}

/// Gives the next batch of the turn's queue its attempt, if there still is one that may go.
fn start(engine: &Arc<Engine>, turn: Turn, line: Line) {
    let queue = turn.queue().clone();
    let (batch, effects) = queue.take(line);
    engine.apply(&queue, effects);
    let Some(batch) = batch else { return };
    turn.took(&batch);
    let flight = InFlight::new(engine.clone(), queue, batch);
    // A task of its own, so that a panic ends the attempt and nothing else. Its batch is then dropped, which ends it
    // as abandoned, and its turn, which gives the seat back.
    tokio::spawn(sender::attempt(engine.clone(), turn, flight));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(count: usize, may_go: impl Fn(Line) -> bool) -> Vec<Line> {
        let mut last = 0;
        let turn = |_| {
            let line = first_behind(last, &may_go)?;
            last = line as usize;
            Some(line)
        };
        (0..count).map_while(turn).collect()
    }

    #[test]
    fn lines_take_turns_however_many_stand_in_one() {
        let all = turns(2 * LINES.len(), |_| true);
        for line in LINES {
            assert_eq!(all.iter().filter(|turn| **turn == line).count(), 2, "{line:?} of {all:?}");
        }
        let two = turns(4, |line| matches!(line, Line::Steady | Line::Slow));
        assert_eq!(two, [Line::Slow, Line::Steady, Line::Slow, Line::Steady]);
        assert_eq!(turns(3, |line| line == Line::Steady), [Line::Steady; 3]);
        assert_eq!(turns(3, |_| false), []);
    }
}
