//! The acks that the host has not fetched yet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Instant;

use super::resolution::Resolution;
use crate::memory::Charge;
use crate::sync::{lock, wait_while_until};

/// The report to the host about one event.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The token that the event was pushed with.
    pub token: u64,
    /// The outcome of the event.
    pub resolution: Resolution,
}

/// A signal to the host that acks are there, such as an eventfd.
pub trait AckSignal: Send + Sync + 'static {
    /// Acks are there.
    fn raise(&self);
    /// No acks are left.
    fn lower(&self);
}

/// A queue of acks for the host, in the order in which the events became final.
#[derive(Default)]
pub struct AckQueue {
    enabled: AtomicBool,
    /// Guards the queued acks. Nothing awaits, and no host is called, while holding it.
    state: Mutex<QueuedAcks>,
    arrived: Condvar,
    signal: OnceLock<Box<dyn AckSignal>>,
}

impl std::fmt::Debug for AckQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckQueue").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct QueuedAcks {
    runs: VecDeque<AckRun>,
    closed: bool,
}

/// Tokens of events with the same resolution. The charge is given back with the last run that shares it.
#[derive(Debug)]
pub(super) struct AckRun {
    pub tokens: VecDeque<u64>,
    pub resolution: Resolution,
    pub _charge: Option<Arc<Charge>>,
}

impl AckQueue {
    /// Enables acks for events that are accepted from now on. Events accepted before get none.
    pub fn enable(&self) {
        self.enabled.store(true, Ordering::Release);
    }

    /// Returns whether the host asked for acks.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Sets the signal. Only the first call has an effect.
    pub fn set_signal(&self, signal: Box<dyn AckSignal>) {
        let state = lock(&self.state);
        let set = self.signal.set(signal).is_ok();
        if set && !state.runs.is_empty() {
            self.signal.get().inspect(|signal| signal.raise());
        }
    }

    /// Takes at most `max` acks. Blocks the calling thread until there are acks, the queue is closed, or `deadline` has
    /// come (`None`: without limit).
    pub fn take(&self, max: usize, deadline: Option<Instant>) -> Vec<Ack> {
        let waits = |state: &QueuedAcks| state.runs.is_empty() && !state.closed;
        let mut state = wait_while_until(&self.arrived, lock(&self.state), deadline, waits);
        let mut acks = Vec::new();
        while acks.len() < max
            && let Some(run) = state.runs.front_mut()
        {
            let resolution = run.resolution.clone();
            let count = run.tokens.len().min(max - acks.len());
            acks.extend(run.tokens.drain(..count).map(|token| Ack { token, resolution: resolution.clone() }));
            if run.tokens.is_empty() {
                state.runs.pop_front();
            }
        }
        if state.runs.is_empty() && !acks.is_empty() {
            self.signal.get().inspect(|signal| signal.lower());
        }
        acks
    }

    /// Returns whether no ack waits to be fetched.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).runs.is_empty()
    }

    /// Closes the queue: no more acks will come, and threads that wait for some go on.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }

    /// Returns whether the queue is closed and empty.
    pub fn is_finished(&self) -> bool {
        let state = lock(&self.state);
        state.closed && state.runs.is_empty()
    }

    pub(super) fn push(&self, run: AckRun) {
        if run.tokens.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        let first = state.runs.is_empty();
        state.runs.push_back(run);
        if first {
            self.signal.get().inspect(|signal| signal.raise());
        }
        drop(state);
        self.arrived.notify_all();
    }
}
