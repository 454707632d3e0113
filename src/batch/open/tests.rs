use super::*;
use crate::batch::message::Message;
use crate::memory::{Account, Budget};
use proptest::prelude::*;

const TARGET: TargetState = TargetState { health: Health::Healthy, is_under_way: false };

fn event(message: &[u8], token: u64) -> NewEvent<'_> {
    NewEvent { message: Message::measure(message), token, range: None, split: None }
}

fn open(ledger: &Arc<Ledger>, first: &[u8]) -> OpenBatch {
    let account = Account::new(Arc::new(Budget::new(8 << 20, 8 << 20, 0)));
    let target = BatchTarget { body_prefix: b"prefix".to_vec(), ledger };
    let mut charge = Charge::empty(&account);
    let min = OpenBatch::min_charge(target.body_prefix.len(), &event(first, 0), ledger);
    charge.grow_for_push(min, &mut None, TARGET.health).expect("room");
    OpenBatch::open(0, target, charge, BatchSize::default(), Instant::now())
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let text =
        |pattern| proptest::string::string_regex(pattern).expect("a pattern").prop_map(String::into_bytes);
    prop_oneof![
        4 => text("[ -~\\n\"]{1,200}"),
        1 => text("\\PC{1,80}"),
        1 => proptest::collection::vec(any::<u8>(), 1..80),
    ]
}

proptest! {
    #[test]
    fn a_small_event_on_the_fast_path_is_written_as_any_other(
        acked in any::<bool>(),
        events in proptest::collection::vec((prop_oneof![9 => Just(0_i64), 1 => -3_i64..3], message()), 1..200),
    ) {
        let ledger = Arc::<Ledger>::default();
        if acked {
            ledger.acks.enable();
        }
        let (mut quick, mut plain) = (open(&ledger, &events[0].1), open(&ledger, &events[0].1));
        let mut fast = 0;
        for (token, (late, message)) in (0..).zip(&events) {
            let timestamp_ms = 1_000_i64 + token as i64 / 2 - late;
            prop_assert_eq!(plain.add(timestamp_ms, &event(message, token), TARGET, &mut None), Ok(()));
            if quick.try_add_small(timestamp_ms, message, token) {
                fast += 1;
            } else {
                prop_assert_eq!(quick.add(timestamp_ms, &event(message, token), TARGET, &mut None), Ok(()));
            }
            prop_assert_eq!(quick.body.bytes(), plain.body.bytes());
            let state = |batch: &OpenBatch| (
                (batch.events, batch.counted_bytes, batch.oldest_ms, batch.newest_ms),
                (batch.in_order, batch.charge.bytes(), batch.finalizer.events(), batch.finalizer.allocated_bytes()),
            );
            prop_assert_eq!(state(&quick), state(&plain));
        }
        prop_assert!(fast > 0 || events.len() < 50, "{} events, none on the fast path", events.len());
    }
}

#[test]
fn the_fast_path_keeps_every_limit() {
    let ledger = Arc::<Ledger>::default();
    let of = |change: fn(&mut OpenBatch)| {
        let mut batch = open(&ledger, b"first");
        batch.add(1_000, &event(&[b'x'; 1000], 0), TARGET, &mut None).expect("room");
        batch.body.shorten(1000);
        change(&mut batch);
        batch
    };
    assert!(of(|_| {}).try_add_small(1_000, b"second", 0));
    assert!(!of(|_| {}).try_add_small(999, b"older", 0));
    assert!(of(|_| {}).try_add_small(1_000 + BATCH_SPAN_MS, b"newer", 0));
    assert!(!of(|_| {}).try_add_small(1_001 + BATCH_SPAN_MS, b"too new", 0));
    assert!(!of(|_| {}).try_add_small(1_000, b"not \xff UTF-8", 0));
    assert!(
        !of(|_| {}).try_add_small(1_000, &[b'x'; 170], 0),
        "it would not fit if every byte needed an escape"
    );
    assert!(of(|batch| batch.events = BATCH_EVENTS_MAX - 1).try_add_small(1_000, b"last", 0));
    assert!(!of(|batch| batch.events = BATCH_EVENTS_MAX).try_add_small(1_000, b"too many", 0));
    assert!(of(|batch| batch.counted_bytes = BATCH_BYTES_MAX - 30).try_add_small(1_000, b"last", 0));
    assert!(!of(|batch| batch.counted_bytes = BATCH_BYTES_MAX - 30).try_add_small(1_000, b"large", 0));
    let mut unasked = of(|_| {});
    ledger.acks.enable();
    assert!(!unasked.try_add_small(1_000, b"asked for an ack since", 0));
    assert!(!of(|_| {}).try_add_small(1_000, b"no room for its token", 0));
}
