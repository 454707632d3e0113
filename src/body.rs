//! From what the pushes wrote to what goes over the wire: in order, complete, and compressed if that pays.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use memchr::memmem::Finder;

use crate::buffers::{Buffer, Buffers};
use crate::config::Compression;
use crate::memory::{Charge, NoRoom};

/// What an event's JSON begins with, before the timestamp's digits.
pub const TIMESTAMP_KEY: &[u8; 13] = br#"{"timestamp":"#;

/// An event's end and the next one's beginning. Never within a message, where a quote has a backslash before it.
const BETWEEN: &[u8] = br#""},{"timestamp":"#;

/// A request body as it goes over the wire. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether they are gzip.
    pub gzip: bool,
}

/// The same events in order of time, in a buffer of their own, and the order: the how-manieth pushed stands at each
/// place. The events begin behind the prefix, and each is followed by a comma.
///
/// Where the events stand is found in the body itself: hosts push in order of time as a rule, and then nobody needs
/// to know.
pub fn in_order_of_time(
    body: &Buffer,
    prefix_bytes: usize,
    home: &Arc<Buffers>,
) -> Result<(Buffer, Vec<u32>), NoRoom> {
    let (prefix, written) = body.bytes().split_at(prefix_bytes);
    let events = events_of(written);
    let mut order: Vec<u32> = (0..events.len() as u32).collect();
    order.sort_by_key(|pushed| timestamp_of(events[*pushed as usize]));
    let mut ordered = Buffer::new();
    ordered.grow_to(body.capacity(), home)?;
    ordered.append(prefix);
    order.iter().for_each(|pushed| ordered.append(events[*pushed as usize]));
    Ok((ordered, order))
}

/// The events, each with its comma.
fn events_of(written: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let mut begin = 0;
    for end in Finder::new(BETWEEN).find_iter(written).map(|place| place + br#""},"#.len()) {
        events.push(&written[begin..end]);
        begin = end;
    }
    if begin < written.len() {
        events.push(&written[begin..]);
    }
    events
}

fn timestamp_of(event: &[u8]) -> u64 {
    // Never negative: those are refused.
    let digits = event.iter().skip(TIMESTAMP_KEY.len()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// The body, ended, as it goes over the wire, with its memory charged; `kept` is what stays charged besides.
pub fn encode(
    mut body: Buffer,
    compression: Compression,
    kept: usize,
    charge: &mut Charge,
    home: &Arc<Buffers>,
) -> Body {
    // The last event's comma makes room for one of them. The other takes what is left: every event was given the room
    // of the widest timestamp, which none has, or left some behind it when it was written at once.
    body.shorten(1);
    body.append(b"]}");
    charge.shrink_to(kept + body.capacity());
    if let Compression::Gzip { level, min_bytes } = compression
        && body.len() >= min_bytes
        && let Some(room) = compress(body.bytes(), level, charge, home)
    {
        // In the place of the plain body, and no larger than it must be: the room is free for the next.
        drop(body);
        let bytes = Bytes::copy_from_slice(room.bytes());
        drop(room);
        charge.shrink_to(kept + bytes.len());
        return Body { bytes, gzip: true };
    }
    Body { bytes: body.into_bytes(), gzip: false }
}

/// The body as gzip, its room charged besides the plain body's; none when that would not save at least a quarter, or
/// when there is no memory for both at once.
fn compress(body: &[u8], level: u32, charge: &mut Charge, home: &Arc<Buffers>) -> Option<Buffer> {
    let most = body.len() / 4 * 3;
    let charged = charge.bytes();
    charge.grow_for_work(Buffer::capacity_for(most)).ok()?;
    let mut room = Buffer::new();
    let grown = room.grow_to(most, home);
    charge.budget().settle_buffers();
    let encoded = grown.is_ok().then(|| {
        let mut encoder = GzEncoder::new(Bounded { room, most }, flate2::Compression::new(level));
        encoder.write_all(body).and_then(|()| encoder.finish())
    });
    let encoded = encoded.and_then(Result::ok);
    if encoded.is_none() {
        charge.shrink_to(charged);
    }
    encoded.map(|Bounded { room, .. }| room)
}

/// A writer that refuses what would pass the room reserved for it.
struct Bounded {
    room: Buffer,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room.len() + bytes.len() > self.most {
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
        let home = Buffers::new(1 << 20);
        let body = Buffer::from(
            [&["prefix"], &pushed.iter().map(String::as_str).collect::<Vec<_>>()[..]]
                .concat()
                .concat()
                .into_bytes(),
        );
        let (ordered, order) = in_order_of_time(&body, "prefix".len(), &home).expect("memory");
        assert_eq!(order, [4, 2, 3, 5, 6, 0, 1], "of those at the same time, the first pushed first");
        let expected: String = order.iter().map(|place| pushed[*place as usize].as_str()).collect();
        assert_eq!(ordered.bytes(), format!("prefix{expected}").as_bytes());
    }
}
