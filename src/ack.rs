//! What became of events: every accepted event ends once, in one of four outcomes, and the host is told.
//!
//! A [`Receipt`] stands for the events of one batch: what they hold in memory, and what is owed for them. It is
//! settled when the batch is final; dropped unsettled, on whatever path, it settles itself as abandoned, so that
//! no event is left without an outcome. Settling counts the outcome, moves the offsets of the events' sources on,
//! and puts an ack for each event into the line from which the host gets them.
//!
//! Acks are kept only for a host that asked for them, and what is kept counts towards the memory bound until the
//! host has it.

use std::collections::{TryReserveError, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::logs_api::{ApiError, RejectedEvents};
use crate::memory::Charge;
use crate::offsets::SourceRange;

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it.
    Delivered,
    /// The service took its request but refused this event: too old, too new, expired.
    Rejected,
    /// Given up: the service will never take it, or it was tried for too long, or it had to make room.
    Dropped,
    /// Still unsent when the sink shut down.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Outcome; 4] =
        [Outcome::Delivered, Outcome::Rejected, Outcome::Dropped, Outcome::Abandoned];

    /// Its place in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Why an event ended so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was delivered.
    None,
    /// Rejected: more than 14 days old when it arrived.
    TooOld,
    /// Rejected: more than 2 hours ahead when it arrived.
    TooNew,
    /// Rejected: older than the group's retention.
    Expired,
    /// Dropped: the service will never take its request.
    NotRetryable,
    /// Dropped: it was tried for `retry_max_age_ms`.
    TriedTooLong,
    /// Dropped: it was the oldest when there was no room.
    Overflow,
    /// Abandoned: the sink was shut down first.
    Shutdown,
    /// Abandoned: a defect in the sink.
    Defect,
}

impl Reason {
    /// The outcome that goes with it.
    pub fn outcome(self) -> Outcome {
        match self {
            Reason::None => Outcome::Delivered,
            Reason::TooOld | Reason::TooNew | Reason::Expired => Outcome::Rejected,
            Reason::NotRetryable | Reason::TriedTooLong | Reason::Overflow => Outcome::Dropped,
            Reason::Shutdown | Reason::Defect => Outcome::Abandoned,
        }
    }
}

/// How events ended, and what the service last said about them.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Why.
    pub reason: Reason,
    /// The service's last error, where there was one.
    pub error: Option<Arc<ApiError>>,
}

impl From<Reason> for Ending {
    fn from(reason: Reason) -> Self {
        Ending { reason, error: None }
    }
}

/// What a host is told about one event.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The token that the event was pushed with.
    pub token: u64,
    /// How it ended.
    pub ending: Ending,
}

/// The books of a sink: how many events ended in each outcome, and the acks on their way to the host.
#[derive(Debug, Default)]
pub struct Ledger {
    events: [AtomicU64; Outcome::ALL.len()],
    delivered_bytes: AtomicU64,
    /// The acks on their way.
    pub acks: AckLine,
}

impl Ledger {
    /// Events that ended so.
    pub fn events(&self, outcome: Outcome) -> u64 {
        self.events[outcome.index()].load(Ordering::Relaxed)
    }

    /// Message bytes of the batches that the service took.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.load(Ordering::Relaxed)
    }

    fn add(&self, outcome: Outcome, events: usize) {
        self.events[outcome.index()].fetch_add(events as u64, Ordering::Relaxed);
    }
}

/// What is told when acks have come, and when the last of them was fetched.
pub trait AckSignal: Send + Sync + 'static {
    /// There are acks.
    fn raise(&self);
    /// There are none.
    fn lower(&self);
}

/// The acks on their way to the host, in the order in which the events became final.
#[derive(Default)]
pub struct AckLine {
    wanted: AtomicBool,
    /// Guards the line. Nothing awaits, and no host is called, while holding it.
    line: Mutex<Line>,
    arrived: Condvar,
    signal: OnceLock<Box<dyn AckSignal>>,
}

impl std::fmt::Debug for AckLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckLine").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Line {
    parts: VecDeque<Part>,
    closed: bool,
}

/// An event that was too long and goes out in pieces, each in a batch of its own: it has one outcome, the worst of
/// theirs, once the last of them is final.
#[derive(Debug)]
pub struct Split {
    /// What the whole event covers of its source.
    range: Option<SourceRange>,
    /// How many pieces are not final, and the worst ending so far. Nothing awaits while holding it.
    open: Mutex<(usize, Ending)>,
}

impl Split {
    /// An event in so many pieces.
    pub fn new(pieces: usize, range: Option<SourceRange>) -> Arc<Self> {
        Arc::new(Split { range, open: Mutex::new((pieces, Reason::None.into())) })
    }

    /// What the whole event covers of its source.
    pub fn range(&self) -> Option<&SourceRange> {
        self.range.as_ref()
    }

    /// A piece ended. The ending of the whole event when it was the last.
    fn end(&self, ending: &Ending) -> Option<Ending> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (pieces, worst) = &mut *open;
        if ending.reason.outcome().index() >= worst.reason.outcome().index() {
            *worst = ending.clone();
        }
        *pieces = pieces.saturating_sub(1);
        (*pieces == 0).then(|| worst.clone())
    }
}

/// What the acks of one batch take besides their tokens, until the host has them.
const ACKS_CHARGE: usize = 256;

/// Tokens of events that ended alike. The charge is given back with the last of them.
#[derive(Debug)]
struct Part {
    tokens: VecDeque<u64>,
    ending: Ending,
    _charge: Option<Arc<Charge>>,
}

impl AckLine {
    /// From now on events are acked. Those accepted before are not.
    pub fn ask(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Whether the host asked for acks.
    pub fn is_asked(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Sets what is told when acks come; false when something was set before.
    pub fn set_signal(&self, signal: Box<dyn AckSignal>) -> bool {
        let line = self.lock();
        let set = self.signal.set(signal).is_ok();
        if set && !line.parts.is_empty() {
            self.signal.get().inspect(|signal| signal.raise());
        }
        set
    }

    /// Waits until there are acks, the line is closed, or the deadline has come (none: for ever); then takes at
    /// most `most` of them.
    pub fn take(&self, most: usize, deadline: Option<Instant>) -> Vec<Ack> {
        let mut line = self.lock();
        while line.parts.is_empty() && !line.closed {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            line = match left {
                None => self.arrived.wait(line).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.arrived.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let mut acks = Vec::new();
        while acks.len() < most
            && let Some(part) = line.parts.front_mut()
        {
            let ending = part.ending.clone();
            let count = part.tokens.len().min(most - acks.len());
            acks.extend(part.tokens.drain(..count).map(|token| Ack { token, ending: ending.clone() }));
            if part.tokens.is_empty() {
                line.parts.pop_front();
            }
        }
        if line.parts.is_empty() && !acks.is_empty() {
            self.signal.get().inspect(|signal| signal.lower());
        }
        acks
    }

    /// Whether nothing waits to be fetched.
    pub fn is_empty(&self) -> bool {
        self.lock().parts.is_empty()
    }

    /// No more acks will come: whoever waits for some goes on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Whether the line is closed and empty.
    pub fn is_over(&self) -> bool {
        let line = self.lock();
        line.closed && line.parts.is_empty()
    }

    fn put(&self, part: Part) {
        if part.tokens.is_empty() {
            return;
        }
        let mut line = self.lock();
        let first = line.parts.is_empty();
        line.parts.push_back(part);
        if first {
            self.signal.get().inspect(|signal| signal.raise());
        }
        drop(line);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of one batch: what is owed for them.
#[derive(Debug)]
pub struct Receipt {
    ledger: Arc<Ledger>,
    /// The host asked for acks when the batch was opened: each event has its token here.
    acked: bool,
    events: usize,
    message_bytes: usize,
    /// A token for each event, in the order pushed until they are put in order of time.
    tokens: Vec<u64>,
    /// What the events cover of their sources, joined where they follow on each other.
    ranges: Vec<SourceRange>,
    /// The event that the only one of this batch is a piece of.
    split: Option<Arc<Split>>,
}

impl Receipt {
    /// A receipt for no events yet.
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Receipt {
            ledger: ledger.clone(),
            acked: ledger.acks.is_asked(),
            events: 0,
            message_bytes: 0,
            tokens: Vec::new(),
            ranges: Vec::new(),
            split: None,
        }
    }

    /// Whether the host has begun to ask for acks since: what comes now belongs into another batch.
    pub fn is_outdated(&self) -> bool {
        self.acked != self.ledger.acks.is_asked()
    }

    /// How many events it stands for.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes that the receipt would keep with room for so many events, the next of them with this range.
    pub fn bytes_with(&self, events: usize, range: Option<&SourceRange>) -> usize {
        let tokens = if self.acked { events } else { 0 };
        tokens * size_of::<u64>() + self.ranges_with(range) * size_of::<SourceRange>()
    }

    /// For how many events it has room; without end where nobody asked for acks.
    pub fn events_room(&self) -> usize {
        if self.acked { self.tokens.capacity() } else { usize::MAX }
    }

    /// Whether it has that room.
    pub fn has_room(&self, events: usize, range: Option<&SourceRange>) -> bool {
        events <= self.events_room() && self.ranges_with(range) == self.ranges.capacity()
    }

    /// Makes that room.
    pub fn make_room(&mut self, events: usize, range: Option<&SourceRange>) -> Result<(), TryReserveError> {
        if self.acked {
            self.tokens.try_reserve_exact(events.saturating_sub(self.tokens.len()))?;
        }
        let ranges = self.ranges_with(range);
        self.ranges.try_reserve_exact(ranges - self.ranges.len())
    }

    /// Room for ranges, grown by doubling where this one needs a place of its own.
    fn ranges_with(&self, range: Option<&SourceRange>) -> usize {
        let (len, room) = (self.ranges.len(), self.ranges.capacity());
        let joins = range.is_none_or(|range| self.ranges.last().is_some_and(|last| last.joins(range)));
        if joins || len < room { room } else { (2 * room).max(1) }
    }

    /// Bytes that the receipt keeps now.
    pub fn kept_bytes(&self) -> usize {
        self.tokens.capacity() * size_of::<u64>() + self.ranges.capacity() * size_of::<SourceRange>()
    }

    /// One more event, of so many UTF-8 bytes.
    pub fn add(&mut self, message_bytes: usize, token: u64, range: Option<&SourceRange>) {
        if self.acked {
            self.tokens.push(token);
        }
        self.events += 1;
        self.message_bytes += message_bytes;
        let Some(range) = range else { return };
        match self.ranges.last_mut() {
            Some(last) if last.joins(range) => last.end = range.end,
            _ => self.ranges.push(range.clone()),
        }
    }

    /// The only event is a piece of that one.
    pub fn set_split(&mut self, split: &Arc<Split>) {
        self.split = Some(split.clone());
    }

    /// The events are sent in another order than they were pushed: the how-manieth pushed stands at each place.
    pub fn reorder(&mut self, order: &[u32]) {
        if self.acked {
            self.tokens = order.iter().map(|pushed| self.tokens[*pushed as usize]).collect();
        }
    }

    /// Memory that the events go on to hold once they are final, until the host has their acks.
    pub fn bytes_when_ended(&self) -> usize {
        if self.acked { ACKS_CHARGE + self.tokens.len() * size_of::<u64>() } else { 0 }
    }

    /// The events were not accepted after all: nothing is owed for them.
    pub fn cancel(mut self) {
        self.events = 0;
        self.tokens.clear();
        self.ranges.clear();
        self.split = None;
    }

    /// The service answered: it took all of the events but those. The charge is what the events hold.
    pub fn delivered(mut self, rejected: RejectedEvents, charge: Charge) {
        self.ledger.delivered_bytes.fetch_add(self.message_bytes as u64, Ordering::Relaxed);
        let parts = rejected.parts(self.events);
        self.end(&parts.map(|(end, reason)| (end, Ending::from(reason))), Some(charge));
    }

    /// All of the events ended so. The charge is what they hold.
    pub fn settle(mut self, ending: Ending, charge: Charge) {
        self.end(&[(self.events, ending)], Some(charge));
    }

    /// Ends the events: up to each index, those from the one before it on.
    fn end(&mut self, parts: &[(usize, Ending)], charge: Option<Charge>) {
        let charge = charge.filter(|_| self.acked).map(|mut charge| {
            charge.shrink_to(self.bytes_when_ended());
            Arc::new(charge)
        });
        let (tokens, ranges) = (std::mem::take(&mut self.tokens), std::mem::take(&mut self.ranges));
        let mut begin = 0;
        let mut read_again = false;
        for (end, ending) in parts {
            if begin == *end {
                continue;
            }
            let outcome = ending.reason.outcome();
            self.ledger.add(outcome, end - begin);
            read_again |= outcome == Outcome::Abandoned;
            let whole = match &self.split {
                None => Some(ending.clone()),
                Some(split) => split.end(ending),
            };
            if let Some(ending) = whole {
                if let Some(range) = self.split.as_ref().and_then(|split| split.range.clone())
                    && ending.reason.outcome() != Outcome::Abandoned
                {
                    range.finalize();
                }
                if self.acked {
                    let tokens = tokens[begin..*end].iter().copied().collect();
                    self.ledger.acks.put(Part { tokens, ending, _charge: charge.clone() });
                }
            }
            begin = *end;
        }
        self.events = 0;
        if !read_again {
            ranges.into_iter().for_each(SourceRange::finalize);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.end(&[(self.events, Ending::from(Reason::Defect))], None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Account, Budget};
    use crate::offsets::Source;

    fn receipt(ledger: &Arc<Ledger>, tokens: std::ops::Range<u64>) -> Receipt {
        let mut receipt = Receipt::new(ledger);
        tokens.for_each(|token| receipt.add(10, token, None));
        receipt
    }

    fn charge() -> Charge {
        Charge::empty(&Account::new(Arc::new(Budget::new(1000, 1000, 0))))
    }

    #[test]
    fn room_for_tokens_is_no_room_for_ranges() {
        let ledger = Arc::<Ledger>::default();
        ledger.acks.ask();
        let source = Arc::new(Source::new("file", None, Arc::default()));
        let range = |begin| SourceRange { source: source.clone(), begin, end: begin + 1 };
        let mut receipt = Receipt::new(&ledger);
        receipt.make_room(100, Some(&range(0))).expect("memory");
        assert!(receipt.has_room(100, Some(&range(0))));
        receipt.add(10, 0, Some(&range(0)));
        assert!(receipt.has_room(100, Some(&range(1))), "it joins the last one");
        assert!(!receipt.has_room(2, Some(&range(5))) && !receipt.has_room(101, None));
        receipt.make_room(2, Some(&range(5))).expect("memory");
        assert!(receipt.has_room(2, Some(&range(5))));
        let kept = receipt.kept_bytes();
        receipt.add(10, 1, Some(&range(5)));
        assert_eq!(receipt.kept_bytes(), kept, "what was reserved is all that it took");
    }

    #[test]
    fn a_receipt_is_settled_once_and_as_abandoned_when_nobody_settles_it() {
        let ledger = Arc::<Ledger>::default();
        let rejected = RejectedEvents { too_old_end: 1, expired_end: 0, too_new_start: Some(4) };
        receipt(&ledger, 0..5).delivered(rejected, charge());
        receipt(&ledger, 0..7).settle(Reason::Overflow.into(), charge());
        drop(receipt(&ledger, 0..4));
        assert_eq!(Outcome::ALL.map(|outcome| ledger.events(outcome)), [3, 2, 7, 4]);
        assert!(ledger.acks.is_empty(), "nobody asked");
    }

    #[test]
    fn each_event_has_one_ack_with_the_reason_that_is_its_own() {
        let ledger = Arc::<Ledger>::default();
        ledger.acks.ask();
        let rejected = RejectedEvents { too_old_end: 1, expired_end: 3, too_new_start: Some(4) };
        receipt(&ledger, 10..16).delivered(rejected, charge());
        drop(receipt(&ledger, 20..21));
        let now = Some(Instant::now());
        let mut acks = ledger.acks.take(4, now);
        acks.extend(ledger.acks.take(100, now));
        let told: Vec<_> = acks.into_iter().map(|ack| (ack.token, ack.ending.reason)).collect();
        let expected = [
            (10, Reason::TooOld),
            (11, Reason::Expired),
            (12, Reason::Expired),
            (13, Reason::None),
            (14, Reason::TooNew),
            (15, Reason::TooNew),
            (20, Reason::Defect),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn acks_that_are_not_fetched_hold_memory_until_they_are() {
        let budget = Arc::new(Budget::new(1000, 1000, 0));
        let ledger = Arc::<Ledger>::default();
        ledger.acks.ask();
        let mut charge = Charge::empty(&Account::new(budget.clone()));
        charge.grow_for_work(500).expect("room");
        receipt(&ledger, 0..10).settle(Reason::None.into(), charge);
        assert_eq!(budget.used(), ACKS_CHARGE + 80);
        assert_eq!(ledger.acks.take(9, None).len(), 9);
        assert_eq!(budget.used(), ACKS_CHARGE + 80);
        assert_eq!(ledger.acks.take(9, None).len(), 1);
        assert_eq!(budget.used(), 0);
    }
}
