//! From what the pushes wrote to what goes over the wire: in order, complete, and compressed if that pays.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::buffers::{Buffer, Buffers};
use crate::config::Compression;
use crate::memory::{Charge, NoRoom};

/// Where an event stands in the body, its comma included.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it happened.
    pub timestamp_ms: i64,
    /// Where it begins.
    pub start: u32,
    /// How much it takes.
    pub bytes: u32,
}

/// A request body as it goes over the wire. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether they are gzip.
    pub gzip: bool,
}

/// The same events in order of time, in a buffer of their own, and the order: the how-manieth pushed stands at each
/// place. None where there is no memory for it.
pub fn in_order_of_time(
    body: &Buffer,
    index: &[Entry],
    home: &Arc<Buffers>,
) -> Result<(Buffer, Vec<u32>), NoRoom> {
    let mut order: Vec<u32> = (0..index.len() as u32).collect();
    order.sort_by_key(|pushed| index[*pushed as usize].timestamp_ms);
    let written = body.bytes();
    let mut ordered = Buffer::new();
    ordered.grow_to(body.capacity(), home)?;
    ordered.append(&written[..index.first().map_or(written.len(), |entry| entry.start as usize)]);
    for pushed in &order {
        let entry = index[*pushed as usize];
        ordered.append(&written[entry.start as usize..][..entry.bytes as usize]);
    }
    Ok((ordered, order))
}

/// The body, ended, as it goes over the wire, with its memory charged; `kept` is what stays charged besides.
pub fn encode(
    mut body: Buffer,
    compression: Compression,
    kept: usize,
    charge: &mut Charge,
    home: &Arc<Buffers>,
) -> Body {
    // The last event's comma makes room for one of them, and a timestamp is shorter than the room that it was given.
    body.shorten(1);
    body.append(b"]}");
    charge.shrink_to(kept + body.capacity());
    let compressed = match compression {
        Compression::None => None,
        Compression::Gzip(level) => compress(body.bytes(), level, kept, charge, home),
    };
    match compressed {
        Some(bytes) => Body { bytes, gzip: true },
        None => Body { bytes: body.into_bytes(), gzip: false },
    }
}

/// The body as gzip, its memory charged in the place of the plain body's; none when that would not save at least a
/// quarter, or when there is no memory for both at once.
fn compress(body: &[u8], level: u32, kept: usize, charge: &mut Charge, home: &Arc<Buffers>) -> Option<Bytes> {
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
    match encoded {
        Some(Ok(Bounded { room, .. })) => {
            // No larger than it must be, and the room is free for the next.
            let bytes = Bytes::copy_from_slice(room.bytes());
            charge.shrink_to(kept + bytes.len());
            Some(bytes)
        }
        _ => {
            charge.shrink_to(charged);
            None
        }
    }
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
