//! Pushes: events on their way into a sink.

use std::mem::MaybeUninit;
use std::sync::Arc;

use super::boundary::ffi_call;
use super::error::FfiError;
use super::event::cwl_event;
use super::running::{Running, SharedSink};
use super::sink::cwl_sink;
use super::status::cwl_status;
use super::target::cwl_target;
use super::{handle, pointers};

/// Pushes one event. The library copies what it needs before the call returns: all memory of the event stays the
/// caller's.
///
/// Blocks only with `when_full=block`, for at most `block_timeout_ms`, and never inside a callback of the library.
/// Any thread, several at the same time.
///
/// `CWL_OK` means that the event is accepted and will have exactly one outcome. With any other status nothing of
/// the event is accepted:
/// - `CWL_ERR_FULL`: the buffers have no room.
/// - `CWL_ERR_CLOSED`: the sink is shut down or is shutting down.
/// - `CWL_ERR_TOO_LARGE`, `CWL_ERR_TOO_OLD`, `CWL_ERR_TOO_NEW`: the event is beyond a limit.
/// - `CWL_ERR_INVALID_ARGUMENT`: a pointer is NULL, the message is empty, the timestamp is negative, the offsets
///   are wrong, or CloudWatch Logs does not allow the name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_push_event(sink: *mut cwl_sink, event: *const cwl_event) -> cwl_status {
    ffi_call(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: the host passes a sink and a readable event; both are checked.
        let (sink, event) = unsafe { (handle::borrow(sink)?, cwl_event::read(event, &mut whole)?) };
        // SAFETY: the host says that the event's pointers are readable.
        unsafe { push(sink, event) }
    })
}

/// Pushes an array of `count` events in their order, each as `cwl_push_event` does. All must have the same
/// `struct_size`.
///
/// Stops at the first event that is not accepted, and returns its status. Sets `*accepted` to the number of
/// accepted events, unless `accepted` is NULL. After an error this number is also the index of the event that was
/// not accepted. The caller may go on with that event or with the next one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_push_events(
    sink: *mut cwl_sink,
    events: *const cwl_event,
    count: usize,
    accepted: *mut usize,
) -> cwl_status {
    let mut taken = 0;
    let status = ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        if count == 0 {
            return Ok(());
        }
        let mut whole = MaybeUninit::uninit();
        // SAFETY: the host passes at least one event.
        let stride = unsafe { cwl_event::size(events) }?;
        while taken < count {
            // SAFETY: the host passes `count` events of that size, one behind the other.
            let event = unsafe { cwl_event::read_in_array(events, stride, taken, &mut whole)? };
            // SAFETY: the host says that the event's pointers are readable.
            unsafe { push(sink, event)? };
            taken += 1;
        }
        Ok(())
    });
    if !accepted.is_null() && accepted.is_aligned() {
        // SAFETY: not NULL and aligned; the host lets the library write it.
        unsafe { *accepted = taken };
    }
    status
}

/// Pushes one event to a target that was opened before. Works like `cwl_push_event`, without looking up the
/// target. `log_group` and `log_stream` of the event must be NULL. Any thread, several at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_push(target: *mut cwl_target, event: *const cwl_event) -> cwl_status {
    ffi_call(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: the host passes a target and a readable event; both are checked.
        let (target, event) = unsafe { (handle::borrow(target)?, cwl_event::read(event, &mut whole)?) };
        if !event.log_group.is_null() || !event.log_stream.is_null() {
            return Err(FfiError::argument("log_group and log_stream must be NULL: the target has them"));
        }
        // SAFETY: the host says that the event's pointers are readable.
        let event = unsafe { event.as_event(&target.sink)? };
        let running = target.sink.running()?;
        Ok(running.sink.push(target.queue(running)?, &event)?)
    })
}

unsafe fn push(sink: &Arc<SharedSink>, event: &cwl_event) -> Result<(), FfiError> {
    // SAFETY: the host says that the event's pointers are readable.
    let (group, stream, event) = unsafe {
        (
            pointers::text("log_group", event.log_group)?,
            pointers::text("log_stream", event.log_stream)?,
            event.as_event(sink)?,
        )
    };
    let Running { sink, default_target, .. } = sink.running()?;
    if group.is_none()
        && stream.is_none()
        && let Some(queue) = default_target
    {
        return Ok(sink.push(queue, &event)?);
    }
    let queue = sink.target(group, stream)?;
    Ok(sink.push(&queue, &event)?)
}
