//! What changes of a queue, all of it under its one lock: where each batch is, and whether the next may go.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Counts, LastError, timely};
use crate::ack::{Outcome, Reason};
use crate::batch::{Batch, OpenBatch, Start};
use crate::breaker::CircuitBreaker;
use crate::countdown::Part;
use crate::memory::Standing;
use crate::pool::Line;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) open: Option<Box<OpenBatch>>,
    /// How large the last batches became: the next one starts with as much.
    pub(super) last_size: Start,
    pub(super) waiting: VecDeque<Batch>,
    pub(super) in_flight: Vec<u64>,
    pub(super) breaker: CircuitBreaker,
    /// In which line it stands.
    pub(super) in_line: Option<Line>,
    /// Waits for its group to be created by somebody else.
    pub(super) parked: bool,
    pub(super) closed: bool,
    /// When it last opened a batch or ended one. The clock is not asked for each event.
    pub(super) used_at: Option<Instant>,
    /// A flush timer is running for it.
    pub(super) timer_armed: bool,
    /// The open batch is to go out as soon as the queue may send, behind what waits: its time has come, or there was no
    /// room for an event. Until then it goes on growing.
    pub(super) due: bool,
    /// Batches in flight that are in the slow lane. Meanwhile nothing else goes out.
    pub(super) in_lane: Vec<u64>,
    /// Its last answer took longer than `slow_after`, or did not come.
    pub(super) slow: bool,
    /// Its last request got no answer, for which it was not blamed.
    pub(super) suspect: bool,
    pub(super) next_batch: u64,
    /// Timestamp of the last event that brought one.
    pub(super) last_timestamp_ms: Option<i64>,
    /// When its group or stream was last created by the sink.
    pub(super) created_at: Option<Instant>,
    /// Who waits until all batches below this one are final, in the order of the batches.
    pub(super) flushes: Vec<(u64, Part)>,
    pub(super) counts: Counts,
    pub(super) last_error: Option<LastError>,
    /// When the service last took or refused a batch of it.
    pub(super) answered_at: Option<Instant>,
    /// When a batch of it last failed, while it fails.
    pub(super) failed_at: Option<Instant>,
    /// When its breaker lets the next batch go, while it is open.
    pub(super) next_attempt: Option<Instant>,
    /// How often in a row it was throttled though others got through in between, and their answers by the last time.
    pub(super) throttled: (u32, u64),
}

impl State {
    /// Whether nothing of it has failed since the service last answered for a batch.
    pub(super) fn is_well(&self) -> bool {
        self.breaker.is_closed() && self.breaker.failures() == 0
    }

    pub(super) fn is_idle(&self, since: Instant) -> bool {
        let used = self.used_at.is_some_and(|at| at > since);
        let empty = self.open.as_deref().is_none_or(OpenBatch::is_empty) && !self.is_under_way();
        !used && empty && self.flushes.is_empty()
    }

    /// The timestamp of an event that brought that one, or none.
    pub(super) fn stamp(&self, timestamp_ms: Option<i64>, now_ms: i64) -> i64 {
        timestamp_ms.or(self.last_timestamp_ms.filter(|last| timely(*last, now_ms))).unwrap_or(now_ms)
    }

    pub(super) fn standing(&self) -> Standing {
        match self.is_well() {
            false => Standing::Failing,
            true if self.was_heard() => Standing::GetsThrough,
            true => Standing::Unheard,
        }
    }

    /// Whether the service ever took a request of it, be it that it refused events in it by their age.
    pub(super) fn was_heard(&self) -> bool {
        let ended = |outcome: Outcome| self.counts.outcomes[outcome.index()];
        ended(Outcome::Delivered) + ended(Outcome::Rejected) > 0
    }

    pub(super) fn line(&self) -> Line {
        match self.standing() {
            Standing::GetsThrough if self.slow && !self.suspect => Line::Late,
            _ if self.slow => Line::Slow,
            _ if self.suspect => Line::Trial,
            Standing::GetsThrough => Line::Steady,
            Standing::Unheard => Line::New,
            Standing::Failing => Line::Trial,
        }
    }

    /// Whether batches of it wait or are in flight.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    pub(super) fn seal(&mut self) {
        self.due = false;
        if let Some(open) = self.open.take().filter(|open| !open.is_empty()) {
            self.last_size = open.size().or_nearly(self.last_size);
            // Mostly one, and there are many queues.
            self.waiting.reserve_exact(usize::from(self.waiting.is_empty()));
            self.waiting.push_back(open.seal());
        }
    }

    /// Somebody waits until all that is in the queue now is final. Who gave up waiting meanwhile is forgotten.
    pub(super) fn add_flush(&mut self, part: Part) {
        self.flushes.retain(|(_, part)| part.is_awaited());
        self.flushes.push((self.next_batch, part));
    }

    /// Memory that giving up all that waits would give back.
    pub(super) fn bytes_to_free(&self) -> usize {
        self.waiting.iter().map(Batch::bytes_to_free).sum()
    }

    /// Gives up the oldest batch that waits. False when none does.
    pub(super) fn drop_front(&mut self) -> bool {
        let Some(batch) = self.waiting.pop_front() else { return false };
        self.used_at = Some(Instant::now());
        self.counts.outcomes[Outcome::Dropped.index()] += batch.events() as u64;
        batch.settle(Reason::Overflow.into());
        true
    }

    pub(super) fn may_send(&self, target_concurrency: usize) -> bool {
        (!self.waiting.is_empty() || (self.due && self.open.as_ref().is_some_and(|open| !open.is_empty())))
            && !self.parked
            && self.in_lane.is_empty()
            && self.in_flight.len() < target_concurrency
            && self.breaker.allows()
    }

    pub(super) fn landed(&mut self, batch: &Batch, slow_after: Duration) {
        self.in_flight.retain(|id| *id != batch.id());
        self.in_lane.retain(|id| *id != batch.id());
        if !self.is_under_way() {
            // There are many queues, and most of them have nothing to do most of the time.
            (self.waiting, self.in_flight, self.in_lane) = Default::default();
        }
        self.suspect = false;
        self.slow = batch.last_attempt().is_some_and(|at| at.elapsed() >= slow_after);
    }

    pub(super) fn put_back(&mut self, batch: Batch, slow_after: Duration) {
        self.landed(&batch, slow_after);
        let place = self.waiting.partition_point(|other| other.id() < batch.id());
        self.waiting.insert(place, batch);
    }

    /// The lowest id of a batch that is not final; all below are.
    pub(super) fn first_unfinished(&self) -> u64 {
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
    use crate::countdown::Countdown;

    #[test]
    fn flushes_that_nobody_waits_for_any_more_are_forgotten() {
        let mut state = State::default();
        let awaited = Arc::<Countdown>::default();
        state.add_flush(awaited.part());
        for _ in 0..1000 {
            state.add_flush(Arc::<Countdown>::default().part());
        }
        assert_eq!(state.flushes.len(), 2, "the one that is awaited and the last one");
        state.flushes.clear();
        assert!(awaited.is_done());
    }
}
