//! `PutLogEvents`: checks a batch, stores its valid events and reports the rejected ones.
//!
//! - `input.rs`: the parameters, read from JSON.
//! - `ages.rs`: the ages of the events, which decide about each event.
//! - `batch.rs`: the batch as a whole. It imports the other two.

mod ages;
mod batch;
mod input;

pub(super) use batch::Batch;
