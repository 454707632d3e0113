//! A batch that is out of its queue, on its way through a worker.
//!
//! Whatever happens to it, it comes back to its queue in exactly one way: delivered, settled, put back for a
//! retry, or parked. Dropped without that, by a panic or a cancelled task, it ends as abandoned.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::ack::{Ending, Reason};
use crate::batch::Batch;
use crate::body::Body;
use crate::engine::Engine;
use crate::logs_api::{ApiError, Failure, RejectedEvents};
use crate::queue::{LastError, Queue};
use crate::retry::Backoff;

/// See the module.
#[derive(Debug)]
pub struct InFlight {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    /// Gone only once it came back.
    batch: Option<Batch>,
}

impl InFlight {
    /// A batch that was just taken out of its queue.
    pub fn new(engine: Arc<Engine>, queue: Arc<Queue>, batch: Batch) -> Self {
        InFlight { engine, queue, batch: Some(batch) }
    }

    /// Its target.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Notes an attempt and gives the body to send.
    pub fn begin_attempt(&mut self) -> Option<Body> {
        let compression = self.engine.config.compression();
        let batch = self.batch.as_mut()?;
        batch.attempted(Instant::now());
        Some(batch.body(compression))
    }

    /// The service answered.
    pub fn delivered(mut self, rejected: RejectedEvents) {
        let Some(batch) = self.batch.take() else { return };
        let events = batch.events();
        let effects = self.queue.delivered(batch, rejected);
        self.engine.apply(&self.queue, effects);
        let refused = rejected.count(events);
        if refused > 0 {
            warn!(
                "{}: the service refused {refused} of {events} events by their age (too old, too new or past the group's retention)",
                self.queue.name()
            );
        }
    }

    /// The service will never take it.
    pub fn dropped(mut self, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let events = batch.events();
        self.settle(batch, Reason::NotRetryable, why);
        warn!("{}: {events} events are given up, since they cannot be retried: {why}", self.queue.name());
    }

    /// It failed and is to be tried again, unless it was tried for too long, or the sink closes before the
    /// next attempt would be due.
    pub fn failed(mut self, backoff: Backoff, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let was_closing = self.engine.is_closing();
        // A batch that was out when the sink began to close has its last attempt still to come, at once.
        let last_to_come = batch.last_attempt().is_some_and(|attempt| self.engine.closing_since(attempt));
        let delay = match last_to_come {
            true => Duration::ZERO,
            false => self.engine.delay(backoff, self.queue.failures_in_a_row()),
        };
        let due = Instant::now() + delay;
        let Some(batch) = self.unless_over(batch, due, why) else { return };
        self.engine.stats.batch_retried();
        let effects = self.queue.failed(batch, self.last_error(why), due);
        let (ticket, news) = (effects.opened, effects.news);
        self.engine.apply(&self.queue, effects);
        let Some(ticket) = ticket else { return };
        match self.engine.retries.push(due, self.queue.clone(), ticket) {
            // The sink began to close between the choice of the delay and now.
            Ok(()) if self.engine.is_closing() && !was_closing => {
                let effects = self.queue.due_now();
                self.engine.apply(&self.queue, effects);
            }
            Ok(()) if news => self.engine.transitions.failing(&self.engine, &self.queue, why, delay),
            Ok(()) => debug!("{}: {why}; next try in {:.1} s", self.queue.name(), delay.as_secs_f64()),
            Err(_closed) => {
                let effects = self.queue.abandon();
                self.engine.apply(&self.queue, effects);
            }
        }
    }

    /// It failed by no fault of its target's: it goes back to be sent when the endpoint is due again.
    pub fn returned(mut self, due: Instant, why: &ApiError) {
        let Some(batch) = self.batch.take() else { return };
        let Some(batch) = self.unless_over(batch, due, why) else {
            if self.engine.closes_before(due) {
                // No request of anybody's can go out before then.
                self.engine.abandon_all();
            }
            return;
        };
        self.engine.stats.batch_retried();
        let unanswered = matches!(why.failure, Failure::TimedOut | Failure::Connection);
        let effects = self.queue.returned(batch, self.last_error(why), unanswered);
        self.engine.apply(&self.queue, effects);
    }

    /// The batch, to be tried again then; ended instead when that would be too late.
    fn unless_over(&self, batch: Batch, due: Instant, why: &ApiError) -> Option<Batch> {
        let max_age = self.engine.config.retry_max_age;
        let reason = if batch.first_attempt().is_some_and(|first| due > first + max_age) {
            Reason::TriedTooLong
        } else if self.engine.closes_before(due) {
            Reason::Shutdown
        } else {
            return Some(batch);
        };
        let events = batch.events();
        self.settle(batch, reason, why);
        if reason == Reason::TriedTooLong {
            let (name, seconds) = (self.queue.name(), max_age.as_secs());
            warn!("{name}: {events} events are given up after {seconds} s of attempts: {why}");
        }
        None
    }

    fn last_error(&self, why: &ApiError) -> LastError {
        LastError { error: Arc::new(why.clone()), at_ms: self.engine.now_ms() }
    }

    fn settle(&self, batch: Batch, reason: Reason, why: &ApiError) {
        let error = Some(Arc::new(why.clone()));
        let effects = self.queue.settled(batch, Ending { reason, error });
        self.engine.apply(&self.queue, effects);
    }

    /// It was not tried, since its group is being created by somebody else. Logs nothing: the caller holds a
    /// lock.
    pub fn parked(mut self) {
        let Some(batch) = self.batch.take() else { return };
        self.queue.park(batch);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            let effects = self.queue.settled(batch, self.engine.cut_off().into());
            self.engine.apply(&self.queue, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::{Context, Waker};

    use tokio::runtime::Handle;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::engine::{Event, Parts};
    use crate::logs_api::{Answer, LogsApi, PutLogEvents};
    use crate::pool::Line;
    use crate::sender;
    use crate::sources::Sources;
    use crate::turn::Turn;

    /// A service that never answers.
    struct Silent;

    impl LogsApi for Silent {
        fn put_log_events<'a>(&'a self, _: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
            Box::pin(pending())
        }
        fn create_log_group<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
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

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_cancelled_ends_its_events_and_lets_the_target_go_on() {
        let parts = Parts {
            api: Arc::new(Silent),
            clock: Arc::new(SystemClock),
            sources: Sources::default(),
            seed: 1,
        };
        let engine = Engine::start(Config::default(), parts, &Handle::current());
        engine.acks().ask();
        let queue = engine.target(Some("g"), Some("s")).expect("a queue");
        let event = Event { timestamp_ms: None, message: b"m", token: 7, range: None };
        engine.push(&queue, &event).expect("pushed");
        let (_, effects) = queue.due_open(None);
        drop(effects);
        let batch = queue.take(Line::New).0.expect("a batch that may go");
        let flight = InFlight::new(engine.clone(), queue.clone(), batch);
        let (now, cancel) = (Instant::now(), Arc::default());
        let turn = Turn::new(engine.clone(), queue.clone(), 1, None, now, cancel);
        let mut attempt = Box::pin(sender::attempt(engine.clone(), turn, flight));
        assert!(attempt.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(engine.snapshot().pending_events, 1);

        drop(attempt);

        let acks = engine.acks().take(9, Some(std::time::Instant::now()));
        let ends: Vec<_> = acks.iter().map(|ack| (ack.token, ack.ending.reason)).collect();
        assert_eq!(ends, [(7, Reason::Defect)]);
        let snapshot = engine.snapshot();
        assert_eq!((snapshot.pending_events, snapshot.abandoned_events), (0, 1));
        assert_eq!((snapshot.requests_in_flight, snapshot.buffered_bytes), (0, 0));
        engine.push(&queue, &event).expect("pushed");
        let (_, effects) = queue.due_open(None);
        assert!(effects.ready.is_some(), "the target may send its next batch");
    }
}
