//! The clock of the host, which may be wrong, and the clock of the engine, which the answers correct.

use std::sync::atomic::{AtomicI64, Ordering};

use cwl_sink::clock::Clock;
use cwl_sink::service_clock::ServiceClock;
use tokio::time::Instant;

use crate::models::ClockErrors;

/// The true time of day at the start of a run, in milliseconds since the Unix epoch.
pub const START_MS: i64 = 1_800_000_000_000;

/// The clock of the engine.
pub type EngineClock = ServiceClock<HostClock>;

/// See the module.
#[derive(Debug)]
pub struct HostClock {
    start: Instant,
    /// The difference to the true time.
    error_ms: AtomicI64,
}

impl HostClock {
    /// A clock that is right.
    pub fn new() -> Self {
        HostClock { start: Instant::now(), error_ms: AtomicI64::new(0) }
    }

    /// Steps the clock.
    pub fn set_error_ms(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> i64 {
        START_MS + self.uptime_ms() + self.error_ms.load(Ordering::Relaxed)
    }

    fn uptime_ms(&self) -> i64 {
        self.start.elapsed().as_millis() as i64
    }
}

/// The errors of both clocks now.
pub fn errors_of(clock: &EngineClock) -> ClockErrors {
    let true_ms = START_MS + clock.uptime_ms();
    ClockErrors { host_ms: clock.machine().now_ms() - true_ms, engine_ms: clock.now_ms() - true_ms }
}

/// The error of the time of a request that is signed now.
pub fn signing_error_ms(clock: &EngineClock) -> i64 {
    clock.signing_now_ms() - START_MS - clock.uptime_ms()
}
