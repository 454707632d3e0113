//! The registry of targets: one [`Queue`] for each log group and stream that was pushed to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::queue::Queue;

type Streams = HashMap<Box<str>, Arc<Queue>>;

/// All queues of a sink.
#[derive(Debug, Default)]
pub struct Registry {
    /// Guards the map of targets and whether it still grows. Nothing awaits while holding it.
    targets: RwLock<Targets>,
}

#[derive(Debug, Default)]
struct Targets {
    groups: HashMap<Box<str>, Streams>,
    /// The same queues in the order in which they came, so that what is done to all of them has one order.
    in_order: Vec<Arc<Queue>>,
    closed: bool,
}

impl Registry {
    /// The target's queue, if there is one.
    pub fn get(&self, group: &str, stream: &str) -> Option<Arc<Queue>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.groups.get(group)?.get(stream).cloned()
    }

    /// The target's queue, made with `make` when there is none; none at all once the registry is closed.
    pub fn get_or_insert(
        &self,
        group: &str,
        stream: &str,
        make: impl FnOnce() -> Queue,
    ) -> Option<Arc<Queue>> {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if targets.closed {
            return None;
        }
        if let Some(queue) = targets.groups.get(group).and_then(|streams| streams.get(stream)) {
            return Some(queue.clone());
        }
        let queue = Arc::new(make());
        targets.groups.entry(group.into()).or_default().insert(stream.into(), queue.clone());
        targets.in_order.push(queue.clone());
        Some(queue)
    }

    /// The target's queue for messages in the embedded metric format; none once the registry is closed.
    pub fn emf_queue(&self, queue: &Queue) -> Option<Arc<Queue>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        if targets.closed { queue.emf_queue().cloned() } else { Some(queue.emf_queue_or_new().clone()) }
    }

    /// Lets no target be added any more.
    pub fn close(&self) {
        self.targets.write().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    /// All queues there are now, in the order in which their targets came.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let both = |queue: &Arc<Queue>| [Some(queue.clone()), queue.emf_queue().cloned()];
        targets.in_order.iter().flat_map(both).flatten().collect()
    }
}
