//! Creates the groups and streams that are missing.
//!
//! One creation at a time for each group: the batch that met the missing group first creates it on its
//! worker, and the other targets of that group are parked, without a worker, until it is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::logs_api::ApiError;
use crate::queue::Queue;

const EXISTS: &str = "ResourceAlreadyExistsException";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// Which groups are being created, and who waits for each.
#[derive(Debug, Default)]
pub struct TargetManager {
    /// Guards the map. A queue's lock may be taken under it, never the other way; nothing awaits.
    creating: Mutex<HashMap<Box<str>, Vec<Arc<Queue>>>>,
}

impl TargetManager {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Arc<Queue>>>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to create in a group; dropping it lets those go on who waited.
#[derive(Debug)]
pub struct Creation {
    engine: Arc<Engine>,
    group: Box<str>,
}

impl Creation {
    /// Begins a creation in the batch's group, and gives the batch back with the right to create. When
    /// somebody else is at it, the batch is parked instead.
    pub fn begin(engine: &Arc<Engine>, flight: InFlight) -> Option<(InFlight, Creation)> {
        let queue = flight.queue().clone();
        let mut creating = engine.targets.lock();
        if let Some(waiting) = creating.get_mut(queue.group()) {
            flight.parked();
            waiting.push(queue);
            return None;
        }
        creating.insert(queue.group().into(), Vec::new());
        Some((flight, Creation { engine: engine.clone(), group: queue.group().into() }))
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let waiting = self.engine.targets.lock().remove(&self.group).unwrap_or_default();
        for queue in waiting {
            let effects = queue.unpark();
            self.engine.apply(&queue, effects);
        }
    }
}

/// Creates the stream; if its group is missing and may be created, the group and then the stream again.
pub async fn create_target(engine: &Engine, queue: &Queue) -> Result<(), ApiError> {
    let (group, stream) = (queue.group(), queue.stream());
    match existing(engine.api.create_log_stream(group, stream).await) {
        Err(error) if error.is(NOT_FOUND) && engine.config.create_log_group => {}
        done => return done.map(|()| info!("log stream {group}/{stream} created")),
    }
    let created = engine.api.create_log_group(group).await;
    let ours = created.is_ok();
    existing(created)?;
    if ours {
        info!("log group {group} created");
        if let Some(days) = engine.config.retention_days
            && let Err(error) = engine.api.put_retention_policy(group, days).await
        {
            warn!(
                "log group {group} was created, but its retention could not be set to {days} days: {error}"
            );
        }
    }
    existing(engine.api.create_log_stream(group, stream).await)
        .map(|()| info!("log stream {group}/{stream} created"))
}

/// Somebody else created it first: that is success.
fn existing(answer: Result<(), ApiError>) -> Result<(), ApiError> {
    match answer {
        Err(error) if error.is(EXISTS) => Ok(()),
        other => other,
    }
}
