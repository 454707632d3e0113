//! The plugin table: the library's functions in one look-up.

use std::ffi::{c_char, c_int, c_void};

use super::abi_version::CWL_ABI_VERSION;
use super::ack::{cwl_ack_callback, cwl_ack_fd, cwl_poll_acks, cwl_set_ack_callback};
use super::ack_array::cwl_ack;
use super::config::{cwl_config, cwl_config_free, cwl_config_new, cwl_config_set};
use super::error::cwl_last_error;
use super::event::cwl_event;
use super::log::{cwl_log_callback, cwl_set_log_callback};
use super::push::{cwl_push_event, cwl_push_events, cwl_target_push};
use super::sink::{cwl_flush, cwl_shutdown, cwl_sink, cwl_sink_free, cwl_sink_open};
use super::source::{cwl_source, cwl_source_free, cwl_source_offset, cwl_source_open};
use super::stats::{cwl_stats, cwl_stats_json, cwl_stats_snapshot, cwl_string_free};
use super::status::{cwl_status, cwl_status_name, cwl_version};
use super::target::{cwl_target, cwl_target_free, cwl_target_open};

/// Every function that a host needs, in one table, for hosts that load the library with dlopen. `dlsym(handle,
/// "cwl_plugin")` returns a `const cwl_plugin *`. The comment of each member names its function. Later versions
/// add members at the end: use a member only when `struct_size` includes it.
#[repr(C)]
pub struct cwl_plugin {
    /// The library's `CWL_ABI_VERSION`.
    pub abi_version: u32,
    /// `sizeof(cwl_plugin)` in the library.
    pub struct_size: u32,
    /// `cwl_sink_open`
    pub open: unsafe extern "C" fn(config: *const cwl_config, sink: *mut *mut cwl_sink) -> cwl_status,
    /// `cwl_push_event`
    pub push_event: unsafe extern "C" fn(sink: *mut cwl_sink, event: *const cwl_event) -> cwl_status,
    /// `cwl_flush`
    pub flush: unsafe extern "C" fn(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status,
    /// `cwl_shutdown`
    pub shutdown: unsafe extern "C" fn(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status,
    /// `cwl_sink_free`
    pub free: unsafe extern "C" fn(sink: *mut cwl_sink),
    /// `cwl_config_new`
    pub config_new: extern "C" fn() -> *mut cwl_config,
    /// `cwl_config_set`
    pub config_set:
        unsafe extern "C" fn(config: *mut cwl_config, key: *const c_char, value: *const c_char) -> cwl_status,
    /// `cwl_config_free`
    pub config_free: unsafe extern "C" fn(config: *mut cwl_config),
    /// `cwl_push_events`
    pub push_events: unsafe extern "C" fn(
        sink: *mut cwl_sink,
        events: *const cwl_event,
        count: usize,
        accepted: *mut usize,
    ) -> cwl_status,
    /// `cwl_target_open`
    pub target_open: unsafe extern "C" fn(
        sink: *mut cwl_sink,
        log_group: *const c_char,
        log_stream: *const c_char,
        target: *mut *mut cwl_target,
    ) -> cwl_status,
    /// `cwl_target_push`
    pub target_push: unsafe extern "C" fn(target: *mut cwl_target, event: *const cwl_event) -> cwl_status,
    /// `cwl_target_free`
    pub target_free: unsafe extern "C" fn(target: *mut cwl_target),
    /// `cwl_stats`
    pub stats: unsafe extern "C" fn(sink: *mut cwl_sink, stats: *mut cwl_stats_snapshot) -> cwl_status,
    /// `cwl_stats_json`
    pub stats_json: unsafe extern "C" fn(sink: *mut cwl_sink, json: *mut *mut c_char) -> cwl_status,
    /// `cwl_string_free`
    pub string_free: unsafe extern "C" fn(text: *mut c_char),
    /// `cwl_set_log_callback`
    pub set_log_callback:
        unsafe extern "C" fn(level: i32, callback: cwl_log_callback, user: *mut c_void) -> cwl_status,
    /// `cwl_last_error`
    pub last_error: extern "C" fn() -> *const c_char,
    /// `cwl_status_name`
    pub status_name: extern "C" fn(status: i32) -> *const c_char,
    /// `cwl_version`
    pub version: extern "C" fn() -> *const c_char,
    /// `cwl_set_ack_callback`
    pub set_ack_callback: unsafe extern "C" fn(
        sink: *mut cwl_sink,
        callback: cwl_ack_callback,
        user: *mut c_void,
    ) -> cwl_status,
    /// `cwl_poll_acks`
    pub poll_acks: unsafe extern "C" fn(
        sink: *mut cwl_sink,
        acks: *mut cwl_ack,
        capacity: usize,
        timeout_ms: i64,
    ) -> i64,
    /// `cwl_ack_fd`
    pub ack_fd: unsafe extern "C" fn(sink: *mut cwl_sink) -> c_int,
    /// `cwl_source_open`
    pub source_open: unsafe extern "C" fn(
        sink: *mut cwl_sink,
        name: *const c_char,
        source: *mut *mut cwl_source,
    ) -> cwl_status,
    /// `cwl_source_offset`
    pub source_offset: unsafe extern "C" fn(source: *mut cwl_source, offset: *mut u64) -> cwl_status,
    /// `cwl_source_free`
    pub source_free: unsafe extern "C" fn(source: *mut cwl_source),
}

/// The table itself, found with dlsym. It is not in the header, where its name is that of its type.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is that of C")]
pub static cwl_plugin: cwl_plugin = cwl_plugin {
    abi_version: CWL_ABI_VERSION,
    struct_size: size_of::<cwl_plugin>() as u32,
    open: cwl_sink_open,
    push_event: cwl_push_event,
    flush: cwl_flush,
    shutdown: cwl_shutdown,
    free: cwl_sink_free,
    config_new: cwl_config_new,
    config_set: cwl_config_set,
    config_free: cwl_config_free,
    push_events: cwl_push_events,
    target_open: cwl_target_open,
    target_push: cwl_target_push,
    target_free: cwl_target_free,
    stats: cwl_stats,
    stats_json: cwl_stats_json,
    string_free: cwl_string_free,
    set_log_callback: cwl_set_log_callback,
    last_error: cwl_last_error,
    status_name: cwl_status_name,
    version: cwl_version,
    set_ack_callback: cwl_set_ack_callback,
    poll_acks: cwl_poll_acks,
    ack_fd: cwl_ack_fd,
    source_open: cwl_source_open,
    source_offset: cwl_source_offset,
    source_free: cwl_source_free,
};
