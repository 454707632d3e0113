//! The largest request body that the endpoint takes, found out by its refusals.
//!
//! The service counts the UTF-8 bytes of messages, and a batch within that limit can still be refused for its size on the wire
//! (HTTP 413): characters that JSON escapes take up to six times their size. Proxies have limits of their own. So a refused
//! size is remembered for all targets, and a larger body is halved before it is sent. The limit is only a hint: the refusal of
//! a body that is smaller than one that passed says nothing about others, and a larger body that passes raises the limit.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The smallest refused body that says something about others, in bytes. No endpoint has a limit below, and a proxy that
/// refuses everything must not make each event a request of its own.
const LEARNED_BYTES_MIN: usize = 64 * 1024;

/// See the module. Without a refusal there is no limit.
#[derive(Debug)]
pub struct BodyLimit {
    max_bytes: AtomicUsize,
    /// The size of the largest body that passed so far.
    passed_bytes: AtomicUsize,
}

impl Default for BodyLimit {
    fn default() -> Self {
        BodyLimit { max_bytes: AtomicUsize::new(usize::MAX), passed_bytes: AtomicUsize::new(0) }
    }
}

impl BodyLimit {
    /// Returns whether a body of this size is larger than the limit.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        bytes > self.max_bytes.load(Ordering::Relaxed)
    }

    /// A body of this size passed.
    pub fn on_passed(&self, bytes: usize) {
        self.passed_bytes.fetch_max(bytes, Ordering::Relaxed);
        self.max_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// A body of this size was refused for its size. The limit becomes the largest size that passed, or half of the refused
    /// size if that is more.
    pub fn on_refused(&self, bytes: usize) {
        let passed = self.passed_bytes.load(Ordering::Relaxed);
        if bytes > passed && bytes >= LEARNED_BYTES_MIN {
            self.max_bytes.fetch_min(passed.max(bytes / 2), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_largest_size_that_passed_or_half_of_the_one_that_was_refused() {
        let limit = BodyLimit::default();
        assert!(!limit.is_exceeded_by(usize::MAX));
        limit.on_refused(6_000_000);
        assert!(limit.is_exceeded_by(3_000_001) && !limit.is_exceeded_by(3_000_000));
        limit.on_passed(1_100_000);
        limit.on_refused(1_500_000);
        assert!(limit.is_exceeded_by(1_100_001) && !limit.is_exceeded_by(1_100_000));
        limit.on_refused(5_000_000);
        assert!(limit.is_exceeded_by(1_100_001), "a larger refusal says nothing new");
    }

    #[test]
    fn a_refusal_that_contradicts_what_passed_or_is_of_a_small_body_is_not_learned() {
        let limit = BodyLimit::default();
        limit.on_refused(300);
        limit.on_passed(900_000);
        limit.on_refused(100_000);
        assert!(!limit.is_exceeded_by(usize::MAX));
    }

    #[test]
    fn a_larger_body_that_passes_raises_the_limit() {
        let limit = BodyLimit::default();
        limit.on_refused(200_000);
        limit.on_passed(150_000);
        assert!(limit.is_exceeded_by(150_001) && !limit.is_exceeded_by(150_000));
    }
}
