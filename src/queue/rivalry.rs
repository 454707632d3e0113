//! Threads that push to one target as fast as they can.
//!
//! What a target's lock guards is a dozen cache lines, so threads that take turns at each event, on cores of their own,
//! are slower together than one of them alone. A thread that finds the lock taken stays away for a while instead, in
//! which the other goes on with lines that it has: the longer, the more often threads have met of late. Where they
//! meet now and then only, that is about a microsecond.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often a thread gives its core away at first: some hundred nanoseconds each, where nobody else wants the core.
const YIELDS: u32 = 1;

/// The longest time is this often twice as long.
const DOUBLINGS_MAX: u32 = 6;

/// Pushes without meeting anybody that make up for one meeting.
const CALM: u32 = 512;

/// Times to stay away before the thread sleeps until the lock is free.
const TIMES: u32 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rivalry {
    /// Grows by [`CALM`] with each meeting, and falls by one with each push that meets nobody. Only a hint.
    heat: AtomicU32,
}

impl Rivalry {
    /// A push found the lock free, and has it now.
    #[inline]
    pub(super) fn none_met(&self) {
        let heat = self.heat.load(Ordering::Relaxed);
        if heat > 0 {
            self.heat.store(heat - 1, Ordering::Relaxed);
        }
    }

    /// A push found the lock taken: tries again, now and then, until it has what it wants, or has tried often.
    #[cold]
    pub(super) fn stay_away_until<T>(&self, mut done: impl FnMut() -> Option<T>) -> Option<T> {
        let heat = (self.heat.load(Ordering::Relaxed) + CALM).min(CALM * (DOUBLINGS_MAX + 1) - 1);
        self.heat.store(heat, Ordering::Relaxed);
        let yields = YIELDS << (heat / CALM);
        (0..TIMES).find_map(|_| {
            (0..yields).for_each(|_| std::thread::yield_now());
            done()
        })
    }
}
