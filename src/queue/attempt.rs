//! A batch on its way out and back: given to a worker, and returned in exactly one of the ways below.

use tokio::time::Instant;

use super::look::{Counts, LastError};
use super::{Effects, Queue};
use crate::ack::{Ending, Outcome, Reason};
use crate::batch::Batch;
use crate::breaker::{Failure, Ticket};
use crate::limits;
use crate::logs_api::RejectedEvents;
use crate::pool::Line;

/// Of requests that an account may send too many of, any may be the one that is throttled. One target alone, so many
/// times in a row, is not chance any more.
const THROTTLED_BY_CHANCE: u32 = 3;

impl Queue {
    /// It is the first of that line: gives the next batch out, if one may go. It comes back through one of the
    /// methods below.
    pub fn take(&self, line: Line) -> (Option<Batch>, Effects) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.in_line != Some(line) {
            // It has moved to a better line since.
            return (None, effects);
        }
        state.in_line = None;
        if line == Line::Steady && state.line() != line {
            // It has failed since: to the end of the line that it belongs to.
            self.settle_line(&mut state, &mut effects);
            return (None, effects);
        }
        let may_send = state.may_send(self.target_concurrency);
        if may_send && state.waiting.is_empty() {
            state.seal();
        }
        let batch = if may_send { state.waiting.pop_front() } else { None };
        if let Some(batch) = &batch {
            state.in_flight.push(batch.id());
            state.breaker.sent(batch.id());
        }
        self.settle_line(&mut state, &mut effects);
        (batch, effects)
    }

    /// The service took the batch, all but those of its events.
    pub fn delivered(&self, batch: Batch, rejected: RejectedEvents) -> Effects {
        self.finalized(batch, true, |batch, counts| {
            let refused = rejected.count(batch.events());
            counts.outcomes[Outcome::Delivered.index()] += (batch.events() - refused) as u64;
            counts.outcomes[Outcome::Rejected.index()] += refused as u64;
            batch.delivered(rejected);
        })
    }

    /// The batch is final without having been delivered.
    pub fn settled(&self, batch: Batch, ending: Ending) -> Effects {
        let answered = ending.reason == Reason::NotRetryable;
        self.finalized(batch, answered, |batch, counts| {
            counts.outcomes[ending.reason.outcome().index()] += batch.events() as u64;
            batch.settle(ending);
        })
    }

    fn finalized(&self, batch: Batch, got_through: bool, end: impl FnOnce(Batch, &mut Counts)) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        state.landed(&batch, self.slow_after);
        let more_failed = state.waiting.front().is_some_and(|next| next.first_attempt().is_some());
        effects.closed = state.breaker.finalized(id, got_through, more_failed);
        let now = Instant::now();
        state.used_at = Some(now);
        if got_through {
            state.answered_at = Some(now);
        }
        if state.is_well() {
            (state.last_error, state.failed_at, state.throttled) = (None, None, (0, 0));
        }
        end(batch, &mut state.counts);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed and is to be tried again: it goes back to its place, and the breaker opens.
    pub fn failed(&self, batch: Batch, error: LastError, due: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let id = batch.id();
        let was_well = state.is_well();
        let known = state.last_error.as_ref().is_some_and(|last| last.error.code == error.error.code);
        state.put_back(batch, self.slow_after);
        state.last_error = Some(error);
        state.failed_at = Some(Instant::now());
        if let Failure::Opened(ticket) = state.breaker.failed(id) {
            effects.opened = Some(ticket);
            effects.news = was_well || !known;
            state.next_attempt = Some(due);
        }
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch failed, but by no fault of the target's: it goes back to its place, and the breaker stays as it
    /// is. `unanswered`: it may have been the target's fault after all, so others go before it.
    pub fn returned(&self, batch: Batch, error: LastError, unanswered: bool) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch, self.slow_after);
        (state.last_error, state.suspect) = (Some(error), unanswered);
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The batch was not tried, since its group is being created by somebody else: the queue sends nothing
    /// until [`Queue::unpark`].
    pub fn park(&self, batch: Batch) {
        let mut state = self.lock();
        state.breaker.returned(batch.id());
        state.put_back(batch, self.slow_after);
        state.parked = true;
    }

    /// The group was created, or could not be: on with it.
    pub fn unpark(&self) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.parked = false;
        self.settle_line(&mut state, &mut effects);
        effects
    }

    /// The ticket of the breaker is due: one batch may go, as its probe.
    pub fn due(&self, ticket: Ticket) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.breaker.due(ticket) {
            self.settle_line(&mut state, &mut effects);
        }
        effects
    }

    /// Its request is in the slow lane from now on.
    pub fn entered_lane(&self, batch: u64) {
        let mut state = self.lock();
        if state.in_flight.contains(&batch) && !state.in_lane.contains(&batch) {
            state.in_lane.push(batch);
        }
    }

    /// It was throttled. True when it was before, again and again, and all the time others got through: so many
    /// `answers` had there been by now.
    pub fn is_throttled_alone(&self, answers: u64) -> bool {
        let mut state = self.lock();
        let (times, by_then) = state.throttled;
        let times = if times == 0 || answers > by_then { times + 1 } else { times };
        state.throttled = (times, answers);
        times > THROTTLED_BY_CHANCE
    }

    /// Notes that its group or its stream was created just now.
    pub fn note_created(&self, now: Instant) {
        self.lock().created_at = Some(now);
    }

    /// Whether its group or its stream was created within [`limits::CREATED_REMEMBERED`].
    pub fn recently_created(&self, now: Instant) -> bool {
        self.lock().created_at.is_some_and(|at| now.duration_since(at) < limits::CREATED_REMEMBERED)
    }
}
