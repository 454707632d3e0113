//! The accounts of a sink: events by outcome, and the acks for the host.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ack_queue::AckQueue;
use super::resolution::Outcome;

/// Counts the events of a sink by outcome, and holds the acks that the host has not fetched yet.
#[derive(Debug, Default)]
pub struct Ledger {
    events: [AtomicU64; Outcome::ALL.len()],
    delivered_bytes: AtomicU64,
    /// The acks that the host has not fetched yet.
    pub acks: AckQueue,
}

impl Ledger {
    /// Events with this outcome.
    pub fn events(&self, outcome: Outcome) -> u64 {
        self.events[outcome.index()].load(Ordering::Relaxed)
    }

    /// Message bytes of the batches that the service took.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.load(Ordering::Relaxed)
    }

    /// Counts events that became final.
    pub(super) fn count(&self, outcome: Outcome, events: usize) {
        self.events[outcome.index()].fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Counts the message bytes of a batch that the service took.
    pub(super) fn count_delivered_bytes(&self, bytes: usize) {
        self.delivered_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
