//! Measures the CPU time of the whole process and the wall time.

use std::time::{Duration, Instant};

/// Measures the time since it was started.
pub struct Stopwatch {
    cpu_at_start: Duration,
    started_at: Instant,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { cpu_at_start: process_cpu_time(), started_at: Instant::now() }
    }

    /// Returns the CPU time in seconds, user and system.
    pub fn cpu_s(&self) -> f64 {
        (process_cpu_time() - self.cpu_at_start).as_secs_f64()
    }

    /// Returns the wall time in seconds.
    pub fn wall_s(&self) -> f64 {
        self.started_at.elapsed().as_secs_f64()
    }
}

#[allow(unsafe_code, reason = "getrusage is a C function")]
fn process_cpu_time() -> Duration {
    // SAFETY: `rusage` consists of numbers, so zeros are a valid value; the pointer is valid during the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0, "getrusage refuses RUSAGE_SELF");
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, 1_000 * time.tv_usec as u32);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}
