//! The C ABI, for C, Go, Python and every other language that can load a shared object.
//!
//! Nearly all unsafe code is here; the rest is in `process` and `threads`. Every C entry has the same four steps: it enters through the boundary, checks its
//! pointers, calls the library, and returns a status.
//!
//! | file | what it does |
//! | --- | --- |
//! | `boundary.rs` | Catches panics and returns a status. |
//! | `error.rs` | Maps every error of the library to a status; keeps the text of the thread's last error. |
//! | `handle.rs` | Turns Rust values into opaque pointers and back. |
//! | `pointers.rs`, `text.rs`, `timeout.rs` | Check and convert arguments. |
//! | `versioned.rs` | Reads and writes structs of other versions by their `struct_size`. |
//! | `running.rs` | The sink behind a handle, one in each process after a fork. |
//! | `log_thread.rs`, `ack_callback.rs` | Hand log messages and acks to the host. |
//! | `event_fd.rs` | Wakes a host's event loop. |
//! | `event.rs`, `ack_array.rs` | Events and acks as C sees them. |
//! | all others | The C entries. |
//!
//! `build.rs` generates `include/cwl_sink.h` from the doc comments of this folder, so they are written for C.
//!
//! # Safety
//!
//! One contract holds for all entries, as usual in C. A pointer is NULL or points to what its parameter says. A handle
//! has not been freed. The memory of an event stays readable during the call. NULL and handles of another type are
//! refused. A dangling pointer is the caller's fault.

#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(clippy::missing_safety_doc, reason = "the contract stands above, once")]

mod abi_version;
mod ack;
mod ack_array;
mod ack_callback;
mod boundary;
mod config;
mod error;
mod event;
mod event_fd;
mod handle;
mod log;
mod log_thread;
mod plugin;
mod pointers;
mod push;
mod running;
mod sink;
mod source;
mod stats;
mod status;
mod target;
mod text;
mod timeout;
mod versioned;

pub use abi_version::{CWL_ABI_MAJOR, CWL_ABI_MINOR, CWL_ABI_VERSION};
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
pub use status::{cwl_abi_version, cwl_status, cwl_status_name, cwl_version};
pub use target::{cwl_target, cwl_target_free, cwl_target_open};
pub use timeout::CWL_FOREVER;
