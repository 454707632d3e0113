//! The latency that requests usually have, and from it the age at which a request counts as slow.

use std::time::Duration;

/// Answers that are remembered.
const SAMPLES: usize = 32;
/// A request is slow when it takes this many times the usual latency, while others wait for a permit.
const USUAL_TIMES: u32 = 8;
/// The least threshold: below it, differences between answers mean nothing.
const THRESHOLD_MIN: Duration = Duration::from_millis(25);
/// The threshold before the first answer: eight times 30 ms, the latency of a small request to a region nearby.
const THRESHOLD_INITIAL: Duration = Duration::from_millis(240);
/// The size of a body from which a slow answer shows a thin line, in bytes. Below it, the service was slow.
const LARGE_BYTES: usize = 16 * 1024;
/// The rate of transfer before an answer shows another, in bytes per second: that of half a megabit per second.
const RATE_INITIAL: f64 = 65_536.0;
/// The longest transfer that is waited for: longer than any time-out.
const TRANSFER_SECONDS_MAX: f64 = 3600.0;

/// The last answers: their latency and the size of their requests.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    samples: [Sample; SAMPLES],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    latency: Duration,
    bytes: usize,
}

impl Latencies {
    /// Adds the latency of an answer to a request of this size.
    pub fn add(&mut self, latency: Duration, bytes: usize) {
        self.samples[self.count % SAMPLES] = Sample { latency, bytes };
        self.count += 1;
    }

    /// The age from which a request counts as slow while others wait for a permit: at most `max`, besides the time that the
    /// transfer of its body takes. It follows the median, so that fewer than half of the targets, however slow, do not
    /// change it.
    pub fn slow_threshold(&self, max: Duration, bytes: usize) -> Duration {
        let mut sorted = self.samples.map(|sample| sample.latency);
        let sorted = &mut sorted[..self.known().len()];
        let middle = sorted.len() / 2;
        let threshold = match sorted.is_empty() {
            true => THRESHOLD_INITIAL,
            false => *sorted.select_nth_unstable(middle).1 * USUAL_TIMES,
        };
        threshold.max(THRESHOLD_MIN).min(max) + self.transfer_time(bytes)
    }

    /// The same for a target that is known to be slow.
    pub fn threshold_min(&self, bytes: usize) -> Duration {
        THRESHOLD_MIN + self.transfer_time(bytes)
    }

    /// The time that a body of this size takes at the highest rate that the last answers show. On a thin line large requests
    /// are slow, and more of them at once would only make each slower.
    pub fn transfer_time(&self, bytes: usize) -> Duration {
        let rate = |sample: &Sample| sample.bytes as f64 / sample.latency.as_secs_f64().max(1e-6);
        let shows_line = |sample: &&Sample| sample.bytes >= LARGE_BYTES || rate(sample) > RATE_INITIAL;
        let best = self.known().iter().filter(shows_line).map(rate).fold(0.0, f64::max);
        let rate = if best > 0.0 { best } else { RATE_INITIAL };
        Duration::from_secs_f64((bytes as f64 / rate).min(TRANSFER_SECONDS_MAX))
    }

    fn known(&self) -> &[Sample] {
        &self.samples[..self.count.min(SAMPLES)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_slow_answers_do_not_raise_the_threshold() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.slow_threshold(MAX, 0), THRESHOLD_INITIAL);
        for number in 0..40 {
            latencies.add(Duration::from_millis(if number % 3 == 0 { 5000 } else { 10 }), 300);
        }
        assert_eq!(latencies.slow_threshold(MAX, 0), Duration::from_millis(80));
    }

    #[test]
    fn the_threshold_stays_within_its_bounds() {
        let mut latencies = Latencies::default();
        (0..40).for_each(|_| latencies.add(Duration::from_millis(400), 0));
        assert_eq!(latencies.slow_threshold(MAX, 0), MAX);
        (0..40).for_each(|_| latencies.add(Duration::from_micros(200), 0));
        assert_eq!(latencies.slow_threshold(MAX, 0), THRESHOLD_MIN);
        assert_eq!(latencies.slow_threshold(Duration::from_millis(10), 0), Duration::from_millis(10));
    }

    #[test]
    fn a_large_request_may_take_as_long_as_its_transfer_at_the_best_known_rate() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.transfer_time(2 * 65_536), Duration::from_secs(2), "nothing is known");
        latencies.add(Duration::from_secs(8), 1_000_000);
        latencies.add(Duration::from_secs(30), 100);
        assert_eq!(latencies.transfer_time(500_000), Duration::from_secs(4));
        latencies.add(Duration::from_secs(1), 10_000);
        assert_eq!(
            latencies.transfer_time(500_000),
            Duration::from_secs(4),
            "a slow answer to a small request"
        );
        latencies.add(Duration::from_millis(10), 100_000);
        assert_eq!(latencies.transfer_time(500_000), Duration::from_millis(50));
    }
}
