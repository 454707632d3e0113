//! The creation of groups and streams that are missing.
//!
//! One creation at a time runs in each group. The attempt that met the missing group first creates it. Other targets of the
//! group are parked, without a slot, until that is done.

use std::sync::Arc;

use tracing::{info, warn};

use super::in_flight::InFlight;
use super::shared::Shared;
use crate::service::{ApiError, NewGroup};
use crate::target::Queue;

const EXISTS: &str = "ResourceAlreadyExistsException";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// The right to create in a group. Dropping it lets the parked queues continue.
#[derive(Debug)]
pub(super) struct Creation {
    shared: Arc<Shared>,
    group: Box<str>,
}

impl Creation {
    /// Begins a creation in the group of the batch, and gives the batch back with the right to create. When another
    /// attempt has that right, the batch is parked instead.
    pub(super) fn begin(shared: &Arc<Shared>, flight: InFlight) -> Option<(InFlight, Creation)> {
        let queue = flight.queue().clone();
        let mut parked = shared.creations.lock();
        if let Some(waiting) = parked.get_mut(queue.group()) {
            flight.park();
            waiting.push(queue);
            return None;
        }
        parked.insert(queue.group().into(), Vec::new());
        Some((flight, Creation { shared: shared.clone(), group: queue.group().into() }))
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let waiting = self.shared.creations.lock().remove(&self.group).unwrap_or_default();
        for queue in waiting {
            let effects = queue.unpark();
            self.shared.apply(&queue, effects);
        }
    }
}

/// Creates the stream. When its group is missing and may be created, creates the group and then the stream.
pub(super) async fn create_target(shared: &Shared, queue: &Queue) -> Result<(), ApiError> {
    let (group, stream) = (queue.group(), queue.stream());
    match existing_is_ok(shared.api.create_log_stream(group, stream).await) {
        Err(error) if error.is(NOT_FOUND) && shared.config.create_log_group => {}
        done => return done.map(|()| info!("log stream {group}/{stream} created")),
    }
    let created = shared.api.create_log_group(NewGroup { name: group }).await;
    let is_ours = created.is_ok();
    existing_is_ok(created)?;
    if is_ours {
        info!("log group {group} created");
        if let Some(days) = shared.config.retention_days
            && let Err(error) = shared.api.put_retention_policy(group, days).await
        {
            warn!(
                "log group {group} was created, but its retention could not be set to {days} days: {error}"
            );
        }
    }
    existing_is_ok(shared.api.create_log_stream(group, stream).await)
        .map(|()| info!("log stream {group}/{stream} created"))
}

/// Takes "it exists already" for success: somebody else has created it first.
fn existing_is_ok(answer: Result<(), ApiError>) -> Result<(), ApiError> {
    match answer {
        Err(error) if error.is(EXISTS) => Ok(()),
        other => other,
    }
}
