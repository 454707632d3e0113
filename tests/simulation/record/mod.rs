//! The record of a run: every accepted event, as the host and as the service know it.

pub mod batch;
pub mod halves;
pub mod message;
pub mod queue;

use std::ops::Range;
use std::time::Duration;

use cwl_sink::outcome::{Outcome, Reason};
use tokio::time::Instant;

pub use batch::{BatchRecord, BatchState, FinalState, GivenUp};
pub use halves::Halving;
pub use queue::{QueueRecord, Steadiness};

use crate::models::{BatchId, BatchKey};

/// See the module.
#[derive(Default)]
pub struct Record {
    pub events: Vec<EventRecord>,
    pub pieces: Vec<PieceRecord>,
    pub queues: Vec<QueueRecord>,
    pub sources: Vec<SourceRecord>,
    /// Pieces that were answered with "taken".
    pub delivered: u64,
    /// Pieces that were answered with "refused".
    pub rejected: u64,
    /// Acked events by outcome.
    pub acked: [u64; Outcome::ALL.len()],
    /// Events that are owed an ack and have none yet.
    pub acks_owed: u64,
    /// Message bytes of these events.
    pub unacked_bytes: usize,
}

/// An event as the host knows it. Its token is its index.
#[derive(Debug)]
pub struct EventRecord {
    /// The pieces of the event. Only an event that was split has more than one.
    pub pieces: Range<usize>,
    /// The length of the pushed message.
    pub pushed_bytes: usize,
    /// The length of the message as the service counts it.
    pub text_bytes: usize,
    pub emf: bool,
    /// The service refuses every request with the event.
    pub is_poison: bool,
    pub ack_owed: bool,
    pub accepted_at: Instant,
    /// [`QueueRecord::excused`] when the event was accepted.
    pub excused_before: Duration,
    pub ack: Option<AckRecord>,
}

/// An ack that the host fetched.
#[derive(Debug)]
pub struct AckRecord {
    pub reason: Reason,
    /// The code of the error that the ack names.
    pub code: Option<String>,
    pub fetched_at: Instant,
}

/// An event as the service sees it: a whole event, or one piece of an event that was split.
#[derive(Debug)]
pub struct PieceRecord {
    pub event: usize,
    pub queue: usize,
    /// The place among all accepted pieces of the queue.
    pub number: u64,
    pub timestamp_ms: i64,
    pub text_bytes: usize,
    /// The number of times that the service took the piece.
    pub taken: u32,
    /// The number of these times for which the answer did not arrive, or not yet.
    pub taken_without_answer: u32,
    /// The reason if the answer said that the piece was refused.
    pub refused: Option<Reason>,
    /// The answer said that the piece was taken.
    pub confirmed: bool,
    /// The batch that the piece came in.
    pub batch: Option<BatchKey>,
    /// The piece is the second of its event.
    pub is_second: bool,
}

/// A source, and what the host pushed from it.
#[derive(Debug, Default)]
pub struct SourceRecord {
    /// The accepted events with their ranges, in the order of the pushes.
    pub accepted: Vec<AcceptedRange>,
    /// The offset at which the next event begins.
    pub next: u64,
    /// The final events at the beginning, as of the last call of [`Record::offset`].
    final_events: usize,
    /// The offset below which everything was final then.
    offset: Option<u64>,
}

/// The range of its source that an event covers.
#[derive(Debug)]
pub struct AcceptedRange {
    pub begin: u64,
    pub end: u64,
    pub event: usize,
}

impl Record {
    /// A batch that was sent.
    pub fn batch(&self, id: BatchId) -> &BatchRecord {
        &self.queues[id.queue].batches[&id.key]
    }

    /// A batch that was sent, to be changed.
    pub fn batch_mut(&mut self, id: BatchId) -> &mut BatchRecord {
        self.queues[id.queue].batches.get_mut(&id.key).expect("a batch that was sent")
    }

    /// The queues in which a batch waits until another one is delivered.
    pub fn queues_that_need_delivery(&self) -> Vec<usize> {
        (0..self.queues.len()).filter(|index| self.queues[*index].needs_delivery()).collect()
    }

    /// Adds an ack.
    pub fn add_ack(&mut self, token: u64, ack: AckRecord) -> Result<(), String> {
        let Some(event) = self.events.get_mut(token as usize) else {
            return Err(format!("an ack came for token {token}, which was never accepted"));
        };
        if let Some(before) = &event.ack {
            return Err(format!("event {token} was acked twice: {:?}, then {:?}", before.reason, ack.reason));
        }
        self.acked[ack.reason.outcome().index()] += 1;
        event.ack = Some(ack);
        if event.ack_owed {
            self.acks_owed -= 1;
            self.unacked_bytes -= event.text_bytes;
        }
        Ok(())
    }

    /// The offset that a source must have after the acks so far. The ranges of a batch that was halved are final
    /// together.
    pub fn offset(&mut self, source: usize) -> Option<u64> {
        let source = &mut self.sources[source];
        while let Some(range) = source.accepted.get(source.final_events) {
            let is_next = *source.offset.get_or_insert(range.begin) == range.begin;
            if !is_next || !is_range_final(&self.events, &self.pieces, &self.queues, range.event) {
                break;
            }
            source.final_events += 1;
            source.offset = Some(range.end);
        }
        source.offset
    }
}

/// Returns true if the range of an event is final: the event and all others of its batch are, and none was abandoned.
fn is_range_final(
    events: &[EventRecord],
    pieces: &[PieceRecord],
    queues: &[QueueRecord],
    event: usize,
) -> bool {
    let is_final = |event: usize| {
        let ack = events[event].ack.as_ref();
        ack.is_some_and(|ack| ack.reason.outcome() != Outcome::Abandoned)
    };
    let roots = pieces[events[event].pieces.clone()].iter().filter_map(|piece| {
        let batch = &queues[piece.queue].batches[&piece.batch?];
        match batch.halving {
            _ if batch.is_half => Some(&batch.root[..]),
            // One half may be dropped to make room while the other waits.
            Halving::Perhaps => Some(&batch.pieces[..]),
            Halving::No => None,
        }
    });
    is_final(event) && roots.flat_map(|root| root.iter()).all(|piece| is_final(pieces[*piece].event))
}
