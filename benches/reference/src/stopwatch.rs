//! The clock: CPU time of the whole process, and the time on the wall.

use std::time::{Duration, Instant};

/// What was used since it was started.
pub struct Clock {
    cpu: Duration,
    wall: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { cpu: cpu(), wall: Instant::now() }
    }

    /// Seconds of CPU, user and system.
    pub fn cpu_s(&self) -> f64 {
        (cpu() - self.cpu).as_secs_f64()
    }

    /// Seconds on the wall.
    pub fn wall_s(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }
}

#[allow(unsafe_code)]
fn cpu() -> Duration {
    // SAFETY: it is all numbers, and the call writes all of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0, "getrusage takes RUSAGE_SELF");
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, 1_000 * t.tv_usec as u32);
    time(usage.ru_utime) + time(usage.ru_stime)
}
