//! A batch: the events of one target that go out in one request.
//!
//! While it is open, each event is written once, as JSON, straight into what will be the request's body; a
//! sealed batch takes no more events. Two types, so that a sealed batch cannot be added to and an open one
//! cannot be sent. Invariants:
//!
//! * a batch keeps every limit of [`crate::limits`];
//! * its memory is reserved before it is taken, and given back when the batch is dropped;
//! * the body is put in order and compressed once; every attempt sends the same bytes.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use crate::ack::{Ending, Ledger, Receipt, Split};
use crate::config::Compression;
use crate::engine::Event;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_SPAN_MS, EVENT_OVERHEAD_BYTES};
use crate::logs_api::RejectedEvents;
use crate::memory::{Account, Charge, NoRoom, Standing};
use crate::message::{AROUND_BYTES, Message};
use crate::offsets::SourceRange;

/// What a batch takes besides its body and its index.
const FIXED_CHARGE: usize = 256;

/// JSON around one message, the widest timestamp included.
const EVENT_JSON_BYTES: usize = HEAD_BYTES_MAX + AROUND_BYTES;

/// Most room that a batch's body starts with.
const BODY_START_BYTES: usize = 1024;

/// Why an event did not get into an open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The batch is full; the event belongs into the next one.
    BatchFull,
    /// There is no memory for it.
    NoRoom,
}

impl From<NoRoom> for NotAdded {
    fn from(NoRoom: NoRoom) -> Self {
        NotAdded::NoRoom
    }
}

/// Where an event stands in the body, its comma included.
#[derive(Clone, Copy, Debug)]
struct Entry {
    timestamp_ms: i64,
    start: u32,
    bytes: u32,
}

/// An event on its way into a batch.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Its message, measured.
    pub message: Message<'a>,
    /// Comes back in its ack.
    pub token: u64,
    /// What it covers of its source.
    pub range: Option<SourceRange>,
    /// The event that it is a piece of. Its range is there.
    pub split: Option<Arc<Split>>,
}

impl<'a> NewEvent<'a> {
    /// An event in one piece.
    #[inline]
    pub fn whole(message: Message<'a>, event: &Event<'a>) -> Self {
        NewEvent { message, token: event.token, range: event.range.map(SourceRange::new), split: None }
    }
}

/// A batch that takes events.
#[derive(Debug)]
pub struct OpenBatch {
    id: u64,
    opened_at: Instant,
    body: Vec<u8>,
    index: Vec<Entry>,
    counted_bytes: usize,
    oldest_ms: i64,
    newest_ms: i64,
    in_order: bool,
    receipt: Receipt,
    charge: Charge,
    head: Head,
}

/// What an event's JSON begins with, up to its timestamp: that of the last one, which the next one's often is.
#[derive(Debug)]
struct Head {
    timestamp_ms: i64,
    json: [u8; HEAD_BYTES_MAX],
    bytes: usize,
}

const TIMESTAMP_KEY: &[u8; 13] = br#"{"timestamp":"#;
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
    /// An empty batch whose body begins with `prefix`, with the memory for `first`.
    pub fn open(
        id: u64,
        prefix: &[u8],
        account: &Arc<Account>,
        ledger: &Arc<Ledger>,
        first: &NewEvent<'_>,
        standing: Standing,
        now: Instant,
    ) -> Result<Self, NoRoom> {
        let receipt = Receipt::new(ledger);
        let mut charge = Charge::empty(account);
        charge.grow_for_push(Self::charge_of_one(prefix.len(), first, &receipt), standing)?;
        let mut body = Vec::new();
        body.try_reserve_exact(prefix.len()).map_err(|_| NoRoom)?;
        body.extend_from_slice(prefix);
        Ok(OpenBatch {
            id,
            opened_at: now,
            body,
            index: Vec::new(),
            counted_bytes: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            in_order: true,
            receipt,
            charge,
            head: Head::new(),
        })
    }

    /// What a batch with just this event is charged at least.
    pub fn least_charge(prefix_bytes: usize, event: &NewEvent<'_>, ledger: &Arc<Ledger>) -> usize {
        Self::charge_of_one(prefix_bytes, event, &Receipt::new(ledger))
    }

    fn charge_of_one(prefix_bytes: usize, event: &NewEvent<'_>, receipt: &Receipt) -> usize {
        let body = prefix_bytes + EVENT_JSON_BYTES + event.message.json_bytes();
        Self::charge_for(body, 1, true) + receipt.bytes_with(1, event.range.as_ref())
    }

    /// Its place in the order of its target's batches.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.index.len()
    }

    /// When its first event came.
    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether not even the smallest event would still fit.
    pub fn is_full(&self) -> bool {
        self.index.len() == BATCH_EVENTS_MAX || self.counted_bytes + EVENT_OVERHEAD_BYTES >= BATCH_BYTES_MAX
    }

    /// Adds an event, or says why not and stays as it was.
    pub fn add(
        &mut self,
        timestamp_ms: i64,
        event: &NewEvent<'_>,
        standing: Standing,
    ) -> Result<(), NotAdded> {
        let message = &event.message;
        let counted_bytes = self.counted_bytes + message.text_bytes() + EVENT_OVERHEAD_BYTES;
        let (oldest_ms, newest_ms) = (self.oldest_ms.min(timestamp_ms), self.newest_ms.max(timestamp_ms));
        if self.index.len() == BATCH_EVENTS_MAX
            || counted_bytes > BATCH_BYTES_MAX
            || newest_ms - oldest_ms > BATCH_SPAN_MS
            || (self.receipt.is_outdated() && !self.is_empty())
        {
            return Err(NotAdded::BatchFull);
        }
        // Events are put in order by writing them anew, which takes the room of a second body.
        let in_order = self.in_order && timestamp_ms >= self.newest_ms;
        self.make_room(event, in_order, standing)?;

        let start = self.body.len();
        self.head.set(timestamp_ms);
        self.body.extend_from_slice(self.head.bytes());
        message.append(&mut self.body);
        // A body is at most six times BATCH_BYTES_MAX plus the events' own JSON, which fits 32 bits.
        self.index.push(Entry { timestamp_ms, start: start as u32, bytes: (self.body.len() - start) as u32 });
        self.receipt.add(message.text_bytes(), event.token, event.range.as_ref());
        if let Some(split) = &event.split {
            self.receipt.set_split(split);
        }
        (self.counted_bytes, self.oldest_ms, self.newest_ms, self.in_order) =
            (counted_bytes, oldest_ms, newest_ms, in_order);
        Ok(())
    }

    /// Makes room for one more event, growing by doubling where the memory allows it.
    fn make_room(
        &mut self,
        event: &NewEvent<'_>,
        in_order: bool,
        standing: Standing,
    ) -> Result<(), NotAdded> {
        let (body, index) = (self.body.capacity(), self.index.capacity());
        let body_needed = self.body.len() + EVENT_JSON_BYTES + event.message.json_bytes();
        let index_needed = self.index.len() + 1;
        let range = event.range.as_ref();
        let receipt_has_room = self.receipt.bytes_with(index_needed, range) <= self.receipt.kept_bytes();
        if body_needed <= body && index_needed <= index && in_order == self.in_order && receipt_has_room {
            return Ok(());
        }
        let doubled = |capacity: usize, needed: usize, least: usize| match needed <= capacity {
            true => capacity,
            false => needed.max(capacity * 2).max(least),
        };
        let generous = (doubled(body, body_needed, BODY_START_BYTES), doubled(index, index_needed, 4));
        let exact = (body_needed.max(body), index_needed.max(index));
        let batch_max = self.charge.batch_max();
        let mut too_large = false;
        for (body, index) in [generous, exact] {
            let wanted = Self::charge_for(body, index, in_order) + self.receipt.bytes_with(index, range);
            too_large = wanted > batch_max && !self.is_empty();
            let more = wanted.saturating_sub(self.charge.bytes());
            if too_large || self.charge.grow_for_push(more, standing).is_err() {
                continue;
            }
            let reserved = self.body.try_reserve_exact(body - self.body.len()).is_ok()
                && self.index.try_reserve_exact(index - self.index.len()).is_ok()
                && self.receipt.make_room(index, range).is_ok();
            return if reserved { Ok(()) } else { Err(NotAdded::NoRoom) };
        }
        Err(if too_large { NotAdded::BatchFull } else { NotAdded::NoRoom })
    }

    fn charge_for(body: usize, index: usize, in_order: bool) -> usize {
        let bodies = if in_order { body } else { 2 * body };
        FIXED_CHARGE + bodies + index * size_of::<Entry>()
    }

    /// Memory that it would give back if it were given up; what its acks hold would stay.
    pub fn bytes_to_free(&self) -> usize {
        self.charge.bytes().saturating_sub(self.receipt.bytes_when_ended())
    }

    /// Throws the batch away, as if its events had never been pushed.
    pub fn cancel(self) {
        self.receipt.cancel();
    }

    /// Ends the batch: it takes no more events.
    pub fn seal(self) -> Batch {
        Batch {
            id: self.id,
            first_attempt: None,
            last_attempt: None,
            payload: Payload::Written { body: self.body, index: self.index, in_order: self.in_order },
            receipt: self.receipt,
            charge: self.charge,
        }
    }
}

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    id: u64,
    first_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    payload: Payload,
    receipt: Receipt,
    charge: Charge,
}

#[derive(Debug)]
enum Payload {
    /// As the pushes wrote it: each event followed by a comma, in the order pushed.
    Written { body: Vec<u8>, index: Vec<Entry>, in_order: bool },
    /// As it goes over the wire.
    Encoded(Body),
}

/// A request body as it goes over the wire. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether they are gzip.
    pub gzip: bool,
}

impl Batch {
    /// Its place in the order of its target's batches.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.receipt.events()
    }

    /// Memory that it holds.
    pub fn charged(&self) -> usize {
        self.charge.bytes()
    }

    /// Memory that it gives back when it is given up; what its acks hold stays.
    pub fn bytes_to_free(&self) -> usize {
        self.charge.bytes().saturating_sub(self.receipt.bytes_when_ended())
    }

    /// When it was first tried, if it was.
    pub fn first_attempt(&self) -> Option<Instant> {
        self.first_attempt
    }

    /// When it was last tried, if it was.
    pub fn last_attempt(&self) -> Option<Instant> {
        self.last_attempt
    }

    /// Notes an attempt.
    pub fn attempted(&mut self, now: Instant) {
        self.first_attempt.get_or_insert(now);
        self.last_attempt = Some(now);
    }

    /// Ends the batch: the service took all of its events but `rejected`.
    pub fn delivered(self, rejected: RejectedEvents) {
        self.receipt.delivered(rejected, self.charge);
    }

    /// Ends the batch: all of its events ended so.
    pub fn settle(self, ending: Ending) {
        self.receipt.settle(ending, self.charge);
    }

    /// The request's body, put in order and compressed at the first call and kept for the next attempts.
    pub fn body(&mut self, compression: Compression) -> Body {
        if let Payload::Written { body, index, in_order } = &mut self.payload {
            let (mut body, index) = (std::mem::take(body), std::mem::take(index));
            let prefix_bytes = index.first().map_or(body.len(), |entry| entry.start as usize);
            if !*in_order {
                let mut order: Vec<u32> = (0..index.len() as u32).collect();
                order.sort_by_key(|pushed| index[*pushed as usize].timestamp_ms);
                body = in_order_of(&body, &index, &order, prefix_bytes);
                self.receipt.reorder(&order);
            }
            drop(index);
            body.pop();
            body.extend_from_slice(b"]}");
            let kept = FIXED_CHARGE + self.receipt.kept_bytes();
            self.charge.shrink_to(kept + body.capacity());
            let compressed = match compression {
                Compression::None => None,
                Compression::Gzip(level) => compress(&body, level, kept, &mut self.charge),
            };
            let encoded = match compressed {
                Some(bytes) => Body { bytes: bytes.into(), gzip: true },
                None => Body { bytes: body.into(), gzip: false },
            };
            self.payload = Payload::Encoded(encoded);
        }
        match &self.payload {
            Payload::Encoded(body) => body.clone(),
            Payload::Written { .. } => unreachable!("was encoded above"),
        }
    }
}

/// The same body with its events in this order.
fn in_order_of(body: &[u8], index: &[Entry], order: &[u32], prefix_bytes: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(body.len() + 1);
    ordered.extend_from_slice(&body[..prefix_bytes]);
    for pushed in order {
        let entry = index[*pushed as usize];
        ordered.extend_from_slice(&body[entry.start as usize..][..entry.bytes as usize]);
    }
    ordered
}

/// The body as gzip, its memory charged in the place of the plain body's; none when that would not save at
/// least a quarter, or when there is no memory for both at once. `kept` is what stays charged besides.
fn compress(body: &[u8], level: u32, kept: usize, charge: &mut Charge) -> Option<Vec<u8>> {
    let most = body.len() / 4 * 3;
    let charged = charge.bytes();
    charge.grow_for_work(most).ok()?;
    let mut compressed = Vec::new();
    let encoded = compressed.try_reserve_exact(most).is_ok().then(|| {
        let mut encoder =
            GzEncoder::new(Bounded { bytes: compressed, most }, flate2::Compression::new(level));
        encoder.write_all(body).and_then(|()| encoder.finish())
    });
    match encoded {
        Some(Ok(Bounded { mut bytes, .. })) => {
            bytes.shrink_to_fit();
            charge.shrink_to(kept + bytes.capacity());
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
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
