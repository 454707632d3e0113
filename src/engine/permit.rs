//! A permit: the right to have one request in flight, and the conclusions from its answer about the endpoint.
//!
//! The place of the attempt is freed when the permit is dropped, whatever happened to the attempt. A probe without a result
//! lets the next one go. The conclusions about the target are drawn by [`InFlight`](super::in_flight::InFlight).

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::shared::Shared;
use crate::schedule::backoff::Backoff;
use crate::schedule::endpoint::{
    Endpoint, EndpointFailure, PauseCause, TARGETS_COUNTED_MAX, UnavailableRequest,
};
use crate::schedule::pool::Grant;
use crate::schedule::service_errors::words;
use crate::service::{ApiError, Failure};
use crate::target::queue::{Service, Throttling};
use crate::target::{Queue, ReadyClass};

/// See the module.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    grant: Grant,
    /// The number of the probe, until it was answered.
    probe: Option<u64>,
    /// Credentials are looked for again before the probe.
    renews_credentials: bool,
    /// The time at which the last request was sent.
    sent_at: Instant,
}

impl Permit {
    /// The permit for a grant of the pool.
    pub(super) fn new(shared: Arc<Shared>, grant: Grant) -> Self {
        let (probe, sent_at) = (grant.probe, grant.granted_at);
        let cause = shared.pool.with_endpoint(|endpoint, _| endpoint.cause());
        let renews_credentials = probe.is_some() && cause == PauseCause::Credentials;
        Permit { shared, grant, probe, renews_credentials, sent_at }
    }

    /// The queue that may send.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.grant.queue
    }

    /// Returns whether the attempt is the probe of the endpoint.
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Returns whether the attempt is the probe of the endpoint, not answered yet, and credentials are looked for again
    /// before it.
    pub(super) fn renews_credentials(&self) -> bool {
        self.is_probe() && self.renews_credentials
    }

    /// Waits until the attempt is cut short, to make room for others.
    pub(super) async fn cut_short(&self) {
        self.grant.cancel.notified().await;
    }

    /// A request of the attempt goes out, with a body of this size.
    pub(super) fn on_sent(&mut self, bytes: usize) {
        self.sent_at = Instant::now();
        self.shared.pool.on_sent(self.grant.number, bytes);
    }

    /// The endpoint answered. The answer concerns only the target.
    pub(super) fn on_answer(&mut self) {
        self.note_answer();
        self.queue().set_service(Service::Served);
        let sent_at = self.sent_at;
        self.probe = None;
        let came_up = |endpoint: &mut Endpoint, now| endpoint.on_answer(now, sent_at);
        if self.shared.pool.with_endpoint(came_up) {
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
        self.note_answer();
        self.queue().set_service(Service::Served);
        let sent_at = self.sent_at;
        self.probe = None;
        let came_up = self.shared.pool.with_endpoint(|endpoint, now| match throttling {
            Throttling::Target => endpoint.on_sign_of_life(now, sent_at),
            Throttling::Account => endpoint.on_throttled(now, sent_at),
        });
        if came_up {
            report_end_of_pause();
        }
        throttling
    }

    /// The request was cut short, to make room for others. No target and no endpoint is at fault.
    pub(super) fn on_cut_short(&mut self) {
        self.queue().note_silence(self.sent_at.elapsed());
    }

    /// The request failed in a way that meets all targets. Returns the time until which nothing is sent.
    pub(super) fn on_endpoint_failure(&mut self, why: &ApiError) -> Instant {
        if why.failure != Failure::NotSent {
            self.note_answer();
        }
        self.pause(why, PauseCause::Credentials)
    }

    /// The request had no connection, no answer, or an answer such as 503. Returns the time until which nothing is sent to
    /// any target, if that is the fault of the endpoint; `None` if it is the fault of the target.
    pub(super) fn on_unavailable(&mut self, why: &ApiError) -> Option<Instant> {
        let was_silent = matches!(self.grant.class, ReadyClass::Late | ReadyClass::Silent);
        match why.is_unanswered() {
            true => self.queue().note_silence(self.sent_at.elapsed()),
            false => self.note_answer(),
        }
        let before = self.queue().set_service(Service::UnavailableAt(Instant::now()));
        let others_served = self.shared.registry.count_up_to(TARGETS_COUNTED_MAX, |other| other.is_served());
        let is_known_silence = was_silent && why.failure == Failure::TimedOut;
        let request = UnavailableRequest {
            target: self.queue().id(),
            before: if is_known_silence { Service::None } else { before },
            others_served,
        };
        let at_fault = self.shared.pool.with_endpoint(|endpoint, now| endpoint.on_unavailable(now, request));
        at_fault.then(|| self.pause(why, PauseCause::Unavailable))
    }

    fn pause(&mut self, why: &ApiError, cause: PauseCause) -> Instant {
        let probe = self.probe.take();
        let failures = self.shared.pool.with_endpoint(|endpoint, _| endpoint.failures());
        let wait = self.shared.delay(Backoff::Endpoint, failures);
        let failure = EndpointFailure { cause, wait, probe };
        let pause = self.shared.pool.with_endpoint(|endpoint, now| endpoint.on_failure(now, failure));
        if pause.is_new && probe.is_none() {
            let words = words(why);
            warn!("delivery is paused for all targets: {words}: {why}; probing with one request at a time");
        }
        pause.until
    }

    fn note_answer(&mut self) {
        let latency = self.sent_at.elapsed();
        self.shared.pool.on_answer(self.grant.number, latency);
        self.queue().note_answer(latency);
    }
}

fn report_end_of_pause() {
    info!("delivery to all targets continues: CloudWatch Logs answers");
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.pool.end(self.grant.number, self.probe);
        if std::thread::panicking() {
            let name = self.queue().name();
            error!(
                "{name}: internal error in cwl-sink: an attempt to send panicked; its batch is tried again later"
            );
        }
    }
}
