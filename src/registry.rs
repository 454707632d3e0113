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
        let streams = targets.groups.entry(group.into()).or_default();
        Some(streams.entry(stream.into()).or_insert_with(|| Arc::new(make())).clone())
    }

    /// Lets no target be added any more.
    pub fn close(&self) {
        self.targets.write().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    /// All queues there are now.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.groups.values().flat_map(HashMap::values).cloned().collect()
    }
}
