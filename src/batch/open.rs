//! An open batch: its limits, the room for one more event, and the JSON of an event.

use std::sync::Arc;

use tokio::time::Instant;

use super::body::TIMESTAMP_KEY;
use super::event::NewEvent;
use super::message::{AROUND_BYTES, write_small};
use super::sealed::{Batch, FIXED_CHARGE, WrittenBody};
use crate::health::Health;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_SPAN_MS, EVENT_OVERHEAD_BYTES};
use crate::memory::{Buffer, Charge, NoRoom};
use crate::outcome::{BatchFinalizer, Ledger};

/// JSON around one message, the widest timestamp included.
const EVENT_JSON_BYTES: usize = HEAD_BYTES_MAX + AROUND_BYTES;

/// A batch begins with the capacity that the last one of its target came to need, up to this many bytes.
const BEGIN_BYTES_MAX: usize = 32 * 1024;

/// The usual size of a log line in its JSON, in bytes.
const EVENT_BYTES_USUAL: usize = 128;

/// A batch without room grows to this many times its capacity, and not beyond what the last one of its target came to need. So
/// it takes no memory that it may never need, and a large batch is moved twice at most: moving is what its growth costs.
const GROWTH: usize = 8;

/// The reason why an open batch did not take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The batch is full. The event belongs into the next one.
    BatchFull,
    /// The memory that is left, or that the target may take, does not suffice.
    NoRoom,
    /// The system has no memory.
    NoMemory,
}

impl From<NoRoom> for NotAdded {
    fn from(NoRoom: NoRoom) -> Self {
        NotAdded::NoRoom
    }
}

/// The size of a batch, and of the next one of its target as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchSize {
    /// Bytes of the body.
    pub body: usize,
    /// Events.
    pub events: usize,
}

impl BatchSize {
    /// The larger of this and three quarters of `before`: a flush that ends a batch early says little about the next one.
    #[must_use]
    pub fn or_most_of(self, before: BatchSize) -> Self {
        let most = |before: usize| before - before / 4;
        BatchSize { body: self.body.max(most(before.body)), events: self.events.max(most(before.events)) }
    }
}

/// The target of a batch.
#[derive(Debug)]
pub struct BatchTarget<'a> {
    /// The JSON that every request body to the target begins with.
    pub body_prefix: Vec<u8>,
    /// Counts the outcomes of the events.
    pub ledger: &'a Arc<Ledger>,
}

/// The state of the target whose batch takes an event.
#[derive(Clone, Copy, Debug)]
pub struct TargetState {
    /// The health of the target.
    pub health: Health,
    /// Batches of the target wait or are in flight. They make room when they are final.
    pub is_under_way: bool,
}

/// A batch that takes events.
#[derive(Debug)]
pub struct OpenBatch {
    id: u64,
    opened_at: Instant,
    body: Buffer,
    /// The length of the JSON before the first event.
    prefix_bytes: usize,
    events: usize,
    /// The size that the batch will probably have.
    expected: BatchSize,
    counted_bytes: usize,
    oldest_ms: i64,
    newest_ms: i64,
    in_order: bool,
    finalizer: BatchFinalizer,
    charge: Charge,
    head: Head,
}

/// The beginning of the JSON of an event, up to and with its timestamp. Kept, since the next event often has the same.
#[derive(Debug)]
struct Head {
    timestamp_ms: i64,
    json: [u8; HEAD_BYTES_MAX],
    bytes: usize,
}

const HEAD_BYTES_MAX: usize = TIMESTAMP_KEY.len() + "-9223372036854775808".len();

impl Head {
    fn new() -> Self {
        let mut head = Head { timestamp_ms: 0, json: [b'0'; HEAD_BYTES_MAX], bytes: TIMESTAMP_KEY.len() + 1 };
        head.json[..TIMESTAMP_KEY.len()].copy_from_slice(TIMESTAMP_KEY);
        head
    }

    #[inline]
    fn set(&mut self, timestamp_ms: i64) {
        if self.timestamp_ms != timestamp_ms {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(timestamp_ms).as_bytes();
            self.json[TIMESTAMP_KEY.len()..][..digits.len()].copy_from_slice(digits);
            (self.timestamp_ms, self.bytes) = (timestamp_ms, TIMESTAMP_KEY.len() + digits.len());
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.json[..self.bytes]
    }
}

impl OpenBatch {
    /// Opens an empty batch. The charge holds at least [`OpenBatch::min_charge`] of the first event.
    pub fn open(id: u64, target: BatchTarget<'_>, charge: Charge, expected: BatchSize, now: Instant) -> Self {
        let BatchTarget { body_prefix, ledger } = target;
        let finalizer = BatchFinalizer::new(ledger);
        let (prefix_bytes, body) = (body_prefix.len(), Buffer::from(body_prefix));
        OpenBatch {
            id,
            opened_at: now,
            body,
            prefix_bytes,
            events: 0,
            expected,
            counted_bytes: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            in_order: true,
            finalizer,
            charge,
            head: Head::new(),
        }
    }

    /// The least memory that a batch with just this event takes, in bytes.
    pub fn min_charge(prefix_bytes: usize, event: &NewEvent<'_>, ledger: &Arc<Ledger>) -> usize {
        let body = Buffer::capacity_for(prefix_bytes + EVENT_JSON_BYTES + event.message.json_bytes());
        Self::charge_for(body, true) + BatchFinalizer::new(ledger).bytes_with(1, event.range.as_ref())
    }

    /// The place of the batch in the order of the batches of its target.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// The time at which the batch was opened, for its first event.
    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Returns whether the batch has no event yet.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The size of the batch.
    pub fn size(&self) -> BatchSize {
        BatchSize { body: self.body.len(), events: self.events }
    }

    /// Returns whether not even the smallest event would fit any more.
    pub fn is_full(&self) -> bool {
        self.events == BATCH_EVENTS_MAX || self.counted_bytes + EVENT_OVERHEAD_BYTES >= BATCH_BYTES_MAX
    }

    /// Adds an event. Takes memory from `spare` first. When it fails, the batch is as it was.
    pub fn add(
        &mut self,
        timestamp_ms: i64,
        event: &NewEvent<'_>,
        target: TargetState,
        spare: &mut Option<Charge>,
    ) -> Result<(), NotAdded> {
        let message = &event.message;
        let counted_bytes = self.counted_bytes + message.text_bytes() + EVENT_OVERHEAD_BYTES;
        let (oldest_ms, newest_ms) = (self.oldest_ms.min(timestamp_ms), self.newest_ms.max(timestamp_ms));
        if self.events == BATCH_EVENTS_MAX
            || counted_bytes > BATCH_BYTES_MAX
            || newest_ms - oldest_ms > BATCH_SPAN_MS
            || self.finalizer.is_outdated()
        {
            return Err(NotAdded::BatchFull);
        }
        // Sorting writes all events into a second body, which takes its room.
        let in_order = self.in_order && timestamp_ms >= self.newest_ms;
        self.reserve(event, in_order, target, spare)?;

        self.head.set(timestamp_ms);
        self.body.append(self.head.bytes());
        message.append(&mut self.body);
        self.events += 1;
        self.finalizer.add(message.text_bytes(), event.token, event.range.as_ref());
        if let Some(split) = &event.split {
            self.finalizer.set_split(split);
        }
        (self.counted_bytes, self.oldest_ms, self.newest_ms, self.in_order) =
            (counted_bytes, oldest_ms, newest_ms, in_order);
        Ok(())
    }

    /// Adds a small event on the fast path: the body has room for the message even if each of its bytes needs an escape.
    /// Returns false, and changes nothing, when that is not so.
    #[inline]
    pub fn try_add_small(&mut self, timestamp_ms: i64, message: &[u8], token: u64) -> bool {
        let counted_bytes = self.counted_bytes + message.len() + EVENT_OVERHEAD_BYTES;
        let events = self.events + 1;
        if events > BATCH_EVENTS_MAX
            || counted_bytes > BATCH_BYTES_MAX
            || timestamp_ms < self.newest_ms
            || timestamp_ms - self.oldest_ms.min(timestamp_ms) > BATCH_SPAN_MS
            || self.finalizer.is_outdated()
            || self.finalizer.event_capacity() < events
        {
            return false;
        }
        self.head.set(timestamp_ms);
        let Some((head, rest)) = self.body.room_mut().split_at_mut_checked(self.head.bytes) else {
            return false;
        };
        let Some(json_bytes) = write_small(message, rest) else { return false };
        head.copy_from_slice(self.head.bytes());
        self.body.lengthen(self.head.bytes + AROUND_BYTES + json_bytes);
        self.events = events;
        self.finalizer.add(message.len(), token, None);
        (self.counted_bytes, self.oldest_ms, self.newest_ms) =
            (counted_bytes, self.oldest_ms.min(timestamp_ms), timestamp_ms);
        true
    }

    /// Reserves room for one more event and for some of those that are expected, or only for this event when the memory allows
    /// no more.
    fn reserve(
        &mut self,
        event: &NewEvent<'_>,
        in_order: bool,
        target: TargetState,
        spare: &mut Option<Charge>,
    ) -> Result<(), NotAdded> {
        let (body, events) = (self.body.capacity(), self.finalizer.event_capacity());
        let body_needed = self.body.len() + EVENT_JSON_BYTES + event.message.json_bytes();
        let events_needed = self.events + 1;
        let range = event.range.as_ref();
        let finalizer_has_room = self.finalizer.has_capacity(events_needed, range);
        if body_needed <= body && in_order == self.in_order && finalizer_has_room {
            return Ok(());
        }
        let generous = (
            self.grown(body, body_needed, self.expected.body, BEGIN_BYTES_MAX),
            self.grown(events, events_needed, self.expected.events, BEGIN_BYTES_MAX / EVENT_BYTES_USUAL),
        );
        let exact = (body_needed.max(body), events_needed.max(events));
        let batch_max = self.charge.batch_max();
        let mut too_large = false;
        for (body, events) in [generous, exact] {
            let body = Buffer::capacity_for(body);
            let wanted = Self::charge_for(body, in_order) + self.finalizer.bytes_with(events, range);
            too_large = wanted > batch_max && !self.is_empty();
            let more = wanted.saturating_sub(self.charge.bytes());
            if too_large || self.charge.grow_for_push(more, spare, target.health).is_err() {
                // Moving large pages for a few events each costs more than waiting for the batches that come back.
                // The room of the first event is reserved.
                if target.is_under_way && body_needed > BEGIN_BYTES_MAX && !self.is_empty() {
                    break;
                }
                continue;
            }
            let budget = self.charge.budget();
            let grown = self.body.grow_to(body, budget.buffers());
            budget.trim_buffers();
            let reserved = grown.is_ok() && self.finalizer.reserve(events, range).is_ok();
            return if reserved { Ok(()) } else { Err(NotAdded::NoMemory) };
        }
        Err(if too_large { NotAdded::BatchFull } else { NotAdded::NoRoom })
    }

    /// The capacity to grow to from `capacity` when `needed` is needed. `begin_max`: the most to begin with.
    fn grown(&self, capacity: usize, needed: usize, expected: usize, begin_max: usize) -> usize {
        match needed <= capacity {
            true => capacity,
            false if self.is_empty() => needed.max(expected.min(begin_max)),
            false if needed <= expected => needed.max(expected.min(capacity * GROWTH)),
            false => needed.max(capacity * 2),
        }
    }

    fn charge_for(body: usize, in_order: bool) -> usize {
        FIXED_CHARGE + if in_order { body } else { 2 * body }
    }

    /// Memory that the batch gives back when it is dropped, in bytes. The memory of its acks stays.
    pub fn droppable_bytes(&self) -> usize {
        self.charge.bytes().saturating_sub(self.finalizer.ack_bytes())
    }

    /// Takes the batch back, as if its events had never been pushed.
    pub fn cancel(self) {
        self.finalizer.cancel();
    }

    /// Seals the batch: it takes no more events.
    pub fn seal(self) -> Batch {
        let body = WrittenBody { bytes: self.body, prefix_bytes: self.prefix_bytes, in_order: self.in_order };
        Batch::new(self.id, body, self.finalizer, self.charge)
    }
}

#[cfg(test)]
mod tests;
