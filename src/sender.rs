//! One attempt at one batch, and what its answer means.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::logs_api::{ApiError, Failure, PutLogEvents, RejectedEvents};
use crate::retry::{Backoff, Verdict, classify, may_be_the_clock};
use crate::target_manager::{Creation, create_target};
use crate::turn::Turn;

/// Sends the batch once. Where its group or stream is missing and may be created, creates it and sends again
/// at once. When the turn is cancelled meanwhile, that counts as no answer.
pub async fn attempt(engine: Arc<Engine>, mut turn: Turn, mut flight: InFlight) {
    let first = match turn.is_probe() {
        true => probe(&engine, &turn, &mut flight).await,
        false => put(&engine, &turn, &mut flight).await,
    };
    let error = match first {
        Ok(rejected) => return delivered(turn, flight, rejected),
        Err(error) => error,
    };
    let may_create = engine.config.create_log_stream && !flight.queue().recently_created(Instant::now());
    if classify(&error) != Verdict::Create || !may_create {
        return after_failure(&engine, turn, flight, &error);
    }
    // The endpoint answered; nobody has to wait for what follows.
    turn.answered();
    let queue = flight.queue().clone();
    let Some((mut flight, creation)) = Creation::begin(&engine, flight) else { return };
    turn.sends_again();
    let created = or_cancelled(&turn, create_target(&engine, &queue)).await;
    if created.is_ok() {
        queue.note_created(Instant::now());
    }
    drop(creation);
    match created {
        Ok(()) => {
            turn.sends_again();
            match put(&engine, &turn, &mut flight).await {
                Ok(rejected) => delivered(turn, flight, rejected),
                Err(error) => after_failure(&engine, turn, flight, &error),
            }
        }
        // What is wrong with a create is not wrong with the events: they are kept, whatever it is.
        Err(error) => match classify(&error) {
            Verdict::Drop | Verdict::Delivered => flight.failed(Backoff::Short, &error),
            // Creations have a quota of their own: whoever sends to what is there need not slow down for it.
            Verdict::Throttle => {
                engine.stats.request_throttled();
                turn.answered();
                flight.failed(Backoff::Long, &error);
            }
            _ => after_failure(&engine, turn, flight, &error),
        },
    }
}

/// What comes first: the answer, or the end of the turn.
async fn or_cancelled<T>(
    turn: &Turn,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = turn.cancelled() => Err(ApiError {
            failure: Failure::TimedOut,
            code: None,
            status: None,
            message: "cancelled, since too many requests were slow at once".into(),
        }),
    }
}

/// The endpoint's probe: with credentials that were looked for anew. The SDK learns how wrong the clock is from the
/// answer to the first request that it makes with them, so one that fails for the clock's sake is made once more.
async fn probe(engine: &Engine, turn: &Turn, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    or_cancelled(turn, engine.api.renew_credentials()).await?;
    match put(engine, turn, flight).await {
        Err(error) if may_be_the_clock(&error) => put(engine, turn, flight).await,
        answer => answer,
    }
}

fn delivered(mut turn: Turn, flight: InFlight, rejected: RejectedEvents) {
    turn.delivered();
    flight.delivered(rejected);
}

/// Blames who is to blame: the endpoint, which then pauses or slows everybody, or the target, which then waits.
fn after_failure(engine: &Engine, mut turn: Turn, flight: InFlight, error: &ApiError) {
    let verdict = classify(error);
    match verdict {
        Verdict::Pause => {
            let until = turn.paused(error);
            return flight.returned(until, error);
        }
        Verdict::Throttle => {
            engine.stats.request_throttled();
            return match turn.throttled() {
                true => flight.returned(Instant::now(), error),
                false => flight.failed(Backoff::Long, error),
            };
        }
        _ if matches!(error.failure, Failure::TimedOut | Failure::Connection) => {
            if let Some(until) = turn.unanswered(error) {
                return flight.returned(until, error);
            }
        }
        _ => turn.answered(),
    }
    match verdict {
        Verdict::Delivered => flight.delivered(RejectedEvents::default()),
        Verdict::Drop => flight.dropped(error),
        Verdict::Retry(backoff) => flight.failed(backoff, error),
        Verdict::Create | Verdict::Pause | Verdict::Throttle => flight.failed(Backoff::Short, error),
    }
}

async fn put(engine: &Engine, turn: &Turn, flight: &mut InFlight) -> Result<RejectedEvents, ApiError> {
    let Some(body) = flight.begin_attempt() else { return Ok(RejectedEvents::default()) };
    let queue = flight.queue();
    let bytes = body.bytes.len();
    let request = PutLogEvents { group: queue.group(), stream: queue.stream(), body, emf: queue.is_emf() };
    let _request = engine.stats.request(bytes);
    let answer = or_cancelled(turn, engine.api.put_log_events(request)).await;
    match &answer {
        Ok(_) => debug!("{}: {bytes} bytes delivered", queue.name()),
        Err(error) => {
            engine.stats.request_failed();
            debug!("{}: {bytes} bytes not taken: {error}", queue.name());
        }
    }
    answer
}
