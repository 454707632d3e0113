//! The registry of targets: one [`Queue`] for each log group and stream that was pushed to, until it is forgotten.
//!
//! A target is forgotten when nothing of it is left to be sent, nothing was pushed to it for `target_idle_ms`, and nobody
//! holds it, as a host does with `cwl_target_open`. Its counters stay in the totals.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tokio::time::Instant;

use super::holders::Holders;
use super::queue::Queue;
use crate::health::Health;
use crate::outcome::EventCounts;

/// The map is cut into this many parts with a lock each, so that threads that look targets up rarely meet at one lock.
const SHARDS: usize = 16;

/// All queues of a sink.
#[derive(Debug, Default)]
pub struct Registry {
    /// Guards which targets there are, and whether more may come. Taken before the lock of a shard. Nothing awaits while
    /// holding it.
    targets: RwLock<Targets>,
    /// The same queues by the hash of their names, for look-ups. The names are those of the queues. Nothing awaits while
    /// holding the lock of a shard.
    shards: [RwLock<HashTable<Arc<Queue>>>; SHARDS],
    hasher: RandomState,
    /// The queues that may lose their oldest events, by the memory that they hold.
    pub holders: Holders,
}

#[derive(Debug, Default)]
struct Targets {
    /// The queues in the order in which their targets came, so that work on all of them has one order.
    in_order: Vec<Arc<Queue>>,
    /// The counters of the targets that were forgotten.
    forgotten: EventCounts,
    closed: bool,
}

/// All queues, and the counters of the targets that were forgotten.
#[derive(Debug)]
pub struct RegistrySnapshot {
    /// The queues, in the order in which their targets came.
    pub queues: Vec<Arc<Queue>>,
    /// The counters of the targets that were forgotten.
    pub forgotten: EventCounts,
}

/// The targets of a sink except one.
#[derive(Clone, Copy, Debug)]
pub struct OtherTargets {
    /// The number of other targets.
    pub count: usize,
    /// The number of other targets that fail.
    pub failing: usize,
}

impl Registry {
    /// The queue of a target, if there is one.
    pub fn get(&self, group: &str, stream: &str) -> Option<Arc<Queue>> {
        let hash = self.hash(group, stream);
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        shard.find(hash, |queue| queue.group() == group && queue.stream() == stream).cloned()
    }

    /// The queue of a target, created with `create` when there is none. `None` once the registry is closed.
    pub fn get_or_insert(
        &self,
        group: &str,
        stream: &str,
        create: impl FnOnce() -> Queue,
    ) -> Option<Arc<Queue>> {
        let mut targets = self.write();
        if targets.closed {
            return None;
        }
        if let Some(queue) = self.get(group, stream) {
            return Some(queue);
        }
        let queue = Arc::new(create());
        let hash = self.hash(group, stream);
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        shard.insert_unique(hash, queue.clone(), |queue| self.hash(queue.group(), queue.stream()));
        targets.in_order.push(queue.clone());
        Some(queue)
    }

    /// The queue of the same target for messages in the embedded metric format. `None` once the registry is closed and
    /// there was none before.
    pub fn emf_queue(&self, queue: &Queue) -> Option<Arc<Queue>> {
        // Held while the queue is created, so that the closer of all queues meets it.
        let targets = self.read();
        if targets.closed { queue.emf_queue().cloned() } else { Some(queue.emf_queue_or_new().clone()) }
    }

    /// Closes the registry: no target is added any more.
    pub fn close(&self) {
        self.write().closed = true;
    }

    /// All queues, and the counters of the targets that were forgotten.
    pub fn snapshot(&self) -> RegistrySnapshot {
        let targets = self.read();
        RegistrySnapshot { queues: targets.all(), forgotten: targets.forgotten }
    }

    /// Forgets the idle targets: those that nothing was pushed to after `used_by`.
    pub fn forget_idle(&self, used_by: Instant) {
        let mut targets = self.write();
        let Targets { in_order, forgotten, .. } = &mut *targets;
        in_order.retain(|queue| {
            let hash = self.hash(queue.group(), queue.stream());
            let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
            // Under this lock nobody can get hold of the queue who does not hold it already: the map has one reference
            // and this list another.
            let held = Arc::strong_count(queue) > 2;
            if held || !queue.is_idle(used_by) {
                return true;
            }
            forgotten.add(queue.counts().events);
            queue.emf_queue().inspect(|emf| forgotten.add(emf.counts().events));
            if let Ok(entry) = shard.find_entry(hash, |other| Arc::ptr_eq(other, queue)) {
                entry.remove();
            }
            false
        });
        in_order.shrink_to(2 * in_order.len());
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let twice = 2 * shard.len();
            shard.shrink_to(twice, |queue| self.hash(queue.group(), queue.stream()));
        }
        drop(targets);
        self.holders.forget_gone();
    }

    /// Counts the queues that match, up to `max`.
    pub fn count_up_to(&self, max: usize, matches: impl Fn(&Arc<Queue>) -> bool) -> usize {
        let targets = self.read();
        let both = targets.in_order.iter().flat_map(|queue| [Some(queue), queue.emf_queue()]);
        both.flatten().filter(|queue| matches(queue)).take(max).count()
    }

    /// Counts the targets except this one, and those of them that fail.
    pub fn others(&self, queue: &Queue) -> OtherTargets {
        let others = self.all().into_iter().filter(|other| !std::ptr::eq(&**other, queue));
        let failing: Vec<_> = others.map(|other| other.health() == Health::Failing).collect();
        OtherTargets { count: failing.len(), failing: failing.into_iter().filter(|failing| *failing).count() }
    }

    /// All queues, in the order in which their targets came.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.read().all()
    }

    fn hash(&self, group: &str, stream: &str) -> u64 {
        self.hasher.hash_one((group, stream))
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Arc<Queue>>> {
        // Other bits than those that the table of a shard uses: the lowest ones and the highest seven.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    fn read(&self) -> RwLockReadGuard<'_, Targets> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Targets> {
        self.targets.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Targets {
    fn all(&self) -> Vec<Arc<Queue>> {
        let both = |queue: &Arc<Queue>| [Some(queue.clone()), queue.emf_queue().cloned()];
        self.in_order.iter().flat_map(both).flatten().collect()
    }
}
