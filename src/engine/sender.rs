//! One attempt to send one batch, and the conclusions from its answer.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use super::create::{Creation, create_target};
use super::in_flight::{InFlight, Refusal};
use super::or_cancelled::or_cancelled;
use super::permit::Permit;
use super::shared::Shared;
use crate::schedule::backoff::Backoff;
use crate::schedule::service_errors::{Verdict, classify, may_be_clock};
use crate::service::{ApiError, PutLogEvents, RejectedEvents};
use crate::target::queue::Throttling;

/// Sends the batch once. When its group or stream is missing and may be created, creates it first and sends the batch at
/// once. A cancelled attempt counts as one without an answer.
pub(super) async fn attempt(shared: Arc<Shared>, mut permit: Permit, flight: InFlight) {
    let Some(mut flight) = flight.halve_if_too_large() else { return };
    if permit.is_probe()
        && let Err(error) = or_cancelled(&permit, shared.api.renew_credentials()).await
    {
        return finish_failed(&shared, permit, flight, &error);
    }
    if flight.queue().is_missing() {
        flight.note_attempt();
        return create_and_send(&shared, permit, flight).await;
    }
    let error = match put_first(&shared, &permit, &mut flight).await {
        Ok(rejected) => return finish_delivered(permit, flight, rejected),
        Err(error) => error,
    };
    if classify(&error) != Verdict::Create || !shared.config.create_log_stream {
        return finish_failed(&shared, permit, flight, &error);
    }
    // The endpoint answered, so nobody has to wait for the requests that follow.
    permit.on_answer();
    flight.queue().set_missing(true);
    create_and_send(&shared, permit, flight).await;
}

/// Creates what is missing and sends the batch.
async fn create_and_send(shared: &Arc<Shared>, mut permit: Permit, flight: InFlight) {
    match create_target(shared, &mut permit, flight).await {
        Creation::Done(mut flight) => {
            permit.on_sent_again();
            match put(shared, &permit, &mut flight).await {
                Ok(rejected) => finish_delivered(permit, flight, rejected),
                Err(error) => {
                    if classify(&error) == Verdict::Create {
                        // The service may need a while until it finds what was created.
                        flight.queue().set_missing(true);
                    }
                    finish_failed(shared, permit, flight, &error);
                }
            }
        }
        Creation::Parked => {}
        // A create that fails says nothing about the events: they are kept, whatever the error is.
        Creation::Failed(flight, error) => match classify(&error) {
            Verdict::RefusedContent | Verdict::TooLarge | Verdict::UnknownRefusal | Verdict::Delivered => {
                permit.on_answer();
                flight.retry_later(Backoff::Short, &error);
            }
            // Creates have a quota of their own: targets whose group exists need not slow down.
            Verdict::Throttle => {
                shared.stats.count_throttled_request();
                permit.on_answer();
                flight.retry_later(Backoff::Long, &error);
            }
            _ => finish_failed(shared, permit, flight, &error),
        },
    }
}

/// Sends the first request of an attempt. The SDK learns the error of the clock from the answer to the first request after
/// credentials were looked for again, so a probe that fails because of the clock is sent once more.
async fn put_first(
    shared: &Shared,
    permit: &Permit,
    flight: &mut InFlight,
) -> Result<RejectedEvents, ApiError> {
    match put(shared, permit, flight).await {
        Err(error) if permit.is_probe() && may_be_clock(&error) => put(shared, permit, flight).await,
        answer => answer,
    }
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
                Throttling::Target => flight.retry_later(Backoff::Long, error),
            };
        }
        _ if error.is_unanswered() => {
            if let Some(until) = permit.on_unanswered(error) {
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
        Verdict::Pause | Verdict::Throttle => flight.retry_later(Backoff::Short, error),
    }
}

async fn put(shared: &Shared, permit: &Permit, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    let Some(body) = flight.begin_attempt() else { return Ok(RejectedEvents::default()) };
    let queue = flight.queue();
    let bytes = body.bytes.len();
    let request = PutLogEvents { group: queue.group(), stream: queue.stream(), body, emf: queue.is_emf() };
    let _request = shared.stats.begin_request(bytes);
    let answer = or_cancelled(permit, shared.api.put_log_events(request)).await;
    match &answer {
        Ok(_) => {
            shared.body_limit.on_passed(bytes);
            debug!("{}: {bytes} bytes delivered", queue.name());
        }
        Err(error) => {
            shared.stats.count_failed_request();
            debug!("{}: {bytes} bytes not taken: {error}", queue.name());
        }
    }
    answer
}
