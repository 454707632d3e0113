//! Contention of threads that push to one target as fast as they can.
//!
//! The lock of a target guards about a dozen cache lines. Threads on different cores that alternate at each event move
//! those lines back and forth, and are slower together than one thread alone. So a thread that finds the lock taken
//! backs off for a while, and the other continues with lines that its core has. The back-off grows with the number of
//! recent collisions. After a single collision it is about a microsecond.

use std::sync::atomic::{AtomicU32, Ordering};

/// Yields of the first back-off. A yield takes some hundred nanoseconds when no other thread wants the core.
const FIRST_YIELDS: u32 = 1;
/// The back-off doubles at most this often.
const DOUBLINGS_MAX: u32 = 6;
/// Uncontended pushes that make up for one collision.
const PUSHES_PER_COLLISION: u32 = 512;
/// Back-offs before the thread sleeps until the lock is free.
const BACKOFFS_MAX: u32 = 8;

/// Counts recent collisions at the lock of one target.
#[derive(Debug, Default)]
pub(super) struct Contention {
    /// Grows by [`PUSHES_PER_COLLISION`] with each collision, and falls by one with each uncontended push. Only a hint.
    level: AtomicU32,
}

impl Contention {
    /// A push found the lock free.
    #[inline]
    pub(super) fn on_uncontended(&self) {
        let level = self.level.load(Ordering::Relaxed);
        if level > 0 {
            self.level.store(level - 1, Ordering::Relaxed);
        }
    }

    /// A push found the lock taken: backs off and calls `attempt` again, until it succeeds or the back-offs are used up.
    #[cold]
    pub(super) fn back_off_until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let max = PUSHES_PER_COLLISION * (DOUBLINGS_MAX + 1) - 1;
        let level = (self.level.load(Ordering::Relaxed) + PUSHES_PER_COLLISION).min(max);
        self.level.store(level, Ordering::Relaxed);
        let yields = FIRST_YIELDS << (level / PUSHES_PER_COLLISION);
        (0..BACKOFFS_MAX).find_map(|_| {
            (0..yields).for_each(|_| std::thread::yield_now());
            attempt()
        })
    }
}
