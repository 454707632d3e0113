//! Targets: a log group and a log stream of a sink, looked up once.

use std::ffi::c_char;
use std::sync::Arc;

use super::boundary::{catch_panic, ffi_call};
use super::error::FfiError;
use super::handle::{self, Handle, from_handle, into_handle};
use super::pointers;
use super::running::{Running, SharedSink};
use super::sink::cwl_sink;
use super::status::cwl_status;
use crate::process::PerProcess;
use crate::target::Queue;

/// A target of a sink: a log group and a log stream, looked up once. Opaque. Several threads may use it at the
/// same time, except in `cwl_target_free`.
pub struct cwl_target {
    _opaque: [u8; 0],
}

/// The value behind a `cwl_target`.
pub struct TargetValue {
    pub sink: Arc<SharedSink>,
    group: Option<String>,
    stream: Option<String>,
    queue: PerProcess<Arc<Queue>>,
}

impl TargetValue {
    /// The queue in this process.
    #[inline]
    pub fn queue(&self, running: &Running) -> Result<&Arc<Queue>, FfiError> {
        self.queue
            .get_or_make(|| Ok(running.sink.open_target(self.group.as_deref(), self.stream.as_deref())?))
    }
}

impl Handle for cwl_target {
    type Value = TargetValue;
    const NAME: &'static str = "cwl_target";
    const MARK: u64 = u64::from_le_bytes(*b"cwltargt");
}

/// Looks up a target once, for `cwl_target_push`, and puts it into `*target`. NULL as a name means the option
/// `log_group` or `log_stream`. Free the target with `cwl_target_free`. Sends no request. Does not block. Any
/// thread.
///
/// Returns one of these errors, and sets `*target` to NULL:
/// - `CWL_ERR_INVALID_ARGUMENT`: CloudWatch Logs does not allow the name, or there is neither a name nor the
///   option.
/// - `CWL_ERR_CLOSED`: the sink is shut down.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_open(
    sink: *mut cwl_sink,
    log_group: *const c_char,
    log_stream: *const c_char,
    target: *mut *mut cwl_target,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes pointers of these types; each is checked.
        let (place, sink, group, stream) = unsafe {
            let place = pointers::out("target", target)?;
            *place = std::ptr::null_mut();
            let group = pointers::text("log_group", log_group)?;
            (place, handle::borrow(sink)?, group, pointers::text("log_stream", log_stream)?)
        };
        let value = TargetValue {
            sink: sink.clone(),
            group: group.map(str::to_owned),
            stream: stream.map(str::to_owned),
            queue: PerProcess::default(),
        };
        value.queue(sink.running()?)?;
        *place = into_handle(value);
        Ok(())
    })
}

/// Frees a target's handle. Events that were pushed through it are sent all the same. NULL is allowed. Call this
/// before or after `cwl_sink_free`; inside a callback only before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_free(target: *mut cwl_target) {
    // SAFETY: the host passes a target or NULL, and does not use it any more.
    catch_panic(|| drop(unsafe { from_handle(target) }));
}
