//! The back-off: how long to wait before the next attempt.

use std::time::Duration;

/// A back-off strategy. The first wait is doubled for each further failure in a row, up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// For a target that the service refuses: 200 ms, as in AWS's own agent, up to the maximum for targets.
    Refused,
    /// For a target that the service cannot serve, or that is not answered: 2 s, as in AWS's own agent, up to the maximum for
    /// targets.
    Unavailable,
    /// For the endpoint, where one request speaks for all targets: 200 ms, and at most 2 s, so that an outage of some seconds
    /// ends for the sink 2 s later; 10 s from the 30th failure on, which is about a minute later.
    Endpoint,
    /// For a group or a stream that is missing and may not be created: 200 ms, and at most 4 s, so that delivery resumes soon
    /// after somebody else created it.
    Missing,
}

/// The longest wait of a target while few targets fail. One request in 8 s costs nobody anything, and a target that works
/// again gets its events soon.
const TARGET_WAIT_MAX: Duration = Duration::from_secs(8);
/// The wait for each target that fails, so that all of them together send at most ten requests a second; and the bound of
/// that.
const WAIT_PER_FAILING_TARGET: Duration = Duration::from_millis(100);
const TARGET_WAIT_MAX_OF_MANY: Duration = Duration::from_secs(60);

impl Backoff {
    /// The wait after `failures` earlier failures in a row, before jitter, while `failing_targets` targets fail.
    pub fn base(self, failures: u32, failing_targets: usize) -> Duration {
        let (first, max) = match self {
            Backoff::Refused => (200, target_wait_max(failing_targets)),
            Backoff::Unavailable => (2000, target_wait_max(failing_targets)),
            Backoff::Endpoint if failures < 30 => (200, Duration::from_secs(2)),
            Backoff::Endpoint => (200, Duration::from_secs(10)),
            Backoff::Missing => (200, Duration::from_secs(4)),
        };
        Duration::from_millis(first).saturating_mul(1 << failures.min(16)).min(max)
    }

    /// The wait with jitter: uniform in the upper half of the base, so that targets that failed together do not come back
    /// together.
    pub fn delay(self, failures: u32, failing_targets: usize, rng: &mut fastrand::Rng) -> Duration {
        let base = self.base(failures, failing_targets);
        base / 2 + (base / 2).mul_f64(rng.f64())
    }
}

fn target_wait_max(failing_targets: usize) -> Duration {
    let failing_targets = u32::try_from(failing_targets).unwrap_or(u32::MAX);
    let of_many = WAIT_PER_FAILING_TARGET.saturating_mul(failing_targets);
    of_many.clamp(TARGET_WAIT_MAX, TARGET_WAIT_MAX_OF_MANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_maximum_with_jitter_in_the_upper_half() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (backoff, failing_targets, bases) in [
            (Backoff::Refused, 1, [200, 400, 800, 1600, 3200, 6400, 8000, 8000]),
            (Backoff::Refused, 1000, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600]),
            (Backoff::Unavailable, 1, [2000, 4000, 8000, 8000, 8000, 8000, 8000, 8000]),
            (Backoff::Unavailable, 200, [2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000, 20_000]),
            (Backoff::Missing, 1000, [200, 400, 800, 1600, 3200, 4000, 4000, 4000]),
            (Backoff::Endpoint, 1000, [200, 400, 800, 1600, 2000, 2000, 2000, 2000]),
        ] {
            for (failures, base) in (0..).zip(bases) {
                for _ in 0..100 {
                    let delay = backoff.delay(failures, failing_targets, &mut rng).as_millis();
                    assert!((base / 2..base).contains(&delay), "{backoff:?} {failures}: {delay}");
                }
            }
        }
    }

    #[test]
    fn no_number_of_failures_or_targets_makes_a_target_wait_longer_than_a_minute() {
        for backoff in [Backoff::Refused, Backoff::Unavailable] {
            assert_eq!(backoff.base(u32::MAX, usize::MAX), Duration::from_secs(60));
            assert_eq!(backoff.base(u32::MAX, 0), Duration::from_secs(8));
        }
        assert_eq!(Backoff::Endpoint.base(u32::MAX, 0), Duration::from_secs(10));
    }
}
