use std::future::Future;
use std::task::{Context, Waker};

use tokio::time::advance;

use super::*;
use crate::memory::Budget;
use crate::outcome::Ledger;
use crate::schedule::endpoint::{EndpointFailure, PauseCause, UnavailableRequest};
use crate::target::queue::Service;

const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The age at which a small request is slow: eight times the latency of [`World::know_latency`].
const THRESHOLD: Duration = Duration::from_millis(80);

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

    fn know_latency(self) -> Self {
        (0..10).for_each(|number| self.pool.on_answer(number, THRESHOLD / 8));
        self
    }

    fn push(&mut self, class: ReadyClass, count: usize) {
        for _ in 0..count {
            self.queues += 1;
            let name = format!("s{}", self.queues);
            let queue = Queue::new("g", &name, 1, SLOW_AFTER, &self.budget, &self.ledger);
            match class {
                ReadyClass::Untested => {}
                ReadyClass::Answering => queue.note_answer(SLOW_AFTER / 100),
                ReadyClass::Late => queue.note_answer(SLOW_AFTER * 5),
                ReadyClass::Silent => queue.note_silence(SLOW_AFTER),
            }
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

    /// Moves the clock on, and takes the grants that this allows.
    async fn grants_after(&self, time: Duration) -> Vec<Grant> {
        advance(time).await;
        self.grants()
    }

    /// Lets requests go until no place is free for targets of the class.
    async fn fill(&mut self, class: ReadyClass) -> Vec<Grant> {
        self.push(class, 1000);
        let mut grants = self.grants();
        for _ in 0..1000 {
            match self.grants_after(THRESHOLD).await {
                more if more.is_empty() => break,
                more => grants.extend(more),
            }
        }
        self.pool.lock().classes[class.index()].clear();
        grants
    }

    fn is_cancelled(grant: &Grant) -> bool {
        let notified = std::pin::pin!(grant.cancel.notified());
        notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

use ReadyClass::{Answering, Late, Silent, Untested};

#[tokio::test(start_paused = true)]
async fn answering_targets_and_targets_on_probation_take_turns_at_free_slots() {
    let mut world = World::new(6);
    world.push(Answering, 20);
    world.push(Late, 20);
    assert_eq!(world.classes(), [Late, Answering, Late, Answering, Late, Answering]);
}

#[tokio::test(start_paused = true)]
async fn targets_on_probation_take_half_of_the_slots_and_the_other_half_is_free_at_once() {
    let mut world = World::new(8);
    for class in [Untested, Late, Silent] {
        world.push(class, 10);
    }
    assert_eq!(world.classes(), [Untested; 4]);
    world.push(Answering, 10);
    assert_eq!(world.classes(), [Answering; 4]);
    let mut alone = World::new(1);
    alone.push(Silent, 3);
    assert_eq!(alone.grants().len(), 1, "a single slot is for targets on probation too");
}

#[tokio::test(start_paused = true)]
async fn the_newest_and_the_oldest_of_the_targets_that_nothing_is_known_of_take_turns() {
    let mut world = World::new(8);
    world.push(Untested, 9);
    let grants = world.grants();
    let streams: Vec<_> = grants.iter().map(|grant| grant.queue.stream()).collect();
    assert_eq!(streams, ["s9", "s1", "s8", "s2"]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_attempt_frees_its_slot_for_the_next_target() {
    let mut world = World::new(2);
    world.push(Answering, 3);
    let grants = world.grants();
    assert_eq!(grants.len(), 2);
    world.pool.end(grants[0].number, None);
    assert_eq!(world.grants().len(), 1);
    assert!(world.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_moves_to_the_slow_lane_only_when_a_target_waits() {
    let mut world = World::new(1);
    world.push(Answering, 1);
    let first = world.grants();
    advance(SLOW_AFTER * 10).await;
    assert!(matches!(world.pool.next(|_| 0), NextGrant::WaitForChange));
    assert_eq!(world.pool.snapshot().slow, [0; 0], "no target waits for the slot");
    world.push(Answering, 1);
    assert_eq!(world.grants().len(), 1);
    assert_eq!(world.pool.snapshot().slow, [first[0].queue.id()]);
    assert!(!World::is_cancelled(&first[0]), "it finishes in the slow lane");
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_slot_until_it_takes_much_longer_than_usual() {
    let mut world = World::new(1).know_latency();
    world.push(Answering, 2);
    let first = world.grants();
    assert_eq!(world.not_before(), Instant::now() + THRESHOLD);
    // On a line that carries 10 kB in 10 ms, a megabyte takes a second.
    world.pool.on_sent(first[0].number, 10_000);
    world.pool.on_answer(first[0].number, THRESHOLD / 8);
    world.pool.on_sent(first[0].number, 1_000_000);
    assert_eq!(world.not_before(), Instant::now() + THRESHOLD + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn each_class_has_its_share_of_the_slow_lane() {
    for (class, share) in [
        (Answering, SLOW_LANE_MIN + 2),
        (Untested, SLOW_LANE_MIN / 4 * 3 + 1),
        (Late, SLOW_LANE_MIN / 2),
        (Silent, SLOW_LANE_MIN / 8),
    ] {
        let mut world = World::new(2).know_latency();
        let mut grants = world.fill(class).await;
        grants.retain(|grant| !World::is_cancelled(grant));
        assert!(grants.len() <= share, "{} requests of {class:?}", grants.len());
        // The first requests of the others may have been cut short by now.
        assert!(grants.len() >= share - 1 || class == Untested, "{} requests of {class:?}", grants.len());
        world.push(Answering, 1);
        let others = world.grants_after(THRESHOLD).await;
        assert!(class == Answering || others.len() == 1, "{class:?} leaves room");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlived_its_patience_is_cut_short_for_others_of_its_class() {
    let mut world = World::new(2).know_latency();
    let silent = world.fill(Silent).await;
    assert_eq!(silent.len(), SLOW_LANE_MIN / 8);
    advance(SLOW_AFTER * 5).await;
    assert!(!silent.iter().any(World::is_cancelled), "nobody waits");
    world.push(Silent, 1);
    assert_eq!(world.grants().len(), 1);
    let cut: Vec<_> = silent.iter().map(World::is_cancelled).collect();
    assert!(cut[0] && !cut[1..].contains(&true), "only the oldest: {cut:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_waited_for_as_long_as_its_target_needs() {
    let mut world = World::new(1);
    world.push(Silent, 1);
    let grants = world.grants();
    // The target was waited for for a second before, so it gets four.
    world.push(Silent, SLOW_LANE_MIN);
    let mut others = world.grants();
    for _ in 0..39 {
        others.extend(world.grants_after(SLOW_AFTER / 10).await);
        assert!(!World::is_cancelled(&grants[0]));
    }
    world.grants_after(SLOW_AFTER / 10).await;
    assert!(World::is_cancelled(&grants[0]), "beside {} others", others.len());
}

#[tokio::test(start_paused = true)]
async fn when_all_targets_are_slow_at_once_nothing_is_cut_short() {
    let mut world = World::new(8).know_latency();
    world.push(Answering, 1000);
    let mut grants = world.grants();
    for _ in 0..39 {
        grants.extend(world.grants_after(SLOW_AFTER / 10).await);
    }
    assert_eq!(grants.len(), SLOW_LANE_MIN + 8, "slots and slow lane are full");
    assert!(!grants.iter().any(World::is_cancelled));
    assert_eq!(world.grants_after(SLOW_AFTER / 10).await.len(), 8, "after four seconds");
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_lets_one_probe_go_from_the_most_likely_class() {
    let mut world = World::new(8);
    for class in [Silent, Late, Untested, Answering] {
        world.push(class, 3);
    }
    let wait = Duration::from_secs(2);
    let failure = EndpointFailure { cause: PauseCause::Credentials, wait, probe: None };
    world.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
    assert_eq!(world.not_before(), Instant::now() + wait);
    advance(wait).await;
    let probes = world.grants();
    assert_eq!(probes.len(), 1, "one at a time");
    assert!(probes[0].class == Answering && probes[0].probe.is_some());
    world.pool.end(probes[0].number, probes[0].probe);
    assert_eq!(world.grants().len(), 1, "a probe without a result makes way for the next");
}

#[tokio::test(start_paused = true)]
async fn the_probe_is_of_a_target_that_has_not_failed_since_the_last_answer() {
    let mut world = World::new(8);
    world.push(Answering, 4);
    let suspects: Vec<_> = world.pool.lock().classes[0].iter().map(|queue| queue.id()).collect();
    for suspect in &suspects[..3] {
        let request = UnavailableRequest { target: *suspect, before: Service::Served, others_served: 1 };
        world.pool.with_endpoint(|endpoint, now| endpoint.on_unavailable(now, request));
    }
    let failure = EndpointFailure { cause: PauseCause::Unavailable, wait: SLOW_AFTER, probe: None };
    world.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
    assert_eq!(world.grants()[0].queue.id(), suspects[3], "at once");
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_grants_nothing() {
    let mut world = World::new(2);
    world.push(Answering, 1);
    world.pool.close();
    world.push(Answering, 1);
    assert!(matches!(world.pool.next(|_| 0), NextGrant::Closed));
    assert!(world.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_requests_short_only_while_the_endpoint_is_paused() {
    let mut world = World::new(4);
    world.push(ReadyClass::Answering, 3);
    let is_cancelled = |grant: &Grant| {
        let mut cancelled = Box::pin(grant.cancel.notified());
        cancelled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    };
    let up = world.grant().expect("a slot");
    world.pool.start_over();
    assert!(!is_cancelled(&up), "the endpoint is up");
    let failure =
        EndpointFailure { cause: PauseCause::Unavailable, wait: Duration::from_secs(60), probe: None };
    world.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
    assert!(world.grant().is_none(), "it is paused");
    world.pool.start_over();
    assert!(is_cancelled(&up));
    let probe = world.grant().expect("a probe at once");
    assert!(probe.probe.is_some() && world.grant().is_none(), "one probe at a time");
    world.pool.start_over();
    assert!(is_cancelled(&probe) && world.grant().is_some_and(|fresh| fresh.probe != probe.probe));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_cut_short_for_targets_that_its_place_would_not_help() {
    let mut world = World::new(4).know_latency();
    let share = world.pool.share(ReadyClass::Silent);
    world.push(ReadyClass::Silent, share);
    let mut silent = world.grants();
    while silent.len() < share {
        silent.extend(world.grants_after(SLOW_AFTER).await);
    }
    advance(Duration::from_secs(3600)).await;
    world.push(ReadyClass::Answering, 8);
    // They take the slots that silent targets leave for the slow lane, and the rest waits for a slot of its own class.
    assert_eq!(world.grants().len(), 4);
    assert!(!silent.iter().any(World::is_cancelled), "no silent target waits");
}
