//! An attempt to send a batch begins only when the batch may go out: in its order, not too late, and not while its
//! target or the endpoint waits.

use crate::models::{BatchId, BatchKey, Moment};
use crate::record::{BatchRecord, BatchState, Halving, QueueRecord};
use crate::world::World;

impl World {
    /// An attempt begins: checks that it may.
    pub fn check_attempt(&mut self, id: BatchId) -> Result<(), String> {
        self.check_attempt_of(id, None)
    }

    /// An attempt begins, or the batch of an attempt is seen that began before as one with the id `unseen`.
    pub fn check_attempt_of(&mut self, id: BatchId, unseen: Option<BatchId>) -> Result<(), String> {
        let now = self.tick();
        let config = &self.scenario.config;
        // A probe has its batch with it while it renews credentials, and the service cannot see that batch.
        let may_be_probing = now.renewed && !self.record.queues[id.queue].one_at_a_time;
        // Parts of a batch that was halved unsent may come after parts that belong behind them.
        let is_order_known = config.target_concurrency == 1 || !self.body_limit.is_known();
        let may_skip = self.may_drop_oldest(id.queue)
            || self.record.queues[id.queue].may_be_final_unseen
            || now.closing
            || self.counts.renewals_panicked > 0
            || may_be_probing;
        let endpoint = match unseen {
            Some(_) => Ok(()),
            None => self.endpoint.request_begins(id, now),
        };
        let record = &mut self.record;
        let queue = &mut record.queues[id.queue];
        let is_any_unsent = queue.pieces.iter().any(|piece| record.pieces[*piece].batch.is_none());
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
        queue.in_flight += usize::from(unseen.is_none());
        if queue.in_flight > config.target_concurrency {
            return Err(of_batch(format!("{} requests of the target at once", queue.in_flight)));
        }
        if !may_skip {
            if is_order_known {
                check_order(queue, id.key, now).map_err(of_batch)?;
            }
            check_others_first(queue, id.key, is_any_unsent, now).map_err(of_batch)?;
        }
        queue.newest_sent = queue.newest_sent.max(Some(id.key));
        match unseen {
            Some(unseen) => queue.breaker.is_seen(unseen.key, id.key),
            None => queue.breaker.begins(id.key, now).map_err(|what| format!("{name}: {what}"))?,
        }
        Ok(())
    }
}

/// Checks that the batches of a target, and the halves of a batch, go out one after the other, without a gap.
fn check_order(queue: &QueueRecord, key: BatchKey, now: Moment) -> Result<(), String> {
    let batch = &queue.batches[&key];
    let next = queue.next_key();
    // The batch of another attempt may not have been seen yet.
    let may_be_unseen = queue.unseen_since.is_some() && !queue.one_at_a_time;
    if batch.state == BatchState::New && key != next && !may_be_unseen {
        return Err(format!("went out while the events from {next} on were still to come"));
    }
    let newest = queue.newest_sent.filter(|newest| *newest > key);
    if let Some(newest) = newest.filter(|_| queue.one_at_a_time && !batch.was_set_aside) {
        return Err(format!("went out after batch {newest}, which was pushed later"));
    }
    let before = queue.unfinished.range(..key).find(|before| {
        let batch = &queue.batches[before];
        let lets_others_go = batch.may_need_memory || (batch.is_set_aside && !queue.is_proven(batch));
        let goes_first = !batch.may_be_given_up() && !lets_others_go && batch.halving == Halving::No;
        // With several requests at once, a batch may have been taken from its queue before the other came back.
        let is_next = batch.is_half && !batch.was_set_aside && !may_be_unseen && waits_before(batch, now);
        let waits = queue.one_at_a_time || is_next;
        goes_first && waits
    });
    match before {
        Some(before) => Err(format!("went out though batch {before} before it is not final")),
        None => Ok(()),
    }
}

/// Checks that a batch that was set aside lets others go first. `is_any_unsent`: events of the target were not sent
/// yet.
fn check_others_first(
    queue: &QueueRecord,
    key: BatchKey,
    is_any_unsent: bool,
    now: Moment,
) -> Result<(), String> {
    let batch = &queue.batches[&key];
    if !batch.is_set_aside || queue.is_proven(batch) {
        return Ok(());
    }
    let mut others = queue.unfinished.iter().filter(|other| **other != key);
    let first = others.find(|other| {
        let other = &queue.batches[other];
        // Without memory for its halves, the other batch was set aside too.
        let may_be_set_aside = other.is_set_aside || other.halving == Halving::Perhaps;
        !may_be_set_aside && !other.may_be_given_up() && waits_before(other, now)
    });
    match first {
        Some(other) => Err(format!("was refused for an unknown reason, and went out before batch {other}")),
        None if is_any_unsent && queue.one_at_a_time && !now.renewed => {
            Err("was refused for an unknown reason, and went out before events that were not sent yet".into())
        }
        None => Ok(()),
    }
}

/// Returns true if the batch waited before this moment.
fn waits_before(batch: &BatchRecord, now: Moment) -> bool {
    !batch.is_in_flight() && batch.last_answer_at.is_some_and(|at| at < now.at)
}
