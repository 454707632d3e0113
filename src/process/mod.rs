//! The process that the library lives in, and its forks.
//!
//! A child of fork(2) has the memory of its parent but none of its threads, and a lock that a thread of the parent held is
//! held for ever. So the child uses no runtime and no lock of the parent: it makes its own when it needs them, see
//! [`PerProcess`]. The handler that runs in the child takes no lock and allocates nothing.

mod forks;
mod per_process;

pub use forks::{ClosedInChild, generation, watch_forks};
pub use per_process::PerProcess;
