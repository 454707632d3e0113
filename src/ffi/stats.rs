//! Statistics of a sink, for C.

use std::ffi::{CString, c_char};
use std::mem::transmute;

use super::boundary::ffi_call;
use super::error::FfiError;
use super::sink::cwl_sink;
use super::status::cwl_status;
use super::versioned::{self, Versioned};
use super::{handle, pointers};
use crate::report::stats::Snapshot;

/// The statistics of a sink. Counters count from the opening of the sink; gauges are as of the call. Set
/// `struct_size` to `sizeof(cwl_stats_snapshot)` before the call. Later versions add members at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct cwl_stats_snapshot {
    /// `sizeof(cwl_stats_snapshot)`.
    pub struct_size: usize,
    /// Events that were accepted. An event that was split counts once for each piece, here and below.
    pub accepted_events: u64,
    /// Message bytes of the accepted events, as UTF-8.
    pub accepted_bytes: u64,
    /// Pushes to a target that were refused, for any reason. Pushes without a valid target do not count: a NULL or
    /// freed handle, a struct of the wrong size, a name that CloudWatch Logs does not allow, a new target after
    /// the shutdown.
    pub refused_events: u64,
    /// Events that CloudWatch Logs accepted.
    pub delivered_events: u64,
    /// Message bytes of the requests that CloudWatch Logs accepted.
    pub delivered_bytes: u64,
    /// Events that CloudWatch Logs refused for their age while it accepted the rest of their request.
    pub rejected_events: u64,
    /// Events that the library gave up: the service will never take their request, they were tried for
    /// `retry_max_age_ms`, or they were the oldest when there was no room (`when_full=drop_oldest`, and metrics
    /// always).
    pub dropped_events: u64,
    /// Events of which the library does not know that they arrived: no attempt had succeeded at the shutdown, or
    /// the library had an internal error. A request whose answer was still missing may have arrived, so an event
    /// that is sent again may be there twice.
    pub abandoned_events: u64,
    /// Gauge: accepted events without an outcome yet.
    pub pending_events: u64,
    /// Gauge: bytes of memory reserved for events, and for acks that were not fetched. Never more than
    /// `buffer_max_bytes`.
    pub buffered_bytes: u64,
    /// The highest value that `buffered_bytes` ever had.
    pub buffered_bytes_peak: u64,
    /// Gauge: known targets. A target that received both logs and metrics (EMF) counts twice.
    pub targets: u64,
    /// Gauge: targets whose last request failed. Each is probed until a request succeeds.
    pub targets_failing: u64,
    /// `PutLogEvents` requests that were sent.
    pub requests: u64,
    /// Requests that were answered with an error or not at all.
    pub requests_failed: u64,
    /// Gauge: requests that wait for their answer.
    pub requests_in_flight: u64,
    /// Number of times that a batch of events was queued for another attempt.
    pub batches_retried: u64,
    /// Bytes of request bodies that were sent, after compression.
    pub wire_bytes: u64,
    /// Events whose message was cut to the limit of CloudWatch Logs (`oversize=truncate`).
    pub truncated_events: u64,
    /// Gauge: 1 while delivery is paused for all targets, else 0. Delivery is paused while credentials are
    /// missing, wrong or expired, while the service does not accept the clock, and while no target receives an
    /// answer. One request at a time probes meanwhile.
    pub endpoint_paused: u64,
    /// Gauge: the most requests that may be in flight now, not counting the slow lane. It is the option
    /// `concurrency`, or less while CloudWatch Logs throttles or has just recovered.
    pub concurrency_limit: u64,
    /// Gauge: requests in the slow lane, where they do not count towards `concurrency_limit`.
    pub requests_slow: u64,
    /// Requests that were answered with throttling. Requests to create a group or a stream count too.
    pub requests_throttled: u64,
    /// Gauge: log groups that the library created and whose retention (`retention_days`) is not set yet. The library
    /// tries again until it is.
    pub settings_owed: u64,
}

// SAFETY: `repr(C)`, without padding; numbers may be zero.
unsafe impl Versioned for cwl_stats_snapshot {
    const NAME: &'static str = "cwl_stats_snapshot";
    const MIN_SIZE: usize = size_of::<usize>();
    const IN_ARRAYS: bool = false;
}

/// Fills `*stats`: every member that fits into its `struct_size`. Does not block. Any thread. Works after the
/// shutdown too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_stats(sink: *mut cwl_sink, stats: *mut cwl_stats_snapshot) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        pointers::check_out("stats", stats)?;
        // SAFETY: not NULL and aligned; the host says that at least the first member is readable.
        let struct_size = unsafe { versioned::struct_size("the struct_size of stats", stats) }?;
        let filled = cwl_stats_snapshot::new(struct_size, sink.running()?.sink.snapshot());
        // SAFETY: the host lets the library write `struct_size` bytes.
        unsafe { versioned::write(stats, &filled, struct_size) };
        Ok(())
    })
}

/// The statistics of a sink, laid out as `cwl_stats_snapshot`.
///
/// `cwl_stats_snapshot` is the only list of members here. Its members after `struct_size` are those of [`Snapshot`], in
/// the same order. The compiler compares the sizes, and a test compares the names.
#[repr(C)]
struct SizedSnapshot {
    struct_size: usize,
    snapshot: Snapshot,
}

impl cwl_stats_snapshot {
    fn new(struct_size: usize, snapshot: Snapshot) -> Self {
        // SAFETY: both are `repr(C)`, of the same size, and numbers of 64 bits behind `struct_size`.
        unsafe { transmute(SizedSnapshot { struct_size, snapshot }) }
    }
}

/// Puts the statistics into `*json`: a JSON object in UTF-8 that ends in NUL. Free it with `cwl_string_free`. Does
/// not block. Any thread. Works after the shutdown too. Sets `*json` to NULL on an error.
///
/// The object has the statistics of `cwl_stats_snapshot` by their names, and an array `target_states` with one
/// object for each target:
/// - `log_group`, `log_stream`, `emf`: the target. `emf` is true for metrics, which are a target of their own.
/// - `breaker`: `closed`, `open` or `half_open`.
/// - `batches_waiting`, `events_waiting`, `buffered_bytes`: the backlog.
/// - `batches_in_flight`, `in_slow_lane`: the requests.
/// - `accepted_events`, `accepted_bytes`, `delivered_events`, `rejected_events`, `dropped_events`,
///   `abandoned_events`: the statistics of the target.
/// - `last_error`: the error of the last failed attempt; null once a batch of the target is final and none has
///   failed since. It may be set although `breaker` is `closed`: while all targets are paused or the account is
///   throttled. Its members are `code`, `status`, `message` and `at_ms`, in milliseconds since the Unix epoch.
/// - `next_attempt_in_ms`: milliseconds until the next attempt while the breaker is open, else null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_stats_json(sink: *mut cwl_sink, json: *mut *mut c_char) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes room for a pointer, and a sink; both are checked.
        let (place, sink) = unsafe {
            let place = pointers::out("json", json)?;
            *place = std::ptr::null_mut();
            (place, handle::borrow(sink)?)
        };
        let text = CString::new(sink.running()?.sink.snapshot_json())
            .map_err(|error| FfiError::new(cwl_status::CWL_ERR_INTERNAL, error))?;
        *place = text.into_raw();
        Ok(())
    })
}

/// Frees a text that the library returned to be freed, such as the one of `cwl_stats_json`. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the host passes a text that `CString::into_raw` made.
        drop(unsafe { CString::from_raw(text) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: usize = size_of::<Snapshot>() / size_of::<u64>();

    #[test]
    fn the_c_struct_has_the_statistics_of_the_sink_by_the_same_names_and_in_the_same_order() {
        let numbers: [u64; MEMBERS] = std::array::from_fn(|index| index as u64 + 1);
        // SAFETY: a snapshot is `repr(C)` and nothing but numbers of 64 bits.
        let snapshot: Snapshot = unsafe { transmute(numbers) };
        let size = size_of::<cwl_stats_snapshot>();
        let (ours, in_c) =
            (format!("{snapshot:?}"), format!("{:?}", cwl_stats_snapshot::new(size, snapshot)));
        let expected = ours.replace("Snapshot { ", &format!("cwl_stats_snapshot {{ struct_size: {size}, "));
        assert_eq!(in_c, expected);
        assert!(in_c.ends_with(&format!(": {MEMBERS} }}")), "every member is a number of 64 bits: {in_c}");
    }
}
