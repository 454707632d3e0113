//! A request holds 1 to 10,000 events, at most 1 MiB of messages, and at most 24 hours.

use cwl_sink::limits;

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
