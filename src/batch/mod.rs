//! Batches: the events of one target that go out in one request.
//!
//! While a batch is open, each event is written as JSON straight into what will be the request body. A sealed batch takes
//! no more events. The two are two types, so that nobody can add to a sealed batch or send an open one.
//!
//! Invariants:
//!
//! * A batch keeps every limit of [`crate::limits`].
//! * Its memory is reserved before it is taken, and given back when the batch is dropped.
//! * The body is sorted and compressed once. Every attempt sends the same bytes.

pub mod body;
pub mod event;
pub mod fit;
pub mod message;
pub mod open;
pub mod sealed;

pub use event::{Event, NewEvent};
pub use message::{Message, Scratch};
pub use open::{BatchSize, BatchTarget, NotAdded, OpenBatch, TargetState};
pub use sealed::{BATCH_ID_STRIDE, Batch, HalfBodies, NotHalved};
