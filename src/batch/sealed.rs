//! A sealed batch: complete, and sent with one request at each attempt.

use std::sync::Arc;

use tokio::time::Instant;

use super::body::{decompress, encode, events_of, message_bytes, sort_by_time};
use crate::config::Compression;
use crate::limits::BATCH_EVENTS_MAX;
use crate::memory::{Buffer, Buffers, Charge, NoRoom};
use crate::outcome::{BatchFinalizer, Resolution};
use crate::service::{RejectedEvents, RequestBody};

/// The distance between the ids of two batches of a target. It leaves room for the parts of a halved batch, which are at most
/// one for each event.
pub const BATCH_ID_STRIDE: u64 = (BATCH_EVENTS_MAX as u64).next_power_of_two();

/// Memory that a batch takes besides its body, in bytes.
pub(super) const FIXED_CHARGE: usize = 256;

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    id: u64,
    first_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    /// See [`Batch::refused_at`].
    refused_at: Option<Instant>,
    /// The batch lets others of its target go first. See [`Batch::set_aside`].
    is_set_aside: bool,
    payload: Payload,
    /// The length of the JSON before the first event.
    prefix_bytes: usize,
    /// The length of the body without compression.
    plain_bytes: usize,
    finalizer: BatchFinalizer,
    charge: Charge,
}

/// The written bodies of the two halves of a batch, the earlier events first.
#[derive(Debug)]
pub struct HalfBodies {
    first: Buffer,
    second: Buffer,
    /// The bytes of the messages in the first half.
    message_bytes: usize,
}

/// The reason why a batch cannot be halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHalved {
    /// The batch has a single event.
    Single,
    /// There is no memory for the halves now.
    NoRoom,
}

#[derive(Debug)]
enum Payload {
    /// The body as the pushes wrote it.
    Written(WrittenBody),
    /// The body as it goes over the wire.
    Encoded(RequestBody),
}

/// A body as the pushes wrote it: each event followed by a comma, in the order of the pushes.
#[derive(Debug)]
pub(super) struct WrittenBody {
    pub(super) bytes: Buffer,
    /// The length of the JSON before the first event.
    pub(super) prefix_bytes: usize,
    /// The events are in order of time.
    pub(super) in_order: bool,
}

impl Batch {
    pub(super) fn new(id: u64, body: WrittenBody, finalizer: BatchFinalizer, charge: Charge) -> Self {
        let (prefix_bytes, plain_bytes) = (body.prefix_bytes, body.bytes.len());
        Batch {
            id,
            first_attempt: None,
            last_attempt: None,
            refused_at: None,
            is_set_aside: false,
            payload: Payload::Written(body),
            prefix_bytes,
            plain_bytes,
            finalizer,
            charge,
        }
    }

    /// The place of the batch in the order of the batches of its target.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.finalizer.events()
    }

    /// Memory that the batch holds, in bytes.
    pub fn charged_bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Memory that the batch gives back when it is dropped, in bytes. The memory of its acks stays.
    pub fn droppable_bytes(&self) -> usize {
        self.charge.bytes().saturating_sub(self.finalizer.ack_bytes())
    }

    /// Takes the memory away that dropping the batch gives back, for a batch that is dropped now.
    pub fn split_off_droppable(&mut self) -> Charge {
        self.charge.split_off(self.droppable_bytes())
    }

    /// The time of the first attempt, if there was one.
    pub fn first_attempt(&self) -> Option<Instant> {
        self.first_attempt
    }

    /// The time of the last attempt, if there was one.
    pub fn last_attempt(&self) -> Option<Instant> {
        self.last_attempt
    }

    /// Notes an attempt.
    pub fn note_attempt(&mut self, now: Instant) {
        self.first_attempt.get_or_insert(now);
        self.last_attempt = Some(now);
    }

    /// The time after which another delivery shows that the batch is at fault, and not its target. For an event that stands
    /// alone: the time of the last refusal of a batch of several events that it was a part of, or of its own first refusal.
    /// For a batch of several events: the time of its last refusal.
    pub fn refused_at(&self) -> Option<Instant> {
        self.refused_at
    }

    /// Returns whether the batch lets others of its target go first.
    pub fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }

    /// Notes that the service refused the batch. Returns whether the batch was set aside before.
    pub fn note_refusal(&mut self, now: Instant) -> bool {
        match self.events() {
            1 => _ = self.refused_at.get_or_insert(now),
            _ => self.refused_at = Some(now),
        }
        std::mem::take(&mut self.is_set_aside)
    }

    /// Lets other batches of the target go first. The delivery of one of them shows that the target is not at fault.
    pub fn set_aside(&mut self) {
        self.is_set_aside = true;
    }

    /// Finalizes a batch that the service took, except its `rejected` events.
    pub fn finalize_delivered(self, rejected: RejectedEvents) {
        self.finalizer.finalize_delivered(rejected, self.charge);
    }

    /// Finalizes all events of the batch alike.
    pub fn finalize(self, resolution: Resolution) {
        self.finalizer.finalize(resolution, self.charge);
    }

    /// The request body. The first call sorts and compresses it; later attempts send the same bytes. Fails, and changes nothing,
    /// when the system has no memory for sorting: unsorted, the service would refuse the body.
    pub fn body(&mut self, compression: Compression) -> Result<RequestBody, NoRoom> {
        if let Payload::Written(body) = &mut self.payload {
            let buffers = self.charge.budget().buffers().clone();
            if !body.in_order {
                // The room for it is reserved.
                let (sorted, order) = sort_by_time(&body.bytes, body.prefix_bytes, &buffers)?;
                self.finalizer.reorder(&order);
                (body.bytes, body.in_order) = (sorted, true);
            }
            let bytes = std::mem::take(&mut body.bytes);
            let kept = FIXED_CHARGE + self.finalizer.allocated_bytes();
            // The comma of the last event gives way to the two bytes of the end.
            self.plain_bytes = bytes.len() + 1;
            self.payload = Payload::Encoded(encode(bytes, compression, kept, &mut self.charge, &buffers));
        }
        match &self.payload {
            Payload::Encoded(body) => Ok(body.clone()),
            Payload::Written(_) => unreachable!("the body was encoded above"),
        }
    }

    /// Writes the bodies of the two halves of the batch. The batch stays whole until [`Batch::into_halves`].
    pub fn write_halves(&mut self) -> Result<HalfBodies, NotHalved> {
        if self.events() < 2 {
            return Err(NotHalved::Single);
        }
        let charged = self.charge.bytes();
        let buffers = self.charge.budget().buffers().clone();
        self.split_bodies(&buffers).ok_or_else(|| {
            self.charge.shrink_to(charged);
            NotHalved::NoRoom
        })
    }

    /// Writes the bodies of the two halves. Their memory is charged besides that of the batch. Returns `None` when there is
    /// no memory for that.
    fn split_bodies(&mut self, buffers: &Arc<Buffers>) -> Option<HalfBodies> {
        let fixed = FIXED_CHARGE + self.events() * size_of::<u64>();
        self.charge.grow_for_work(fixed).ok()?;
        let body = match &self.payload {
            Payload::Encoded(body) => body.clone(),
            // The service refuses only what it was sent.
            Payload::Written(_) => return None,
        };
        let decompressed;
        let plain = match body.gzip {
            false => &body.bytes[..],
            true => {
                decompressed = decompress(&body.bytes, self.plain_bytes, &mut self.charge, buffers)?;
                decompressed.bytes()
            }
        };
        let (prefix, written) = plain.split_at(self.prefix_bytes);
        let events = events_of(written.strip_suffix(b"]}")?).ok()?;
        let (first, second) = events.split_at(events.len() / 2);
        let mut write = |events: &[&[u8]]| {
            // One more for the comma of the last event, and one for the end of the body, which is longer than a comma.
            let bytes = prefix.len() + events.iter().map(|event| event.len()).sum::<usize>() + 2;
            self.charge.grow_for_work(Buffer::capacity_for(bytes)).ok()?;
            let mut half = Buffer::new();
            half.grow_to(bytes, buffers).ok()?;
            half.append(prefix);
            events.iter().for_each(|event| half.append(event));
            if !half.bytes().ends_with(b",") {
                half.append(b",");
            }
            Some(half)
        };
        let message_bytes = first.iter().map(|event| message_bytes(event)).sum();
        Some(HalfBodies { first: write(first)?, second: write(second)?, message_bytes })
    }

    /// Halves the batch. The halves keep its order and times. The id of the second half is greater by the number of events in
    /// the first one; ids leave room for that.
    pub fn into_halves(mut self, bodies: HalfBodies) -> (Batch, Batch) {
        let HalfBodies { first, second, message_bytes } = bodies;
        let events = self.events() / 2;
        let rest = self.finalizer.split_off(events, message_bytes);
        let charge_for = |body: &Buffer, finalizer: &BatchFinalizer| {
            FIXED_CHARGE + body.capacity() + finalizer.allocated_bytes()
        };
        let (first_charge, second_charge) = (charge_for(&first, &self.finalizer), charge_for(&second, &rest));
        // Both fit into what was reserved: two bodies, and the fixed part and the tokens once more.
        let charge = self.charge.split_off(second_charge);
        self.charge.shrink_to(first_charge);
        let part = |id: u64, body: Buffer, finalizer: BatchFinalizer, charge: Charge| {
            let body = WrittenBody { bytes: body, prefix_bytes: self.prefix_bytes, in_order: true };
            let (first_attempt, last_attempt) = (self.first_attempt, self.last_attempt);
            let refused_at = self.refused_at;
            Batch { first_attempt, last_attempt, refused_at, ..Batch::new(id, body, finalizer, charge) }
        };
        let second = part(self.id + events as u64, second, rest, charge);
        let first = part(self.id, first, self.finalizer, self.charge);
        (first, second)
    }
}
