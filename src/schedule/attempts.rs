//! The attempts under way, and the place that each of them holds: a slot, or a place in the slow lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::target::{Queue, ReadyClass};

/// The attempts under way. The places that they hold are counted here and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The attempts by number: the oldest come first.
    by_number: BTreeMap<u64, Attempt>,
    begun: u64,
    /// Slots that are taken.
    pub(super) slots: usize,
    /// Slots that are taken by targets on trial: those that are not [`ReadyClass::Steady`].
    pub(super) trial_slots: usize,
    /// Requests in the slow lane.
    pub(super) slow_lane: usize,
    /// Bytes of the batches in the slow lane.
    pub(super) slow_lane_bytes: usize,
}

#[derive(Debug)]
struct Attempt {
    queue: Arc<Queue>,
    /// The ready class that the attempt came from.
    class: ReadyClass,
    begun_at: Instant,
    /// The batch, once it was taken from its queue.
    batch: Option<TakenBatch>,
    place: Place,
    cancel: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct TakenBatch {
    id: u64,
    bytes: usize,
}

/// The place that an attempt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Slot,
    SlowLane,
    /// The attempt was cancelled and counts no more.
    Cancelled,
}

/// An attempt that could make room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    pub(super) number: u64,
    pub(super) begun_at: Instant,
}

impl Attempts {
    /// Begins an attempt. Returns its number, and the signal that cancels it.
    pub(super) fn begin(
        &mut self,
        queue: Arc<Queue>,
        class: ReadyClass,
        place: Place,
        now: Instant,
    ) -> (u64, Arc<Notify>) {
        let cancel = Arc::<Notify>::default();
        self.begun += 1;
        let attempt = Attempt { queue, class, begun_at: now, batch: None, place, cancel: cancel.clone() };
        self.enter(&attempt);
        self.by_number.insert(self.begun, attempt);
        (self.begun, cancel)
    }

    /// The attempt has taken its batch.
    pub(super) fn set_batch(&mut self, number: u64, id: u64, bytes: usize) {
        let Some(attempt) = self.by_number.get_mut(&number) else { return };
        attempt.batch = Some(TakenBatch { id, bytes });
        if attempt.place == Place::SlowLane {
            attempt.queue.enter_slow_lane(id);
            self.slow_lane_bytes += bytes;
        }
    }

    /// Ends an attempt: its place is free.
    pub(super) fn end(&mut self, number: u64) {
        if let Some(attempt) = self.by_number.remove(&number) {
            self.leave(&attempt);
        }
    }

    /// The oldest attempt that holds a slot, among all or only among those on trial.
    pub(super) fn oldest_in_slot(&self, trial_only: bool) -> Option<Oldest> {
        self.oldest(|attempt| {
            attempt.place == Place::Slot && (!trial_only || attempt.class != ReadyClass::Steady)
        })
    }

    /// The oldest attempt in the slow lane that came from one of these classes.
    pub(super) fn oldest_in_slow_lane(&self, classes: &[ReadyClass]) -> Option<Oldest> {
        self.oldest(|attempt| attempt.place == Place::SlowLane && classes.contains(&attempt.class))
    }

    fn oldest(&self, matches: impl Fn(&Attempt) -> bool) -> Option<Oldest> {
        let (number, attempt) = self.by_number.iter().find(|(_, attempt)| matches(attempt))?;
        Some(Oldest { number: *number, begun_at: attempt.begun_at })
    }

    /// Moves an attempt from its slot to the slow lane.
    pub(super) fn move_to_slow_lane(&mut self, number: u64) {
        let Some(mut attempt) = self.by_number.remove(&number) else { return };
        self.leave(&attempt);
        attempt.place = Place::SlowLane;
        self.enter(&attempt);
        if let Some(batch) = attempt.batch {
            attempt.queue.enter_slow_lane(batch.id);
        }
        self.by_number.insert(number, attempt);
    }

    /// Cancels an attempt. Its place is free at once.
    pub(super) fn cancel(&mut self, number: u64) {
        let Some(mut attempt) = self.by_number.remove(&number) else { return };
        self.leave(&attempt);
        attempt.place = Place::Cancelled;
        attempt.cancel.notify_one();
        self.by_number.insert(number, attempt);
    }

    fn enter(&mut self, attempt: &Attempt) {
        match attempt.place {
            Place::Slot => {
                self.slots += 1;
                self.trial_slots += usize::from(attempt.class != ReadyClass::Steady);
            }
            Place::SlowLane => {
                self.slow_lane += 1;
                self.slow_lane_bytes += attempt.batch.map_or(0, |batch| batch.bytes);
            }
            Place::Cancelled => {}
        }
    }

    fn leave(&mut self, attempt: &Attempt) {
        match attempt.place {
            Place::Slot => {
                self.slots -= 1;
                self.trial_slots -= usize::from(attempt.class != ReadyClass::Steady);
            }
            Place::SlowLane => {
                self.slow_lane -= 1;
                self.slow_lane_bytes -= attempt.batch.map_or(0, |batch| batch.bytes);
            }
            Place::Cancelled => {}
        }
    }
}
