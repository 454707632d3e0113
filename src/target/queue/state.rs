//! The changing part of a queue, under its one lock: where each batch is, and whether the next one may go.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Service;
use super::snapshot::LastError;
use crate::batch::{Batch, BatchSize, OpenBatch};
use crate::clock::Clock;
use crate::health::Health;
use crate::memory::Charge;
use crate::outcome::{EventCounts, Outcome, Reason};
use crate::target::breaker::CircuitBreaker;
use crate::target::ready_class::{ReadyClass, Standing};
use crate::wait_group::WaitGuard;

/// An event without a timestamp takes the last one of its target if that is at most this far from the time of the push.
/// The lines of one message come within seconds. An older timestamp belongs to events that are read again.
const LAST_TIMESTAMP_NEAR_MS: u64 = 60_000;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) open: Option<Box<OpenBatch>>,
    /// The size of the last batches, which the next one will probably have too.
    pub(super) last_size: BatchSize,
    pub(super) waiting: VecDeque<Batch>,
    pub(super) in_flight: Vec<u64>,
    pub(super) breaker: CircuitBreaker,
    /// The ready class in which the queue waits.
    pub(super) queued_class: Option<ReadyClass>,
    /// The queue waits for the creation of its group by another attempt, or for the pace of creations.
    pub(super) parked: bool,
    /// The group or the stream was not found, and may be created. The next attempt begins with that.
    pub(super) missing: bool,
    /// The pace of creations let the queue go on, so that its next creation does not wait.
    pub(super) has_creation_turn: bool,
    pub(super) closed: bool,
    /// The time at which the queue last opened a batch or finalized one. The clock is not read for each event.
    pub(super) used_at: Option<Instant>,
    /// A flush timer is running for the queue.
    pub(super) timer_armed: bool,
    /// The open batch is to go out as soon as the queue may send, after the batches that wait: its time has come, or
    /// there was no room for an event. Until then it continues to grow.
    pub(super) due: bool,
    /// What became of the last request.
    pub(super) standing: Standing,
    /// Whether the service could serve the last request.
    pub(super) service: Service,
    pub(super) next_batch: u64,
    /// The timestamp of the last event that was pushed with one.
    pub(super) last_timestamp_ms: Option<i64>,
    /// Flushes that wait, in the order of their batches.
    pub(super) flushes: Vec<PendingFlush>,
    pub(super) counts: EventCounts,
    pub(super) last_error: Option<LastError>,
    /// The time at which the last batch was sent that the service took.
    pub(super) delivered_at: Option<Instant>,
    /// The time at which the open breaker lets the next batch go.
    pub(super) next_attempt: Option<Instant>,
    pub(super) throttled: ThrottledRun,
    /// Refusals for an unknown reason since a batch of the target was last delivered.
    pub(super) unknown_refusals: u32,
}

/// Throttled requests of the target in a row, counted only when batches of other targets were taken in between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThrottledRun {
    pub(super) times: u32,
    /// Batches of all targets that the service had taken at the last of them.
    pub(super) delivered_batches: u64,
}

/// A flush that waits until all batches below `batches_below` are final.
#[derive(Debug)]
pub(super) struct PendingFlush {
    batches_below: u64,
    guard: WaitGuard,
}

impl State {
    /// Returns whether no batch of the target has failed since the service last answered for one.
    pub(super) fn has_no_failure(&self) -> bool {
        self.breaker.is_closed() && self.breaker.failures() == 0
    }

    pub(super) fn is_idle(&self, used_by: Instant) -> bool {
        let used = self.used_at.is_some_and(|at| at > used_by);
        let empty = self.open.as_deref().is_none_or(OpenBatch::is_empty) && !self.is_under_way();
        !used && empty && self.flushes.is_empty()
    }

    /// The timestamp that an event gets: its own, else the last one of the target while that is near the present, else the
    /// time of the push. The clock is read under the lock, so that the times of several threads are in the order of their
    /// events.
    #[inline]
    pub(super) fn resolve_timestamp(&self, timestamp_ms: Option<i64>, clock: &dyn Clock) -> i64 {
        timestamp_ms.unwrap_or_else(|| {
            let now_ms = clock.now_ms();
            let is_near = |last: &i64| last.abs_diff(now_ms) <= LAST_TIMESTAMP_NEAR_MS;
            self.last_timestamp_ms.filter(is_near).unwrap_or(now_ms)
        })
    }

    pub(super) fn health(&self) -> Health {
        match self.has_no_failure() {
            false => Health::Failing,
            true if self.has_delivered() => Health::Healthy,
            true => Health::Unknown,
        }
    }

    /// Returns whether the service ever took a request of the target, even if it refused events in the request for their age.
    pub(super) fn has_delivered(&self) -> bool {
        self.counts.of(Outcome::Delivered) + self.counts.of(Outcome::Rejected) > 0
    }

    /// Returns whether batches of the target wait or are in flight.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    pub(super) fn seal(&mut self) {
        self.due = false;
        if let Some(open) = self.open.take().filter(|open| !open.is_empty()) {
            self.last_size = open.size().or_most_of(self.last_size);
            // Mostly one batch waits, and there are many queues.
            self.waiting.reserve_exact(usize::from(self.waiting.is_empty()));
            self.waiting.push_back(open.seal());
        }
    }

    /// Adds a flush that waits for everything that is in the queue now. Flushes whose caller has stopped waiting are
    /// forgotten.
    pub(super) fn add_flush(&mut self, guard: WaitGuard) {
        self.flushes.retain(|flush| flush.guard.is_awaited());
        self.flushes.push(PendingFlush { batches_below: self.next_batch, guard });
    }

    /// Moves the guards of the flushes that have nothing left to wait for to `finished`.
    pub(super) fn take_finished_flushes(&mut self, finished: &mut Vec<WaitGuard>) {
        let first = self.first_unfinished();
        let count = self.flushes.partition_point(|flush| flush.batches_below <= first);
        finished.extend(self.flushes.drain(..count).map(|flush| flush.guard));
        if self.flushes.is_empty() {
            self.flushes = Vec::new();
        }
    }

    /// Memory that dropping unsent batches would give back, in bytes. Stops counting at `enough`.
    pub(super) fn droppable_bytes(&self, enough: usize) -> usize {
        let mut bytes = self.open.as_deref().map_or(0, OpenBatch::droppable_bytes);
        for batch in &self.waiting {
            if bytes >= enough {
                break;
            }
            bytes += batch.droppable_bytes();
        }
        bytes
    }

    /// Drops the oldest unsent batch. Returns its memory, or `None` when there is no such batch.
    pub(super) fn drop_oldest(&mut self) -> Option<Charge> {
        if self.waiting.is_empty() {
            self.seal();
        }
        let mut batch = self.waiting.pop_front()?;
        self.used_at = Some(Instant::now());
        self.counts.count(Outcome::Dropped, batch.events());
        let freed = batch.split_off_droppable();
        batch.finalize(Reason::Overflow.into());
        Some(freed)
    }

    pub(super) fn may_send(&self, target_concurrency: usize) -> bool {
        (!self.waiting.is_empty() || (self.due && self.open.as_ref().is_some_and(|open| !open.is_empty())))
            && !self.parked
            && self.in_flight.len() < self.in_flight_max(target_concurrency)
            && self.breaker.allows()
    }

    /// A target on probation sends one batch at a time.
    fn in_flight_max(&self, target_concurrency: usize) -> usize {
        if self.standing.class.is_probation() { 1 } else { target_concurrency }
    }

    /// The attempt at this batch is over.
    pub(super) fn remove_in_flight(&mut self, batch: &Batch) {
        self.in_flight.retain(|id| *id != batch.id());
        if !self.is_under_way() {
            // There are many queues, and most of them have nothing to do most of the time.
            (self.waiting, self.in_flight) = Default::default();
        }
    }

    /// Puts the batch back in its place among the waiting ones.
    pub(super) fn requeue(&mut self, batch: Batch) {
        self.remove_in_flight(&batch);
        let place = self.waiting.partition_point(|other| other.id() < batch.id());
        self.waiting.insert(place, batch);
    }

    /// The place of the waiting batch that goes next. A batch that was set aside lets others go first, until one of them is
    /// delivered: that shows that the target is not at fault.
    pub(super) fn next_place(&self) -> usize {
        let proven = |refused_at: Instant| self.delivered_at.is_some_and(|at| at > refused_at);
        let may_go = |batch: &Batch| !batch.is_set_aside() || batch.refused_at().is_some_and(proven);
        self.waiting.iter().position(may_go).unwrap_or(0)
    }

    /// The lowest id of a batch that is not final. All batches below are final.
    fn first_unfinished(&self) -> u64 {
        let open = self.open.as_deref().map(OpenBatch::id);
        let waiting = self.waiting.front().map(Batch::id);
        let in_flight = self.in_flight.iter().copied().min();
        [open, waiting, in_flight].into_iter().flatten().min().unwrap_or(self.next_batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wait_group::WaitGroup;

    const NOW_MS: i64 = 1_800_000_000_000;

    struct Now;

    impl Clock for Now {
        fn now_ms(&self) -> i64 {
            NOW_MS
        }
        fn uptime_ms(&self) -> i64 {
            0
        }
    }

    #[test]
    fn an_event_without_a_timestamp_takes_the_last_one_only_while_that_is_near_the_present() {
        let mut state = State::default();
        assert_eq!(state.resolve_timestamp(None, &Now), NOW_MS);
        for (ago_ms, is_taken) in
            [(1, true), (60_000, true), (60_001, false), (-60_000, true), (-60_001, false)]
        {
            let last_ms = NOW_MS - ago_ms;
            state.last_timestamp_ms = Some(last_ms);
            assert_eq!(state.resolve_timestamp(None, &Now) == last_ms, is_taken, "{ago_ms} ms ago");
            assert_eq!(state.resolve_timestamp(Some(5), &Now), 5);
        }
    }

    #[test]
    fn flushes_whose_caller_has_stopped_waiting_are_forgotten() {
        let mut state = State::default();
        let awaited = Arc::<WaitGroup>::default();
        state.add_flush(awaited.guard());
        for _ in 0..1000 {
            state.add_flush(Arc::<WaitGroup>::default().guard());
        }
        assert_eq!(state.flushes.len(), 2, "the flush that is awaited and the last one");
        state.flushes.clear();
        assert!(awaited.is_done());
    }
}
