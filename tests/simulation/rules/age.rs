//! The service refuses events that are too old, too far ahead, or older than the retention of their group.

use cwl_sink::outcome::Reason;
use cwl_sink::service::RejectedEvents;

use crate::models::BatchId;
use crate::world::World;

const DAY_MS: i64 = 86_400_000;
const AGE_MAX_MS: i64 = 14 * DAY_MS;
const AHEAD_MAX_MS: i64 = 2 * 3_600_000;

impl World {
    /// The events of a batch that the service refuses now. It judges by its own clock.
    pub fn refused_by_age(&self, batch: BatchId) -> RejectedEvents {
        let now_ms = self.true_ms();
        let retention_days =
            self.resources.groups.get(&self.record.queues[batch.queue].group).copied().flatten();
        let retention_ms = retention_days.map_or(i64::MAX / 2, |days| i64::from(days) * DAY_MS);
        let pieces = &self.record.batch(batch).pieces;
        let timestamps: Vec<_> = pieces.iter().map(|piece| self.record.pieces[*piece].timestamp_ms).collect();
        let too_new_start = timestamps.partition_point(|at| *at <= now_ms + AHEAD_MAX_MS);
        RejectedEvents {
            too_old_end: timestamps.partition_point(|at| *at < now_ms - AGE_MAX_MS),
            expired_end: timestamps.partition_point(|at| *at < now_ms - retention_ms),
            too_new_start: (too_new_start < timestamps.len()).then_some(too_new_start),
        }
    }
}

/// Returns true if the engine accepts the timestamp when its clock says `now_ms`.
pub fn is_accepted(timestamp_ms: i64, now_ms: i64) -> bool {
    (now_ms - AGE_MAX_MS..=now_ms + AHEAD_MAX_MS).contains(&timestamp_ms)
}

/// Returns true if an event without a timestamp takes the last timestamp of its target at the time `now_ms`.
pub fn is_inherited(last_ms: i64, now_ms: i64) -> bool {
    (last_ms - now_ms).abs() <= 60_000
}

/// The reason for which the service refused the event at this index of a request, if it did.
pub fn refusal_at(refused: RejectedEvents, index: usize) -> Option<Reason> {
    if index < refused.too_old_end {
        Some(Reason::TooOld)
    } else if index < refused.expired_end {
        Some(Reason::Expired)
    } else if refused.too_new_start.is_some_and(|start| index >= start) {
        Some(Reason::TooNew)
    } else {
        None
    }
}
