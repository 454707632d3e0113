//! The finalizer of a batch: it carries everything that is owed for the events of the batch.

use std::collections::TryReserveError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ack_queue::AckRun;
use super::ledger::Ledger;
use super::resolution::{Outcome, Reason, Resolution};
use super::split_event::SplitEvent;
use crate::memory::Charge;
use crate::service::RejectedEvents;
use crate::sources::SourceRange;

/// Memory that the acks of one batch take besides their tokens, until the host has fetched them, in bytes.
const ACKS_CHARGE: usize = 256;

/// Finalizes the events of one batch, exactly once. When dropped, it finalizes them as abandoned.
#[derive(Debug)]
pub struct BatchFinalizer {
    ledger: Arc<Ledger>,
    /// The host had asked for acks when the batch was opened, so each event has its token in `tokens`.
    acked: bool,
    events: usize,
    message_bytes: usize,
    /// One token for each event, in the order pushed, until they are put in order of time.
    tokens: Vec<u64>,
    /// The ranges of their sources that the events cover. Adjacent ranges are joined.
    ranges: Vec<SourceRange>,
    /// The ranges of a batch that was halved. Each part of it has them.
    shared_ranges: Option<Arc<SharedRanges>>,
    /// The split event of which the only event of this batch is a piece.
    split: Option<Arc<SplitEvent>>,
}

impl BatchFinalizer {
    /// A finalizer without events.
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        BatchFinalizer {
            ledger: ledger.clone(),
            acked: ledger.acks.is_enabled(),
            events: 0,
            message_bytes: 0,
            tokens: Vec::new(),
            ranges: Vec::new(),
            shared_ranges: None,
            split: None,
        }
    }

    /// Returns whether the host has asked for acks since the batch was opened. Further events belong into a new batch then.
    pub fn is_outdated(&self) -> bool {
        self.acked != self.ledger.acks.is_enabled()
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes that the finalizer would take with capacity for `events` events, the next of them with this range.
    pub fn bytes_with(&self, events: usize, range: Option<&SourceRange>) -> usize {
        let tokens = if self.acked { events } else { 0 };
        tokens * size_of::<u64>() + self.range_capacity_with(range) * size_of::<SourceRange>()
    }

    /// The number of events that it has capacity for; without limit when the host asked for no acks.
    pub fn event_capacity(&self) -> usize {
        if self.acked { self.tokens.capacity() } else { usize::MAX }
    }

    /// Returns whether it has capacity for `events` events, the next of them with this range.
    pub fn has_capacity(&self, events: usize, range: Option<&SourceRange>) -> bool {
        events <= self.event_capacity() && self.range_capacity_with(range) == self.ranges.capacity()
    }

    /// Reserves capacity for `events` events, the next of them with this range.
    pub fn reserve(&mut self, events: usize, range: Option<&SourceRange>) -> Result<(), TryReserveError> {
        if self.acked {
            self.tokens.try_reserve_exact(events.saturating_sub(self.tokens.len()))?;
        }
        let ranges = self.range_capacity_with(range);
        self.ranges.try_reserve_exact(ranges - self.ranges.len())
    }

    /// The capacity for ranges once this one is added. It doubles when the range joins no other and none is free.
    fn range_capacity_with(&self, range: Option<&SourceRange>) -> usize {
        let (len, capacity) = (self.ranges.len(), self.ranges.capacity());
        let joins = range.is_none_or(|range| self.ranges.last().is_some_and(|last| last.joins(range)));
        if joins || len < capacity { capacity } else { (2 * capacity).max(1) }
    }

    /// Bytes that the finalizer takes now.
    pub fn allocated_bytes(&self) -> usize {
        self.tokens.capacity() * size_of::<u64>() + self.ranges.capacity() * size_of::<SourceRange>()
    }

    /// Adds an event whose message has `message_bytes` bytes of UTF-8.
    pub fn add(&mut self, message_bytes: usize, token: u64, range: Option<&SourceRange>) {
        if self.acked {
            self.tokens.push(token);
        }
        self.events += 1;
        self.message_bytes += message_bytes;
        let Some(range) = range else { return };
        match self.ranges.last_mut() {
            Some(last) if last.joins(range) => last.end = range.end,
            _ => self.ranges.push(range.clone()),
        }
    }

    /// Notes that the only event is a piece of a split event.
    pub fn set_split(&mut self, split: &Arc<SplitEvent>) {
        self.split = Some(split.clone());
    }

    /// Notes that the events are sent in another order: `order[i]` is the push index of the i-th event.
    pub fn reorder(&mut self, order: &[u32]) {
        if self.acked {
            self.tokens = order.iter().map(|pushed| self.tokens[*pushed as usize]).collect();
        }
    }

    /// Halves the finalizer: the first part keeps `events` events, whose messages have `message_bytes` bytes in all. The
    /// ranges are final when both parts are.
    pub fn split_off(&mut self, events: usize, message_bytes: usize) -> BatchFinalizer {
        if !self.ranges.is_empty() {
            self.shared_ranges = Some(Arc::new(SharedRanges::new(std::mem::take(&mut self.ranges))));
        }
        let rest = BatchFinalizer {
            ledger: self.ledger.clone(),
            acked: self.acked,
            events: self.events - events,
            message_bytes: self.message_bytes.saturating_sub(message_bytes),
            tokens: if self.acked { self.tokens.split_off(events) } else { Vec::new() },
            ranges: Vec::new(),
            shared_ranges: self.shared_ranges.clone(),
            split: None,
        };
        (self.events, self.message_bytes) = (events, message_bytes);
        rest
    }

    /// Memory that the acks of the events will hold until the host has fetched them, in bytes.
    pub fn ack_bytes(&self) -> usize {
        if self.acked { ACKS_CHARGE + self.tokens.len() * size_of::<u64>() } else { 0 }
    }

    /// Takes the events back as if they had never been pushed: nothing is owed for them.
    pub fn cancel(mut self) {
        self.events = 0;
        self.tokens.clear();
        self.ranges.clear();
        self.shared_ranges = None;
        self.split = None;
    }

    /// Finalizes the events of a request that the service took, except `rejected`. The charge is the memory that the
    /// events hold.
    pub fn finalize_delivered(mut self, rejected: RejectedEvents, charge: Charge) {
        self.ledger.count_delivered_bytes(self.message_bytes);
        let bounds = rejected.bounds(self.events);
        let parts = [
            (bounds.too_old_end, Reason::TooOld),
            (bounds.expired_end, Reason::Expired),
            (bounds.taken_end, Reason::None),
            (self.events, Reason::TooNew),
        ];
        self.finalize_parts(&parts.map(|(end, reason)| (end, Resolution::from(reason))), Some(charge));
    }

    /// Finalizes all events alike. The charge is the memory that the events hold.
    pub fn finalize(mut self, resolution: Resolution, charge: Charge) {
        self.finalize_parts(&[(self.events, resolution)], Some(charge));
    }

    /// Finalizes consecutive parts of the events. Each part is given by its end index and its resolution.
    fn finalize_parts(&mut self, parts: &[(usize, Resolution)], charge: Option<Charge>) {
        let charge = charge.filter(|_| self.acked).map(|mut charge| {
            charge.shrink_to(self.ack_bytes());
            Arc::new(charge)
        });
        // From here on nothing is left for `drop` to finalize, even if this panics.
        self.events = 0;
        let (tokens, ranges) = (std::mem::take(&mut self.tokens), std::mem::take(&mut self.ranges));
        let mut begin = 0;
        let mut read_again = false;
        let mut runs = Vec::new();
        for (end, resolution) in parts {
            if begin == *end {
                continue;
            }
            let outcome = resolution.outcome();
            self.ledger.count(outcome, end - begin);
            read_again |= outcome == Outcome::Abandoned;
            let whole = match &self.split {
                None => Some(resolution.clone()),
                Some(split) => split.finalize_piece(resolution),
            };
            if let Some(resolution) = whole {
                if let Some(range) = self.split.as_ref().and_then(|split| split.range().cloned())
                    && resolution.outcome() != Outcome::Abandoned
                {
                    range.finalize();
                }
                if self.acked {
                    let tokens = tokens[begin..*end].iter().copied().collect();
                    runs.push(AckRun { tokens, resolution, _charge: charge.clone() });
                }
            }
            begin = *end;
        }
        match (self.shared_ranges.take(), read_again) {
            (Some(shared), true) => shared.hold_back(),
            (_, false) => ranges.into_iter().for_each(SourceRange::finalize),
            (None, true) => {}
        }
        // A host that has the ack of an event may ask for the offset at once, so the acks come last.
        runs.into_iter().for_each(|run| self.ledger.acks.push(run));
    }
}

/// The ranges that the events of a halved batch cover, shared by its parts. They are final when the last part is, unless
/// events of a part were abandoned.
#[derive(Debug)]
struct SharedRanges {
    ranges: Vec<SourceRange>,
    held_back: AtomicBool,
}

impl SharedRanges {
    fn new(ranges: Vec<SourceRange>) -> Self {
        SharedRanges { ranges, held_back: AtomicBool::new(false) }
    }

    /// Keeps the ranges from becoming final: they have to be read again.
    fn hold_back(&self) {
        self.held_back.store(true, Ordering::Release);
    }
}

impl Drop for SharedRanges {
    fn drop(&mut self) {
        if !self.held_back.load(Ordering::Acquire) {
            self.ranges.drain(..).for_each(SourceRange::finalize);
        }
    }
}

impl Drop for BatchFinalizer {
    fn drop(&mut self) {
        self.finalize_parts(&[(self.events, Resolution::from(Reason::InternalError))], None);
    }
}

#[cfg(test)]
mod tests;
