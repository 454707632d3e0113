//! The time of day, as a seam: the engine takes it from outside, so that a test can set it.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A clock that tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// The same, but perhaps some milliseconds ago: enough where hours are compared.
    fn roughly_now_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    /// As of the kernel's last tick, at most 10 ms ago, which costs a fifth.
    fn roughly_now_ms(&self) -> i64 {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }
}
