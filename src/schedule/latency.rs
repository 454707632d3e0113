//! The latency that requests usually have, and from it the time after which a request counts as slow.

use std::time::Duration;

/// Answers whose latency is remembered.
const SAMPLES: usize = 32;
/// A request is slow when it takes this many times the usual latency, while others wait for a permit.
const USUAL_TIMES: u32 = 8;
/// The least threshold: below it, differences between answers mean nothing.
const THRESHOLD_MIN: Duration = Duration::from_millis(25);
/// The threshold before the first answer: eight times 30 ms, the latency of a small request to a region nearby.
const THRESHOLD_INITIAL: Duration = Duration::from_millis(240);

/// The latencies of the last answers.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    samples: [Duration; SAMPLES],
    count: usize,
}

impl Latencies {
    /// Adds the latency of an answer.
    pub fn add(&mut self, latency: Duration) {
        self.samples[self.count % SAMPLES] = latency;
        self.count += 1;
    }

    /// The age from which a request counts as slow while others wait for a permit; at most `max`. It follows the median,
    /// so that fewer than half of the targets, however slow, do not change it.
    pub fn slow_threshold(&self, max: Duration) -> Duration {
        let known = self.count.min(SAMPLES);
        let mut sorted = self.samples;
        let sorted = &mut sorted[..known];
        let threshold = match known {
            0 => THRESHOLD_INITIAL,
            _ => *sorted.select_nth_unstable(known / 2).1 * USUAL_TIMES,
        };
        threshold.max(THRESHOLD_MIN).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_slow_answers_do_not_raise_the_threshold() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.slow_threshold(MAX), THRESHOLD_INITIAL);
        for number in 0..40 {
            latencies.add(Duration::from_millis(if number % 3 == 0 { 5000 } else { 10 }));
        }
        assert_eq!(latencies.slow_threshold(MAX), Duration::from_millis(80));
    }

    #[test]
    fn the_threshold_stays_within_its_bounds() {
        let mut latencies = Latencies::default();
        (0..40).for_each(|_| latencies.add(Duration::from_millis(400)));
        assert_eq!(latencies.slow_threshold(MAX), MAX);
        (0..40).for_each(|_| latencies.add(Duration::from_micros(200)));
        assert_eq!(latencies.slow_threshold(MAX), THRESHOLD_MIN);
        assert_eq!(latencies.slow_threshold(Duration::from_millis(10)), Duration::from_millis(10));
    }
}
