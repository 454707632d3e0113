//! Every event of a request is an event that was pushed, with its message and its timestamp.

use cwl_sink::limits::MESSAGE_BYTES_MAX;

use super::body::BodyEvent;
use crate::record::Record;
use crate::record::message::{message, token_of};

/// The end of a message that the engine cut.
pub const TRUNCATED: &str = "[Truncated...]";

/// Finds the piece that each event of a body is.
pub fn find_pieces(record: &Record, queue: usize, events: &[BodyEvent<'_>]) -> Result<Vec<usize>, String> {
    events.iter().map(|event| find_piece(record, queue, event)).collect()
}

fn find_piece(record: &Record, queue: usize, event: &BodyEvent<'_>) -> Result<usize, String> {
    let found = match token_of(&event.message) {
        Some(token) => record.events.get(token).map(|event| event.pieces.start),
        None => next_second_piece(record, queue, event.message.len()),
    };
    let name = record.queues[queue].name();
    let Some(index) = found else {
        return Err(format!("{name} got a message that nobody pushed: {:.40}", event.message));
    };
    let piece = &record.pieces[index];
    if !is_text_of(record, index, &event.message) || piece.queue != queue {
        return Err(format!(
            "event {} came to {name} as {:.60} ({} bytes)",
            piece.event,
            event.message,
            event.message.len()
        ));
    }
    if event.timestamp != piece.timestamp_ms {
        return Err(format!(
            "event {} has the timestamp {}, not {}",
            piece.event, event.timestamp, piece.timestamp_ms
        ));
    }
    Ok(index)
}

/// The next second piece of a split event with this length. It has no token.
fn next_second_piece(record: &Record, queue: usize, text_bytes: usize) -> Option<usize> {
    record.queues[queue].pieces.iter().copied().find(|index| {
        let piece = &record.pieces[*index];
        piece.batch.is_none() && piece.text_bytes == text_bytes && piece.is_second
    })
}

/// Returns true if the text is what the service must get for the piece.
fn is_text_of(record: &Record, index: usize, text: &str) -> bool {
    let piece = &record.pieces[index];
    let event = &record.events[piece.event];
    let pushed = message(piece.event, event.pushed_bytes, event.emf);
    let whole = String::from_utf8_lossy(&pushed);
    let matches = match text.strip_suffix(TRUNCATED) {
        Some(kept) => whole.len() > MESSAGE_BYTES_MAX && whole.starts_with(kept),
        None if piece.is_second => whole.ends_with(text),
        None if event.pieces.len() > 1 => whole.starts_with(text),
        None => whole == text,
    };
    matches && text.len() == piece.text_bytes
}
