//! Statistics: what a sink did and holds.

use std::ffi::{CString, c_char};
use std::mem::transmute;

use super::boundary::ffi_call;
use super::error::FfiError;
use super::sink::cwl_sink;
use super::status::cwl_status;
use super::versioned::{self, Versioned};
use super::{handle, pointers};
use crate::report::stats::Snapshot;

/// What a sink did and holds. Counters count from its opening on; gauges are as of the call. Set `struct_size`
/// to `sizeof(cwl_stats_snapshot)` before the call. Later versions add members at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct cwl_stats_snapshot {
    /// `sizeof(cwl_stats_snapshot)`.
    pub struct_size: usize,
    /// Events that pushes took; one that was split counts with each of its pieces, here and below.
    pub accepted_events: u64,
    /// Message bytes of those, as UTF-8.
    pub accepted_bytes: u64,
    /// Pushes to a target that were refused, for whatever reason. Not those that name none: a NULL or freed handle,
    /// a struct of the wrong size, a name that CloudWatch Logs does not allow, a new target after the shutdown.
    pub refused_events: u64,
    /// Events that CloudWatch Logs took.
    pub delivered_events: u64,
    /// Message bytes of the requests that CloudWatch Logs took.
    pub delivered_bytes: u64,
    /// Events that CloudWatch Logs refused by their age while it took the rest of their request.
    pub rejected_events: u64,
    /// Events given up: not retryable, tried for `retry_max_age_ms`, or oldest when there was no room (`drop_oldest`).
    pub dropped_events: u64,
    /// Events still unsent at the shutdown.
    pub abandoned_events: u64,
    /// Gauge: events taken that have no outcome yet.
    pub pending_events: u64,
    /// Gauge: bytes of memory reserved for events; never more than `buffer_max_bytes`.
    pub buffered_bytes: u64,
    /// The most that `buffered_bytes` ever was.
    pub buffered_bytes_peak: u64,
    /// Gauge: targets known; one that was pushed both logs and metrics (EMF) counts twice.
    pub targets: u64,
    /// Gauge: targets whose last request failed, and that are probed until one gets through.
    pub targets_failing: u64,
    /// `PutLogEvents` requests sent.
    pub requests: u64,
    /// Those that were answered with an error or not at all.
    pub requests_failed: u64,
    /// Gauge: those that await their answer.
    pub requests_in_flight: u64,
    /// How often a batch of events went back for another attempt.
    pub batches_retried: u64,
    /// Bytes of request bodies sent, after compression.
    pub wire_bytes: u64,
    /// Events whose message was cut to what CloudWatch Logs takes (`oversize=truncate`).
    pub truncated_events: u64,
    /// Gauge: 1 while nothing is sent to no target, since credentials are missing, wrong or expired, the clock is not
    /// believed, or nobody gets an answer; else 0. One request at a time tries meanwhile.
    pub endpoint_paused: u64,
    /// Gauge: most requests in flight at present, those in the slow lane apart: the option `concurrency`, or less
    /// while CloudWatch Logs throttles or has just come back.
    pub concurrency_limit: u64,
    /// Gauge: requests in the slow lane, where they do not count towards `concurrency_limit`.
    pub requests_slow: u64,
    /// Requests that were answered with throttling.
    pub requests_throttled: u64,
}

// SAFETY: `repr(C)`, without padding; numbers may be zero.
unsafe impl Versioned for cwl_stats_snapshot {
    const NAME: &'static str = "cwl_stats_snapshot";
    const MIN_SIZE: usize = size_of::<usize>();
    const IN_ARRAYS: bool = false;
}

/// Fills `*stats`: as many members as its `struct_size` holds. Does not block; any thread; also after the
/// shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_stats(sink: *mut cwl_sink, stats: *mut cwl_stats_snapshot) -> cwl_status {
    ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        pointers::check_out("stats", stats)?;
        // SAFETY: not NULL and aligned, and at least the first member is readable, by the host's word.
        let struct_size = unsafe { versioned::struct_size("the struct_size of stats", stats) }?;
        let filled = cwl_stats_snapshot::new(struct_size, sink.sink.snapshot());
        // SAFETY: `struct_size` bytes are the host's to be written.
        unsafe { versioned::write(stats, &filled, struct_size) };
        Ok(())
    })
}

/// The statistics of a sink, laid out as `cwl_stats_snapshot`.
///
/// `cwl_stats_snapshot` is the only list of members here. Its members behind `struct_size` are those of [`Snapshot`], in
/// the same order: the compiler compares the sizes, a test the names.
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

/// The statistics as a JSON object in UTF-8: the members of `cwl_stats_snapshot` by their names, and
/// `target_states`, an array with an object for each target: `log_group`, `log_stream`, `emf`, `breaker` (`closed`,
/// `open` or `half_open`), its backlog (`batches_waiting`, `events_waiting`, `buffered_bytes`), `batches_in_flight`,
/// `in_slow_lane`, events by outcome (`accepted_events`, `delivered_events`, ...), `last_error` while it fails (`code`,
/// `status`, `message`, and `at_ms` since the Unix epoch; else null) and `next_attempt_in_ms` while its breaker is
/// open (else null). Puts the text into `*json`; free it with `cwl_string_free`. Does not block; any thread; also after
/// the shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_stats_json(sink: *mut cwl_sink, json: *mut *mut c_char) -> cwl_status {
    ffi_call(|| {
        // SAFETY: room for a pointer and a live sink, by the host's word; both are checked.
        let (place, sink) = unsafe {
            let place = pointers::out("json", json)?;
            *place = std::ptr::null_mut();
            (place, handle::borrow(sink)?)
        };
        let text = CString::new(sink.sink.snapshot_json())
            .map_err(|error| FfiError::new(cwl_status::CWL_ERR_INTERNAL, error))?;
        *place = text.into_raw();
        Ok(())
    })
}

/// Frees a text that the library gave out to be freed. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: `CString::into_raw` made it, by the host's word.
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
