//! A turn at the service: the right to have one request in flight, and what its answer says about the endpoint.
//!
//! Whatever happens to the attempt, its seat is given back when the turn is dropped; a probe that came to nothing lets
//! the next one go. What an answer says about the target is [`InFlight`](crate::in_flight::InFlight)'s.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::batch::Batch;
use crate::endpoint::{Unanswered, WELL_COUNTED_MAX};
use crate::engine::Engine;
use crate::logs_api::ApiError;
use crate::memory::Standing;
use crate::queue::Queue;
use crate::retry::Backoff;

/// See the module.
#[derive(Debug)]
pub struct Turn {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    number: u64,
    /// Its number as the endpoint's probe, while it was not answered.
    probe: Option<u64>,
    /// When its last request was sent.
    sent: Instant,
    answered: bool,
    cancel: Arc<Notify>,
}

impl Turn {
    /// The turn of that number in the pool, which holds its seat until this is dropped.
    pub(crate) fn new(
        engine: Arc<Engine>,
        queue: Arc<Queue>,
        number: u64,
        probe: Option<u64>,
        sent: Instant,
        cancel: Arc<Notify>,
    ) -> Self {
        Turn { engine, queue, number, probe, sent, answered: false, cancel }
    }

    /// Whose turn it is.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Its target's next batch was taken.
    pub fn took(&self, batch: &Batch) {
        self.engine.pool.took(self.number, batch.id(), batch.charged());
    }

    /// Whether it is the endpoint's probe.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Comes when the attempt has to end, for others that wait for its place in the slow lane.
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }

    /// Another request of the same turn goes out.
    pub fn sends_again(&mut self) {
        self.sent = Instant::now();
    }

    /// The endpoint answered: what it said is between it and the target.
    pub fn answered(&mut self) {
        self.note_time();
        let probe = self.probe.take().is_some();
        if self.engine.pool.endpoint(|endpoint, now| endpoint.answered(now, probe)) {
            info!("CloudWatch Logs can be reached again");
        }
    }

    /// The service took its batch.
    pub fn delivered(&mut self) {
        self.answered();
        self.engine.pool.endpoint(|endpoint, _| endpoint.took());
    }

    /// The account sends more than it may, or, when this is false, its target alone is always the one that is throttled.
    pub fn throttled(&mut self) -> bool {
        let (sent, taken) = (self.sent, self.engine.pool.endpoint(|endpoint, _| endpoint.taken()));
        let alone = self.queue.is_throttled_alone(taken);
        self.note_time();
        let probe = self.probe.take().is_some();
        let opened = self.engine.pool.endpoint(|endpoint, now| match alone {
            true => endpoint.heard(now, probe),
            false => endpoint.throttled(now, sent, probe),
        });
        if opened {
            info!("CloudWatch Logs can be reached again");
        }
        !alone
    }

    /// A failure that would meet every target alike. Until when nothing is sent.
    pub fn paused(&mut self, why: &ApiError) -> Instant {
        self.closes(why, false)
    }

    fn closes(&mut self, why: &ApiError, unanswered: bool) -> Instant {
        let probe = self.probe.take();
        let wait = self
            .engine
            .delay(Backoff::Endpoint, self.engine.pool.endpoint(|endpoint, _| endpoint.failures()));
        let (until, closed) =
            self.engine.pool.endpoint(|endpoint, now| endpoint.failed(now, wait, probe, unanswered));
        if closed && probe.is_none() {
            warn!("nothing is sent for now, to no target: {why}; trying again with one request at a time");
        }
        until
    }

    /// Nothing was heard. Until when nothing is sent to anybody, if that is the endpoint's fault; none when it is the
    /// target's own.
    pub fn unanswered(&mut self, why: &ApiError) -> Option<Instant> {
        if self.probe.is_some() && !self.engine.pool.endpoint(|endpoint, _| endpoint.is_open()) {
            // It has shown nothing.
            return Some(self.closes(why, true));
        }
        // A probe after which another opened the endpoint is like any other request.
        self.probe = None;
        let was_well = self.queue.standing() == Standing::GetsThrough;
        let gets_through = |queue: &Arc<Queue>| {
            !Arc::ptr_eq(queue, &self.queue) && queue.standing() == Standing::GetsThrough
        };
        let request = Unanswered {
            sent: self.sent,
            was_well,
            failed_before: self.queue.failed_at(),
            others_well: self.engine.registry.count(WELL_COUNTED_MAX, gets_through),
        };
        let blamed = self.engine.pool.endpoint(|endpoint, now| endpoint.blamed_for(now, request));
        blamed.then(|| self.closes(why, true))
    }

    fn note_time(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.engine.pool.answered_after(self.sent.elapsed());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.engine.pool.ended(self.number, self.probe);
        if std::thread::panicking() {
            let name = self.queue.name();
            error!("{name}: a defect in the sink: an attempt to send panicked; its events are given up");
        }
    }
}
