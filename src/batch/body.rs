//! The last steps of a request body: sorted by time, completed, and compressed if that pays.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::{GzDecoder, GzEncoder};
use memchr::memmem::Finder;

use super::message::BEFORE as BEFORE_MESSAGE;
use crate::config::Compression;
use crate::json::unescaped_bytes;
use crate::memory::{Buffer, Buffers, Charge, NoRoom};
use crate::service::RequestBody;

/// The beginning of the JSON of an event, before the digits of its timestamp.
pub const TIMESTAMP_KEY: &[u8; 13] = br#"{"timestamp":"#;

/// The end of an event and the beginning of the next one. It never occurs in a message, where a quote follows a backslash.
const BETWEEN: &[u8] = br#""},{"timestamp":"#;

/// Copies the events into a second buffer, sorted by time. Returns it with the order: `order[i]` is the push index of the
/// i-th event. The events begin after the prefix, and each is followed by a comma.
///
/// The places of the events are found in the body itself. Hosts usually push in order of time, and then no index is
/// needed, so none is kept.
pub fn sort_by_time(
    body: &Buffer,
    prefix_bytes: usize,
    buffers: &Arc<Buffers>,
) -> Result<(Buffer, Vec<u32>), NoRoom> {
    let (prefix, written) = body.bytes().split_at(prefix_bytes);
    let events = events_of(written)?;
    let mut order = Vec::new();
    order.try_reserve_exact(events.len()).map_err(|_| NoRoom)?;
    order.extend(0..events.len() as u32);
    order.sort_by_key(|pushed| timestamp_of(events[*pushed as usize]));
    let mut sorted = Buffer::new();
    sorted.grow_to(body.capacity(), buffers)?;
    sorted.append(prefix);
    order.iter().for_each(|pushed| sorted.append(events[*pushed as usize]));
    Ok((sorted, order))
}

/// Undoes the compression of a body. The room is charged besides the compressed body. Returns `None` when there is no
/// memory for both at once.
pub fn decompress(
    body: &[u8],
    plain_bytes: usize,
    charge: &mut Charge,
    buffers: &Arc<Buffers>,
) -> Option<Buffer> {
    charge.grow_for_work(Buffer::capacity_for(plain_bytes)).ok()?;
    let mut plain = Buffer::new();
    plain.grow_to(plain_bytes, buffers).ok()?;
    charge.budget().trim_buffers();
    let mut decoder = GzDecoder::new(Bounded { room: plain, max: plain_bytes });
    decoder.write_all(body).and_then(|()| decoder.finish()).ok().map(|Bounded { room, .. }| room)
}

/// The bytes of the message of an event, as UTF-8.
pub fn message_bytes(event: &[u8]) -> usize {
    let begin = TIMESTAMP_KEY.len()
        + event.iter().skip(TIMESTAMP_KEY.len()).take_while(|b| b.is_ascii_digit()).count();
    let json = event.get(begin + BEFORE_MESSAGE.len()..).unwrap_or_default();
    let end = json.iter().rposition(|byte| *byte == b'"').unwrap_or(0);
    unescaped_bytes(&json[..end])
}

/// Finds the events, each with its comma.
pub fn events_of(written: &[u8]) -> Result<Vec<&[u8]>, NoRoom> {
    let between = Finder::new(BETWEEN);
    let ends = || between.find_iter(written).map(|place| place + br#""},"#.len());
    let mut events = Vec::new();
    events.try_reserve_exact(ends().count() + 1).map_err(|_| NoRoom)?;
    let mut begin = 0;
    for end in ends() {
        events.push(&written[begin..end]);
        begin = end;
    }
    if begin < written.len() {
        events.push(&written[begin..]);
    }
    Ok(events)
}

fn timestamp_of(event: &[u8]) -> u64 {
    // A timestamp is never negative: a push refuses those.
    let digits = event.iter().skip(TIMESTAMP_KEY.len()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Completes the body and compresses it if that pays. Shrinks the charge to the memory of the result and `kept` bytes
/// that stay charged besides.
pub fn encode(
    mut body: Buffer,
    compression: Compression,
    kept: usize,
    charge: &mut Charge,
    buffers: &Arc<Buffers>,
) -> RequestBody {
    // The comma of the last event makes room for one of the two bytes. The other byte has room too: each event was given
    // the room of the widest timestamp, which none has, or left some room when it was added on the fast path.
    body.shorten(1);
    body.append(b"]}");
    charge.shrink_to(kept + body.capacity());
    if let Compression::Gzip { level, min_bytes } = compression
        && body.len() >= min_bytes
        && let Some(room) = compress(body.bytes(), level, charge, buffers)
    {
        // The result takes the place of the plain body, and has no spare capacity: the room is free for the next batch.
        drop(body);
        let bytes = Bytes::copy_from_slice(room.bytes());
        drop(room);
        charge.shrink_to(kept + bytes.len());
        return RequestBody { bytes, gzip: true };
    }
    RequestBody { bytes: body.into_bytes(), gzip: false }
}

/// Compresses the body. Its memory is charged besides that of the plain body. Returns `None` when that would save less
/// than a quarter, or when there is no memory for both at once.
fn compress(body: &[u8], level: u32, charge: &mut Charge, buffers: &Arc<Buffers>) -> Option<Buffer> {
    let max = body.len() / 4 * 3;
    let charged = charge.bytes();
    charge.grow_for_work(Buffer::capacity_for(max)).ok()?;
    let mut room = Buffer::new();
    let grown = room.grow_to(max, buffers);
    charge.budget().trim_buffers();
    let encoded = grown.is_ok().then(|| {
        let mut encoder = GzEncoder::new(Bounded { room, max }, flate2::Compression::new(level));
        encoder.write_all(body).and_then(|()| encoder.finish())
    });
    let encoded = encoded.and_then(Result::ok);
    if encoded.is_none() {
        charge.shrink_to(charged);
    }
    encoded.map(|Bounded { room, .. }| room)
}

/// A writer that refuses bytes beyond `max`.
struct Bounded {
    room: Buffer,
    max: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room.len() + bytes.len() > self.max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_whatever_their_messages_say() {
        let messages =
            ["plain", r#"\"},{\"timestamp\":1"#, r#"\\"#, r#"\\\"},"#, "", r#"},{"#, r#"{\"timestamp\":5}"#];
        let stamps = [70, 1_700_000_000_000_u64, 5, 5, 0, 9, 60];
        let event =
            |place: usize| format!(r#"{{"timestamp":{},"message":"{}"}},"#, stamps[place], messages[place]);
        let pushed: Vec<_> = (0..messages.len()).map(event).collect();
        let buffers = Buffers::new(1 << 20);
        let body = Buffer::from(
            [&["prefix"], &pushed.iter().map(String::as_str).collect::<Vec<_>>()[..]]
                .concat()
                .concat()
                .into_bytes(),
        );
        let (ordered, order) = sort_by_time(&body, "prefix".len(), &buffers).expect("memory");
        assert_eq!(order, [4, 2, 3, 5, 6, 0, 1], "of those at the same time, the first pushed first");
        let expected: String = order.iter().map(|place| pushed[*place as usize].as_str()).collect();
        assert_eq!(ordered.bytes(), format!("prefix{expected}").as_bytes());
    }
}
