//! Time-outs as C passes them: milliseconds, negative for no limit.

use std::time::Duration;

/// Converts a time-out from milliseconds. A negative number means no limit: `None`.
pub fn from_ms(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}
