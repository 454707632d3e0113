//! A request holds 1 to 10,000 events, at most 1 MiB of messages, and at most 24 hours.

use cwl_sink::limits;

use crate::models::BatchId;
use crate::world::World;

use super::body::BodyEvent;

const EVENTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 1_048_576;
const SPAN_MAX_MS: i64 = 86_400_000;

/// Checks the number of events, their bytes as the service counts them, and their time span.
pub fn check(events: &[BodyEvent<'_>]) -> Result<(), String> {
    let bytes: usize = events.iter().map(|event| event.message.len() + limits::EVENT_OVERHEAD_BYTES).sum();
    let span_ms = events.last().map_or(0, |last| last.timestamp - events[0].timestamp);
    if events.is_empty() || events.len() > EVENTS_MAX || bytes > BYTES_MAX || span_ms > SPAN_MAX_MS {
        return Err(format!(
            "{} events, {bytes} bytes, {span_ms} ms: that is not what a request may hold",
            events.len()
        ));
    }
    Ok(())
}

impl World {
    /// Checks that a size that was refused before is not sent again. A single event cannot be halved.
    pub fn check_body_limit(&self, batch: BatchId, body_bytes: usize) -> Result<(), String> {
        let events = self.record.batch(batch).pieces.len();
        // The limit may have changed while a probe renewed credentials.
        let is_clear = self.counts.renewals == 0;
        if events > 1 && is_clear && self.body_limit.is_exceeded_by(body_bytes) {
            return Err(format!(
                "batch {} with {events} events and {body_bytes} bytes went out though the service takes no such size",
                batch.key
            ));
        }
        Ok(())
    }
}
