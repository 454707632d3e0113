//! Sinks: opening, flushing, shutting down.

use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;

use super::ack_array::AckArray;
use super::boundary::{catch_panic, ffi_call};
use super::config::cwl_config;
use super::event_fd::EventFd;
use super::handle::{self, Handle, from_handle, into_handle};
use super::signals::with_signals_blocked;
use super::status::cwl_status;
use super::{pointers, timeout};
use crate::config::Config;
use crate::sink::{Sink, WaitError};
use crate::target::Queue;
use crate::threads;

/// A sink: queues, threads and connections of its own. Opaque. Every function that takes one may be called
/// from any thread, several at the same time, but for `cwl_sink_free`. Several sinks in one process are
/// independent of each other.
pub struct cwl_sink {
    _opaque: [u8; 0],
}

/// What stands behind a `cwl_sink`.
pub struct SinkValue {
    pub sink: Arc<Sink>,
    /// The target of the options `log_group` and `log_stream`, if both are set.
    pub default_target: Option<Arc<Queue>>,
    /// The acks last polled, whose texts the host may still read. Nothing awaits while holding it.
    pub polled_acks: Mutex<Option<AckArray>>,
    pub ack_fd: OnceCell<EventFd>,
}

impl Handle for cwl_sink {
    type Value = SinkValue;
    const NAME: &'static str = "cwl_sink";
    const MARK: u64 = u64::from_le_bytes(*b"cwl_sink");
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
    ffi_call(|| {
        // SAFETY: room for a pointer, by the host's word; it is checked.
        let place = unsafe { pointers::out("sink", sink) }?;
        *place = std::ptr::null_mut();
        let config = if config.is_null() {
            Config::default()
        } else {
            // SAFETY: a live configuration, by the host's word; it is checked.
            unsafe { handle::borrow(config) }?.clone()
        };
        if !threads::may_wait() {
            return Err(WaitError::OwnThread.into());
        }
        let sink = Arc::new(with_signals_blocked(|| Sink::open(config))?);
        let default_target = sink.target(None, None).ok();
        *place = into_handle(SinkValue {
            sink,
            default_target,
            polled_acks: Mutex::default(),
            ack_fd: OnceCell::new(),
        });
        Ok(())
    })
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
    ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        Ok(sink.sink.flush(timeout::from_ms(timeout_ms))?)
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
    ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        Ok(sink.sink.shutdown(timeout::from_ms(timeout_ms))?)
    })
}

/// Frees a sink, after `cwl_shutdown`; without it, shuts down with a time-out of 0, which abandons what is not
/// sent. NULL is allowed. Not inside a callback. No other call may use the sink any more. Targets opened from it stay valid until they
/// are freed; pushing into them returns `CWL_ERR_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_sink_free(sink: *mut cwl_sink) {
    catch_panic(|| {
        // SAFETY: a live sink or NULL, by the host's word, and not used any more.
        if let Some(sink) = unsafe { from_handle(sink) } {
            let _ = sink.sink.shutdown(Some(std::time::Duration::ZERO));
        }
    });
}
