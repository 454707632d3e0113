//! A permit: the right to have one request in flight, and the conclusions from its answer about the endpoint.
//!
//! The place of the attempt is freed when the permit is dropped, whatever happened to the attempt. A probe without a result
//! lets the next one go. The conclusions about the target are drawn by [`InFlight`](super::in_flight::InFlight).

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::shared::Shared;
use crate::batch::Batch;
use crate::health::Health;
use crate::schedule::backoff::Backoff;
use crate::schedule::endpoint::{EndpointFailure, HEALTHY_COUNTED_MAX, UnansweredRequest};
use crate::schedule::pool::Grant;
use crate::schedule::service_errors::words;
use crate::service::ApiError;
use crate::target::Queue;
use crate::target::queue::Throttling;

/// See the module.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    grant: Grant,
    /// The number of the probe, until it was answered.
    probe: Option<u64>,
    /// The time at which the last request was sent.
    sent_at: Instant,
    answered: bool,
}

impl Permit {
    /// The permit for a grant of the pool.
    pub(super) fn new(shared: Arc<Shared>, grant: Grant) -> Self {
        let (probe, sent_at) = (grant.probe, grant.granted_at);
        Permit { shared, grant, probe, sent_at, answered: false }
    }

    /// The queue that may send.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.grant.queue
    }

    /// Notes the batch that was taken from the queue.
    pub(super) fn set_batch(&self, batch: &Batch) {
        self.shared.pool.set_batch(self.grant.number, batch.id(), batch.charged_bytes());
    }

    /// Returns whether the attempt is the probe of the endpoint.
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Waits until the attempt has to end, to make room for others in the slow lane.
    pub(super) async fn cancelled(&self) {
        self.grant.cancel.notified().await;
    }

    /// Another request of the same attempt goes out.
    pub(super) fn on_sent_again(&mut self) {
        self.sent_at = Instant::now();
    }

    /// The endpoint answered. The answer concerns only the target.
    pub(super) fn on_answer(&mut self) {
        self.note_latency();
        let probe = self.probe.take().is_some();
        if self.shared.pool.with_endpoint(|endpoint, now| endpoint.on_answer(now, probe)) {
            report_end_of_pause();
        }
    }

    /// The service took the batch.
    pub(super) fn on_delivered(&mut self) {
        self.on_answer();
        self.shared.pool.with_endpoint(|endpoint, _| endpoint.on_delivered());
    }

    /// The request was throttled. Returns whether that concerns the account or this target alone.
    pub(super) fn on_throttled(&mut self) -> Throttling {
        let delivered = self.shared.pool.with_endpoint(|endpoint, _| endpoint.delivered_batches());
        let throttling = self.queue().on_throttled(delivered);
        self.note_latency();
        let (probe, sent_at) = (self.probe.take().is_some(), self.sent_at);
        let came_up = self.shared.pool.with_endpoint(|endpoint, now| match throttling {
            Throttling::Target => endpoint.on_sign_of_life(now, probe),
            Throttling::Account => endpoint.on_throttled(now, sent_at, probe),
        });
        if came_up {
            report_end_of_pause();
        }
        throttling
    }

    /// The request failed in a way that meets all targets. Returns the time until which nothing is sent.
    pub(super) fn on_endpoint_failure(&mut self, why: &ApiError) -> Instant {
        self.pause(why, false)
    }

    fn pause(&mut self, why: &ApiError, unanswered: bool) -> Instant {
        let probe = self.probe.take();
        let failures = self.shared.pool.with_endpoint(|endpoint, _| endpoint.failures());
        let wait = self.shared.delay(Backoff::Endpoint, failures);
        let failure = EndpointFailure { wait, probe, unanswered };
        let pause = self.shared.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
        if pause.is_new && probe.is_none() {
            let words = words(why);
            warn!("delivery is paused for all targets: {words}: {why}; probing with one request at a time");
        }
        pause.until
    }

    /// The request got no answer. Returns the time until which nothing is sent to any target, if that is the fault of the
    /// endpoint; `None` if it is the fault of the target.
    pub(super) fn on_unanswered(&mut self, why: &ApiError) -> Option<Instant> {
        if self.probe.is_some() && !self.shared.pool.with_endpoint(|endpoint, _| endpoint.is_up()) {
            // The probe has shown nothing.
            return Some(self.pause(why, true));
        }
        // When another probe has brought the endpoint up meanwhile, this one is a request like any other.
        self.probe = None;
        let queue = self.queue();
        let is_healthy_other =
            |other: &Arc<Queue>| !Arc::ptr_eq(other, queue) && other.health() == Health::Healthy;
        let request = UnansweredRequest {
            sent_at: self.sent_at,
            was_healthy: queue.health() == Health::Healthy,
            failed_before: queue.failed_at(),
            healthy_others: self.shared.registry.count_up_to(HEALTHY_COUNTED_MAX, is_healthy_other),
        };
        let at_fault = self.shared.pool.with_endpoint(|endpoint, now| endpoint.on_unanswered(now, request));
        at_fault.then(|| self.pause(why, true))
    }

    fn note_latency(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.shared.pool.add_latency(self.sent_at.elapsed());
        }
    }
}

fn report_end_of_pause() {
    info!("delivery to all targets continues: CloudWatch Logs answered the probe");
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.pool.end(self.grant.number, self.probe);
        if std::thread::panicking() {
            let name = self.queue().name();
            error!(
                "{name}: internal error in cwl-sink: an attempt to send panicked; its events are abandoned"
            );
        }
    }
}
