//! The calls under way, and the slots that they take: the time for which a target can have found no free slot.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::World;
use crate::record::Steadiness;

/// Requests on trial that certainly find room in the slow lane together: the share of silent targets.
const SLOW_LANE_SHARE_MIN: usize = 8;
/// The least age at which a request gives its slot up.
const SLOW_AFTER_MIN: Duration = Duration::from_millis(25);
/// The rate of transfer that the engine assumes before the answers show another, in bytes per second.
const RATE_INITIAL: f64 = 65_536.0;

/// The calls under way.
pub struct Calls {
    by_number: BTreeMap<u64, Call>,
    begun: u64,
    /// The most requests in flight that the engine allowed at the last tick.
    pub limit: usize,
    /// The engine may slow all targets until then.
    pub paced_until: Option<Instant>,
    /// The lowest rate of transfer that the engine may assume, in bytes per second.
    rate_min: f64,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    begun_at: Instant,
    /// The queue that the call is for. `None` for a renewal of credentials.
    queue: Option<usize>,
    body_bytes: usize,
    steadiness: Steadiness,
}

impl Calls {
    pub fn new(limit: usize) -> Self {
        Calls { by_number: BTreeMap::new(), begun: 0, limit, paced_until: None, rate_min: RATE_INITIAL }
    }

    /// Ends a call.
    pub fn end(&mut self, number: u64) {
        self.by_number.remove(&number);
    }

    /// A request was answered. A slow answer to a large one shows a thin line.
    pub fn note_rate(&mut self, bytes: usize, latency: Duration) {
        let rate = bytes as f64 / latency.as_secs_f64().max(1e-6);
        self.rate_min = self.rate_min.min(rate.max(1.0));
    }

    /// The times until which the matching calls hold their slots, the latest first.
    fn hold_until(&self, slow_after: Duration, matches: impl Fn(Steadiness) -> bool) -> Vec<Instant> {
        let calls = self.by_number.values().filter(|call| matches(call.steadiness));
        let transfer = |call: &Call| Duration::from_secs_f64(call.body_bytes as f64 / self.rate_min);
        let mut until: Vec<_> = calls.map(|call| call.begun_at + slow_after + transfer(call)).collect();
        sort_latest_first(&mut until);
        until
    }
}

fn sort_latest_first(times: &mut [Instant]) {
    times.sort_by(|one, other| other.cmp(one));
}

impl World {
    /// A call begins. `steadiness` is that of its target when the attempt began: the attempt keeps its kind of slot.
    pub fn call_begins(&mut self, queue: Option<usize>, steadiness: Steadiness, body_bytes: usize) -> u64 {
        let call = Call { begun_at: self.last_tick, queue, body_bytes, steadiness };
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
        let slow_after = self.scenario.config.slow_after.max(SLOW_AFTER_MIN);
        let hold_until = |matches: fn(Steadiness) -> bool| self.calls.hold_until(slow_after, matches);
        let half = (self.calls.limit / 2).max(1);
        let mut certainly_on_trial = hold_until(|steadiness| steadiness == Steadiness::OnTrial);
        certainly_on_trial.truncate(half);
        let others = hold_until(|steadiness| steadiness != Steadiness::OnTrial);
        let all_taken_until = self.taken_until([others, certainly_on_trial].concat(), self.calls.limit);
        let until = match steadiness {
            Steadiness::Steady => all_taken_until,
            // A target on trial may wait for its share of the slow lane.
            _ if self.calls.by_number.len() >= SLOW_LANE_SHARE_MIN => now,
            _ => {
                let perhaps_on_trial = hold_until(|steadiness| steadiness != Steadiness::Steady);
                all_taken_until.max(self.taken_until(perhaps_on_trial, half))
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

    /// The time until which calls hold all of `slots`, each until one of these times.
    fn taken_until(&self, mut until: Vec<Instant>, slots: usize) -> Instant {
        sort_latest_first(&mut until);
        until.get(slots - 1).copied().unwrap_or(self.last_tick)
    }
}
