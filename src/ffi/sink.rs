//! Sinks: opening, flushing, shutting down.

use std::sync::Arc;
use std::time::Duration;

use super::boundary::{catch_panic, ffi_call};
use super::config::cwl_config;
use super::handle::{self, Handle, from_handle, into_handle};
use super::log::wait_for_last_messages;
use super::running::SharedSink;
use super::status::cwl_status;
use super::{pointers, timeout};
use crate::config::Config;
use crate::sink::WaitError;
use crate::threads;

/// A sink. It owns queues, threads and connections. Opaque. Several sinks in one process are independent of each
/// other.
///
/// Any thread may call any function that takes a sink, and several threads may do so at the same time. The
/// exceptions are `cwl_sink_free` and `cwl_poll_acks`.
pub struct cwl_sink {
    _opaque: [u8; 0],
}

impl Handle for cwl_sink {
    type Value = Arc<SharedSink>;
    const NAME: &'static str = "cwl_sink";
    const MARK: u64 = u64::from_le_bytes(*b"cwl_sink");
}

/// Opens a sink and puts it into `*sink`. The configuration is copied and stays the caller's. NULL as
/// configuration means that every option has its default. End the sink with `cwl_shutdown`, then `cwl_sink_free`.
///
/// Sends no event and does not check the credentials. Problems with the credentials show later, in the log
/// callback and in the statistics.
///
/// Starts `worker_threads` threads. Later the sink starts up to 17 more for work that can only block: looking up a
/// host name, and writing to `state_dir`. All of them block every signal, except those of faults such as SIGSEGV.
///
/// Blocks on the disk: it reads AWS's configuration files, and creates and locks `state_dir`. When the options, the
/// environment and the profile name no region, it also asks the instance's metadata service, which takes some
/// seconds at most. Any thread, but not inside a callback.
///
/// Returns one of these errors, and sets `*sink` to NULL:
/// - `CWL_ERR_CONFIG`: options contradict each other.
/// - `CWL_ERR_OPEN`: no region was found, the profile cannot be used, or a thread could not be started.
/// - `CWL_ERR_STATE`: the folder `state_dir` cannot be used.
/// - `CWL_ERR_IN_CALLBACK`: the call was made inside a callback.
/// - `CWL_ERR_INVALID_ARGUMENT`: `sink` is NULL, or `config` is no configuration.
/// - `CWL_ERR_INTERNAL`: the library had an internal error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_sink_open(config: *const cwl_config, sink: *mut *mut cwl_sink) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes room for a pointer; it is checked.
        let place = unsafe { pointers::out("sink", sink) }?;
        *place = std::ptr::null_mut();
        let config = if config.is_null() {
            Config::default()
        } else {
            // SAFETY: the host passes a configuration; `borrow` checks it.
            unsafe { handle::borrow(config) }?.clone()
        };
        if !threads::may_wait() {
            return Err(WaitError::OwnThread.into());
        }
        *place = into_handle(Arc::new(SharedSink::open(config)?));
        Ok(())
    })
}

/// Sends all waiting events, and returns when every event that was accepted before the call has its outcome. Other
/// threads may push meanwhile; the call does not wait for their events.
///
/// Blocks for at most `timeout_ms` milliseconds. `CWL_FOREVER` means no limit. 0 and any other negative number
/// start the sending and do not wait. Any thread, several at the same time, but not inside a callback.
///
/// Returns `CWL_ERR_TIMEOUT` when some events have no outcome yet, such as those of a target that the service
/// refuses. The sink keeps these events and tries them again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_flush(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        // A child that pushed nothing has nothing to send.
        let Some(running) = sink.running_already() else { return Ok(()) };
        Ok(running.sink.flush(timeout::from_ms(timeout_ms))?)
    })
}

/// Shuts a sink down: accepts no more events, sends what it can, abandons the rest and stops the threads.
/// Statistics stay readable until `cwl_sink_free`.
///
/// Blocks until every event has its outcome, but no longer than `timeout_ms` + 500 milliseconds, whatever the
/// network does. `CWL_FOREVER` means no limit. 0 and any other negative number abandon all unsent events at once.
/// An event that failed is abandoned without waiting when its next attempt would come after the time-out.
///
/// Any thread, several at the same time, but not inside a callback. A push at the same time is either accepted or
/// returns `CWL_ERR_CLOSED`.
///
/// Returns `CWL_ERR_ABANDONED` when the shutdown is complete but events were abandoned. A second call waits for
/// the first call and returns the same. It returns `CWL_ERR_TIMEOUT` when its own time-out ends first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_shutdown(sink: *mut cwl_sink, timeout_ms: i64) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        sink.close();
        let Some(running) = sink.running_already() else { return Ok(()) };
        let result = running.sink.shutdown(timeout::from_ms(timeout_ms));
        wait_for_last_messages();
        Ok(result?)
    })
}

/// Frees a sink. NULL is allowed. Call `cwl_shutdown` first. Without it this call shuts the sink down with a
/// time-out of 0, which abandons all unsent events and blocks for at most 500 milliseconds.
///
/// Not inside a callback. No other call may use the sink any more. Targets and sources that were opened from the
/// sink stay valid until they are freed. A push to such a target returns `CWL_ERR_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_sink_free(sink: *mut cwl_sink) {
    catch_panic(|| {
        // SAFETY: the host passes a sink or NULL, and does not use it any more.
        if let Some(sink) = unsafe { from_handle(sink) } {
            sink.close();
            if let Some(running) = sink.running_already() {
                let _ = running.sink.shutdown(Some(Duration::ZERO));
            }
        }
    });
}
