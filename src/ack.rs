//! What became of events: every accepted event ends once, in one of four outcomes.
//!
//! A [`Receipt`] stands for the events of one batch. It is settled when the batch is final; dropped
//! unsettled, on whatever path, it settles itself as abandoned, so that no event is left without an outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it.
    Delivered,
    /// The service took its request but refused this event: too old, too new, expired.
    Rejected,
    /// Given up: the service will never take it, or it was tried for too long, or it had to make room.
    Dropped,
    /// Still unsent when the sink shut down.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Outcome; 4] =
        [Outcome::Delivered, Outcome::Rejected, Outcome::Dropped, Outcome::Abandoned];

    /// Its place in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How many events ended in each outcome.
#[derive(Debug, Default)]
pub struct Outcomes {
    events: [AtomicU64; Outcome::ALL.len()],
    delivered_bytes: AtomicU64,
}

impl Outcomes {
    /// Events that ended so.
    pub fn events(&self, outcome: Outcome) -> u64 {
        self.events[outcome.index()].load(Ordering::Relaxed)
    }

    /// Message bytes of the batches that the service took.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.load(Ordering::Relaxed)
    }

    fn add(&self, outcome: Outcome, events: usize) {
        self.events[outcome.index()].fetch_add(events as u64, Ordering::Relaxed);
    }
}

/// The events of one batch, whose outcome is still owed.
#[derive(Debug)]
pub struct Receipt {
    outcomes: Arc<Outcomes>,
    events: usize,
    message_bytes: usize,
}

impl Receipt {
    /// A receipt for no events yet.
    pub fn new(outcomes: &Arc<Outcomes>) -> Self {
        Receipt { outcomes: outcomes.clone(), events: 0, message_bytes: 0 }
    }

    /// How many events it stands for.
    pub fn events(&self) -> usize {
        self.events
    }

    /// One more event, of so many UTF-8 bytes.
    pub fn add(&mut self, message_bytes: usize) {
        self.events += 1;
        self.message_bytes += message_bytes;
    }

    /// The service answered: it took all of the events but `rejected`.
    pub fn delivered(mut self, rejected: usize) {
        let events = std::mem::take(&mut self.events);
        let rejected = rejected.min(events);
        self.outcomes.add(Outcome::Delivered, events - rejected);
        self.outcomes.add(Outcome::Rejected, rejected);
        self.outcomes.delivered_bytes.fetch_add(self.message_bytes as u64, Ordering::Relaxed);
    }

    /// All of the events ended so.
    pub fn settle(mut self, outcome: Outcome) {
        let events = std::mem::take(&mut self.events);
        self.outcomes.add(outcome, events);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.outcomes.add(Outcome::Abandoned, self.events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_settled_once_and_as_abandoned_when_nobody_settles_it() {
        let outcomes = Arc::new(Outcomes::default());
        let receipt = |events: usize| {
            let mut receipt = Receipt::new(&outcomes);
            (0..events).for_each(|_| receipt.add(10));
            receipt
        };
        receipt(5).delivered(2);
        receipt(7).settle(Outcome::Dropped);
        drop(receipt(4));
        assert_eq!(Outcome::ALL.map(|outcome| outcomes.events(outcome)), [3, 2, 7, 4]);
    }
}
