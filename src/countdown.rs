//! A count of things that are still to end, which a host's thread can wait for.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Counts parts down; a part ends when its [`Part`] is dropped.
#[derive(Debug, Default)]
pub struct Countdown {
    /// Parts that have not ended. Nothing awaits while holding it.
    open: Mutex<usize>,
    ended: Condvar,
}

/// One of the things counted: dropping it ends it.
#[derive(Debug)]
pub struct Part(Weak<Countdown>);

impl Countdown {
    /// One more part to wait for.
    pub fn part(self: &Arc<Self>) -> Part {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Part(Arc::downgrade(self))
    }

    /// Whether every part has ended.
    pub fn is_done(&self) -> bool {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) == 0
    }

    /// Blocks the calling thread until every part has ended, at most until `deadline` (none: for ever).
    /// False when it came to the deadline.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while *open > 0 {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            open = match left {
                None => self.ended.wait(open).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.ended.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }
}

impl Part {
    /// Whether somebody still has the countdown.
    pub fn is_awaited(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(countdown) = self.0.upgrade() else { return };
        let mut open = countdown.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open -= 1;
        if *open == 0 {
            countdown.ended.notify_all();
        }
    }
}
