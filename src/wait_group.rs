//! A count of pending things that a thread of the host can wait for.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Instant;

use crate::sync::{lock, wait_while_until};

/// Counts pending things. One is done when its [`WaitGuard`] is dropped.
#[derive(Debug, Default)]
pub struct WaitGroup {
    /// The number of pending things. Nothing awaits while holding it.
    pending: Mutex<usize>,
    done: Condvar,
}

/// One pending thing of a [`WaitGroup`]: it is done when the guard is dropped.
#[derive(Debug)]
pub struct WaitGuard(Weak<WaitGroup>);

impl WaitGroup {
    /// Adds a pending thing.
    pub fn guard(self: &Arc<Self>) -> WaitGuard {
        *lock(&self.pending) += 1;
        WaitGuard(Arc::downgrade(self))
    }

    /// Returns whether nothing is pending.
    pub fn is_done(&self) -> bool {
        *lock(&self.pending) == 0
    }

    /// Blocks the calling thread until nothing is pending, until `deadline` at the latest (`None`: without limit).
    /// Returns whether nothing is pending.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        *wait_while_until(&self.done, lock(&self.pending), deadline, |pending| *pending > 0) == 0
    }
}

impl WaitGuard {
    /// Returns whether somebody still holds the wait group.
    pub fn is_awaited(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let Some(group) = self.0.upgrade() else { return };
        let mut pending = lock(&group.pending);
        *pending -= 1;
        if *pending == 0 {
            group.done.notify_all();
        }
    }
}
