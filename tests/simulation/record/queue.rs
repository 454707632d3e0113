//! One queue of a target: the queue for text, or the queue for messages in the embedded metric format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use cwl_sink::target::Queue;
use tokio::time::Instant;

use super::{BatchRecord, Halving};
use crate::models::{BatchKey, BreakerModel};

/// See the module.
pub struct QueueRecord {
    /// The queue of the engine. It is gone when the engine has forgotten the target.
    pub engine_queue: Weak<Queue>,
    pub group: String,
    pub stream: String,
    pub emf: bool,
    /// The target sends one request at a time.
    pub one_at_a_time: bool,
    /// The target never has a fault of its own.
    pub is_healthy: bool,
    pub last_push_at: Option<Instant>,
    /// The timestamp of the last event that was pushed with one.
    pub last_timestamp_ms: Option<i64>,
    /// The stream or its group was not found, and may be created. The next attempt begins with that.
    pub missing: bool,
    /// The time of the first attempt that began with a creation, and whose batch was not known.
    pub unseen_since: Option<Instant>,
    /// The time of the last such attempt.
    pub unseen_last: Option<Instant>,
    /// Such an attempt may have been the last of its batch.
    pub may_be_final_unseen: bool,
    pub pieces: Vec<usize>,
    pub batches: BTreeMap<BatchKey, BatchRecord>,
    /// The batches that are not final.
    pub unfinished: BTreeSet<BatchKey>,
    /// The newest batch that was sent.
    pub newest_sent: Option<BatchKey>,
    /// Attempts under way.
    pub in_flight: usize,
    pub breaker: BreakerModel,
    /// The time at which the service last took a batch of the target.
    pub delivered_at: Option<Instant>,
    /// Refusals for an unknown reason in a row, without a batch that was taken in between.
    pub unknown_refusals: u32,
    /// The service refused something else than poison, so any event may be refused alone and dropped.
    pub may_drop_any: bool,
    /// A piece was pushed with an earlier timestamp than one before it.
    pub is_out_of_order: bool,
    /// The latest timestamp of a piece.
    pub newest_timestamp_ms: i64,
    /// The service could serve the last request.
    pub is_served: bool,
    /// What became of the last request.
    pub steadiness: Steadiness,
    /// The time in which the engine had a reason not to send to the target.
    pub excused: Duration,
    /// The same when the shutdown began.
    pub excused_before_close: Duration,
}

/// Tells if the last request of a target was answered in time, so that it may use any slot, or if it is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steadiness {
    Steady,
    OnTrial,
    /// The service cannot see which.
    Unknown,
}

impl QueueRecord {
    /// A queue that nothing was pushed to.
    pub fn new(group: &str, stream: &str, emf: bool, is_healthy: bool, one_at_a_time: bool) -> Self {
        QueueRecord {
            engine_queue: Weak::new(),
            group: group.into(),
            stream: stream.into(),
            emf,
            one_at_a_time,
            is_healthy,
            last_push_at: None,
            last_timestamp_ms: None,
            missing: false,
            unseen_since: None,
            unseen_last: None,
            may_be_final_unseen: false,
            pieces: Vec::new(),
            batches: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            newest_sent: None,
            in_flight: 0,
            breaker: BreakerModel::new(one_at_a_time),
            delivered_at: None,
            unknown_refusals: 0,
            may_drop_any: false,
            is_out_of_order: false,
            newest_timestamp_ms: i64::MIN,
            is_served: false,
            steadiness: Steadiness::OnTrial,
            excused: Duration::ZERO,
            excused_before_close: Duration::ZERO,
        }
    }

    /// The engine has forgotten the target, so the next push begins with a new queue.
    pub fn forget(&mut self) {
        (self.last_push_at, self.last_timestamp_ms, self.missing) = (None, None, false);
        (self.delivered_at, self.unknown_refusals) = (None, 0);
        self.is_served = false;
        (self.breaker, self.steadiness) = (BreakerModel::new(self.one_at_a_time), Steadiness::OnTrial);
    }

    /// The name of the queue in a message.
    pub fn name(&self) -> String {
        format!("{}/{}{}", self.group, self.stream, if self.emf { " (metrics)" } else { "" })
    }

    /// The batches that are not final.
    pub fn unfinished_batches(&self) -> impl Iterator<Item = &BatchRecord> {
        self.unfinished.iter().map(|key| &self.batches[key])
    }

    /// Returns true if a batch other than `key` failed before and may be waiting.
    pub fn has_other_failed(&self, key: BatchKey) -> bool {
        self.unfinished.iter().any(|other| *other != key && !self.batches[other].is_in_flight())
    }

    /// The key of the next batch that nothing of was sent yet.
    pub fn next_key(&self) -> BatchKey {
        let first =
            self.newest_sent.map_or(0, |newest| newest.first + self.batches[&newest].root.len() as u64);
        BatchKey { first, place: 0 }
    }

    /// The batch that certainly goes next. `None` if that cannot be told.
    pub fn certain_next(&self) -> Option<BatchKey> {
        let first = self.unfinished.first().filter(|_| self.one_at_a_time && !self.may_be_final_unseen)?;
        let batch = &self.batches[first];
        let is_certain = !batch.is_in_flight()
            && !batch.may_be_given_up()
            && !batch.is_set_aside
            && batch.halving == Halving::No;
        is_certain.then_some(*first)
    }

    /// Returns true if a batch was taken that was sent after the refusal of this one, so that the target is not at fault.
    pub fn is_proven(&self, batch: &BatchRecord) -> bool {
        let refused_at = batch.refused_at.filter(|_| batch.is_set_aside);
        refused_at.is_some_and(|refused_at| self.was_delivered_after(refused_at))
    }

    pub fn was_delivered_after(&self, at: Instant) -> bool {
        self.delivered_at.is_some_and(|delivered_at| delivered_at > at)
    }

    /// Returns true if a batch waits that goes only after another one was delivered.
    pub fn needs_delivery(&self) -> bool {
        self.unfinished_batches().any(|batch| batch.is_set_aside && !self.is_proven(batch))
    }
}
