//! How long requests take as a rule, and how long one may hold a worker for which others wait.

use std::time::Duration;

/// So many answers are remembered.
const REMEMBERED: usize = 32;

/// A request may take so many times what is usual before it makes room for those who wait.
const PATIENCE: u32 = 8;

/// The least patience: below it, differences between answers mean nothing.
const PATIENCE_MIN: Duration = Duration::from_millis(25);

/// The patience while nothing is known yet: eight times 30 ms, what a small request to a region nearby takes.
const PATIENCE_AT_FIRST: Duration = Duration::from_millis(240);

/// The times of the last answers.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    last: [Duration; REMEMBERED],
    count: usize,
}

impl Latencies {
    /// Another answer took so long.
    pub fn add(&mut self, took: Duration) {
        self.last[self.count % REMEMBERED] = took;
        self.count += 1;
    }

    /// How long a request may hold its worker while others wait for one; never longer than `most`. It follows the
    /// median, so that fewer than half of the targets, however slow, do not move it.
    pub fn patience(&self, most: Duration) -> Duration {
        let known = self.count.min(REMEMBERED);
        let mut sorted = self.last;
        let sorted = &mut sorted[..known];
        let patience = match known {
            0 => PATIENCE_AT_FIRST,
            _ => *sorted.select_nth_unstable(known / 2).1 * PATIENCE,
        };
        patience.max(PATIENCE_MIN).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_slow_answers_do_not_make_it_more_patient() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.patience(MOST), PATIENCE_AT_FIRST);
        for number in 0..40 {
            latencies.add(Duration::from_millis(if number % 3 == 0 { 5000 } else { 10 }));
        }
        assert_eq!(latencies.patience(MOST), Duration::from_millis(80));
    }

    #[test]
    fn where_everything_is_slow_it_waits_as_long_as_it_may() {
        let mut latencies = Latencies::default();
        (0..40).for_each(|_| latencies.add(Duration::from_millis(400)));
        assert_eq!(latencies.patience(MOST), MOST);
        (0..40).for_each(|_| latencies.add(Duration::from_micros(200)));
        assert_eq!(latencies.patience(MOST), PATIENCE_MIN);
        assert_eq!(latencies.patience(Duration::from_millis(10)), Duration::from_millis(10));
    }
}
