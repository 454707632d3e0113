//! The attempts under way, and the place that each of them holds: a slot, or a place in the slow lane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::target::ReadyClass;

/// The attempts under way. The places that they hold are counted here and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The attempts by number: the oldest come first.
    by_number: BTreeMap<u64, Attempt>,
    begun: u64,
    counts: [[usize; ReadyClass::ALL.len()]; 2],
}

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Attempt {
    queue_id: usize,
    /// The ready class that the attempt came from.
    pub(super) class: ReadyClass,
    /// The time at which its last request was sent.
    pub(super) sent_at: Instant,
    /// The size of the body of that request.
    pub(super) bytes: usize,
    /// The time for which a request is waited for in any case.
    pub(super) patience: Duration,
    pub(super) place: Place,
    cancel: Arc<Notify>,
}

/// The place that an attempt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Slot,
    SlowLane,
}

impl Attempts {
    /// Begins an attempt in a slot. Returns its number, and the signal that cancels it.
    pub(super) fn begin(
        &mut self,
        queue_id: usize,
        class: ReadyClass,
        patience: Duration,
        now: Instant,
    ) -> (u64, Arc<Notify>) {
        let cancel = Arc::<Notify>::default();
        self.begun += 1;
        let place = Place::Slot;
        let attempt =
            Attempt { queue_id, class, sent_at: now, bytes: 0, patience, place, cancel: cancel.clone() };
        *self.count_mut(&attempt) += 1;
        self.by_number.insert(self.begun, attempt);
        (self.begun, cancel)
    }

    /// The attempt sends a request.
    pub(super) fn on_sent(&mut self, number: u64, bytes: usize, now: Instant) {
        if let Some(attempt) = self.by_number.get_mut(&number) {
            (attempt.sent_at, attempt.bytes) = (now, bytes);
        }
    }

    /// The size of the body of the last request of an attempt.
    pub(super) fn bytes(&self, number: u64) -> usize {
        self.by_number.get(&number).map_or(0, |attempt| attempt.bytes)
    }

    /// Ends an attempt, if it was not cancelled before. Its place is free.
    pub(super) fn end(&mut self, number: u64) {
        if let Some(attempt) = self.by_number.remove(&number) {
            *self.count_mut(&attempt) -= 1;
        }
    }

    /// Moves an attempt from its slot to the slow lane.
    pub(super) fn move_to_slow_lane(&mut self, number: u64) {
        let Some(mut attempt) = self.by_number.remove(&number) else { return };
        *self.count_mut(&attempt) -= 1;
        attempt.place = Place::SlowLane;
        *self.count_mut(&attempt) += 1;
        self.by_number.insert(number, attempt);
    }

    /// Cancels an attempt. Its place is free at once.
    pub(super) fn cancel(&mut self, number: u64) {
        if let Some(attempt) = self.by_number.remove(&number) {
            *self.count_mut(&attempt) -= 1;
            attempt.cancel.notify_one();
        }
    }

    /// Cancels all attempts.
    pub(super) fn cancel_all(&mut self) {
        while let Some((number, _)) = self.by_number.first_key_value() {
            self.cancel(*number);
        }
    }

    /// The attempt that comes first by `time`, among those that match.
    pub(super) fn first_by(
        &self,
        matches: impl Fn(&Attempt) -> bool,
        time: impl Fn(&Attempt) -> Instant,
    ) -> Option<(Instant, u64)> {
        let matching = self.by_number.iter().filter(|(_, attempt)| matches(attempt));
        matching.map(|(number, attempt)| (time(attempt), *number)).min()
    }

    /// The number of attempts in a place whose class matches.
    pub(super) fn count(&self, place: Place, matches: impl Fn(ReadyClass) -> bool) -> usize {
        let counts = &self.counts[place as usize];
        ReadyClass::ALL.into_iter().filter(|class| matches(*class)).map(|class| counts[class.index()]).sum()
    }

    /// The number of attempts of a class.
    pub(super) fn of_class(&self, class: ReadyClass) -> usize {
        self.counts.iter().map(|counts| counts[class.index()]).sum()
    }

    /// The ids of the queues whose attempts are in the slow lane.
    pub(super) fn slow_queues(&self) -> impl Iterator<Item = usize> {
        self.by_number
            .values()
            .filter(|attempt| attempt.place == Place::SlowLane)
            .map(|attempt| attempt.queue_id)
    }

    fn count_mut(&mut self, attempt: &Attempt) -> &mut usize {
        &mut self.counts[attempt.place as usize][attempt.class.index()]
    }
}
