//! Sinks and targets: opening, flushing, shutting down, looking at.

use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;

use super::ack::{EventFd, Told};
use super::boundary::{self, Fault, Kind, enter};
use super::config::cwl_config;
use super::event::refused;
use super::status::cwl_status;
use crate::config::Config;
use crate::report::stats::Snapshot;
use crate::sink::{OpenError, Sink, WaitError};
use crate::target::Queue;

/// A sink: queues, threads and connections of its own. Opaque. Every function that takes one may be called
/// from any thread, several at the same time, but for `cwl_sink_free`. Several sinks in one process are
/// independent of each other.
pub struct cwl_sink {
    _opaque: [u8; 0],
}

/// A target of a sink: a log group and a log stream, looked up once. Opaque. May be used by several threads
/// at the same time, but for `cwl_target_free`.
pub struct cwl_target {
    _opaque: [u8; 0],
}

/// What stands behind a `cwl_sink`.
pub struct SinkValue {
    pub sink: Arc<Sink>,
    /// The target of the options `log_group` and `log_stream`, if both are set.
    pub default_target: Option<Arc<Queue>>,
    /// The acks last polled, whose texts the host may still read. Nothing awaits while holding it.
    pub told: Mutex<Option<Told>>,
    pub ack_fd: OnceCell<EventFd>,
}

/// What stands behind a `cwl_target`.
pub struct TargetValue {
    pub sink: Arc<Sink>,
    pub queue: Arc<Queue>,
}

impl Kind for cwl_sink {
    type Value = SinkValue;
    const NAME: &'static str = "cwl_sink";
    const MARK: u64 = u64::from_le_bytes(*b"cwl_sink");
}

impl Kind for cwl_target {
    type Value = TargetValue;
    const NAME: &'static str = "cwl_target";
    const MARK: u64 = u64::from_le_bytes(*b"cwltargt");
}

/// Opens a sink and puts it into `*sink`. The configuration is copied and stays the caller's; NULL means all
/// defaults. End with `cwl_shutdown`, then `cwl_sink_free`.
///
/// Starts `worker_threads` threads, and later up to 16 for what can only block, such as looking up a host's name; all
/// of them block every signal. Sends no event yet, and does not ask whether the
/// credentials are good: what is wrong with them shows in the log callback and the statistics. Blocks for some
/// seconds at most, and only when neither the options, the environment nor the profile name a region, so that
/// the instance's metadata is asked. Any thread, but not inside a callback.
///
/// Returns `CWL_ERR_CONFIG` for options that do not go together, `CWL_ERR_OPEN` when no region can be found or
/// no thread can be started, `CWL_ERR_STATE` when the folder `state_dir` cannot be used; `*sink` is then NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_sink_open(config: *const cwl_config, sink: *mut *mut cwl_sink) -> cwl_status {
    enter(|| {
        // SAFETY: room for a pointer, by the host's word; it is checked.
        let place = unsafe { boundary::out("sink", sink) }?;
        *place = std::ptr::null_mut();
        let config = if config.is_null() {
            Config::default()
        } else {
            // SAFETY: a live configuration, by the host's word; it is checked.
            unsafe { boundary::borrow(config) }?.clone()
        };
        if !crate::threads::may_wait() {
            return Err(waited(WaitError::OwnThread));
        }
        let sink = Arc::new(with_signals_blocked(|| Sink::open(config)).map_err(not_opened)?);
        let default_target = sink.target(None, None).ok();
        *place = boundary::give(SinkValue {
            sink,
            default_target,
            told: Mutex::default(),
            ack_fd: OnceCell::new(),
        });
        Ok(())
    })
}

/// Looks up a target once, for `cwl_target_push`, and puts it into `*target`. NULL as a name means the option
/// `log_group` or `log_stream`. Free it with `cwl_target_free`. Does not block; no request goes out.
///
/// Returns `CWL_ERR_INVALID_ARGUMENT` for a name that CloudWatch Logs does not allow, `CWL_ERR_CLOSED` after
/// the shutdown; `*target` is then NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_open(
    sink: *mut cwl_sink,
    log_group: *const c_char,
    log_stream: *const c_char,
    target: *mut *mut cwl_target,
) -> cwl_status {
    enter(|| {
        // SAFETY: the pointers are what the host says they are; each is checked.
        let (place, sink, group, stream) = unsafe {
            let place = boundary::out("target", target)?;
            *place = std::ptr::null_mut();
            let group = boundary::text("log_group", log_group)?;
            (place, boundary::borrow(sink)?, group, boundary::text("log_stream", log_stream)?)
        };
        let queue = sink.sink.open_target(group, stream).map_err(refused)?;
        *place = boundary::give(TargetValue { sink: sink.sink.clone(), queue });
        Ok(())
    })
}

/// Frees a target's handle. What was pushed through it is sent all the same. NULL is allowed. May come before
/// or after `cwl_sink_free`, but inside a callback only before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_free(target: *mut cwl_target) {
    // SAFETY: a live target or NULL, by the host's word, and not used any more.
    boundary::guarded(|| drop(unsafe { boundary::take_back(target) }));
}

/// Sends what waits; returns when every event accepted before the call has its outcome. Pushes may go on
/// meanwhile and are not waited for.
///
/// Blocks for at most `timeout_ms` milliseconds; negative: without limit. 0 only starts the sending. Any
/// thread, several at the same time, but not inside a callback.
///
/// Returns `CWL_ERR_TIMEOUT` when some events have no outcome yet, such as those of a target that is refused;
/// they are kept and tried again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_flush(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status {
    enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        sink.sink.flush(boundary::timeout(timeout_ms)).map_err(waited)
    })
}

/// Takes no more events, sends what it can, abandons the rest and stops the threads.
///
/// Blocks until everything has its outcome, and at most `timeout_ms` milliseconds plus 500, whatever the
/// network does; negative: without limit. 0 abandons at once. What has failed and could only be tried again
/// after the time-out is abandoned without waiting for it. May be called twice and from any thread, but not
/// inside a callback; pushes that race with it are either taken or get `CWL_ERR_CLOSED`. Statistics stay
/// readable until `cwl_sink_free`.
///
/// Returns `CWL_ERR_ABANDONED` when the shutdown is complete but events were abandoned. A second call waits
/// for the first and returns what that did, or `CWL_ERR_TIMEOUT` when its own time-out comes first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_shutdown(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status {
    enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        sink.sink.shutdown(boundary::timeout(timeout_ms)).map_err(waited)
    })
}

/// Frees a sink, after `cwl_shutdown`; without it, shuts down with a time-out of 0, which abandons what is not
/// sent. NULL is allowed. Not inside a callback. No other call may use the sink any more. Targets opened from it stay valid until they
/// are freed; pushing into them returns `CWL_ERR_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_sink_free(sink: *mut cwl_sink) {
    boundary::guarded(|| {
        // SAFETY: a live sink or NULL, by the host's word, and not used any more.
        if let Some(sink) = unsafe { boundary::take_back(sink) } {
            let _ = sink.sink.shutdown(Some(std::time::Duration::ZERO));
        }
    });
}

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

/// Fills `*stats`: as many members as its `struct_size` holds. Does not block; any thread; also after the
/// shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_stats(sink: *mut cwl_sink, stats: *mut cwl_stats_snapshot) -> cwl_status {
    enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        if stats.is_null() || !stats.is_aligned() {
            return Err(Fault::argument("stats, where the result goes, is NULL or not aligned"));
        }
        // SAFETY: not NULL, aligned, and at least its first member is readable, by the host's word.
        let room = unsafe { (*stats).struct_size };
        let own = size_of::<cwl_stats_snapshot>();
        if !(size_of::<usize>()..=boundary::STRUCT_SIZE_TIMES_MAX * own).contains(&room) {
            return Err(Fault::argument(format!(
                "the struct_size of stats is {room}; sizeof(cwl_stats_snapshot) is {own}"
            )));
        }
        let filled = filled(sink.sink.snapshot(), room);
        let bytes = room.min(size_of::<cwl_stats_snapshot>());
        // SAFETY: `room` bytes are the host's to be written, and both hold at least `bytes`.
        unsafe {
            // Members of a later version are nothing here, and must not look like something.
            stats.cast::<u8>().add(bytes).write_bytes(0, room - bytes);
            std::ptr::copy_nonoverlapping((&raw const filled).cast::<u8>(), stats.cast::<u8>(), bytes);
        }
        Ok(())
    })
}

fn filled(snapshot: Snapshot, struct_size: usize) -> cwl_stats_snapshot {
    cwl_stats_snapshot {
        struct_size,
        accepted_events: snapshot.accepted_events,
        accepted_bytes: snapshot.accepted_bytes,
        refused_events: snapshot.refused_events,
        delivered_events: snapshot.delivered_events,
        delivered_bytes: snapshot.delivered_bytes,
        rejected_events: snapshot.rejected_events,
        dropped_events: snapshot.dropped_events,
        abandoned_events: snapshot.abandoned_events,
        pending_events: snapshot.pending_events,
        buffered_bytes: snapshot.buffered_bytes,
        buffered_bytes_peak: snapshot.buffered_bytes_peak,
        targets: snapshot.targets,
        targets_failing: snapshot.targets_failing,
        requests: snapshot.requests,
        requests_failed: snapshot.requests_failed,
        requests_in_flight: snapshot.requests_in_flight,
        batches_retried: snapshot.batches_retried,
        wire_bytes: snapshot.wire_bytes,
        truncated_events: snapshot.truncated_events,
        endpoint_paused: snapshot.endpoint_paused,
        concurrency_limit: snapshot.concurrency_limit,
        requests_slow: snapshot.requests_slow,
        requests_throttled: snapshot.requests_throttled,
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
    enter(|| {
        // SAFETY: room for a pointer and a live sink, by the host's word; both are checked.
        let (place, sink) = unsafe {
            let place = boundary::out("json", json)?;
            *place = std::ptr::null_mut();
            (place, boundary::borrow(sink)?)
        };
        let text = CString::new(sink.sink.snapshot_json())
            .map_err(|error| Fault::new(cwl_status::CWL_ERR_INTERNAL, error))?;
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

fn not_opened(error: OpenError) -> Fault {
    let status = match error {
        OpenError::Config(_) => cwl_status::CWL_ERR_CONFIG,
        OpenError::State(_) => cwl_status::CWL_ERR_STATE,
        OpenError::Connect(_) | OpenError::Threads(_) => cwl_status::CWL_ERR_OPEN,
        OpenError::Internal => cwl_status::CWL_ERR_INTERNAL,
    };
    Fault::new(status, error)
}

fn waited(error: WaitError) -> Fault {
    let status = match error {
        WaitError::TimedOut => cwl_status::CWL_ERR_TIMEOUT,
        WaitError::Abandoned(_) => cwl_status::CWL_ERR_ABANDONED,
        WaitError::OwnThread => cwl_status::CWL_ERR_IN_CALLBACK,
    };
    Fault::new(status, error)
}

/// Threads inherit the signal mask of the thread that starts them: with every signal blocked here, the host's
/// handlers never run on a thread of the library's. The caller's mask is put back.
pub fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set is the one that pthread_sigmask filled.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset and pthread_sigmask fill the sets they are given, and neither can fail with them.
    let _restore = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        Restore(before.assume_init())
    };
    body()
}
