//! One attempt at one batch, and what its answer means.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::endpoint::Pass;
use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::logs_api::{ApiError, Failure, PutLogEvents, RejectedEvents};
use crate::retry::{Backoff, Verdict, classify, may_be_the_clock};
use crate::target_manager::{Creation, create_target};

/// Sends the batch once. Where its group or stream is missing and may be created, creates it and sends again
/// at once.
pub async fn attempt(engine: Arc<Engine>, pass: Pass, mut flight: InFlight) {
    let first =
        if pass.is_probe() { probe(&engine, &mut flight).await } else { put(&engine, &mut flight).await };
    let error = match first {
        Ok(rejected) => return delivered(pass, flight, rejected),
        Err(error) => error,
    };
    let may_create = engine.config.create_log_stream && !flight.queue().recently_created(Instant::now());
    if classify(&error) != Verdict::Create || !may_create {
        return after_failure(pass, flight, &error);
    }
    // The endpoint answered; nobody has to wait for what follows.
    pass.went_through();
    let queue = flight.queue().clone();
    let Some((mut flight, creation)) = Creation::begin(&engine, flight) else { return };
    let created = create_target(&engine, &queue).await;
    if created.is_ok() {
        queue.note_created(Instant::now());
    }
    drop(creation);
    let pass = Pass::without_gate(&engine);
    match created {
        Ok(()) => match put(&engine, &mut flight).await {
            Ok(rejected) => delivered(pass, flight, rejected),
            Err(error) => after_failure(pass, flight, &error),
        },
        // What is wrong with a create is not wrong with the events: they are kept, whatever it is.
        Err(error) => match classify(&error) {
            Verdict::Pause => after_failure(pass, flight, &error),
            Verdict::Retry(backoff) => flight.failed(backoff, &error),
            Verdict::Delivered | Verdict::Drop | Verdict::Create => flight.failed(Backoff::Short, &error),
        },
    }
}

/// The gate's probe: with credentials that were looked for anew. The SDK learns how wrong the clock is from the answer
/// to the first request that it makes with them, so one that fails for the clock's sake is made once more.
async fn probe(engine: &Engine, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    engine.api.renew_credentials().await?;
    match put(engine, flight).await {
        Err(error) if may_be_the_clock(&error) => put(engine, flight).await,
        answer => answer,
    }
}

fn delivered(pass: Pass, flight: InFlight, rejected: RejectedEvents) {
    pass.went_through();
    flight.delivered(rejected);
}

fn after_failure(pass: Pass, flight: InFlight, error: &ApiError) {
    let verdict = classify(error);
    // A probe that got no answer has shown nothing.
    let unanswered = matches!(error.failure, Failure::TimedOut | Failure::Connection);
    if verdict == Verdict::Pause || (pass.is_probe() && unanswered) {
        let until = pass.failed(error);
        return flight.returned(until, error);
    }
    pass.went_through();
    match verdict {
        Verdict::Delivered => flight.delivered(RejectedEvents::default()),
        Verdict::Drop => flight.dropped(error),
        Verdict::Retry(backoff) => flight.failed(backoff, error),
        Verdict::Create | Verdict::Pause => flight.failed(Backoff::Short, error),
    }
}

async fn put(engine: &Engine, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    let Some(body) = flight.begin_attempt() else { return Ok(RejectedEvents::default()) };
    let queue = flight.queue();
    let bytes = body.bytes.len();
    let request = PutLogEvents { group: queue.group(), stream: queue.stream(), body, emf: queue.is_emf() };
    let _request = engine.stats.request(bytes);
    let answer = engine.api.put_log_events(request).await;
    match &answer {
        Ok(_) => debug!("{}: {bytes} bytes delivered", queue.name()),
        Err(error) => {
            engine.stats.request_failed();
            debug!("{}: {bytes} bytes not taken: {error}", queue.name());
        }
    }
    answer
}
