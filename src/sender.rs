//! One attempt at one batch, and what its answer means.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::logs_api::{ApiError, PutLogEvents, RejectedEvents};
use crate::retry::{Backoff, Verdict, classify};
use crate::target_manager::{Creation, create_target};

/// Sends the batch once. Where its group or stream is missing and may be created, creates it and sends again
/// at once.
pub async fn attempt(engine: Arc<Engine>, mut flight: InFlight) {
    let error = match put(&engine, &mut flight).await {
        Ok(rejected) => return flight.delivered(rejected),
        Err(error) => error,
    };
    if classify(&error) != Verdict::Create {
        return after_failure(flight, &error);
    }
    if !engine.config.create_log_stream || flight.queue().recently_created(Instant::now()) {
        return flight.failed(Backoff::Short, &error);
    }
    let queue = flight.queue().clone();
    let Some((flight, creation)) = Creation::begin(&engine, flight) else { return };
    let mut flight = flight;
    if let Err(error) = create_target(&engine, &queue).await {
        drop(creation);
        return after_failure(flight, &error);
    }
    queue.note_created(Instant::now());
    drop(creation);
    match put(&engine, &mut flight).await {
        Ok(rejected) => flight.delivered(rejected),
        Err(error) => after_failure(flight, &error),
    }
}

fn after_failure(flight: InFlight, error: &ApiError) {
    match classify(error) {
        Verdict::Delivered => flight.delivered(RejectedEvents::default()),
        Verdict::Drop => flight.dropped(error),
        Verdict::Retry(backoff) => flight.failed(backoff, error),
        Verdict::Create => flight.failed(Backoff::Short, error),
    }
}

async fn put(engine: &Engine, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    let Some(body) = flight.begin_attempt() else { return Ok(RejectedEvents::default()) };
    let queue = flight.queue();
    let bytes = body.bytes.len();
    let request = PutLogEvents { group: queue.group(), stream: queue.stream(), body };
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
