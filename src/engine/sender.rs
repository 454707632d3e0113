//! One attempt to send one batch, and the conclusions from its answer.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use super::create::{Creation, create_target};
use super::cut_short::{NotTaken, unless_cut_short};
use super::in_flight::{InFlight, Refusal};
use super::permit::Permit;
use super::shared::Shared;
use crate::schedule::backoff::Backoff;
use crate::schedule::service_errors::{Verdict, classify, may_be_clock};
use crate::service::{ApiError, Failure, PutLogEvents, RejectedEvents};
use crate::target::queue::Throttling;

/// Sends the batch once. When its group or stream is missing and may be created, creates it first and sends the batch at
/// once.
pub(super) async fn attempt(shared: Arc<Shared>, mut permit: Permit, flight: InFlight) {
    let Some(mut flight) = flight.halve_if_too_large() else { return };
    if permit.renews_credentials()
        && let Err(not_taken) = unless_cut_short(&permit, shared.api.renew_credentials()).await
    {
        return finish(&shared, permit, flight, Err(not_taken));
    }
    if flight.queue().is_missing() {
        flight.note_attempt();
        return create_and_send(&shared, permit, flight).await;
    }
    match put_first(&shared, &mut permit, &mut flight).await {
        Err(NotTaken::Failed(error))
            if classify(&error) == Verdict::Create && shared.config.create_log_stream =>
        {
            // The endpoint answered, so nobody has to wait for the requests that follow.
            permit.on_answer();
            flight.queue().set_missing(true);
            create_and_send(&shared, permit, flight).await;
        }
        answer => finish(&shared, permit, flight, answer),
    }
}

/// Creates what is missing and sends the batch.
async fn create_and_send(shared: &Arc<Shared>, mut permit: Permit, flight: InFlight) {
    match create_target(shared, &mut permit, flight).await {
        Creation::Done(mut flight) => {
            let answer = put(shared, &mut permit, &mut flight).await;
            if matches!(&answer, Err(NotTaken::Failed(error)) if classify(error) == Verdict::Create) {
                // The service may need a while until it finds what was created.
                flight.queue().set_missing(true);
            }
            finish(shared, permit, flight, answer);
        }
        Creation::Parked => {}
        Creation::Failed(flight, NotTaken::CutShort) => finish_cut_short(permit, flight),
        Creation::Failed(flight, NotTaken::NoMemory) => flight.retry_without_memory(),
        // A create that fails says nothing about the events: they are kept, whatever the error is.
        Creation::Failed(flight, NotTaken::Failed(error)) => match classify(&error) {
            Verdict::RefusedContent | Verdict::TooLarge | Verdict::UnknownRefusal | Verdict::Delivered => {
                permit.on_answer();
                flight.retry_later(Backoff::Refused, &error);
            }
            // Creates have a quota of their own: targets whose group exists need not slow down.
            Verdict::Throttle => {
                shared.stats.count_throttled_request();
                permit.on_answer();
                flight.retry_later(Backoff::Unavailable, &error);
            }
            _ => finish_failed(shared, permit, flight, &error),
        },
    }
}

/// Sends the first request of an attempt. A probe that may have failed because of the clock is sent once more, since the
/// answer may have corrected the clock.
async fn put_first(
    shared: &Shared,
    permit: &mut Permit,
    flight: &mut InFlight,
) -> Result<RejectedEvents, NotTaken> {
    match put(shared, permit, flight).await {
        Err(NotTaken::Failed(error)) if permit.renews_credentials() && may_be_clock(&error) => {
            put(shared, permit, flight).await
        }
        answer => answer,
    }
}

fn finish(shared: &Shared, permit: Permit, flight: InFlight, answer: Result<RejectedEvents, NotTaken>) {
    match answer {
        Ok(rejected) => finish_delivered(permit, flight, rejected),
        Err(NotTaken::CutShort) => finish_cut_short(permit, flight),
        Err(NotTaken::NoMemory) => flight.retry_without_memory(),
        Err(NotTaken::Failed(error)) => finish_failed(shared, permit, flight, &error),
    }
}

fn finish_cut_short(mut permit: Permit, flight: InFlight) {
    permit.on_cut_short();
    flight.requeue_cut_short();
}

fn finish_delivered(mut permit: Permit, flight: InFlight, rejected: RejectedEvents) {
    permit.on_delivered();
    flight.finalize_delivered(rejected);
}

/// Decides who is at fault: the endpoint, which then pauses or slows all targets, or the target, which then waits alone.
fn finish_failed(shared: &Shared, mut permit: Permit, flight: InFlight, error: &ApiError) {
    let verdict = classify(error);
    match verdict {
        Verdict::Pause => {
            let until = permit.on_endpoint_failure(error);
            return flight.requeue(until, error);
        }
        Verdict::Throttle => {
            shared.stats.count_throttled_request();
            return match permit.on_throttled() {
                Throttling::Account => flight.requeue(Instant::now(), error),
                Throttling::Target => flight.retry_later(Backoff::Unavailable, error),
            };
        }
        Verdict::Retry(Backoff::Unavailable) => {
            if let Some(until) = permit.on_unavailable(error) {
                return flight.requeue(until, error);
            }
        }
        _ => permit.on_answer(),
    }
    match verdict {
        Verdict::Delivered => flight.finalize_delivered(RejectedEvents::default()),
        Verdict::RefusedContent => flight.halve(Refusal::Content, error),
        Verdict::TooLarge => flight.halve(Refusal::Size, error),
        Verdict::UnknownRefusal => flight.halve(Refusal::Unknown, error),
        Verdict::Retry(backoff) => flight.retry_later(backoff, error),
        Verdict::Create => flight.retry_later(Backoff::Missing, error),
        Verdict::Pause | Verdict::Throttle => flight.retry_later(Backoff::Refused, error),
    }
}

async fn put(
    shared: &Shared,
    permit: &mut Permit,
    flight: &mut InFlight,
) -> Result<RejectedEvents, NotTaken> {
    let body = flight.begin_attempt()?;
    let queue = flight.queue();
    let bytes = body.bytes.len();
    let request = PutLogEvents { group: queue.group(), stream: queue.stream(), body, emf: queue.is_emf() };
    let _request = shared.stats.begin_request(bytes);
    permit.on_sent(bytes);
    let sent_at = Instant::now();
    let answer = unless_cut_short(permit, shared.api.put_log_events(request)).await;
    let (took, timeout) = (sent_at.elapsed(), shared.config.request_timeout);
    match &answer {
        Ok(_) => {
            shared.body_limit.on_passed(bytes, took, timeout);
            debug!("{}: {bytes} bytes delivered", queue.name());
        }
        Err(not_taken) => {
            shared.stats.count_failed_request();
            if let NotTaken::Failed(error) = not_taken {
                if error.failure == Failure::TimedOut && took >= timeout {
                    shared.body_limit.on_timed_out(bytes, sent_at);
                }
                debug!("{}: {bytes} bytes not taken: {error}", queue.name());
            }
        }
    }
    answer
}
