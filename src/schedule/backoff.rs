//! The back-off: how long to wait before the next attempt.

use std::time::Duration;

/// A back-off strategy. The numbers of the first two are those of AWS's own agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// 200 ms, doubled for each consecutive failure; one minute after five.
    Short,
    /// 2 s, doubled for each consecutive failure; one minute after two.
    Long,
    /// For the endpoint, where one request speaks for all targets: 200 ms, doubled; 4 s after five, so that an outage of
    /// some seconds ends for the sink some seconds later; 30 s after fifteen.
    Endpoint,
    /// For a group or a stream that is missing and may not be created: 200 ms, doubled; 4 s after five, so that delivery
    /// resumes soon after somebody else created it.
    Missing,
}

impl Backoff {
    const MAX: Duration = Duration::from_secs(60);

    /// The wait after `failures` earlier consecutive failures, before jitter.
    pub fn base(self, failures: u32) -> Duration {
        let (first, doublings, then) = match self {
            Backoff::Short => (Duration::from_millis(200), 5, Self::MAX),
            Backoff::Long => (Duration::from_secs(2), 2, Self::MAX),
            Backoff::Missing => (Duration::from_millis(200), 5, Duration::from_secs(4)),
            Backoff::Endpoint if failures < 15 => (Duration::from_millis(200), 5, Duration::from_secs(4)),
            Backoff::Endpoint => (Duration::ZERO, 0, Duration::from_secs(30)),
        };
        if failures < doublings { first * 2u32.pow(failures) } else { then }
    }

    /// The wait after `failures` earlier consecutive failures: uniform in the upper half of the base, so that targets that
    /// failed together do not come back together.
    pub fn delay(self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let base = self.base(failures);
        base / 2 + (base / 2).mul_f64(rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_its_longest_wait_with_jitter_in_the_upper_half() {
        let mut rng = fastrand::Rng::with_seed(1);
        let short = [200, 400, 800, 1600, 3200, 60_000, 60_000];
        let long = [2000, 4000, 60_000, 60_000, 60_000, 60_000, 60_000];
        let missing = [200, 400, 800, 1600, 3200, 4000, 4000];
        for (backoff, bases) in [(Backoff::Short, short), (Backoff::Long, long), (Backoff::Missing, missing)]
        {
            for (failures, base) in bases.into_iter().enumerate() {
                for _ in 0..100 {
                    let delay = backoff.delay(failures as u32, &mut rng).as_millis();
                    assert!((base / 2..base).contains(&delay), "{backoff:?} {failures}: {delay}");
                }
            }
        }
    }
}
