use std::future::pending;
use std::sync::Mutex;
use std::task::{Context, Waker};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::*;
use crate::batch::Event;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::permit::Permit;
use crate::engine::{Dependencies, Engine, sender};
use crate::schedule::pool::NextGrant;
use crate::service::{Answer, LogsApi, NewGroup, PutLogEvents};
use crate::sources::Sources;
use crate::sync::lock;

/// A service that never answers.
struct Silent {
    /// The bodies of the requests.
    bodies: Arc<Mutex<Vec<RequestBody>>>,
}

impl LogsApi for Silent {
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
        lock(&self.bodies).push(request.body);
        Box::pin(pending())
    }
    fn create_log_group<'a>(&'a self, _: NewGroup<'a>) -> Answer<'a, ()> {
        Box::pin(pending())
    }
    fn create_log_stream<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(pending())
    }
    fn put_retention_policy<'a>(&'a self, _: &'a str, _: u32) -> Answer<'a, ()> {
        Box::pin(pending())
    }
    fn renew_credentials(&self) -> Answer<'_, ()> {
        Box::pin(pending())
    }
}

fn dependencies(bodies: &Arc<Mutex<Vec<RequestBody>>>) -> Dependencies {
    Dependencies {
        api: Arc::new(Silent { bodies: bodies.clone() }),
        clock: Arc::new(SystemClock),
        sources: Sources::default(),
        seed: 1,
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_gives_its_batch_back_until_the_sink_has_stopped() {
    let dependencies = dependencies(&Arc::default());
    let engine = Engine::start(Config::default(), dependencies, &[Handle::current()]);
    engine.acks().enable();
    let queue = engine.target(Some("g"), Some("s")).expect("a queue");
    let event = Event { timestamp_ms: None, message: b"m", token: 7, range: None };
    engine.push(&queue, &event).expect("pushed");
    let shared = engine.shared.clone();
    let effects = queue.make_open_batch_due();
    shared.apply(&queue, effects);
    let NextGrant::Grant(grant) = shared.pool.next(|_| 0) else { panic!("the target may send") };
    let class = grant.class;
    let permit = Permit::new(shared.clone(), grant);
    let batch = queue.take_batch(class).0.expect("a batch that may go");
    let flight = InFlight::new(shared.clone(), queue.clone(), batch);
    let mut attempt = Box::pin(sender::attempt(shared, permit, flight));
    assert!(attempt.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(engine.snapshot().pending_events, 1);

    drop(attempt);

    let snapshot = engine.snapshot();
    assert_eq!((snapshot.pending_events, snapshot.targets_failing), (1, 1));
    assert_eq!(snapshot.requests_in_flight, 0);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.snapshot().requests_in_flight, 1, "the batch is tried again");

    engine.stop();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.snapshot().pending_events, 1, "the attempt may still succeed");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_sorted_for_lack_of_memory_is_kept_and_sent_sorted_later() {
    let bodies = Arc::<Mutex<Vec<RequestBody>>>::default();
    let dependencies = dependencies(&bodies);
    let mut config = Config::default();
    config.retry_max_age = Duration::ZERO;
    let engine = Engine::start(config, dependencies, &[Handle::current()]);
    let queue = engine.target(Some("g"), Some("s")).expect("a queue");
    let now_ms = SystemClock.now_ms();
    for (ago_ms, message) in [(0, "late"), (1000, "early")] {
        let timestamp_ms = Some(now_ms - ago_ms);
        let event = Event { timestamp_ms, message: message.as_bytes(), token: 0, range: None };
        engine.push(&queue, &event).expect("pushed");
    }
    let buffers = engine.budget().buffers().clone();
    buffers.set_exhausted(true);
    let _awaited = engine.flush();
    // Longer than any back-off of a target.
    for _ in 0..5 {
        sleep(Duration::from_secs(10)).await;
        let snapshot = engine.snapshot();
        assert_eq!(
            (snapshot.pending_events, snapshot.requests),
            (2, 0),
            "nothing was sent and nothing given up"
        );
    }
    let error = queue.snapshot(false).last_error.expect("a reason").error.message.to_string();
    assert!(error.contains("no memory"), "{error}");
    buffers.set_exhausted(false);
    sleep(Duration::from_secs(10)).await;
    let body = lock(&bodies).first().expect("a request").bytes.clone();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.find("early") < body.find("late"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_short_is_no_failure_of_its_target_and_is_sent_again_at_once() {
    let bodies = Arc::<Mutex<Vec<RequestBody>>>::default();
    let dependencies = dependencies(&bodies);
    let engine = Engine::start(Config::default(), dependencies, &[Handle::current()]);
    let queue = engine.target(Some("g"), Some("s")).expect("a queue");
    let event = Event { timestamp_ms: None, message: b"m", token: 7, range: None };
    engine.push(&queue, &event).expect("pushed");
    let shared = engine.shared.clone();
    shared.apply(&queue, queue.make_open_batch_due());
    let NextGrant::Grant(grant) = shared.pool.next(|_| 0) else { panic!("the target may send") };
    let (class, cancel) = (grant.class, grant.cancel.clone());
    let permit = Permit::new(shared.clone(), grant);
    let batch = queue.take_batch(class).0.expect("a batch that may go");
    let flight = InFlight::new(shared.clone(), queue.clone(), batch);
    let mut attempt = Box::pin(sender::attempt(shared, permit, flight));
    let mut context = Context::from_waker(Waker::noop());
    assert!(attempt.as_mut().poll(&mut context).is_pending());

    cancel.notify_one();

    assert!(attempt.as_mut().poll(&mut context).is_ready());
    assert_eq!(engine.snapshot().targets_failing, 0);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(lock(&bodies).len(), 2, "it was sent again");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_larger_than_the_endpoint_takes_is_halved_before_it_is_sent() {
    let bodies = Arc::<Mutex<Vec<RequestBody>>>::default();
    let mut config = Config::default();
    config.gzip = false;
    let engine = Engine::start(config, dependencies(&bodies), &[Handle::current()]);
    engine.shared.body_limit.on_refused(200_000);
    let queue = engine.target(Some("g"), Some("s")).expect("a queue");
    for token in 0..2 {
        let event = Event { timestamp_ms: None, message: &[b'x'; 80_000], token, range: None };
        engine.push(&queue, &event).expect("pushed");
    }
    let _awaited = engine.flush();
    sleep(Duration::from_millis(1)).await;
    let sizes: Vec<_> = lock(&bodies).iter().map(|body| body.bytes.len()).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|size| *size <= 100_000), "{sizes:?}");
}
