//! The clock of the host, which may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cwl_sink::clock::Clock;
use tokio::time::Instant;

/// The true time of day at the start of a run, in milliseconds since the Unix epoch.
pub const START_MS: i64 = 1_800_000_000_000;

/// See the module.
#[derive(Debug)]
pub struct HostClock {
    start: Instant,
    /// The difference to the true time.
    error_ms: AtomicI64,
}

impl HostClock {
    /// A clock that is right.
    pub fn new() -> Arc<Self> {
        Arc::new(HostClock { start: Instant::now(), error_ms: AtomicI64::new(0) })
    }

    /// Steps the clock.
    pub fn set_error_ms(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> i64 {
        START_MS + self.start.elapsed().as_millis() as i64 + self.error_ms.load(Ordering::Relaxed)
    }
}
