//! The largest request body that is worth sending, found out by what became of others. A larger body is halved before it is
//! sent.
//!
//! Two things limit it. The service counts the UTF-8 bytes of messages, and a batch within that limit can still be refused for
//! its size on the wire (HTTP 413): characters that JSON escapes take up to six times their size, and proxies have limits of
//! their own. And on a thin line a large body does not pass within the time-out of a request, however often it is sent.
//!
//! Both are hints that hold for all targets. What passes raises them. A failure that contradicts what passed says something
//! about its target only.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// The smallest failed body that says something about others, in bytes. No endpoint has a limit below, and something that
/// refuses everything must not make each event a request of its own.
const LEARNED_BYTES_MIN: usize = 64 * 1024;
/// A body teaches how much passes in time when it has at least this part of the limit. A smaller one passes in a burst that
/// many lines allow.
const TEACHING_PART: usize = 4;

/// See the module. Before a failure there is no limit.
#[derive(Debug)]
pub struct BodyLimit {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The largest size that the endpoint takes.
    taken_bytes: usize,
    /// The largest size that passes within the time-out.
    in_time_bytes: usize,
    /// The size of the largest body that passed so far.
    passed_bytes: usize,
    /// The last body of a size that says something, and when it had passed.
    last_passed: Option<(usize, Instant)>,
}

impl Default for BodyLimit {
    fn default() -> Self {
        let state =
            State { taken_bytes: usize::MAX, in_time_bytes: usize::MAX, passed_bytes: 0, last_passed: None };
        BodyLimit { state: Mutex::new(state) }
    }
}

impl BodyLimit {
    /// Returns whether a body of this size is larger than the limit.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        let state = lock(&self.state);
        bytes > state.taken_bytes.min(state.in_time_bytes)
    }

    /// A body of this size passed. It took this part of the time-out.
    pub fn on_passed(&self, bytes: usize, took: Duration, timeout: Duration) {
        let mut state = lock(&self.state);
        state.passed_bytes = state.passed_bytes.max(bytes);
        state.taken_bytes = state.taken_bytes.max(bytes);
        if bytes >= LEARNED_BYTES_MIN {
            state.last_passed = Some((bytes, Instant::now()));
        }
        if bytes >= state.in_time_bytes / TEACHING_PART {
            // At the same rate, this many would take half of the time-out.
            let part = took.as_secs_f64() / timeout.as_secs_f64();
            let in_half_the_time = (bytes as f64 / part.max(f64::EPSILON) / 2.0) as usize;
            state.in_time_bytes = state.in_time_bytes.max(in_half_the_time).max(bytes);
        }
    }

    /// A body of this size was refused for its size. The limit becomes the largest size that passed, or half of the refused
    /// size if that is more.
    pub fn on_refused(&self, bytes: usize) {
        let mut state = lock(&self.state);
        if bytes > state.passed_bytes && bytes >= LEARNED_BYTES_MIN {
            state.taken_bytes = state.taken_bytes.min(state.passed_bytes.max(bytes / 2));
        }
    }

    /// A body of this size, sent at that time, had no answer within the time-out. The limit becomes half of it, unless
    /// another body of that size passed in the meantime.
    pub fn on_timed_out(&self, bytes: usize, sent_at: Instant) {
        let mut state = lock(&self.state);
        let others_passed =
            state.last_passed.is_some_and(|(passed, at)| at >= sent_at && passed >= bytes / 2);
        if !others_passed && bytes >= LEARNED_BYTES_MIN {
            state.in_time_bytes = state.in_time_bytes.min((bytes / 2).max(LEARNED_BYTES_MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn pass(limit: &BodyLimit, bytes: usize) {
        limit.on_passed(bytes, Duration::from_millis(50), TIMEOUT);
    }

    #[test]
    fn the_limit_is_the_largest_size_that_passed_or_half_of_the_one_that_was_refused() {
        let limit = BodyLimit::default();
        assert!(!limit.is_exceeded_by(usize::MAX));
        limit.on_refused(6_000_000);
        assert!(limit.is_exceeded_by(3_000_001) && !limit.is_exceeded_by(3_000_000));
        pass(&limit, 1_100_000);
        limit.on_refused(1_500_000);
        assert!(limit.is_exceeded_by(1_100_001) && !limit.is_exceeded_by(1_100_000));
        limit.on_refused(5_000_000);
        assert!(limit.is_exceeded_by(1_100_001), "a larger refusal says nothing new");
    }

    #[test]
    fn a_refusal_that_contradicts_what_passed_or_is_of_a_small_body_is_not_learned() {
        let limit = BodyLimit::default();
        limit.on_refused(300);
        pass(&limit, 900_000);
        limit.on_refused(100_000);
        assert!(!limit.is_exceeded_by(usize::MAX));
    }

    #[test]
    fn a_larger_body_that_passes_raises_the_limit() {
        let limit = BodyLimit::default();
        limit.on_refused(200_000);
        pass(&limit, 150_000);
        assert!(limit.is_exceeded_by(150_001) && !limit.is_exceeded_by(150_000));
    }

    #[test]
    fn a_body_that_does_not_pass_in_time_halves_the_limit_until_bodies_pass_with_time_left() {
        let limit = BodyLimit::default();
        for (bytes, half) in [(1_000_000, 500_000), (500_000, 250_000)] {
            limit.on_timed_out(bytes, Instant::now());
            assert!(limit.is_exceeded_by(half + 1) && !limit.is_exceeded_by(half));
        }
        limit.on_passed(240_000, Duration::from_secs(20), TIMEOUT);
        assert!(limit.is_exceeded_by(250_001), "there was no time left");
        limit.on_passed(240_000, Duration::from_secs(5), TIMEOUT);
        assert!(!limit.is_exceeded_by(720_000) && limit.is_exceeded_by(720_001));
        limit.on_passed(1_000, Duration::from_millis(1), TIMEOUT);
        assert!(limit.is_exceeded_by(720_001), "a small body says nothing");
    }

    #[test]
    fn a_body_that_does_not_pass_while_others_of_its_size_do_teaches_nothing() {
        let limit = BodyLimit::default();
        let sent_at = Instant::now();
        pass(&limit, 600_000);
        limit.on_timed_out(1_000_000, sent_at);
        assert!(!limit.is_exceeded_by(usize::MAX));
        limit.on_timed_out(1_300_000, sent_at);
        assert!(limit.is_exceeded_by(650_001) && !limit.is_exceeded_by(650_000));
    }

    #[test]
    fn the_limit_does_not_fall_below_the_least() {
        let limit = BodyLimit::default();
        limit.on_timed_out(300, Instant::now());
        assert!(!limit.is_exceeded_by(usize::MAX), "a small body says nothing");
        for bytes in [400_000, 200_000, 100_000, 65_536, 50_000] {
            limit.on_timed_out(bytes, Instant::now());
        }
        assert!(limit.is_exceeded_by(LEARNED_BYTES_MIN + 1) && !limit.is_exceeded_by(LEARNED_BYTES_MIN));
    }
}
