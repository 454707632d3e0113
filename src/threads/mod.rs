//! The threads of the sink: how they start, and which threads must not wait for the sink.

#[allow(unsafe_code, reason = "threads that the host may end are started by C functions")]
mod host_calls;
mod marks;
#[allow(unsafe_code, reason = "the signal mask of a thread is set by C functions")]
mod signals;
mod start;

pub use host_calls::{HostCalls, HostThread};
pub use marks::{is_in_callback, is_own, may_wait};
pub use start::{call_blocking, start};
