//! Counters of events by outcome.

use super::resolution::Outcome;

/// Events of one target, counted by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCounts {
    /// Events that a push accepted.
    pub accepted: u64,
    /// Message bytes of the accepted events, as UTF-8.
    pub accepted_bytes: u64,
    /// Final events, by [`Outcome::index`].
    pub outcomes: [u64; Outcome::ALL.len()],
}

impl EventCounts {
    /// Adds the counters of another target.
    pub fn add(&mut self, other: EventCounts) {
        self.accepted += other.accepted;
        self.accepted_bytes += other.accepted_bytes;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(mine, more)| *mine += more);
    }

    /// Counts events that became final.
    pub fn count(&mut self, outcome: Outcome, events: usize) {
        self.outcomes[outcome.index()] += events as u64;
    }

    /// Final events with this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }
}
