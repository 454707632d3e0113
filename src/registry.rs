//! The registry of targets: one [`Queue`] for each log group and stream that was pushed to, until it is forgotten.
//!
//! A target is forgotten when nothing of it is left to be sent, nothing was pushed to it for `target_idle`, and nobody
//! holds it, as a host does with `cwl_target_open`. What it counted stays in the totals.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::{Instant, sleep};

use crate::engine::Engine;
use crate::queue::{Counts, Queue};

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
    /// What those counted that were forgotten.
    forgotten: Counts,
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

    /// All queues there are now, and what those counted that were there before.
    pub fn all_and_forgotten(&self) -> (Vec<Arc<Queue>>, Counts) {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        (targets.all(), targets.forgotten)
    }

    /// Forgets the targets that are idle: nothing was pushed to them since then.
    pub fn forget_idle(&self, since: Instant) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let Targets { groups, in_order, forgotten, .. } = &mut *targets;
        in_order.retain(|queue| {
            // Under this lock, nobody who does not hold it already can come by it: it is in the map and in this list.
            let held = Arc::strong_count(queue) > 2;
            if held || !queue.is_idle(since) {
                return true;
            }
            forgotten.add(queue.counts().0);
            queue.emf_queue().inspect(|metrics| forgotten.add(metrics.counts().0));
            if let Some(streams) = groups.get_mut(queue.group()) {
                streams.remove(queue.stream());
                if streams.is_empty() {
                    groups.remove(queue.group());
                }
            }
            false
        });
        in_order.shrink_to(2 * in_order.len());
    }

    /// How many queues are so; not counted beyond `most`.
    pub fn count(&self, most: usize, is: impl Fn(&Arc<Queue>) -> bool) -> usize {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let both = targets.in_order.iter().flat_map(|queue| [Some(queue), queue.emf_queue()]);
        both.flatten().filter(|queue| is(queue)).take(most).count()
    }

    /// All queues there are now, in the order in which their targets came.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.all()
    }
}

impl Targets {
    fn all(&self) -> Vec<Arc<Queue>> {
        let both = |queue: &Arc<Queue>| [Some(queue.clone()), queue.emf_queue().cloned()];
        self.in_order.iter().flat_map(both).flatten().collect()
    }
}

/// The task that forgets idle targets: until it is cancelled with the runtime. It looks four times in the time after
/// which a target is idle.
pub async fn forget_idle_targets(engine: Arc<Engine>) {
    let idle = engine.config.target_idle;
    loop {
        sleep(idle / 4).await;
        if let Some(since) = Instant::now().checked_sub(idle) {
            engine.registry.forget_idle(since);
        }
    }
}
