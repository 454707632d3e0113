//! An attempt to send a batch begins only when the batch may go out: in its order, not too late, and not while its
//! target or the endpoint waits.

use crate::models::{BatchId, BatchKey};
use crate::record::QueueRecord;
use crate::world::World;

impl World {
    /// An attempt begins: checks that it may.
    pub fn check_attempt(&mut self, id: BatchId) -> Result<(), String> {
        let now = self.tick();
        let config = &self.scenario.config;
        // A probe has its batch with it while it renews credentials, and the service cannot see that batch.
        let may_be_probing = now.renewed && !self.record.queues[id.queue].one_at_a_time;
        let may_skip = self.may_drop_oldest(id.queue)
            || now.closing
            || self.counts.renewals_panicked > 0
            || may_be_probing;
        let endpoint = self.endpoint.request_begins(id, now);
        let queue = &mut self.record.queues[id.queue];
        let batch = queue.batches.get(&id.key).ok_or("no such batch")?;
        let kept = if batch.is_final() || batch.is_in_flight() {
            Err("sent though it was final or in flight".into())
        } else if batch.is_given_up() && !now.closing {
            Err(format!("tried again later than {:?} after its first attempt", config.retry_max_age))
        } else {
            Ok(())
        };
        let name = queue.name();
        let of_batch = |what: String| format!("{name}, batch {}: {what}", id.key);
        kept.map_err(of_batch)?;
        endpoint.map_err(|what| format!("{name}: {what}"))?;
        queue.in_flight += 1;
        if queue.in_flight > config.target_concurrency {
            return Err(of_batch(format!("{} requests of the target at once", queue.in_flight)));
        }
        check_order(queue, id.key, may_skip).map_err(of_batch)?;
        queue.breaker.begins(id.key, now).map_err(|what| format!("{name}: {what}"))
    }
}

/// Checks that the batches of a target go out one after the other, without a gap. `may_skip`: batches may be final,
/// or under way, without a trace at the service.
fn check_order(queue: &mut QueueRecord, key: BatchKey, may_skip: bool) -> Result<(), String> {
    let newest = queue.newest_sent.filter(|newest| *newest != key);
    if newest.is_none_or(|newest| key > newest) {
        let next = newest.map_or(0, |newest| newest + queue.batches[&newest].pieces.len() as u64);
        if queue.newest_sent != Some(key) && key != next && !may_skip {
            return Err(format!("went out while the events from {next} on were still to come"));
        }
        queue.newest_sent = Some(key);
    } else if queue.one_at_a_time {
        return Err(format!("went out after batch {newest:?}, which was pushed later"));
    }
    if let Some(newest) = newest.filter(|_| queue.one_at_a_time) {
        let before = &queue.batches[&newest];
        if !before.is_final() && !before.may_be_given_up() && !may_skip {
            return Err(format!("went out though batch {newest} before it is not final"));
        }
    }
    Ok(())
}
