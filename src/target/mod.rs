//! Targets: a target is one log group and one log stream.

pub mod breaker;
pub mod holders;
pub mod queue;
pub mod ready_class;
pub mod registry;

pub use queue::{Effects, Queue, QueueSnapshot};
pub use ready_class::ReadyClass;
pub use registry::Registry;
