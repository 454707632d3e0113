//! The pool: which target may send next.
//!
//! A sink has few slots and perhaps thousands of targets. A slot is the right to have one request in flight. If each free
//! slot took the next batch, a few silent targets would hold all slots until their requests time out, and all other targets
//! would starve. So the pool decides who gets a slot, and for how long.
//!
//! A target that has a batch to send waits in one ready class. The first target of a class takes a free slot and gives its
//! next batch one attempt. A target that was answered in time is *answering*. All others are *on probation*: those that were
//! never waited for long, those that were answered late, and those that were waited for in vain.
//!
//! Invariants:
//!
//! * A target sends one batch at its turn, however large its backlog is. Answering targets and those on probation take turns.
//! * Targets on probation never hold more than half of the slots, or one if there is only one.
//! * A slow request gives its slot up when a target waits for one, and goes on in the slow lane. A request is slow when it is
//!   `slow_after_ms` old, or much older than requests usually become, besides the time that the transfer of its body takes. It
//!   is slow at once if the last one of its target was.
//! * The slow lane is bounded, and so is the share of each class on probation. Where there is no room, the request keeps its
//!   slot.
//! * A request is waited for until it times out, with one exception: it is cut short when it outlived its patience and others
//!   wait for its place. The patience of a target grows with each request that was waited for in vain, so that a target that
//!   answers at all gets through.
//! * Requests in slots are never more than the limit of the endpoint. While the endpoint is paused, only its probe goes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempts::{Attempts, Place};
use super::endpoint::{Admission, Endpoint};
use super::latency::Latencies;
use crate::config::Config;
use crate::sync::lock;
use crate::target::{Queue, ReadyClass};

mod room;

/// Requests in the slow lane for each slot, the least number of them, and the most. Each is a socket of the host.
const SLOW_LANE_PER_SLOT: usize = 8;
const SLOW_LANE_MIN: usize = 64;
const SLOW_LANE_MAX: usize = 256;
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
}

#[derive(Debug)]
struct State {
    classes: [VecDeque<Arc<Queue>>; ReadyClass::ALL.len()],
    /// The last grant was for a target on probation.
    was_probation: bool,
    /// The next grant for an untested target is for the newest of them, else for the oldest.
    is_newest_next: bool,
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
    /// Notified when the attempt is cut short, to make room for others.
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
#[derive(Clone, Debug)]
pub struct PoolSnapshot {
    /// True if the endpoint is up.
    pub endpoint_up: bool,
    /// The most requests in flight at present, without the slow lane.
    pub limit: usize,
    /// The ids of the queues with a request in the slow lane, one for each request.
    pub slow: Vec<usize>,
}

impl Pool {
    /// A pool in which every slot is free.
    pub fn new(config: &Config) -> Self {
        let state = State {
            classes: Default::default(),
            was_probation: false,
            is_newest_next: true,
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
            slow_lane_max: (SLOW_LANE_PER_SLOT * config.concurrency).clamp(SLOW_LANE_MIN, SLOW_LANE_MAX),
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
            slow: state.attempts.slow_queues().collect(),
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

    /// Starts over for a shutdown, if the endpoint is paused: the next probe may go at once, and every attempt that is out is cut
    /// short, since its request may hang while the endpoint is back. Their batches go out again.
    pub fn start_over(&self) {
        let mut state = self.lock();
        if state.endpoint.make_due(Instant::now()) {
            state.attempts.cancel_all();
        }
        drop(state);
        self.changed.notify_one();
    }

    /// A request of an attempt goes out, with a body of this size.
    pub fn on_sent(&self, attempt: u64, bytes: usize) {
        self.lock().attempts.on_sent(attempt, bytes, Instant::now());
    }

    /// The last request of an attempt was answered.
    pub fn on_answer(&self, attempt: u64, latency: Duration) {
        let mut state = self.lock();
        let bytes = state.attempts.bytes(attempt);
        state.latencies.add(latency, bytes);
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
            let Some(best) = ReadyClass::ALL.into_iter().find(|class| state.waits(*class)) else {
                return NextGrant::WaitForChange;
            };
            let is_probe = match state.endpoint.admission(now) {
                Admission::Send => false,
                Admission::Probe => true,
                Admission::NotBefore(at) => return NextGrant::NotBefore(at),
            };
            let class = if is_probe { Some(best) } else { self.next_class(&state) };
            let Some(class) = class else {
                match self.make_room(&mut state, now) {
                    Ok(()) => continue,
                    Err(Some(at)) => return NextGrant::NotBefore(at),
                    Err(None) => return NextGrant::WaitForChange,
                }
            };
            let place = match class {
                _ if is_probe => state.best_probe(class, random_below),
                // Of targets of which nothing is known, the newest and the oldest take turns. So those that were pushed to before
                // it or after it, and are tried in vain, do not hold a target up, however many they are.
                ReadyClass::Untested if state.is_newest_next => state.classes[class.index()].len() - 1,
                _ => 0,
            };
            let Some(queue) = state.classes[class.index()].remove(place) else {
                return NextGrant::WaitForChange;
            };
            state.is_newest_next ^= class == ReadyClass::Untested;
            self.ready.fetch_sub(1, Ordering::Relaxed);
            return NextGrant::Grant(self.grant(&mut state, queue, class, is_probe, now));
        }
    }

    fn grant(
        &self,
        state: &mut State,
        queue: Arc<Queue>,
        class: ReadyClass,
        is_probe: bool,
        now: Instant,
    ) -> Grant {
        state.was_probation = class.is_probation();
        let probe = state.endpoint.on_sent(now, is_probe);
        let patience = queue.standing().patience(self.slow_after);
        let (number, cancel) = state.attempts.begin(queue.id(), class, patience, now);
        Grant { queue, class, number, probe, granted_at: now, cancel }
    }

    /// The next class in turn that may send.
    fn next_class(&self, state: &State) -> Option<ReadyClass> {
        if state.attempts.count(Place::Slot, |_| true) >= state.endpoint.limit() {
            return None;
        }
        let answering = Some(ReadyClass::Answering).filter(|class| state.waits(*class));
        let probation = match state.has_probation_slot() {
            true => {
                ReadyClass::ALL.into_iter().find(|class| class.is_probation() && self.may_send(state, *class))
            }
            false => None,
        };
        if state.was_probation { answering.or(probation) } else { probation.or(answering) }
    }

    /// Returns whether a target of the class waits that needs only a slot.
    fn may_send(&self, state: &State, class: ReadyClass) -> bool {
        state.waits(class) && state.attempts.of_class(class) < self.share(class)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn waits(&self, class: ReadyClass) -> bool {
        !self.classes[class.index()].is_empty()
    }

    /// Returns whether targets on probation hold less than half of the limit, or no slot if the limit is 1.
    fn has_probation_slot(&self) -> bool {
        self.attempts.count(Place::Slot, ReadyClass::is_probation) < (self.endpoint.limit() / 2).max(1)
    }

    /// The place of a queue whose answer proves most: any that has not failed since the last answer of the endpoint, and that
    /// the service has taken a batch of. In a long class a random sample is compared.
    fn best_probe(&self, class: ReadyClass, mut random_below: impl FnMut(usize) -> usize) -> usize {
        let waiting = &self.classes[class.index()];
        let first = random_below(waiting.len());
        let mut candidate = |n| match waiting.len() {
            ..=PROBE_CANDIDATES_MAX => (first + n) % waiting.len(),
            _ => random_below(waiting.len()),
        };
        (0..waiting.len().min(PROBE_CANDIDATES_MAX))
            .map(&mut candidate)
            .max_by_key(|place| {
                let queue = &waiting[*place];
                (!self.endpoint.is_suspect(queue.id()), queue.delivered_at().is_some())
            })
            .unwrap_or(first)
    }
}

#[cfg(test)]
mod tests;
