//! A sealed batch: complete, and sent with one request at each attempt.

use tokio::time::Instant;

use super::body::{encode, sort_by_time};
use crate::config::Compression;
use crate::memory::{Buffer, Charge};
use crate::outcome::{BatchFinalizer, Resolution};
use crate::service::{RejectedEvents, RequestBody};

/// Memory that a batch takes besides its body, in bytes.
pub(super) const FIXED_CHARGE: usize = 256;

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    id: u64,
    first_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    payload: Payload,
    finalizer: BatchFinalizer,
    charge: Charge,
}

#[derive(Debug)]
enum Payload {
    /// The body as the pushes wrote it.
    Written(WrittenBody),
    /// The body as it goes over the wire.
    Encoded(RequestBody),
}

/// A body as the pushes wrote it: each event followed by a comma, in the order of the pushes.
#[derive(Debug)]
pub(super) struct WrittenBody {
    pub(super) bytes: Buffer,
    /// The length of the JSON before the first event.
    pub(super) prefix_bytes: usize,
    /// The events are in order of time.
    pub(super) in_order: bool,
}

impl Batch {
    pub(super) fn new(id: u64, body: WrittenBody, finalizer: BatchFinalizer, charge: Charge) -> Self {
        let payload = Payload::Written(body);
        Batch { id, first_attempt: None, last_attempt: None, payload, finalizer, charge }
    }

    /// The place of the batch in the order of the batches of its target.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.finalizer.events()
    }

    /// Memory that the batch holds, in bytes.
    pub fn charged_bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Memory that the batch gives back when it is dropped, in bytes. The memory of its acks stays.
    pub fn droppable_bytes(&self) -> usize {
        self.charge.bytes().saturating_sub(self.finalizer.ack_bytes())
    }

    /// The time of the first attempt, if there was one.
    pub fn first_attempt(&self) -> Option<Instant> {
        self.first_attempt
    }

    /// The time of the last attempt, if there was one.
    pub fn last_attempt(&self) -> Option<Instant> {
        self.last_attempt
    }

    /// Notes an attempt.
    pub fn note_attempt(&mut self, now: Instant) {
        self.first_attempt.get_or_insert(now);
        self.last_attempt = Some(now);
    }

    /// Finalizes a batch that the service took, except its `rejected` events.
    pub fn finalize_delivered(self, rejected: RejectedEvents) {
        self.finalizer.finalize_delivered(rejected, self.charge);
    }

    /// Finalizes all events of the batch alike.
    pub fn finalize(self, resolution: Resolution) {
        self.finalizer.finalize(resolution, self.charge);
    }

    /// The request body. The first call sorts and compresses it; later attempts send the same bytes.
    pub fn body(&mut self, compression: Compression) -> RequestBody {
        if let Payload::Written(body) = &mut self.payload {
            let mut bytes = std::mem::take(&mut body.bytes);
            let buffers = self.charge.budget().buffers().clone();
            // The memory for sorting is reserved. If it cannot be had all the same, the body goes out unsorted and the
            // service refuses it.
            if !body.in_order
                && let Ok((sorted, order)) = sort_by_time(&bytes, body.prefix_bytes, &buffers)
            {
                bytes = sorted;
                self.finalizer.reorder(&order);
            }
            let kept = FIXED_CHARGE + self.finalizer.allocated_bytes();
            self.payload = Payload::Encoded(encode(bytes, compression, kept, &mut self.charge, &buffers));
        }
        match &self.payload {
            Payload::Encoded(body) => body.clone(),
            Payload::Written(_) => unreachable!("the body was encoded above"),
        }
    }
}
