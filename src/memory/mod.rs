//! Memory: the budget that bounds what events take, and the buffers that request bodies are written to.

pub mod budget;
pub mod buffers;

pub use budget::{Account, Budget, Charge};
pub use buffers::{Buffer, Buffers, NoRoom};
