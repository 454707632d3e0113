use std::future::Future;
use std::task::{Context, Waker};

use tokio::time::advance;

use super::*;
use crate::memory::Budget;
use crate::outcome::Ledger;
use crate::schedule::endpoint::EndpointFailure;

const SLOW_AFTER: Duration = Duration::from_secs(1);

/// A pool with `concurrency` workers, and queues for it.
struct World {
    pool: Pool,
    budget: Arc<Budget>,
    ledger: Arc<Ledger>,
    queues: usize,
}

impl World {
    fn new(concurrency: usize) -> Self {
        let mut config = Config::default();
        (config.concurrency, config.slow_after) = (concurrency, SLOW_AFTER);
        let budget = Arc::new(Budget::new(config.buffer_max_bytes, config.buffer_max_bytes, 0));
        World { pool: Pool::new(&config), budget, ledger: Arc::default(), queues: 0 }
    }

    fn push(&mut self, class: ReadyClass, count: usize) {
        for _ in 0..count {
            self.queues += 1;
            let name = format!("s{}", self.queues);
            let queue = Queue::new("g", &name, 1, SLOW_AFTER, &self.budget, &self.ledger);
            self.pool.push(Arc::new(queue), class);
        }
    }

    /// Takes grants until no target may send.
    fn grants(&self) -> Vec<Grant> {
        std::iter::from_fn(|| self.grant()).collect()
    }

    fn grant(&self) -> Option<Grant> {
        match self.pool.next(|_| 0) {
            NextGrant::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    fn classes(&self) -> Vec<ReadyClass> {
        self.grants().iter().map(|grant| grant.class).collect()
    }

    fn not_before(&self) -> Instant {
        match self.pool.next(|_| 0) {
            NextGrant::NotBefore(at) => at,
            other => panic!("{other:?} instead of a time"),
        }
    }

    fn is_cancelled(grant: &Grant) -> bool {
        let notified = std::pin::pin!(grant.cancel.notified());
        notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

fn turns(count: usize, may_send: impl Fn(ReadyClass) -> bool) -> Vec<ReadyClass> {
    let mut last = 0;
    let turn = |_| {
        let class = next_in_turn(last, &may_send)?;
        last = class.index();
        Some(class)
    };
    (0..count).map_while(turn).collect()
}

#[test]
fn classes_take_turns_however_many_queues_wait_in_one() {
    let all = turns(2 * ReadyClass::ALL.len(), |_| true);
    for class in ReadyClass::ALL {
        assert_eq!(all.iter().filter(|turn| **turn == class).count(), 2, "{class:?} of {all:?}");
    }
    let two = turns(4, |class| matches!(class, ReadyClass::Steady | ReadyClass::Slow));
    assert_eq!(two, [ReadyClass::Slow, ReadyClass::Steady, ReadyClass::Slow, ReadyClass::Steady]);
    assert_eq!(turns(3, |class| class == ReadyClass::Steady), [ReadyClass::Steady; 3]);
    assert_eq!(turns(3, |_| false), []);
}

#[tokio::test(start_paused = true)]
async fn steady_targets_and_targets_on_trial_take_turns_at_free_slots() {
    let mut world = World::new(6);
    world.push(ReadyClass::Steady, 20);
    world.push(ReadyClass::Trial, 20);
    use ReadyClass::{Steady, Trial};
    assert_eq!(world.classes(), [Trial, Steady, Trial, Steady, Trial, Steady]);
}

#[tokio::test(start_paused = true)]
async fn targets_on_trial_take_half_of_the_slots_and_the_other_half_is_free_at_once() {
    let mut world = World::new(8);
    world.push(ReadyClass::New, 10);
    world.push(ReadyClass::Trial, 10);
    assert_eq!(world.grants().len(), 4);
    world.push(ReadyClass::Steady, 10);
    assert_eq!(world.classes(), [ReadyClass::Steady; 4]);
    let mut alone = World::new(1);
    alone.push(ReadyClass::Trial, 3);
    assert_eq!(alone.grants().len(), 1, "a single slot is for targets on trial too");
}

#[tokio::test(start_paused = true)]
async fn a_finished_attempt_frees_its_slot_for_the_next_target() {
    let mut world = World::new(2);
    world.push(ReadyClass::Steady, 3);
    let grants = world.grants();
    assert_eq!(grants.len(), 2);
    world.pool.end(grants[0].number, None);
    assert_eq!(world.grants().len(), 1);
    assert!(world.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_moves_to_the_slow_lane_only_when_a_target_waits() {
    let mut world = World::new(1);
    world.push(ReadyClass::Steady, 1);
    let first = world.grants();
    advance(SLOW_AFTER * 10).await;
    assert!(matches!(world.pool.next(|_| 0), NextGrant::WaitForChange));
    assert_eq!(world.pool.snapshot().slow_requests, 0, "no target waits for the slot");
    world.push(ReadyClass::Steady, 1);
    assert_eq!(world.grants().len(), 1);
    assert_eq!(world.pool.snapshot().slow_requests, 1);
    assert!(!World::is_cancelled(&first[0]), "it finishes in the slow lane");
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_slot_until_it_takes_much_longer_than_usual() {
    let mut world = World::new(1);
    (0..10).for_each(|_| world.pool.add_latency(Duration::from_millis(10)));
    world.push(ReadyClass::Steady, 2);
    assert_eq!(world.grants().len(), 1);
    assert_eq!(world.not_before(), Instant::now() + Duration::from_millis(80), "eight times the median");
    advance(Duration::from_millis(80)).await;
    assert_eq!(world.grants().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn late_targets_fill_three_quarters_of_the_slow_lane_and_failing_slow_ones_half() {
    let mut late = World::new(1);
    late.push(ReadyClass::Late, 100);
    assert_eq!(late.grants().len(), SLOW_LANE_MIN / 4 * 3);
    let mut slow = World::new(1);
    slow.push(ReadyClass::Slow, 100);
    assert_eq!(slow.grants().len(), SLOW_LANE_MIN / 2);
    late.push(ReadyClass::Slow, 2);
    assert_eq!(late.classes(), [ReadyClass::Slow], "one of those goes however many late ones there are");
}

#[tokio::test(start_paused = true)]
async fn the_slow_lane_is_bounded_in_bytes() {
    let mut world = World::new(1);
    let bytes = world.pool.slow_lane_bytes_max / 2;
    world.push(ReadyClass::Late, 3);
    for batch in 0..2 {
        let grant = world.grant().expect("room in the slow lane");
        world.pool.set_batch(grant.number, batch, bytes);
    }
    assert!(world.grant().is_none(), "two batches take all of its bytes");
}

#[tokio::test(start_paused = true)]
async fn a_late_target_that_finds_no_room_cancels_the_oldest_request_that_had_no_answer() {
    let mut world = World::new(1);
    world.push(ReadyClass::Slow, 16);
    let slow = world.grants();
    world.push(ReadyClass::Late, 24);
    let late = world.grants();
    assert_eq!((slow.len(), late.len()), (16, 8), "together three quarters of the slow lane");
    assert_eq!(world.not_before(), slow[0].granted_at + SLOW_AFTER, "it has its time before that");
    advance(SLOW_AFTER).await;
    assert_eq!(world.classes(), [ReadyClass::Late; 16]);
    assert!(slow.iter().all(World::is_cancelled) && !late.iter().any(World::is_cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_full_slow_lane_makes_room_for_a_slow_request_by_cancelling_the_oldest() {
    let mut world = World::new(1);
    world.push(ReadyClass::Late, 24);
    let mut lane = world.grants();
    // Requests that become slow fill the last quarter.
    for _ in 0..8 {
        world.push(ReadyClass::Steady, 1);
        lane.extend(world.grants());
        advance(SLOW_AFTER / 2).await;
    }
    world.push(ReadyClass::Steady, 1);
    lane.extend(world.grants());
    assert_eq!(world.pool.snapshot().slow_requests, SLOW_LANE_MIN);
    assert!(!lane.iter().any(World::is_cancelled));
    advance(SLOW_AFTER).await;
    world.push(ReadyClass::Steady, 1);
    assert_eq!(world.grants().len(), 1);
    let cancelled: Vec<_> = lane.iter().map(World::is_cancelled).collect();
    assert!(cancelled[0] && !cancelled[1..].contains(&true), "only the oldest: {cancelled:?}");
    assert_eq!(world.pool.snapshot().slow_requests, SLOW_LANE_MIN);
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_lets_one_probe_go_from_the_most_likely_class() {
    let mut world = World::new(8);
    world.push(ReadyClass::Slow, 3);
    world.push(ReadyClass::Trial, 3);
    world.push(ReadyClass::Steady, 3);
    let wait = Duration::from_secs(2);
    let failure = EndpointFailure { wait, probe: None, unanswered: false };
    world.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
    assert_eq!(world.not_before(), Instant::now() + wait);
    advance(wait).await;
    let probes = world.grants();
    assert_eq!(probes.len(), 1, "one at a time");
    assert!(probes[0].class == ReadyClass::Steady && probes[0].probe.is_some());
    world.pool.end(probes[0].number, probes[0].probe);
    assert_eq!(world.grants().len(), 1, "a probe without a result makes way for the next");
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_grants_nothing() {
    let mut world = World::new(2);
    world.push(ReadyClass::Steady, 1);
    world.pool.close();
    world.push(ReadyClass::Steady, 1);
    assert!(matches!(world.pool.next(|_| 0), NextGrant::Closed));
    assert!(world.pool.is_empty());
}
