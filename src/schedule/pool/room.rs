//! Room for a target that waits: a slow request leaves its slot, or a request is cut short.

use tokio::time::Instant;

use super::{Pool, State};
use crate::schedule::attempts::{Attempt, Attempts, Place};
use crate::target::ReadyClass;

/// There is no room yet: it can be made at this time, or (`None`) only after a change.
type NoRoomYet = Option<Instant>;

fn earlier(one: NoRoomYet, other: NoRoomYet) -> NoRoomYet {
    [one, other].into_iter().flatten().min()
}

impl Pool {
    /// The most requests of a class, in slots and in the slow lane. So targets that are late or silent, however many they
    /// are, leave room for those that are not known yet.
    pub(super) fn share(&self, class: ReadyClass) -> usize {
        match class {
            ReadyClass::Answering | ReadyClass::Untested => usize::MAX,
            ReadyClass::Late => self.slow_lane_max / 2,
            ReadyClass::Silent => self.slow_lane_max / 8,
        }
    }

    fn slow_lane_has_room(&self, attempts: &Attempts, class: ReadyClass) -> bool {
        let on_probation = attempts.count(Place::SlowLane, ReadyClass::is_probation);
        let in_lane = attempts.count(Place::SlowLane, |_| true);
        in_lane < self.slow_lane_max && (!class.is_probation() || on_probation < self.slow_lane_max / 4 * 3)
    }

    /// Makes room for a target that waits.
    pub(super) fn make_room(&self, state: &mut State, now: Instant) -> Result<(), NoRoomYet> {
        let mut until = None;
        for class in [ReadyClass::Late, ReadyClass::Silent] {
            if state.waits(class) && !self.may_send(state, class) {
                match state.cut_one_short(now, |attempt| attempt.class == class) {
                    Ok(()) => return Ok(()),
                    Err(no_room_yet) => until = earlier(until, no_room_yet),
                }
            }
        }
        self.free_slot(state, now).map_err(|no_room_yet| earlier(until, no_room_yet))
    }

    /// Moves a slow request out of its slot, for a target that waits for a slot.
    fn free_slot(&self, state: &mut State, now: Instant) -> Result<(), NoRoomYet> {
        let answering_waits = state.waits(ReadyClass::Answering);
        let probation_waits =
            ReadyClass::ALL.into_iter().any(|class| class.is_probation() && self.may_send(state, class));
        if !answering_waits && !probation_waits {
            return Err(None);
        }
        let any_slot_helps = answering_waits || state.has_probation_slot();
        let helps = |attempt: &Attempt| {
            attempt.place == Place::Slot && (any_slot_helps || attempt.class.is_probation())
        };
        let State { attempts, latencies, .. } = &*state;
        let slow_at = |attempt: &Attempt| {
            let threshold = match attempt.class {
                ReadyClass::Late | ReadyClass::Silent => latencies.threshold_min(attempt.bytes),
                _ => latencies.slow_threshold(self.slow_after, attempt.bytes),
            };
            attempt.sent_at + threshold
        };
        let finds_room =
            |attempt: &Attempt| helps(attempt) && self.slow_lane_has_room(attempts, attempt.class);
        if let Some((at, number)) = attempts.first_by(finds_room, slow_at)
            && at <= now
        {
            state.attempts.move_to_slow_lane(number);
            return Ok(());
        }
        let (at, _) = attempts.first_by(helps, slow_at).ok_or(None)?;
        if at > now {
            return Err(Some(at));
        }
        // The lane is full, or that part of it that targets on probation may take.
        let is_full = attempts.count(Place::SlowLane, |_| true) >= self.slow_lane_max;
        state.cut_one_short(now, |attempt| is_full || attempt.class.is_probation())
    }
}

impl State {
    /// Cuts the attempt short that outlived its patience first, among those that match.
    fn cut_one_short(&mut self, now: Instant, matches: impl Fn(&Attempt) -> bool) -> Result<(), NoRoomYet> {
        let latencies = &self.latencies;
        let waited_for_until =
            |attempt: &Attempt| attempt.sent_at + attempt.patience + latencies.transfer_time(attempt.bytes);
        let first = self.attempts.first_by(matches, waited_for_until);
        let (at, number) = first.ok_or(None)?;
        if at > now {
            return Err(Some(at));
        }
        self.attempts.cancel(number);
        Ok(())
    }
}
