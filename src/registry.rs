//! The registry of targets: one [`Queue`] for each log group and stream that was pushed to, until it is forgotten.
//!
//! A target is forgotten when nothing of it is left to be sent, nothing was pushed to it for `target_idle`, and nobody
//! holds it, as a host does with `cwl_target_open`. What it counted stays in the totals.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tokio::time::{Instant, sleep};

use crate::engine::Engine;
use crate::queue::{Counts, Queue};

/// The map is cut into so many parts with a lock each, so that threads which look targets up do not meet at one.
const SHARDS: usize = 16;

/// All queues of a sink.
#[derive(Debug, Default)]
pub struct Registry {
    /// Guards which targets there are, and whether more may come. Comes before a shard's lock. Nothing awaits while
    /// holding it.
    targets: RwLock<Targets>,
    /// The same queues by the hash of their names, for those who look one up. The names are the queues' own. Nothing
    /// awaits while holding the lock of one.
    shards: [RwLock<HashTable<Arc<Queue>>>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Targets {
    /// In the order in which they came, so that what is done to all of them has one order.
    in_order: Vec<Arc<Queue>>,
    /// What those counted that were forgotten.
    forgotten: Counts,
    closed: bool,
}

impl Registry {
    /// The target's queue, if there is one.
    pub fn get(&self, group: &str, stream: &str) -> Option<Arc<Queue>> {
        let hash = self.hash(group, stream);
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        shard.find(hash, |queue| queue.group() == group && queue.stream() == stream).cloned()
    }

    /// The target's queue, made with `make` when there is none; none at all once the registry is closed.
    pub fn get_or_insert(
        &self,
        group: &str,
        stream: &str,
        make: impl FnOnce() -> Queue,
    ) -> Option<Arc<Queue>> {
        let mut targets = self.write();
        if targets.closed {
            return None;
        }
        if let Some(queue) = self.get(group, stream) {
            return Some(queue);
        }
        let queue = Arc::new(make());
        let hash = self.hash(group, stream);
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        shard.insert_unique(hash, queue.clone(), |queue| self.hash(queue.group(), queue.stream()));
        targets.in_order.push(queue.clone());
        Some(queue)
    }

    /// The target's queue for messages in the embedded metric format; none once the registry is closed.
    pub fn emf_queue(&self, queue: &Queue) -> Option<Arc<Queue>> {
        // Held while it is made, so that whoever closes all queues meets it.
        let targets = self.read();
        if targets.closed { queue.emf_queue().cloned() } else { Some(queue.emf_queue_or_new().clone()) }
    }

    /// Lets no target be added any more.
    pub fn close(&self) {
        self.write().closed = true;
    }

    /// All queues there are now, and what those counted that were there before.
    pub fn all_and_forgotten(&self) -> (Vec<Arc<Queue>>, Counts) {
        let targets = self.read();
        (targets.all(), targets.forgotten)
    }

    /// Forgets the targets that are idle: nothing was pushed to them since then.
    pub fn forget_idle(&self, since: Instant) {
        let mut targets = self.write();
        let Targets { in_order, forgotten, .. } = &mut *targets;
        in_order.retain(|queue| {
            let hash = self.hash(queue.group(), queue.stream());
            let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
            // Under this lock, nobody who does not hold it already can come by it: it is in the map and in this list.
            let held = Arc::strong_count(queue) > 2;
            if held || !queue.is_idle(since) {
                return true;
            }
            forgotten.add(queue.counts().0);
            queue.emf_queue().inspect(|metrics| forgotten.add(metrics.counts().0));
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
    }

    /// How many queues are so; not counted beyond `most`.
    pub fn count(&self, most: usize, is: impl Fn(&Arc<Queue>) -> bool) -> usize {
        let targets = self.read();
        let both = targets.in_order.iter().flat_map(|queue| [Some(queue), queue.emf_queue()]);
        both.flatten().filter(|queue| is(queue)).take(most).count()
    }

    /// All queues there are now, in the order in which their targets came.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.read().all()
    }

    fn hash(&self, group: &str, stream: &str) -> u64 {
        self.hasher.hash_one((group, stream))
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Arc<Queue>>> {
        // Not the bits by which a shard's own table goes: the lowest, and the highest seven.
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
