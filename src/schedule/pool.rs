//! The pool: which target may send next.
//!
//! A sink has few slots and perhaps thousands of targets. A slot is the right to have one request in flight. If each free
//! slot took the next batch, a few silent targets would hold all slots until their requests time out, and all other targets
//! would starve. So the pool decides who gets a slot, and for how long.
//!
//! A target that has a batch to send waits in one ready class. The first target of a class takes a free slot and gives its
//! next batch one attempt.
//!
//! Invariants:
//!
//! * A target sends one batch at its turn, however large its backlog is. The classes take turns as well.
//! * Targets of the classes New and Trial never take more than half of the slots, or one if there is only one. The other
//!   half is free at once for healthy targets.
//! * A slow request gives its slot up when a target waits for one, and ends in the slow lane. A request is slow when it is
//!   `slow_after_ms` old, or much older than requests usually become. So targets that never answer hold no slot.
//! * The slow lane is bounded in requests and in bytes. A target whose last answer was slow starts there and takes no slot.
//!   When a request that becomes slow finds the lane full, the oldest request there is cancelled and tried again later.
//! * Late targets (healthy but slow) may fill three quarters of the lane. When they find it fuller, the oldest request there
//!   that came from the class New, Trial or Slow is cancelled, once it is `slow_after_ms` old. One target of the class Slow
//!   may send whenever the lane has room.
//! * Requests in slots are never more than the limit of the endpoint. While the endpoint is paused, only its probe goes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempts::{Attempts, Oldest, Place};
use super::endpoint::{Admission, Endpoint};
use super::latency::Latencies;
use crate::config::Config;
use crate::sync::lock;
use crate::target::{Queue, ReadyClass};

/// Requests in the slow lane for each slot, and the least number of them.
const SLOW_LANE_PER_WORKER: usize = 8;
const SLOW_LANE_MIN: usize = 32;
/// The quarters of the slow lane that targets may fill whose last answer was slow: late targets, so that a quarter is left
/// for requests that become slow; and failing ones, so that late targets find room beside them.
const SLOW_LANE_QUARTERS_LATE: usize = 3;
const SLOW_LANE_QUARTERS_SLOW: usize = 2;
/// The part of `buffer_max_bytes` whose batches may be in the slow lane.
const SLOW_LANE_BYTES_PART: usize = 4;
/// Queues of a class that are compared when the probe is chosen.
const PROBE_CANDIDATES_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    /// Guards the ready classes, the attempts and the endpoint. The lock of a queue and that of the source of jitter may be
    /// taken under it, never the other way. Nothing awaits while holding it.
    state: Mutex<State>,
    /// Something changed that may let a target send.
    changed: Notify,
    /// The number of queues in the ready classes, for a look without the lock.
    ready: AtomicUsize,
    slow_after: Duration,
    slow_lane_max: usize,
    slow_lane_bytes_max: usize,
}

#[derive(Debug)]
struct State {
    classes: [VecDeque<Arc<Queue>>; ReadyClass::ALL.len()],
    /// The class that was served last.
    last_class: usize,
    attempts: Attempts,
    endpoint: Endpoint,
    latencies: Latencies,
    closed: bool,
}

/// The permission for one attempt. Its place is taken until [`Pool::end`] is called with its number.
#[derive(Debug)]
pub struct Grant {
    /// The queue that may send. It has not been asked for its batch yet.
    pub queue: Arc<Queue>,
    /// The class that the queue waited in.
    pub class: ReadyClass,
    /// The number of the attempt.
    pub number: u64,
    /// The number of the probe, if the attempt is the probe of the endpoint.
    pub probe: Option<u64>,
    /// The time of the grant.
    pub granted_at: Instant,
    /// Notified when the attempt has to end, to make room for others.
    pub cancel: Arc<Notify>,
}

/// The next step of the task that starts attempts.
#[derive(Debug)]
pub enum NextGrant {
    /// Start this attempt.
    Grant(Grant),
    /// No target may send before then, unless something changes.
    NotBefore(Instant),
    /// No target may send until something changes.
    WaitForChange,
    /// The pool is closed.
    Closed,
}

/// The state of the pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PoolSnapshot {
    /// True if the endpoint is up.
    pub endpoint_up: bool,
    /// The most requests in flight at present, without the slow lane.
    pub limit: usize,
    /// Requests in the slow lane.
    pub slow_requests: usize,
}

/// The reason why no room could be made for a target.
#[derive(Clone, Copy, Debug)]
enum NoRoomYet {
    /// Room can be made then.
    Until(Instant),
    /// Only a change can make room.
    UntilChange,
}

impl Pool {
    /// A pool in which every slot is free.
    pub fn new(config: &Config) -> Self {
        let state = State {
            classes: Default::default(),
            last_class: 0,
            attempts: Attempts::default(),
            endpoint: Endpoint::new(config.concurrency, config.slow_after),
            latencies: Latencies::default(),
            closed: false,
        };
        Pool {
            state: Mutex::new(state),
            changed: Notify::new(),
            ready: AtomicUsize::new(0),
            slow_after: config.slow_after,
            slow_lane_max: SLOW_LANE_MIN.max(SLOW_LANE_PER_WORKER * config.concurrency),
            slow_lane_bytes_max: config.buffer_max_bytes / SLOW_LANE_BYTES_PART,
        }
    }

    /// Puts a queue at the end of its class.
    pub fn push(&self, queue: Arc<Queue>, class: ReadyClass) {
        let mut state = self.lock();
        if !state.closed {
            state.classes[class.index()].push_back(queue);
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns whether no queue waits in a class.
    pub fn is_empty(&self) -> bool {
        self.ready.load(Ordering::Relaxed) == 0
    }

    /// Closes the pool: no target sends any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let classes = std::mem::take(&mut state.classes);
        self.ready.store(0, Ordering::Relaxed);
        drop(state);
        drop(classes);
        self.changed.notify_one();
    }

    /// The state of the pool now.
    pub fn snapshot(&self) -> PoolSnapshot {
        let state = self.lock();
        PoolSnapshot {
            endpoint_up: state.endpoint.is_up(),
            limit: state.endpoint.limit(),
            slow_requests: state.attempts.slow_lane,
        }
    }

    /// Waits until something has changed that may let a target send. A change between two calls is not missed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Changes the state of the endpoint, which may let a target send.
    pub fn with_endpoint<T>(&self, change: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let changed = change(&mut self.lock().endpoint, Instant::now());
        self.changed.notify_one();
        changed
    }

    /// The attempt has taken its batch from the queue.
    pub fn set_batch(&self, attempt: u64, batch: u64, bytes: usize) {
        self.lock().attempts.set_batch(attempt, batch, bytes);
    }

    /// Notes the latency of the first answer to an attempt.
    pub fn add_latency(&self, latency: Duration) {
        self.lock().latencies.add(latency);
    }

    /// Ends an attempt. `lost_probe` is the number of its probe, if the attempt was a probe without a result.
    pub fn end(&self, attempt: u64, lost_probe: Option<u64>) {
        let mut state = self.lock();
        state.attempts.end(attempt);
        if let Some(probe) = lost_probe {
            state.endpoint.on_probe_lost(Instant::now(), probe);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Grants an attempt to the next target that may send. `random_below(n)` gives a random number below `n`.
    pub fn next(&self, random_below: impl FnMut(usize) -> usize) -> NextGrant {
        let now = Instant::now();
        let mut state = self.lock();
        if state.closed {
            return NextGrant::Closed;
        }
        loop {
            if state.classes.iter().all(VecDeque::is_empty) {
                return NextGrant::WaitForChange;
            }
            let is_probe = match state.endpoint.admission(now) {
                Admission::Send => false,
                Admission::Probe => true,
                Admission::NotBefore(at) => return NextGrant::NotBefore(at),
            };
            let class = if is_probe { state.most_likely_class() } else { self.next_class(&state) };
            let Some(class) = class else {
                match self.make_room(&mut state, now) {
                    Ok(()) => continue,
                    Err(NoRoomYet::Until(at)) => return NextGrant::NotBefore(at),
                    Err(NoRoomYet::UntilChange) => return NextGrant::WaitForChange,
                }
            };
            let waiting = &mut state.classes[class.index()];
            let place = if is_probe { best_probe(waiting, random_below) } else { 0 };
            let Some(queue) = waiting.remove(place) else { return NextGrant::WaitForChange };
            self.ready.fetch_sub(1, Ordering::Relaxed);
            return NextGrant::Grant(state.grant(queue, class, is_probe, now));
        }
    }

    /// The next class in turn that may send.
    fn next_class(&self, state: &State) -> Option<ReadyClass> {
        let attempts = &state.attempts;
        let slot_free = attempts.slots < state.endpoint.limit();
        next_in_turn(state.last_class, |class| {
            if state.classes[class.index()].is_empty() {
                return false;
            }
            match class {
                ReadyClass::Steady => slot_free,
                ReadyClass::New | ReadyClass::Trial => {
                    slot_free && attempts.trial_slots < state.trial_slots_max()
                }
                ReadyClass::Late => self.slow_lane_has_room_for_late(attempts),
                ReadyClass::Slow => {
                    let is_only_one = attempts.oldest_in_slow_lane(&[ReadyClass::Slow]).is_none();
                    let max = match is_only_one {
                        true => self.slow_lane_max,
                        false => self.slow_lane_max / 4 * SLOW_LANE_QUARTERS_SLOW,
                    };
                    self.slow_lane_has_room(attempts, max)
                }
            }
        })
    }

    fn slow_lane_has_room_for_late(&self, attempts: &Attempts) -> bool {
        self.slow_lane_has_room(attempts, self.slow_lane_max / 4 * SLOW_LANE_QUARTERS_LATE)
    }

    fn slow_lane_has_room(&self, attempts: &Attempts, max: usize) -> bool {
        attempts.slow_lane < max && attempts.slow_lane_bytes < self.slow_lane_bytes_max
    }

    /// Makes room for a target that waits, when no target may send.
    fn make_room(&self, state: &mut State, now: Instant) -> Result<(), NoRoomYet> {
        let late_waits = !state.classes[ReadyClass::Late.index()].is_empty()
            && !self.slow_lane_has_room_for_late(&state.attempts);
        let in_lane = match late_waits {
            true => self.cancel_oldest(state, now, &[ReadyClass::New, ReadyClass::Trial, ReadyClass::Slow]),
            false => Err(NoRoomYet::UntilChange),
        };
        in_lane.or_else(|lane| self.free_slot(state, now).map_err(|slot| lane.earlier(slot)))
    }

    /// Moves one slow request into the slow lane, for a target that waits for a slot.
    fn free_slot(&self, state: &mut State, now: Instant) -> Result<(), NoRoomYet> {
        let waits = |class: ReadyClass| !state.classes[class.index()].is_empty();
        let trial_waits = waits(ReadyClass::New) || waits(ReadyClass::Trial);
        let any_slot_helps = waits(ReadyClass::Steady)
            || (trial_waits && state.attempts.trial_slots < state.trial_slots_max());
        if !any_slot_helps && !trial_waits {
            return Err(NoRoomYet::UntilChange);
        }
        let oldest = state.attempts.oldest_in_slot(!any_slot_helps).ok_or(NoRoomYet::UntilChange)?;
        due_after(state.latencies.slow_threshold(self.slow_after), oldest, now)?;
        while !self.slow_lane_has_room(&state.attempts, self.slow_lane_max) {
            self.cancel_oldest(state, now, &ReadyClass::ALL)?;
        }
        state.attempts.move_to_slow_lane(oldest.number);
        Ok(())
    }

    /// Cancels the oldest request in the slow lane that came from one of these classes.
    fn cancel_oldest(
        &self,
        state: &mut State,
        now: Instant,
        classes: &[ReadyClass],
    ) -> Result<(), NoRoomYet> {
        let oldest = state.attempts.oldest_in_slow_lane(classes).ok_or(NoRoomYet::UntilChange)?;
        due_after(self.slow_after, oldest, now)?;
        state.attempts.cancel(oldest.number);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Returns an error until the attempt is as old as `age`.
fn due_after(age: Duration, attempt: Oldest, now: Instant) -> Result<(), NoRoomYet> {
    let due = attempt.begun_at + age;
    if due > now { Err(NoRoomYet::Until(due)) } else { Ok(()) }
}

impl NoRoomYet {
    fn earlier(self, other: NoRoomYet) -> NoRoomYet {
        match (self, other) {
            (NoRoomYet::Until(one), NoRoomYet::Until(other)) => NoRoomYet::Until(one.min(other)),
            (NoRoomYet::Until(at), NoRoomYet::UntilChange)
            | (NoRoomYet::UntilChange, NoRoomYet::Until(at)) => NoRoomYet::Until(at),
            (NoRoomYet::UntilChange, NoRoomYet::UntilChange) => NoRoomYet::UntilChange,
        }
    }
}

impl State {
    /// The most slots for targets on trial: half of the limit, and at least one.
    fn trial_slots_max(&self) -> usize {
        (self.endpoint.limit() / 2).max(1)
    }

    /// The class of those that have queues whose targets are most likely to be answered.
    fn most_likely_class(&self) -> Option<ReadyClass> {
        ReadyClass::ALL.into_iter().find(|class| !self.classes[class.index()].is_empty())
    }

    fn grant(&mut self, queue: Arc<Queue>, class: ReadyClass, is_probe: bool, now: Instant) -> Grant {
        self.last_class = class.index();
        let probe = self.endpoint.on_sent(now, is_probe);
        let place = match class {
            ReadyClass::Late | ReadyClass::Slow if probe.is_none() => Place::SlowLane,
            _ => Place::Slot,
        };
        let (number, cancel) = self.attempts.begin(queue.clone(), class, place, now);
        Grant { queue, class, number, probe, granted_at: now, cancel }
    }
}

/// The classes take turns: the first class after the last one that may send.
fn next_in_turn(last_class: usize, may_send: impl Fn(ReadyClass) -> bool) -> Option<ReadyClass> {
    let classes = ReadyClass::ALL;
    (1..=classes.len())
        .map(|step| classes[(last_class + step) % classes.len()])
        .find(|class| may_send(*class))
}

/// The place of the queue whose answer proves most: the one that the service answered last. In a long class a random
/// sample is compared, since targets that failed together may wait side by side.
fn best_probe(waiting: &VecDeque<Arc<Queue>>, mut random_below: impl FnMut(usize) -> usize) -> usize {
    let mut candidate =
        |n| if waiting.len() <= PROBE_CANDIDATES_MAX { n } else { random_below(waiting.len()) };
    (0..waiting.len().min(PROBE_CANDIDATES_MAX))
        .map(&mut candidate)
        .max_by_key(|place| waiting[*place].delivered_at())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
