//! The groups in which something is being created.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::lock;
use crate::target::Queue;

/// The groups in which something is being created, and the queues that are parked for each.
#[derive(Debug, Default)]
pub(super) struct GroupCreations {
    /// Guards the map. The lock of a queue may be taken under it, never the other way. Nothing awaits while holding it.
    parked: Mutex<HashMap<Box<str>, Vec<Arc<Queue>>>>,
}

impl GroupCreations {
    /// Locks the map from a group to its parked queues.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Arc<Queue>>>> {
        lock(&self.parked)
    }
}
