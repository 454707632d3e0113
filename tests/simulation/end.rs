//! The promises that must hold when a run is over: every event has an outcome, for a reason that is true.

use std::time::Duration;

use cwl_sink::outcome::{Outcome, Reason};

use crate::driver::Driver;
use crate::models::SLACK;
use crate::record::{AckRecord, BatchRecord, BatchState, EventRecord, FinalState, PieceRecord, QueueRecord};
use crate::scenario::RunEnd;
use crate::world::World;

/// Checks a run whose runtime is gone and whose engine was stopped.
pub fn check(driver: &mut Driver) -> Result<(), String> {
    driver.fetch_acks(usize::MAX)?;
    driver.check()?;
    let snapshot = driver.engine.snapshot();
    if snapshot.pending_events > 0 {
        return Err(format!("{} events have no outcome at the end", snapshot.pending_events));
    }
    if snapshot.buffered_bytes > 0 {
        return Err(format!("{} bytes are counted as held at the end", snapshot.buffered_bytes));
    }
    if snapshot.requests_in_flight > 0 {
        return Err(format!("{} requests are in flight at the end", snapshot.requests_in_flight));
    }
    let world = driver.service.world();
    let record = &world.record;
    if world.scenario.end == RunEnd::Healed && !world.shutdown.is_blocked {
        let is_any_undelivered = record.pieces.iter().any(|piece| !piece.confirmed);
        let given_up = snapshot.dropped_events + snapshot.abandoned_events + snapshot.rejected_events;
        if is_any_undelivered && given_up == 0 {
            return Err("all faults ended, and an event was neither delivered nor given up".into());
        }
    }
    check_retentions(&world, snapshot.settings_owed)?;
    for (token, event) in record.events.iter().enumerate() {
        if let Some(fault) = fault_of(&world, event) {
            let piece = &record.pieces[event.pieces.start];
            let name = record.queues[piece.queue].name();
            let batches: Vec<_> = batches(&world, event).collect();
            return Err(format!("event {token} of {name} {fault} ({piece:?}, {batches:?})"));
        }
    }
    Ok(())
}

/// Each group that the engine created has its retention at the end of a run whose faults ended.
fn check_retentions(world: &World, owed: u64) -> Result<(), String> {
    let is_healed = world.scenario.end == RunEnd::Healed && !world.shutdown.is_blocked;
    let Some(days) = world.scenario.config.retention_days.filter(|_| is_healed) else { return Ok(()) };
    let has_retention = |group: &&String| world.resources.groups.get(*group) == Some(&Some(days));
    match world.creations.own_groups.iter().find(|group| !has_retention(group)) {
        Some(group) => Err(format!("the retention of {group}, which the engine created, was never set")),
        None if owed > 0 => Err(format!("{owed} settings are owed after all faults ended")),
        None => Ok(()),
    }
}

/// The fault of the outcome of an event, if there is one.
fn fault_of(world: &World, event: &EventRecord) -> Option<String> {
    match &event.ack {
        Some(ack) => {
            let what = EventCheck { world, event }.fault_of(ack)?;
            Some(format!("ended as {:?}, {what}", ack.reason))
        }
        None if event.ack_owed => Some("was accepted after the host asked for acks, and has none".into()),
        None if world.scenario.acks.is_asked_from_start() => Some("has no ack".into()),
        None => None,
    }
}

fn pieces<'a>(world: &'a World, event: &EventRecord) -> &'a [PieceRecord] {
    &world.record.pieces[event.pieces.clone()]
}

/// The batches of an event that were sent.
fn batches<'a>(world: &'a World, event: &EventRecord) -> impl Iterator<Item = &'a BatchRecord> {
    let queues = &world.record.queues;
    pieces(world, event).iter().filter_map(|piece| queues[piece.queue].batches.get(&piece.batch?))
}

/// Checks the reason of one event.
struct EventCheck<'a> {
    world: &'a World,
    event: &'a EventRecord,
}

impl EventCheck<'_> {
    fn pieces(&self) -> &[PieceRecord] {
        pieces(self.world, self.event)
    }

    fn any_batch(&self, matches: impl FnMut(&BatchRecord) -> bool) -> bool {
        batches(self.world, self.event).any(matches)
    }

    fn is_any_queue(&self, matches: impl Fn(&QueueRecord) -> bool) -> bool {
        self.pieces().iter().any(|piece| matches(&self.world.record.queues[piece.queue]))
    }

    /// The fault of the reason in an ack, if there is one.
    fn fault_of(&self, ack: &AckRecord) -> Option<String> {
        let is_confirmed = self.pieces().iter().all(|piece| piece.confirmed);
        let is_delivered = ack.reason.outcome() == Outcome::Delivered;
        match (is_confirmed, is_delivered) {
            (true, false) => return Some("and the service said that it took the event".into()),
            (false, true) => return Some("and the service never said that it took the event".into()),
            _ => {}
        }
        match ack.reason {
            Reason::None => {
                let is_any_missing = self.pieces().iter().any(|piece| piece.taken == 0);
                is_any_missing.then(|| "and the service does not have it".into())
            }
            Reason::TooOld | Reason::Expired | Reason::TooNew => {
                let was_refused = self.pieces().iter().any(|piece| piece.refused == Some(ack.reason));
                (!was_refused).then(|| "and was not refused for that".into())
            }
            Reason::NotRetryable => {
                let is_refused = |batch: &BatchRecord| {
                    batch.state == BatchState::Final(FinalState::NotRetryable) && batch.last_code == ack.code
                };
                if !self.any_batch(is_refused) {
                    return Some("and the service said no such thing".into());
                }
                let may_drop_any = self.world.record.queues[self.pieces()[0].queue].may_drop_any;
                (!self.event.is_poison && !may_drop_any)
                    .then(|| "though only others of its batch were refused".into())
            }
            Reason::TriedTooLong => self.fault_of_tried_too_long(),
            Reason::Overflow => self.fault_of_overflow(ack),
            Reason::Shutdown => self.fault_of_shutdown(),
            Reason::InternalError => {
                let is_cut_off = |batch: &BatchRecord| batch.state == BatchState::Final(FinalState::CutOff);
                let any_panic = self.any_batch(is_cut_off)
                    || self.is_any_queue(|queue| queue.may_be_final_unseen)
                    || self.world.counts.renewals_panicked > 0;
                (!any_panic).then(|| "and nothing panicked".into())
            }
        }
    }

    /// A batch is given up when its next attempt would come too late.
    fn fault_of_tried_too_long(&self) -> Option<String> {
        // A renewal of credentials may have failed with the batch, or there was no memory to halve it before it is sent.
        // The service does not know that.
        let is_unseen = self.world.counts.renewals > 0 || self.world.may_wait_for_memory_unseen();
        if is_unseen && self.any_batch(|_| true) {
            return None;
        }
        if self.is_any_queue(|queue| queue.unseen_since.is_some()) {
            return None;
        }
        let max_age = self.world.scenario.config.retry_max_age;
        let is_too_late = |batch: &BatchRecord| {
            let tried_for = batch.last_answer_at.map_or(Duration::MAX, |at| at - batch.earliest_attempt_at);
            tried_for.saturating_add(batch.max_wait) > max_age
        };
        (!self.any_batch(is_too_late)).then(|| format!("before it was tried for {max_age:?}"))
    }

    /// Only the oldest batch that waits is dropped to make room.
    fn fault_of_overflow(&self, ack: &AckRecord) -> Option<String> {
        if let Some(older) = self.older_sent_later(ack) {
            return Some(format!(
                "and event {older} of its target, which was pushed before, only went out later"
            ));
        }
        let final_batches = batches(self.world, self.event).filter(|batch| batch.is_final()).count();
        let may_be_dropped = self.world.may_drop_oldest(self.pieces()[0].queue);
        let is_fine = may_be_dropped && final_batches < self.pieces().len();
        (!is_fine).then(|| "and nothing had to make room".into())
    }

    /// An older event of the target that waited while this one was dropped.
    fn older_sent_later(&self, ack: &AckRecord) -> Option<usize> {
        // While credentials are renewed with a batch, or its stream is created, it is under way, which the service cannot
        // see. The parts of a batch that was halved unsent do not hold the events in the order of the pushes.
        let is_unseen = self.is_any_queue(|queue| queue.unseen_since.is_some());
        if is_unseen || self.world.counts.renewals > 0 || self.world.body_limit.is_known() {
            return None;
        }
        let record = &self.world.record;
        let first = &self.pieces()[0];
        let queue = &record.queues[first.queue];
        let mut older = queue.pieces[..first.number as usize].iter().map(|piece| &record.pieces[*piece]);
        let was_sent_later = |piece: &PieceRecord| {
            queue.batches[&piece.batch?].first_attempt_at.gt(&ack.fetched_at).then_some(piece.event)
        };
        older.find_map(was_sent_later)
    }

    /// Everything that is left at the shutdown gets one attempt, unless the endpoint was paused or the time-out came
    /// first.
    fn fault_of_shutdown(&self) -> Option<String> {
        let Some(closed_at) = self.world.shutdown.closed_at else {
            return (!self.world.shutdown.is_stopped).then(|| "before the shutdown".into());
        };
        if self.world.scenario.end == RunEnd::Healed && !self.world.shutdown.is_blocked {
            return Some("though everything could be sent".into());
        }
        if self.world.counts.endpoint_failures > 0 || self.world.may_wait_for_memory() {
            return None;
        }
        let is_tried = self.any_batch(|batch| batch.last_request_at >= closed_at)
            || self.is_any_queue(|queue| queue.unseen_last.is_some_and(|at| at >= closed_at));
        if self.world.shutdown.is_in_time && !is_tried {
            return Some("without an attempt since the shutdown began".into());
        }
        // A batch that waited for a retry goes first, and at once. Only a batch whose target was missing may wait for
        // others.
        let waited = |batch: &BatchRecord| {
            batch.last_code.as_deref() != Some("ResourceNotFoundException")
                && batch.last_answer_at.is_some_and(|at| at < closed_at)
                && batch.last_request_at < closed_at
        };
        let queue = self.pieces()[0].queue;
        let is_free = self.world.free_since_close(queue) > SLACK;
        let one_at_a_time = self.world.record.queues[queue].one_at_a_time;
        (is_free && one_at_a_time && self.any_batch(waited))
            .then(|| "and its retry was not made when the shutdown began".into())
    }
}
