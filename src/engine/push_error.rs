//! The errors of a push.

use thiserror::Error;

use crate::limits;

/// The reason why an event was not accepted. Nothing of it is kept then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the text of each variant says it")]
pub enum PushError {
    #[error(
        "the message is empty; CloudWatch Logs takes messages of 1 to {} bytes",
        limits::MESSAGE_BYTES_MAX
    )]
    Empty,
    #[error("the event's offsets go from {begin} to {end}; the end must be greater")]
    BadRange { begin: u64, end: u64 },
    #[error(
        "the message has {bytes} bytes as UTF-8; CloudWatch Logs takes at most {}",
        limits::MESSAGE_BYTES_MAX
    )]
    TooLarge { bytes: usize },
    #[error(
        "the metric document has {bytes} bytes as UTF-8; CloudWatch Logs takes at most {}, and a document in the embedded \
         metric format cannot be cut or split: its parts would be no metrics",
        limits::MESSAGE_BYTES_MAX
    )]
    EmfTooLarge { bytes: usize },
    #[error(
        "the event takes {needs} bytes of memory, and a target may hold {limit} (buffer_max_bytes, target_buffer_max_bytes)"
    )]
    NeverFits { needs: usize, limit: usize },
    #[error("timestamp_ms is {timestamp_ms}; allowed are milliseconds since 1970, or 0 for none")]
    NegativeTimestamp { timestamp_ms: i64 },
    #[error("timestamp_ms is {timestamp_ms}, {} s ago; CloudWatch Logs takes events of at most 14 days", (now_ms - timestamp_ms) / 1000)]
    TooOld { timestamp_ms: i64, now_ms: i64 },
    #[error("timestamp_ms is {timestamp_ms}, {} s ahead; CloudWatch Logs takes events of at most 2 hours", (timestamp_ms - now_ms) / 1000)]
    TooNew { timestamp_ms: i64, now_ms: i64 },
    #[error("the event has no {0}, and the option {0} is not set")]
    NoTarget(&'static str),
    #[error("{0}")]
    BadName(String),
    #[error(
        "no room: all targets hold {buffered} of {limit} bytes (buffer_max_bytes), this target {held} of {target_limit} \
         (target_buffer_max_bytes){}", if *is_healthy { "" } else { "; it has not delivered lately, so it gets less" }
    )]
    Full { buffered: usize, limit: usize, held: usize, target_limit: usize, is_healthy: bool },
    #[error("the sink is shut down")]
    Closed,
}
