use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::memory::{Account, Budget};
use crate::outcome::AckSignal;
use crate::sources::Source;
use crate::sync::lock;

fn finalizer(ledger: &Arc<Ledger>, tokens: std::ops::Range<u64>) -> BatchFinalizer {
    let mut finalizer = BatchFinalizer::new(ledger);
    tokens.for_each(|token| finalizer.add(10, token, None));
    finalizer
}

fn charge() -> Charge {
    Charge::empty(&Account::new(Arc::new(Budget::new(1000, 1000, 0))))
}

#[test]
fn capacity_for_tokens_is_no_capacity_for_ranges() {
    let ledger = Arc::<Ledger>::default();
    ledger.acks.enable();
    let source = Arc::new(Source::new("file", None, Arc::default()));
    let range = |begin| SourceRange { source: source.clone(), begin, end: begin + 1 };
    let mut finalizer = BatchFinalizer::new(&ledger);
    finalizer.reserve(100, Some(&range(0))).expect("memory");
    assert!(finalizer.has_capacity(100, Some(&range(0))));
    finalizer.add(10, 0, Some(&range(0)));
    assert!(finalizer.has_capacity(100, Some(&range(1))), "the range joins the last one");
    assert!(!finalizer.has_capacity(2, Some(&range(5))) && !finalizer.has_capacity(101, None));
    finalizer.reserve(2, Some(&range(5))).expect("memory");
    assert!(finalizer.has_capacity(2, Some(&range(5))));
    let allocated = finalizer.allocated_bytes();
    finalizer.add(10, 1, Some(&range(5)));
    assert_eq!(finalizer.allocated_bytes(), allocated, "what was reserved is all that it took");
}

#[test]
fn events_are_finalized_once_and_as_abandoned_when_the_finalizer_is_dropped() {
    let ledger = Arc::<Ledger>::default();
    let rejected = RejectedEvents { too_old_end: 1, expired_end: 0, too_new_start: Some(4) };
    finalizer(&ledger, 0..5).finalize_delivered(rejected, charge());
    finalizer(&ledger, 0..7).finalize(Reason::Overflow.into(), charge());
    drop(finalizer(&ledger, 0..4));
    assert_eq!(Outcome::ALL.map(|outcome| ledger.events(outcome)), [3, 2, 7, 4]);
    assert!(ledger.acks.is_empty(), "the host did not ask for acks");
}

#[test]
fn each_event_has_one_ack_with_its_own_reason() {
    let ledger = Arc::<Ledger>::default();
    ledger.acks.enable();
    let rejected = RejectedEvents { too_old_end: 1, expired_end: 3, too_new_start: Some(4) };
    finalizer(&ledger, 10..16).finalize_delivered(rejected, charge());
    drop(finalizer(&ledger, 20..21));
    let now = Some(Instant::now());
    let mut acks = ledger.acks.take(4, now);
    acks.extend(ledger.acks.take(100, now));
    let acked: Vec<_> = acks.into_iter().map(|ack| (ack.token, ack.resolution.reason)).collect();
    let expected = [
        (10, Reason::TooOld),
        (11, Reason::Expired),
        (12, Reason::Expired),
        (13, Reason::None),
        (14, Reason::TooNew),
        (15, Reason::TooNew),
        (20, Reason::InternalError),
    ];
    assert_eq!(acked, expected);
}

/// Remembers the offset of a source at the moment when acks are there.
struct OffsetAtAck {
    source: Arc<Source>,
    seen: Arc<Mutex<Vec<Option<u64>>>>,
}

impl AckSignal for OffsetAtAck {
    fn raise(&self) {
        lock(&self.seen).push(self.source.offset());
    }
    fn lower(&self) {}
}

#[test]
fn the_offset_of_a_source_has_advanced_when_the_ack_can_be_had() {
    let ledger = Arc::<Ledger>::default();
    ledger.acks.enable();
    let source = Arc::new(Source::new("file", Some(0), Arc::default()));
    let seen = Arc::<Mutex<Vec<_>>>::default();
    ledger.acks.set_signal(Box::new(OffsetAtAck { source: source.clone(), seen: seen.clone() }));
    let range = |begin| SourceRange { source: source.clone(), begin, end: begin + 10 };

    let mut whole = BatchFinalizer::new(&ledger);
    whole.add(7, 1, Some(&range(0)));
    whole.finalize_delivered(RejectedEvents::default(), charge());
    ledger.acks.take(1, None);

    let mut piece = BatchFinalizer::new(&ledger);
    piece.add(7, 2, None);
    piece.set_split(&SplitEvent::new(1, Some(range(10))));
    piece.finalize(Reason::None.into(), charge());
    ledger.acks.take(1, None);

    let mut halved = BatchFinalizer::new(&ledger);
    halved.add(7, 3, Some(&range(20)));
    halved.add(7, 4, Some(&range(30)));
    let rest = halved.split_off(1, 7);
    halved.cancel();
    rest.finalize(Reason::None.into(), charge());
    assert_eq!(*lock(&seen), [Some(10), Some(20), Some(40)]);
}

#[test]
fn a_range_of_a_halved_batch_is_final_when_its_last_part_is_and_stays_when_a_part_is_abandoned() {
    for (last, offset) in [(Reason::NotRetryable, 10), (Reason::Shutdown, 0)] {
        let ledger = Arc::<Ledger>::default();
        ledger.acks.enable();
        let source = Arc::new(Source::new("file", Some(0), Arc::default()));
        let mut first = BatchFinalizer::new(&ledger);
        for token in 0..10 {
            let range = SourceRange { source: source.clone(), begin: token, end: token + 1 };
            first.add(7, token, Some(&range));
        }
        let mut second = first.split_off(4, 28);
        let third = second.split_off(1, 7);
        assert_eq!((first.events(), second.events(), third.events()), (4, 1, 5));
        first.finalize_delivered(RejectedEvents::default(), charge());
        third.finalize_delivered(RejectedEvents::default(), charge());
        assert_eq!(source.offset(), Some(0), "a part is not final");
        second.finalize(last.into(), charge());
        assert_eq!(source.offset(), Some(offset), "{last:?}");
        assert_eq!((ledger.events(Outcome::Delivered), ledger.delivered_bytes()), (9, 63));
        let acked: Vec<_> = ledger.acks.take(100, None).iter().map(|ack| ack.token).collect();
        assert_eq!(acked, [0, 1, 2, 3, 5, 6, 7, 8, 9, 4]);
    }
}

#[test]
fn acks_hold_memory_until_they_are_fetched() {
    let budget = Arc::new(Budget::new(1000, 1000, 0));
    let ledger = Arc::<Ledger>::default();
    ledger.acks.enable();
    let mut charge = Charge::empty(&Account::new(budget.clone()));
    charge.grow_for_work(500).expect("room");
    finalizer(&ledger, 0..10).finalize(Reason::None.into(), charge);
    assert_eq!(budget.used(), ACKS_CHARGE + 80);
    assert_eq!(ledger.acks.take(9, None).len(), 9);
    assert_eq!(budget.used(), ACKS_CHARGE + 80);
    assert_eq!(ledger.acks.take(9, None).len(), 1);
    assert_eq!(budget.used(), 0);
}
