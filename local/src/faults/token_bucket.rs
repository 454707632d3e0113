//! A token bucket: the rate limit of a throttling rule.

use std::time::Instant;

/// Tokens that are refilled at a fixed rate.
///
/// The bucket holds the tokens of one second, and at least one token, so that a rate below one per second still passes
/// some requests. With a rate of 0 it holds none.
pub(super) struct TokenBucket {
    tokens_per_second: f64,
    tokens: f64,
    refilled_at: Instant,
}

impl TokenBucket {
    /// Makes a full bucket.
    pub fn new(tokens_per_second: f64, now: Instant) -> Self {
        Self { tokens_per_second, tokens: capacity(tokens_per_second), refilled_at: now }
    }

    /// Takes one token; returns false when there is none.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let elapsed_s = now.saturating_duration_since(self.refilled_at).as_secs_f64();
        self.tokens =
            (self.tokens + elapsed_s * self.tokens_per_second).min(capacity(self.tokens_per_second));
        self.refilled_at = now;
        let available = self.tokens >= 1.0;
        if available {
            self.tokens -= 1.0;
        }
        available
    }
}

fn capacity(tokens_per_second: f64) -> f64 {
    if tokens_per_second > 0.0 { tokens_per_second.max(1.0) } else { 0.0 }
}
