//! Outcomes: every accepted event gets exactly one, and the host learns it.
//!
//! A host that hands an event over wants to know what became of it, also when a thread panics, a request is cancelled or
//! the sink is shut down. So each batch carries a [`BatchFinalizer`] for its events. The batch is finalized when its
//! outcome is known. A finalizer that is dropped before that finalizes its events as abandoned, so no path leaves an
//! event without an outcome.
//!
//! Finalizing counts the events by outcome in the [`Ledger`], advances the offsets of their sources, and puts one ack for
//! each event into the [`AckQueue`]. Acks are kept only for a host that asked for them. Kept acks count towards the
//! memory bound until the host has fetched them.

pub mod ack_queue;
pub mod counts;
pub mod finalizer;
pub mod ledger;
pub mod resolution;
pub mod split_event;

pub use ack_queue::{Ack, AckQueue, AckSignal};
pub use counts::EventCounts;
pub use finalizer::BatchFinalizer;
pub use ledger::Ledger;
pub use resolution::{Outcome, Reason, Resolution};
pub use split_event::SplitEvent;
