//! Time-outs as C passes them, in milliseconds.

use std::time::Duration;

/// As a time-out: wait without limit. Any other negative time-out counts as 0. So a host that computes the time
/// until a deadline never waits for ever by mistake.
pub const CWL_FOREVER: i64 = -1;

/// Converts a time-out from milliseconds. `None` means no limit.
pub fn from_ms(timeout_ms: i64) -> Option<Duration> {
    match timeout_ms {
        CWL_FOREVER => None,
        _ => Some(Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forever_is_without_limit() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (timeout_ms, expected) in
            [(CWL_FOREVER, None), (0, ms(0)), (5, ms(5)), (-2, ms(0)), (i64::MIN, ms(0))]
        {
            assert_eq!(from_ms(timeout_ms), expected, "{timeout_ms}");
        }
        assert!(from_ms(i64::MAX).is_some());
    }
}
