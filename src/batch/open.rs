//! A batch that takes events: its limits, the room for one more, and how an event is written.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Batch, FIXED_CHARGE, Payload};
use crate::ack::{Ledger, Receipt, Split};
use crate::body::TIMESTAMP_KEY;
use crate::buffers::Buffer;
use crate::engine::Event;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_SPAN_MS, EVENT_OVERHEAD_BYTES};
use crate::memory::{Charge, NoRoom, Standing};
use crate::message::{AROUND_BYTES, Message, write_small};
use crate::offsets::SourceRange;

/// JSON around one message, the widest timestamp included.
const EVENT_JSON_BYTES: usize = HEAD_BYTES_MAX + AROUND_BYTES;

/// A batch whose body has come to so many bytes takes the room that the target's last one took.
const EXPECT_MORE_FROM: usize = 32 * 1024;

/// A line of a log in its JSON, about.
const EVENT_BYTES_USUAL: usize = 128;

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

/// What a batch starts with, for its first event and those that are expected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Room for so many bytes.
    pub body: usize,
    /// And so many events.
    pub events: usize,
    /// With its first event; else once it has come some of the way.
    pub at_once: bool,
}

impl Start {
    /// This, or most of what it was before: a flush that ends a batch early says little about the next one.
    #[must_use]
    pub fn or_nearly(self, before: Start) -> Self {
        let most = |before: usize| before - before / 4;
        Start { body: self.body.max(most(before.body)), events: self.events.max(most(before.events)), ..self }
    }
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

    /// What it covers of its source, or the whole does that it is a piece of.
    pub fn source_range(&self) -> Option<&SourceRange> {
        self.range.as_ref().or_else(|| self.split.as_ref().and_then(|split| split.range()))
    }
}

/// Whose batch it is.
#[derive(Debug)]
pub struct Target<'a> {
    /// What every request's body to it begins with.
    pub prefix: Vec<u8>,
    /// Where its events' outcomes are counted.
    pub ledger: &'a Arc<Ledger>,
}

/// How it stands with the target whose batch takes an event.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// With the service.
    pub standing: Standing,
    /// Whether batches of it are on their way, which make room when they are final.
    pub under_way: bool,
}

/// A batch that takes events.
#[derive(Debug)]
pub struct OpenBatch {
    id: u64,
    opened_at: Instant,
    body: Buffer,
    /// What its body begins with, before the first event.
    prefix_bytes: usize,
    events: usize,
    /// What it starts with at least.
    start: Start,
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
    /// An empty batch of the target. Its memory, at least [`OpenBatch::least_charge`] of its first event, is reserved
    /// already.
    pub fn open(id: u64, target: Target<'_>, charge: Charge, start: Start, now: Instant) -> Self {
        let Target { prefix, ledger } = target;
        let receipt = Receipt::new(ledger);
        let (prefix_bytes, body) = (prefix.len(), Buffer::from(prefix));
        OpenBatch {
            id,
            opened_at: now,
            body,
            prefix_bytes,
            events: 0,
            start,
            counted_bytes: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            in_order: true,
            receipt,
            charge,
            head: Head::new(),
        }
    }

    /// What a batch with just this event is charged at least.
    pub fn least_charge(prefix_bytes: usize, event: &NewEvent<'_>, ledger: &Arc<Ledger>) -> usize {
        let body = Buffer::capacity_for(prefix_bytes + EVENT_JSON_BYTES + event.message.json_bytes());
        Self::charge_for(body, true) + Receipt::new(ledger).bytes_with(1, event.range.as_ref())
    }

    /// Its place in the order of its target's batches.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.events
    }

    /// When its first event came.
    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// What one like it would have been well to start with.
    pub fn size(&self) -> Start {
        Start { body: self.body.len(), events: self.events, at_once: false }
    }

    /// Whether not even the smallest event would still fit.
    pub fn is_full(&self) -> bool {
        self.events == BATCH_EVENTS_MAX || self.counted_bytes + EVENT_OVERHEAD_BYTES >= BATCH_BYTES_MAX
    }

    /// Adds an event, or says why not and stays as it was.
    pub fn add(&mut self, timestamp_ms: i64, event: &NewEvent<'_>, of: Situation) -> Result<(), NotAdded> {
        let message = &event.message;
        let counted_bytes = self.counted_bytes + message.text_bytes() + EVENT_OVERHEAD_BYTES;
        let (oldest_ms, newest_ms) = (self.oldest_ms.min(timestamp_ms), self.newest_ms.max(timestamp_ms));
        if self.events == BATCH_EVENTS_MAX
            || counted_bytes > BATCH_BYTES_MAX
            || newest_ms - oldest_ms > BATCH_SPAN_MS
            || self.receipt.is_outdated()
        {
            return Err(NotAdded::BatchFull);
        }
        // Events are put in order by writing them anew, which takes the room of a second body.
        let in_order = self.in_order && timestamp_ms >= self.newest_ms;
        self.make_room(event, in_order, of)?;

        self.head.set(timestamp_ms);
        self.body.append(self.head.bytes());
        message.append(&mut self.body);
        self.events += 1;
        self.receipt.add(message.text_bytes(), event.token, event.range.as_ref());
        if let Some(split) = &event.split {
            self.receipt.set_split(split);
        }
        (self.counted_bytes, self.oldest_ms, self.newest_ms, self.in_order) =
            (counted_bytes, oldest_ms, newest_ms, in_order);
        Ok(())
    }

    /// Adds an event that only has to be written, or stays as it was: its message is small, and room for the most that
    /// it could become is there already.
    #[inline]
    pub fn add_at_once(&mut self, timestamp_ms: i64, message: &[u8], token: u64) -> bool {
        let counted_bytes = self.counted_bytes + message.len() + EVENT_OVERHEAD_BYTES;
        let events = self.events + 1;
        if events > BATCH_EVENTS_MAX
            || counted_bytes > BATCH_BYTES_MAX
            || timestamp_ms < self.newest_ms
            || timestamp_ms - self.oldest_ms.min(timestamp_ms) > BATCH_SPAN_MS
            || self.receipt.is_outdated()
            || self.receipt.events_room() < events
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
        self.receipt.add(message.len(), token, None);
        (self.counted_bytes, self.oldest_ms, self.newest_ms) =
            (counted_bytes, self.oldest_ms.min(timestamp_ms), timestamp_ms);
        true
    }

    /// Makes room for one more event: as much as its target's batches take as a rule, or twice as much as there was, or
    /// just what it needs, where the memory allows no more.
    fn make_room(&mut self, event: &NewEvent<'_>, in_order: bool, of: Situation) -> Result<(), NotAdded> {
        let (body, events) = (self.body.capacity(), self.receipt.events_room());
        let body_needed = self.body.len() + EVENT_JSON_BYTES + event.message.json_bytes();
        let events_needed = self.events + 1;
        let range = event.range.as_ref();
        let receipt_has_room = self.receipt.has_room(events_needed, range);
        if body_needed <= body && in_order == self.in_order && receipt_has_room {
            return Ok(());
        }
        let Start { body: body_expected, events: events_expected, at_once } = self.start;
        // What has grown to some size will go on as the one before did.
        let expects_all = if self.is_empty() { at_once } else { body_needed > EXPECT_MORE_FROM };
        let grown = |capacity: usize, needed: usize, expected: usize, some: usize| match needed <= capacity {
            true => capacity,
            false if expects_all && needed <= expected => expected,
            false if self.is_empty() => needed.max(expected.min(some)),
            false => needed.max(capacity * 2),
        };
        let generous = (
            grown(body, body_needed, body_expected, EXPECT_MORE_FROM),
            grown(events, events_needed, events_expected, EXPECT_MORE_FROM / EVENT_BYTES_USUAL),
        );
        let exact = (body_needed.max(body), events_needed.max(events));
        let batch_max = self.charge.batch_max();
        let mut too_large = false;
        for (body, events) in [generous, exact] {
            let body = Buffer::capacity_for(body);
            let wanted = Self::charge_for(body, in_order) + self.receipt.bytes_with(events, range);
            too_large = wanted > batch_max && !self.is_empty();
            let more = wanted.saturating_sub(self.charge.bytes());
            if too_large || self.charge.grow_for_push(more, of.standing).is_err() {
                // Large pages for a few events each, moved again and again, cost more than to wait for those that
                // come back. What the first event takes is reserved.
                if of.under_way && body_needed > EXPECT_MORE_FROM && !self.is_empty() {
                    break;
                }
                continue;
            }
            let budget = self.charge.budget();
            let grown = self.body.grow_to(body, budget.buffers());
            budget.settle_buffers();
            let reserved = grown.is_ok() && self.receipt.make_room(events, range).is_ok();
            return if reserved { Ok(()) } else { Err(NotAdded::NoRoom) };
        }
        Err(if too_large { NotAdded::BatchFull } else { NotAdded::NoRoom })
    }

    fn charge_for(body: usize, in_order: bool) -> usize {
        FIXED_CHARGE + if in_order { body } else { 2 * body }
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
            payload: Payload::Written {
                body: self.body,
                prefix_bytes: self.prefix_bytes,
                in_order: self.in_order,
            },
            receipt: self.receipt,
            charge: self.charge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Account, Budget};
    use proptest::prelude::*;

    const SITUATION: Situation = Situation { standing: Standing::GetsThrough, under_way: false };

    fn event(message: &[u8], token: u64) -> NewEvent<'_> {
        NewEvent { message: Message::measure(message), token, range: None, split: None }
    }

    fn open(ledger: &Arc<Ledger>, first: &[u8]) -> OpenBatch {
        let account = Account::new(Arc::new(Budget::new(8 << 20, 8 << 20, 0)));
        let target = Target { prefix: b"prefix".to_vec(), ledger };
        let mut charge = Charge::empty(&account);
        let least = OpenBatch::least_charge(target.prefix.len(), &event(first, 0), ledger);
        charge.grow_for_push(least, SITUATION.standing).expect("room");
        OpenBatch::open(0, target, charge, Start::default(), Instant::now())
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let text = |pattern| {
            proptest::string::string_regex(pattern).expect("a pattern").prop_map(String::into_bytes)
        };
        prop_oneof![
            4 => text("[ -~\\n\"]{1,200}"),
            1 => text("\\PC{1,80}"),
            1 => proptest::collection::vec(any::<u8>(), 1..80),
        ]
    }

    proptest! {
        #[test]
        fn an_event_written_at_once_is_written_as_any_other(
            acked in any::<bool>(),
            events in proptest::collection::vec((prop_oneof![9 => Just(0_i64), 1 => -3_i64..3], message()), 1..200),
        ) {
            let ledger = Arc::<Ledger>::default();
            if acked {
                ledger.acks.ask();
            }
            let (mut quick, mut plain) = (open(&ledger, &events[0].1), open(&ledger, &events[0].1));
            let mut at_once = 0;
            for (token, (late, message)) in (0..).zip(&events) {
                let timestamp_ms = 1_000_i64 + token as i64 / 2 - late;
                prop_assert_eq!(plain.add(timestamp_ms, &event(message, token), SITUATION), Ok(()));
                if quick.add_at_once(timestamp_ms, message, token) {
                    at_once += 1;
                } else {
                    prop_assert_eq!(quick.add(timestamp_ms, &event(message, token), SITUATION), Ok(()));
                }
                prop_assert_eq!(quick.body.bytes(), plain.body.bytes());
                let state = |batch: &OpenBatch| (
                    (batch.events, batch.counted_bytes, batch.oldest_ms, batch.newest_ms),
                    (batch.in_order, batch.charge.bytes(), batch.receipt.events(), batch.receipt.kept_bytes()),
                );
                prop_assert_eq!(state(&quick), state(&plain));
            }
            prop_assert!(at_once > 0 || events.len() < 50, "{} events, none at once", events.len());
        }
    }

    #[test]
    fn no_event_is_written_at_once_beyond_a_limit() {
        let ledger = Arc::<Ledger>::default();
        let of = |change: fn(&mut OpenBatch)| {
            let mut batch = open(&ledger, b"first");
            batch.add(1_000, &event(&[b'x'; 1000], 0), SITUATION).expect("room");
            batch.body.shorten(1000);
            change(&mut batch);
            batch
        };
        assert!(of(|_| {}).add_at_once(1_000, b"second", 0));
        assert!(!of(|_| {}).add_at_once(999, b"older", 0));
        assert!(of(|_| {}).add_at_once(1_000 + BATCH_SPAN_MS, b"newer", 0));
        assert!(!of(|_| {}).add_at_once(1_001 + BATCH_SPAN_MS, b"too new", 0));
        assert!(!of(|_| {}).add_at_once(1_000, b"not \xff UTF-8", 0));
        assert!(
            !of(|_| {}).add_at_once(1_000, &[b'x'; 170], 0),
            "if all of it were escaped, it would not fit"
        );
        assert!(of(|batch| batch.events = BATCH_EVENTS_MAX - 1).add_at_once(1_000, b"last", 0));
        assert!(!of(|batch| batch.events = BATCH_EVENTS_MAX).add_at_once(1_000, b"too many", 0));
        assert!(of(|batch| batch.counted_bytes = BATCH_BYTES_MAX - 30).add_at_once(1_000, b"last", 0));
        assert!(!of(|batch| batch.counted_bytes = BATCH_BYTES_MAX - 30).add_at_once(1_000, b"large", 0));
        let mut unasked = of(|_| {});
        ledger.acks.ask();
        assert!(!unasked.add_at_once(1_000, b"asked for an ack since", 0));
        assert!(!of(|_| {}).add_at_once(1_000, b"no room for its token", 0));
    }
}
