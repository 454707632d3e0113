//! A batch: the events of one target that go out in one request.
//!
//! While it is open, each event is written as JSON straight into what will be the request's body; a sealed batch takes
//! no more events. Two types, so that a sealed batch cannot be added to and an open one cannot be sent. Invariants:
//!
//! * a batch keeps every limit of [`crate::limits`];
//! * its memory is reserved before it is taken, and given back when the batch is dropped;
//! * the body is put in order and compressed once; every attempt sends the same bytes.

use tokio::time::Instant;

use crate::ack::{Ending, Receipt};
use crate::body::{Body, encode, in_order_of_time};
use crate::buffers::Buffer;
use crate::config::Compression;
use crate::logs_api::RejectedEvents;
use crate::memory::Charge;
pub use open::{NewEvent, NotAdded, OpenBatch, Situation, Start, Target};

mod open;

/// What a batch takes besides its body.
const FIXED_CHARGE: usize = 256;

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    id: u64,
    first_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    payload: Payload,
    receipt: Receipt,
    charge: Charge,
}

#[derive(Debug)]
enum Payload {
    /// As the pushes wrote it: each event followed by a comma, in the order pushed.
    Written { body: Buffer, prefix_bytes: usize, in_order: bool },
    /// As it goes over the wire.
    Encoded(Body),
}

impl Batch {
    /// Its place in the order of its target's batches.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.receipt.events()
    }

    /// Memory that it holds.
    pub fn charged(&self) -> usize {
        self.charge.bytes()
    }

    /// Memory that it gives back when it is given up; what its acks hold stays.
    pub fn bytes_to_free(&self) -> usize {
        self.charge.bytes().saturating_sub(self.receipt.bytes_when_ended())
    }

    /// When it was first tried, if it was.
    pub fn first_attempt(&self) -> Option<Instant> {
        self.first_attempt
    }

    /// When it was last tried, if it was.
    pub fn last_attempt(&self) -> Option<Instant> {
        self.last_attempt
    }

    /// Notes an attempt.
    pub fn attempted(&mut self, now: Instant) {
        self.first_attempt.get_or_insert(now);
        self.last_attempt = Some(now);
    }

    /// Ends the batch: the service took all of its events but `rejected`.
    pub fn delivered(self, rejected: RejectedEvents) {
        self.receipt.delivered(rejected, self.charge);
    }

    /// Ends the batch: all of its events ended so.
    pub fn settle(self, ending: Ending) {
        self.receipt.settle(ending, self.charge);
    }

    /// The request's body, put in order and compressed at the first call and kept for the next attempts.
    pub fn body(&mut self, compression: Compression) -> Body {
        if let Payload::Written { body, prefix_bytes, in_order } = &mut self.payload {
            let mut body = std::mem::take(body);
            let home = self.charge.budget().buffers().clone();
            // Without the memory for it, which is reserved but may not be had, the service refuses the order.
            if !*in_order && let Ok((ordered, order)) = in_order_of_time(&body, *prefix_bytes, &home) {
                body = ordered;
                self.receipt.reorder(&order);
            }
            let kept = FIXED_CHARGE + self.receipt.kept_bytes();
            self.payload = Payload::Encoded(encode(body, compression, kept, &mut self.charge, &home));
        }
        match &self.payload {
            Payload::Encoded(body) => body.clone(),
            Payload::Written { .. } => unreachable!("was encoded above"),
        }
    }
}
