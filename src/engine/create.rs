//! The creation of groups and streams that are missing.
//!
//! Streams are created side by side, at a learned pace. One `CreateLogGroup` at a time is out for a group. Other targets of
//! the group are parked meanwhile, without a slot.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::cut_short::{NotTaken, unless_cut_short};
use super::group_creations::{GroupState, NotBegun};
use super::in_flight::InFlight;
use super::permit::Permit;
use super::shared::Shared;
use crate::schedule::service_errors::{Verdict, classify, may_be_clock};
use crate::service::{ApiError, NewGroup};

const EXISTS: &str = "ResourceAlreadyExistsException";

/// The end of a creation.
#[derive(Debug)]
pub(super) enum Creation {
    /// The batch can be sent.
    Done(InFlight),
    /// The batch is parked. Its next attempt begins with the creation of the stream.
    Parked,
    /// The creation failed.
    Failed(InFlight, NotTaken),
}

/// Creates the stream. When its group is missing and may be created, creates the group and then the stream.
pub(super) async fn create_target(shared: &Arc<Shared>, permit: &mut Permit, flight: InFlight) -> Creation {
    let flight = match create_stream(shared, permit, flight).await {
        Creation::Failed(flight, NotTaken::Failed(error))
            if classify(&error) == Verdict::Create && shared.config.create_log_group =>
        {
            permit.on_answer();
            flight
        }
        end => return end,
    };
    match create_group(shared, permit, flight).await {
        Creation::Done(flight) => create_stream(shared, permit, flight).await,
        end => end,
    }
}

async fn create_stream(shared: &Arc<Shared>, permit: &mut Permit, flight: InFlight) -> Creation {
    let queue = flight.queue().clone();
    // The probe of the endpoint is waited for by all targets, so it does not wait.
    if !queue.take_creation_turn() && !permit.is_probe() && !shared.creation_pace.admits(Instant::now()) {
        flight.wait_for_creation_pace(None);
        return Creation::Parked;
    }
    let (group, stream) = (queue.group(), queue.stream());
    let sent_at = Instant::now();
    permit.on_sent(0);
    let mut answer = unless_cut_short(permit, shared.api.create_log_stream(group, stream)).await;
    let is_clock = matches!(&answer, Err(NotTaken::Failed(error)) if may_be_clock(error));
    if is_clock && permit.renews_credentials() {
        answer = unless_cut_short(permit, shared.api.create_log_stream(group, stream)).await;
    }
    match answer {
        Err(not_taken @ (NotTaken::CutShort | NotTaken::NoMemory)) => Creation::Failed(flight, not_taken),
        Err(NotTaken::Failed(error)) if !error.is(EXISTS) => refused(shared, permit, flight, error, sent_at),
        answer => {
            permit.on_answer();
            shared.creation_pace.on_answer();
            queue.set_missing(false);
            if answer.is_ok() {
                info!("log stream {group}/{stream} created");
            }
            if shared.creations.lock().on_found(group) {
                shared.owed_settings.add(group);
            }
            Creation::Done(flight)
        }
    }
}

/// The stream was not created.
fn refused(
    shared: &Shared,
    permit: &mut Permit,
    flight: InFlight,
    error: ApiError,
    sent_at: Instant,
) -> Creation {
    // Creations have a quota of their own: targets whose stream exists need not slow down.
    if classify(&error) == Verdict::Throttle {
        shared.stats.count_throttled_request();
        permit.on_answer();
        shared.creation_pace.on_throttled(sent_at, Instant::now());
        flight.wait_for_creation_pace(Some(&error));
        return Creation::Parked;
    }
    if !error.is_unanswered() {
        shared.creation_pace.on_answer();
    }
    Creation::Failed(flight, NotTaken::Failed(error))
}

/// The right to create a group. Dropping it lets the parked queues of the group continue.
#[derive(Debug)]
struct GroupCreation {
    shared: Arc<Shared>,
    group: Box<str>,
}

impl GroupCreation {
    /// Begins the creation of the batch's group, and gives the batch back with the right to create. When another attempt has
    /// that right, the batch is parked instead.
    fn begin(shared: &Arc<Shared>, flight: InFlight) -> Result<(InFlight, GroupCreation), Box<Creation>> {
        let queue = flight.queue().clone();
        let mut creations = shared.creations.lock();
        match creations.begin(queue.group(), Instant::now()) {
            Ok(()) => {}
            Err(NotBegun::Refused(error)) => {
                return Err(Creation::Failed(flight, NotTaken::Failed(error)).into());
            }
            Err(NotBegun::UnderWay(parked)) => {
                if flight.park() {
                    parked.push(queue);
                }
                return Err(Creation::Parked.into());
            }
        }
        drop(creations);
        Ok((flight, GroupCreation { shared: shared.clone(), group: queue.group().into() }))
    }
}

impl Drop for GroupCreation {
    fn drop(&mut self) {
        let parked = self.shared.creations.lock().end(&self.group);
        for queue in parked {
            let effects = queue.unpark();
            self.shared.apply(&queue, effects);
        }
    }
}

async fn create_group(shared: &Arc<Shared>, permit: &mut Permit, flight: InFlight) -> Creation {
    let (flight, creation) = match GroupCreation::begin(shared, flight) {
        Ok(begun) => begun,
        Err(end) => return *end,
    };
    let name = flight.queue().group();
    permit.on_sent(0);
    let answer = unless_cut_short(permit, shared.api.create_log_group(NewGroup { name })).await;
    let answer = match answer {
        Ok(()) => Ok(GroupState::Created),
        Err(NotTaken::Failed(error)) if error.is(EXISTS) => Ok(GroupState::Existed),
        Err(NotTaken::Failed(error)) => Err(error),
        Err(not_taken) => return Creation::Failed(flight, not_taken),
    };
    if shared.creations.lock().on_answer(name, &answer) {
        shared.owed_settings.add(name);
    }
    drop(creation);
    match answer {
        Ok(state) => {
            permit.on_answer();
            if state == GroupState::Created {
                info!("log group {name} created");
            }
            Creation::Done(flight)
        }
        Err(error) => Creation::Failed(flight, NotTaken::Failed(error)),
    }
}
