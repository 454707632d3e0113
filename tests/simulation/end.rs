//! What must hold when a run is over: every event accounted for, with the reason that is its own.

use std::time::Duration;

use cwl_sink::outcome::{Outcome, Reason};

use crate::books::{Batch, Event};
use crate::driver::Driver;
use crate::models::SLACK;
use crate::scenario::{Acks, Ending};
use crate::world::World;

/// The runtime is gone, and the engine was stopped.
pub fn check(driver: &mut Driver) -> Result<(), String> {
    driver.fetch(usize::MAX)?;
    driver.check()?;
    let snapshot = driver.engine.snapshot();
    if snapshot.pending_events > 0 {
        return Err(format!("{} events have no outcome at the end", snapshot.pending_events));
    }
    if snapshot.buffered_bytes > 0 {
        return Err(format!(
            "{} bytes are held at the end, and nothing that holds them",
            snapshot.buffered_bytes
        ));
    }
    if snapshot.requests_in_flight > 0 {
        return Err(format!("{} requests are in flight at the end", snapshot.requests_in_flight));
    }
    let world = driver.service.world();
    let books = &world.books;
    if world.scenario.ending == Ending::Healed {
        let dropped = books.pieces.iter().any(|piece| !piece.confirmed) as u64;
        let given_up = snapshot.dropped_events + snapshot.abandoned_events + snapshot.rejected_events;
        if dropped > given_up {
            return Err("everything was healed, and an event neither delivered nor given up".into());
        }
    }
    let asked_from_the_start = !matches!(world.scenario.acks, Acks::Never | Acks::Midway);
    for (token, event) in books.events.iter().enumerate() {
        let fault = match &event.ack {
            None if event.ack_owed => Some("was accepted after the host asked for acks, and has none".into()),
            None => None,
            Some((reason, code)) => why_not(&world, event, *reason, code.as_deref()),
        };
        let batches: Vec<_> = batches(&world, event).collect();
        let counts_wrong = event.ack.is_none() && asked_from_the_start;
        if let Some(fault) = fault.or(counts_wrong.then(|| "has no ack".into())) {
            let piece = &books.pieces[event.pieces.start];
            let name = books.lines[piece.queue].name();
            return Err(format!("event {token} of {name} {fault} ({piece:?}, {batches:?})"));
        }
    }
    Ok(())
}

fn batches<'a>(world: &'a World, event: &Event) -> impl Iterator<Item = &'a Batch> {
    let pieces = &world.books.pieces[event.pieces.clone()];
    pieces.iter().filter_map(|piece| world.books.lines[piece.queue].batches.get(&piece.batch?))
}

/// What speaks against the event having ended so.
fn why_not(world: &World, event: &Event, reason: Reason, code: Option<&str>) -> Option<String> {
    let config = &world.scenario.config;
    let pieces = &world.books.pieces[event.pieces.clone()];
    let confirmed = pieces.iter().all(|piece| piece.confirmed);
    let line = pieces[0].queue;
    let fault = |what: &str| Some(format!("ended as {reason:?}, {what}"));
    let any_batch = |holds: &dyn Fn(&Batch) -> bool| batches(world, event).any(holds);
    if confirmed != (reason.outcome() == Outcome::Delivered) {
        return fault(if confirmed {
            "and the service said that it took it"
        } else {
            "and the service never said so"
        });
    }
    match reason {
        Reason::None => pieces
            .iter()
            .any(|piece| piece.held == 0)
            .then(|| "ended as delivered, and the service does not hold it".into()),
        Reason::TooOld | Reason::Expired | Reason::TooNew => {
            if pieces.iter().any(|piece| piece.refused == Some(reason)) {
                return None;
            }
            fault("and was not refused so")
        }
        Reason::NotRetryable => {
            if any_batch(&|batch| batch.never && batch.last_code.as_deref() == code) {
                return None;
            }
            fault("and the service said no such thing")
        }
        Reason::TriedTooLong => {
            let tried_for =
                |batch: &Batch| batch.last_answer.map_or(Duration::MAX, |at| at - batch.first_attempt);
            // It is given up when its next attempt would come too late. One that could not be sent for want of
            // credentials may have been failed by a renewal, which its own last answer knows nothing of.
            let slack = if world.renewals > 0 { Duration::from_secs(60) } else { Duration::ZERO };
            if any_batch(&|batch| {
                tried_for(batch) + batch.last_wait.max(slack) > config.retry_max_age || slack > Duration::ZERO
            }) {
                return None;
            }
            fault(&format!("before it was tried for {:?}", config.retry_max_age))
        }
        Reason::Overflow => {
            let unsent = batches(world, event).filter(|batch| batch.is_final).count() < pieces.len();
            if let Some(older) = older_left(world, event) {
                return fault(&format!(
                    "and event {older} of its target, which was pushed before, only went out later"
                ));
            }
            if world.overflows(line) && unsent {
                return None;
            }
            fault("and nothing had to make room")
        }
        Reason::Shutdown => {
            let Some(closed_at) = world.closed_at else {
                return if world.stopped { None } else { fault("before the shutdown") };
            };
            if world.scenario.ending == Ending::Healed {
                return fault("though all could be sent");
            }
            // Whatever is left gets one attempt, unless the endpoint was paused or the time-out came first.
            let tried = batches(world, event).filter(|batch| batch.last_attempt >= closed_at).count();
            if world.closed_in_time && world.paused == 0 && tried == 0 {
                return fault("without an attempt since the shutdown began");
            }
            // What waited for a retry goes first, and at once. One that found its target missing may wait for others.
            let waited = |batch: &Batch| {
                let found = batch.last_code.as_deref() != Some("ResourceNotFoundException");
                found && batch.last_answer.is_some_and(|at| at < closed_at) && batch.last_attempt < closed_at
            };
            let free = world.free_since_close(line) > SLACK;
            if free && config.target_concurrency == 1 && world.paused == 0 && any_batch(&waited) {
                return fault("and its retry was not made when the shutdown began");
            }
            None
        }
        Reason::InternalError => {
            if any_batch(&|batch| batch.panicked) || world.renewals_panicked > 0 {
                return None;
            }
            fault("and nothing panicked")
        }
    }
}

/// An older event of the target that waited while this one made room.
fn older_left(world: &World, event: &Event) -> Option<usize> {
    // While credentials are renewed for a batch it is under way, which does not show yet.
    if world.renewals > 0 {
        return None;
    }
    let first = &world.books.pieces[event.pieces.start];
    let line = &world.books.lines[first.queue];
    let older = line.pieces[..first.number as usize].iter().map(|piece| &world.books.pieces[*piece]);
    let waited = |batch: &Batch| Some(batch.first_attempt) > event.acked_at;
    let left = |piece: &&crate::books::Piece| piece.batch.is_some_and(|batch| waited(&line.batches[&batch]));
    older.filter(left).map(|piece| piece.event).next()
}
