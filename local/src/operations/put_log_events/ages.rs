//! The ages of the events of a batch. An event that is too old, too new or expired is rejected.

use std::ops::Range;

use serde::Serialize;

use super::input::BatchEvent;
use crate::faults::Reject;
use crate::limits::{DAY_MS, TOO_NEW_MS, TOO_OLD_MS};

/// The events of a batch, divided by their age.
pub(super) struct Ages {
    /// Indices of the valid events.
    pub valid: Range<usize>,
    /// The rejected events, as the response reports them; `None` when all events are valid.
    pub rejected: Option<RejectedEvents>,
}

impl Ages {
    /// Divides the events, which are in the order of their timestamps. So the events that are too old, expired or too
    /// new are at the ends. `forced` rejects further events at the ends.
    pub fn of(events: &[BatchEvent], now_ms: i64, retention_days: Option<u32>, forced: Reject) -> Self {
        let older_than =
            |age_ms: i64| events.partition_point(|event| event.timestamp_ms < now_ms.saturating_sub(age_ms));
        let too_old_end = older_than(TOO_OLD_MS).max(forced.too_old.min(events.len()));
        let retention_ms = retention_days.map(|days| i64::from(days) * DAY_MS);
        let mut expired_end = retention_ms.map_or(0, older_than);
        if forced.expired > 0 {
            expired_end = expired_end.max(too_old_end.saturating_add(forced.expired).min(events.len()));
        }
        let begin = too_old_end.max(expired_end);
        let latest_ms = now_ms.saturating_add(TOO_NEW_MS);
        let too_new_start = events
            .partition_point(|event| event.timestamp_ms <= latest_ms)
            .min(events.len().saturating_sub(forced.too_new))
            .max(begin);
        let rejected = RejectedEvents {
            too_old_log_event_end_index: (too_old_end > 0).then_some(too_old_end),
            too_new_log_event_start_index: (too_new_start < events.len()).then_some(too_new_start),
            expired_log_event_end_index: (expired_end > too_old_end).then_some(expired_end),
        };
        let all_valid = begin == 0 && too_new_start == events.len();
        Self { valid: begin..too_new_start, rejected: (!all_valid).then_some(rejected) }
    }
}

/// The rejected events, as indices into the batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RejectedEvents {
    #[serde(skip_serializing_if = "Option::is_none")]
    too_new_log_event_start_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    too_old_log_event_end_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_log_event_end_index: Option<usize>,
}
