//! The time of day as a trait, so that a test can set it.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A clock with the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Milliseconds since the Unix epoch, perhaps some milliseconds ago. Enough where hours are compared.
    fn coarse_now_ms(&self) -> i64 {
        self.now_ms()
    }

    /// Milliseconds since some moment in the past. Nobody sets this clock, and it goes on while the machine sleeps.
    fn uptime_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    /// The time of the last tick of the kernel, at most 10 ms ago. Reading it costs a fifth.
    fn coarse_now_ms(&self) -> i64 {
        read_ms(ClockId::RealtimeCoarse)
    }

    fn uptime_ms(&self) -> i64 {
        read_ms(ClockId::Boottime)
    }
}

fn read_ms(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
