//! The calls under way, and the slots that they take: the time for which a target can have found no free slot.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::World;
use crate::record::Steadiness;

/// The age from which the engine may take a request for slow. Its target then sends no other request.
const MAY_BE_SLOW_AFTER: Duration = Duration::from_millis(25);
/// Requests that certainly find room in the slow lane together.
const SLOW_LANE_MIN: usize = 24;
/// The part of the memory that certainly finds room in the slow lane.
const SLOW_LANE_BYTES_PART: usize = 4;
/// The most memory of a batch besides twice its body, in bytes.
const BATCH_OVERHEAD_BYTES: usize = 2000;

/// The calls under way.
pub struct Calls {
    by_number: BTreeMap<u64, Call>,
    begun: u64,
    /// The most requests in flight that the engine allowed at the last tick.
    pub limit: usize,
    /// The engine may slow all targets until then.
    pub paced_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    begun_at: Instant,
    /// The queue that the call is for. `None` for a renewal of credentials.
    queue: Option<usize>,
    /// The most memory that the batch of the call may hold.
    max_bytes: usize,
    steadiness: Steadiness,
}

impl Calls {
    pub fn new(limit: usize) -> Self {
        Calls { by_number: BTreeMap::new(), begun: 0, limit, paced_until: None }
    }

    /// Ends a call.
    pub fn end(&mut self, number: u64) {
        self.by_number.remove(&number);
    }

    /// Returns true if a call for the queue may be in the slow lane.
    pub fn may_be_slow(&self, queue: usize, now: Instant) -> bool {
        self.slow(now).any(|call| call.queue == Some(queue))
    }

    fn slow(&self, now: Instant) -> impl Iterator<Item = &Call> {
        self.by_number.values().filter(move |call| now - call.begun_at >= MAY_BE_SLOW_AFTER)
    }

    /// The times at which the matching calls began, the latest first.
    fn begun_at(&self, matches: impl Fn(Steadiness) -> bool) -> Vec<Instant> {
        let calls = self.by_number.values().filter(|call| matches(call.steadiness));
        let mut begun_at: Vec<_> = calls.map(|call| call.begun_at).collect();
        sort_latest_first(&mut begun_at);
        begun_at
    }
}

fn sort_latest_first(times: &mut [Instant]) {
    times.sort_by(|one, other| other.cmp(one));
}

impl World {
    /// A call begins. `steadiness` is that of its target when the attempt began: the attempt keeps its kind of slot.
    pub fn call_begins(&mut self, queue: Option<usize>, steadiness: Steadiness, body_bytes: usize) -> u64 {
        let max_bytes = 2 * body_bytes + BATCH_OVERHEAD_BYTES;
        let call = Call { begun_at: self.last_tick, queue, max_bytes, steadiness };
        self.calls.begun += 1;
        self.calls.by_number.insert(self.calls.begun, call);
        self.calls.begun
    }

    /// The time, at most `now`, until which a target can have found no free slot since the last tick. Requests hold a
    /// slot until they are slow, and targets on trial never hold more than half of the slots.
    pub(super) fn blocked_until(&self, now: Instant, steadiness: Steadiness) -> Instant {
        if self.may_hold_back_all() {
            return now;
        }
        let half = (self.calls.limit / 2).max(1);
        let mut certainly_on_trial = self.calls.begun_at(|steadiness| steadiness == Steadiness::OnTrial);
        certainly_on_trial.truncate(half);
        let others = self.calls.begun_at(|steadiness| steadiness != Steadiness::OnTrial);
        let all_taken_until = self.slots_taken_until([others, certainly_on_trial].concat(), self.calls.limit);
        let until = match steadiness {
            Steadiness::Steady => all_taken_until,
            // A slow target waits for its place in the slow lane.
            _ if self.may_slow_lane_be_full(now) => now,
            _ => {
                let perhaps_on_trial = self.calls.begun_at(|steadiness| steadiness != Steadiness::Steady);
                all_taken_until.max(self.slots_taken_until(perhaps_on_trial, half))
            }
        };
        until.clamp(self.last_tick, now)
    }

    /// Returns true if the engine may send nothing to any target, or in an order that is not promised.
    fn may_hold_back_all(&self) -> bool {
        let is_paced = self.calls.paced_until.is_some_and(|until| until > self.last_tick);
        // A probe keeps its batch while it renews credentials, and the service cannot tell whose batch that is.
        let is_renewing = self.calls.by_number.values().any(|call| call.queue.is_none());
        // While the endpoint comes back, no order is promised. All targets send in the end.
        let is_coming_back = self.calls.limit < self.scenario.config.concurrency;
        self.endpoint.may_be_paused()
            || is_paced
            || is_renewing
            || is_coming_back
            || self.may_wait_for_memory_unseen()
    }

    /// The time until which calls that began at these times hold all of `slots`.
    fn slots_taken_until(&self, mut begun_at: Vec<Instant>, slots: usize) -> Instant {
        sort_latest_first(&mut begun_at);
        let slow_after = self.scenario.config.slow_after;
        begun_at.get(slots - 1).map_or(self.last_tick, |begun_at| *begun_at + slow_after)
    }

    fn may_slow_lane_be_full(&self, now: Instant) -> bool {
        let bytes: usize = self.calls.slow(now).map(|call| call.max_bytes).sum();
        self.calls.slow(now).count() >= SLOW_LANE_MIN
            || bytes >= self.scenario.config.buffer_max_bytes / SLOW_LANE_BYTES_PART
    }
}
