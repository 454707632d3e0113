//! The pace of `CreateLogStream`, which has a quota of its own.
//!
//! The quota is not known, so the pace is learned from throttled creations, as the pace of `PutLogEvents` is. A queue that
//! has to wait is parked, without a slot. A task lets the waiting queues go on, one after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::schedule::rate_limiter::RateLimiter;
use crate::sync::lock;
use crate::target::Queue;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CreationPace {
    /// Guards the pace and the queues that wait for it. Nothing awaits while holding it.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    limiter: RateLimiter,
    /// The time at which the pace was last lowered. A creation that was sent before says nothing about the pace since.
    lowered_at: Option<Instant>,
    waiting: VecDeque<Arc<Queue>>,
    closed: bool,
}

/// The next step of the task that lets queues go on.
#[derive(Debug)]
pub(super) enum NextCreation {
    /// This queue may create.
    Queue(Arc<Queue>),
    /// No queue may create before then.
    NotBefore(Instant),
    /// No queue waits.
    WaitForChange,
    /// No queue creates any more.
    Closed,
}

impl CreationPace {
    /// Returns whether a creation may go out now, and counts it if so. Queues that wait come first.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let admits = state.waiting.is_empty() && state.limiter.next(now).is_none();
        if admits {
            state.limiter.on_sent(now);
        }
        admits
    }

    /// Adds a parked queue at the end.
    pub(super) fn push(&self, queue: Arc<Queue>) {
        self.lock().waiting.push_back(queue);
        self.changed.notify_one();
    }

    /// A creation was answered, and was not throttled.
    pub(super) fn on_answer(&self) {
        self.lock().limiter.on_answer();
    }

    /// A creation that was sent at `sent_at` was throttled. The pace is lowered once for creations that were out together.
    pub(super) fn on_throttled(&self, sent_at: Instant, now: Instant) {
        let mut state = self.lock();
        if state.lowered_at.is_none_or(|lowered_at| sent_at > lowered_at) {
            state.lowered_at = Some(now);
            state.limiter.on_throttled(now);
        }
    }

    /// Takes the next queue that may create, and counts its creation.
    pub(super) fn next(&self, now: Instant) -> NextCreation {
        let mut state = self.lock();
        if state.closed {
            return NextCreation::Closed;
        }
        if state.waiting.is_empty() {
            return NextCreation::WaitForChange;
        }
        if let Some(at) = state.limiter.next(now) {
            return NextCreation::NotBefore(at);
        }
        state.limiter.on_sent(now);
        state.waiting.pop_front().map_or(NextCreation::WaitForChange, NextCreation::Queue)
    }

    /// Waits until a queue waits, or the pace is closed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Forgets the queues that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
