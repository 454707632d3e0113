//! The C ABI: the front door for C, Go, Python and whoever else can load a shared object.
//!
//! The only unsafe code. Every entry reads alike: the boundary, which catches panics and keeps the error's
//! text; the checks, which turn pointers into references; the call; the code that comes back. What hosts read
//! about it stands in the doc comments here, from which `include/cwl_sink.h` is generated.
//!
//! # Safety
//!
//! One contract for all entries, as C has it: a pointer is NULL or what its parameter says, a handle has not been
//! freed, and the memory behind an event stays readable during the call. NULL and handles of a wrong kind are
//! refused; a dangling pointer is the caller's.

#![allow(non_camel_case_types)] // as C will see them
#![allow(clippy::missing_safety_doc)] // above, once; the header is for C, which knows no other contract

mod ack;
mod ack_array;
mod boundary;
mod config;
mod error;
mod event;
mod event_fd;
mod handle;
mod log;
mod plugin;
mod pointers;
mod push;
mod signals;
mod sink;
mod source;
mod stats;
mod status;
mod target;
mod text;
mod timeout;
mod versioned;

pub use ack::{cwl_ack_callback, cwl_ack_fd, cwl_poll_acks, cwl_set_ack_callback};
pub use ack_array::{cwl_ack, cwl_outcome, cwl_reason};
pub use config::{cwl_config, cwl_config_free, cwl_config_new, cwl_config_set};
pub use error::cwl_last_error;
pub use event::cwl_event;
pub use log::{cwl_log_callback, cwl_log_level, cwl_set_log_callback};
pub use plugin::cwl_plugin;
pub use push::{cwl_push_event, cwl_push_events, cwl_target_push};
pub use sink::{cwl_flush, cwl_shutdown, cwl_sink, cwl_sink_free, cwl_sink_open};
pub use source::{cwl_source, cwl_source_free, cwl_source_offset, cwl_source_open};
pub use stats::{cwl_stats, cwl_stats_json, cwl_stats_snapshot, cwl_string_free};
pub use status::{CWL_ABI_VERSION, cwl_abi_version, cwl_status, cwl_status_name, cwl_version};
pub use target::{cwl_target, cwl_target_free, cwl_target_open};
