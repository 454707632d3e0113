//! The events of a request are in order of time. Events with the same time are in the order of the pushes, no event
//! is left out, and no event comes in two batches.

use super::body::BodyEvent;
use crate::models::BatchKey;
use crate::record::Record;

/// Checks that the events are in order of time.
pub fn check_time(events: &[BodyEvent<'_>]) -> Result<(), String> {
    match events.is_sorted_by_key(|event| event.timestamp) {
        true => Ok(()),
        false => Err("the events are not in order of time".into()),
    }
}

/// Checks the place of the pieces among all pieces of their queue. Returns the number of the first one.
pub fn check_sequence(record: &Record, queue: usize, pieces: &[usize]) -> Result<BatchKey, String> {
    let pieces: Vec<_> = pieces.iter().map(|piece| &record.pieces[*piece]).collect();
    let order: Vec<_> = pieces.iter().map(|piece| (piece.timestamp_ms, piece.number)).collect();
    if !order.is_sorted() {
        return Err(format!("events with the same time are not in the order of the pushes: {order:?}"));
    }
    let mut numbers: Vec<_> = pieces.iter().map(|piece| piece.number).collect();
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
        return Err(format!("a batch holds the events {numbers:?} of its target, which are not consecutive"));
    }
    let first = numbers.first().copied().unwrap_or(0);
    if let Some((piece, other)) = pieces.iter().find_map(|piece| Some((piece, piece.batch?))) {
        let name = record.queues[queue].name();
        return Err(format!("event {} of {name} is in two batches, {other} and {first}", piece.event));
    }
    Ok(BatchKey { first, place: 0 })
}
