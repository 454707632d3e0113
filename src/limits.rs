//! The limits of the service, each written once and each with its source.
//!
//! "API reference" is the page of `PutLogEvents` (or of the call named) in the Amazon CloudWatch Logs API
//! reference; "quotas" is the page "CloudWatch Logs quotas" of its user guide.

use std::time::Duration;

/// The most counted bytes in one `PutLogEvents`: the UTF-8 bytes of every message plus
/// [`EVENT_OVERHEAD_BYTES`] an event. The JSON around them does not count. Source: API reference.
pub const BATCH_BYTES_MAX: usize = 1_048_576;

/// The bytes counted for each event on top of its message. Source: API reference.
pub const EVENT_OVERHEAD_BYTES: usize = 26;

/// The most events in one `PutLogEvents`. Source: API reference.
pub const BATCH_EVENTS_MAX: usize = 10_000;

/// The most UTF-8 bytes of one message: the rest of a batch with one event. Source: follows from the two above.
pub const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES;

/// The widest span between the oldest and the newest event of one request. Source: API reference.
pub const BATCH_SPAN_MS: i64 = 24 * 60 * 60 * 1000;

/// The greatest age of an event that the service takes. Source: API reference.
pub const EVENT_AGE_MAX_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// The furthest into the future that the service takes an event. Source: API reference.
pub const EVENT_AHEAD_MAX_MS: i64 = 2 * 60 * 60 * 1000;

/// The most characters in the name of a log group or a log stream. Source: API reference, `CreateLogGroup`.
pub const NAME_CHARS_MAX: usize = 512;

/// The retentions that `PutRetentionPolicy` takes, in days. Source: API reference, `PutRetentionPolicy`.
pub const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The longest time that a connection may be idle before it is closed and not used again. The service closes an idle
/// connection after about 6 s, and a request that meets the close has no answer. Source: seen by the maintainers of AWS's
/// Fluent Bit image.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(4);

/// The time for which a connection may be silent before the kernel asks the peer whether it is still there, and the time between two
/// such questions. Firewalls forget a silent connection after a minute and more; load balancers of AWS after 350 s.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// The number of unanswered questions after which a connection is dead.
pub const TCP_KEEPALIVE_PROBES: u32 = 3;

/// Checks the name of a log group: 1 to 512 of `. - _ / # A-Z a-z 0-9`.
/// Source: API reference, `CreateLogGroup`.
pub fn check_group_name(name: &str) -> Result<(), String> {
    check_length("log group", name)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#');
    match name.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(bad) => {
            Err(format!("log group {name:?} holds {bad:?}; allowed are letters, digits and . - _ / #"))
        }
    }
}

/// Checks the name of a log stream: 1 to 512 characters, no `:` and no `*`.
/// Source: API reference, `CreateLogStream`.
pub fn check_stream_name(name: &str) -> Result<(), String> {
    check_length("log stream", name)?;
    match name.chars().find(|c| matches!(c, ':' | '*')) {
        None => Ok(()),
        Some(bad) => Err(format!("log stream {name:?} holds {bad:?}; ':' and '*' are not allowed")),
    }
}

fn check_length(what: &str, name: &str) -> Result<(), String> {
    match name.chars().count() {
        0 => Err(format!("the name of the {what} is empty; allowed are 1 to {NAME_CHARS_MAX} characters")),
        chars if chars > NAME_CHARS_MAX => {
            Err(format!("the name of the {what} has {chars} characters; allowed are 1 to {NAME_CHARS_MAX}"))
        }
        _ => Ok(()),
    }
}

/// Returns whether the service accepts an event with this timestamp at the time `now_ms`, both in milliseconds since the Unix
/// epoch. Source: API reference.
pub fn is_accepted_timestamp(timestamp_ms: i64, now_ms: i64) -> bool {
    let oldest_ms = (now_ms - EVENT_AGE_MAX_MS).max(0);
    (oldest_ms..=now_ms + EVENT_AHEAD_MAX_MS).contains(&timestamp_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_before_1970_is_never_accepted() {
        let soon_after = 5_000;
        assert!(is_accepted_timestamp(0, soon_after) && !is_accepted_timestamp(-1, soon_after));
        let now_ms = 1_800_000_000_000;
        let (oldest_ms, newest_ms) = (now_ms - EVENT_AGE_MAX_MS, now_ms + EVENT_AHEAD_MAX_MS);
        assert!(is_accepted_timestamp(oldest_ms, now_ms) && is_accepted_timestamp(newest_ms, now_ms));
        assert!(
            !is_accepted_timestamp(oldest_ms - 1, now_ms) && !is_accepted_timestamp(newest_ms + 1, now_ms)
        );
    }

    #[test]
    fn group_names_follow_the_services_alphabet() {
        for good in ["a", "/aws/lambda/x", "A-z_0.9#", &"g".repeat(512)] {
            assert_eq!(check_group_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a:b", "a b", "ü", &"g".repeat(513)] {
            assert!(check_group_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stream_names_may_hold_anything_but_colon_and_star() {
        for good in ["a", "i-0 [$LATEST] \"ü\"", &"ü".repeat(512)] {
            assert_eq!(check_stream_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a:b", "a*", &"s".repeat(513)] {
            assert!(check_stream_name(bad).is_err(), "{bad}");
        }
    }
}
