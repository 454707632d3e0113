//! Pushes: events into a sink.

use std::mem::MaybeUninit;

use super::boundary::ffi_call;
use super::error::FfiError;
use super::event::cwl_event;
use super::sink::{SinkValue, cwl_sink};
use super::status::cwl_status;
use super::target::cwl_target;
use super::{handle, pointers};

/// Takes one event for sending. Copies what it needs before it returns: all of the event's memory stays the
/// caller's.
///
/// Blocks only with `when_full=block`, for at most `block_timeout_ms`, and never inside a callback of the
/// library's. Any thread, several at the same time.
///
/// Returns `CWL_OK` when the event was taken: it will have exactly one outcome. Any other code says that
/// nothing of it was taken: `CWL_ERR_FULL`, `CWL_ERR_CLOSED`, `CWL_ERR_TOO_LARGE`, `CWL_ERR_TOO_OLD`,
/// `CWL_ERR_TOO_NEW`, or `CWL_ERR_INVALID_ARGUMENT` for a NULL, an empty message, a negative timestamp or a
/// name that CloudWatch Logs does not allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_push_event(sink: *mut cwl_sink, event: *const cwl_event) -> cwl_status {
    ffi_call(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: a live sink and a readable event, by the host's word; both are checked.
        let (sink, event) = unsafe { (handle::borrow(sink)?, cwl_event::read(event, &mut whole)?) };
        // SAFETY: the event's pointers are readable, by the host's word.
        unsafe { push(sink, event) }
    })
}

/// Takes `count` events that stand behind each other, in their order, as `cwl_push_event` takes one. All must
/// have the `struct_size` of the first.
///
/// Stops at the first that is not taken and returns its code. `*accepted`, if not NULL, is how many were
/// taken: with any code but `CWL_OK` it is also the index of the event that was not, and the caller may go on
/// from there, or behind it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_push_events(
    sink: *mut cwl_sink,
    events: *const cwl_event,
    count: usize,
    accepted: *mut usize,
) -> cwl_status {
    let mut taken = 0;
    let status = ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        if count == 0 {
            return Ok(());
        }
        // SAFETY: `events` points to at least one event, by the host's word.
        let mut whole = MaybeUninit::uninit();
        let stride = unsafe { cwl_event::read(events, &mut whole)? }.struct_size;
        while taken < count {
            // SAFETY: there are `count` events of that size behind each other, by the host's word.
            let event = unsafe { cwl_event::read(events.byte_add(taken * stride), &mut whole)? };
            if event.struct_size != stride {
                let size = event.struct_size;
                return Err(FfiError::argument(format!(
                    "event {taken}: struct_size is {size}, the first has {stride}"
                )));
            }
            // SAFETY: the event's pointers are readable, by the host's word.
            unsafe { push(sink, event)? };
            taken += 1;
        }
        Ok(())
    });
    if !accepted.is_null() && accepted.is_aligned() {
        // SAFETY: not NULL, aligned, and the host's to be written.
        unsafe { *accepted = taken };
    }
    status
}

/// Takes one event for a target that was opened before: `cwl_push_event` without the look-up. The event's
/// `log_group` and `log_stream` must be NULL. Any thread, several at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_target_push(target: *mut cwl_target, event: *const cwl_event) -> cwl_status {
    ffi_call(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: a live target and a readable event, by the host's word; both are checked.
        let (target, event) = unsafe { (handle::borrow(target)?, cwl_event::read(event, &mut whole)?) };
        if !event.log_group.is_null() || !event.log_stream.is_null() {
            return Err(FfiError::argument("log_group and log_stream must be NULL: the target has them"));
        }
        // SAFETY: the message is readable, by the host's word.
        let event = unsafe { event.to_event(&target.sink)? };
        Ok(target.sink.push(&target.queue, &event)?)
    })
}

unsafe fn push(sink: &SinkValue, event: &cwl_event) -> Result<(), FfiError> {
    // SAFETY: the event's pointers are readable, by the host's word.
    let (group, stream, event) = unsafe {
        (
            pointers::text("log_group", event.log_group)?,
            pointers::text("log_stream", event.log_stream)?,
            event.to_event(&sink.sink)?,
        )
    };
    if group.is_none()
        && stream.is_none()
        && let Some(queue) = &sink.default_target
    {
        return Ok(sink.sink.push(queue, &event)?);
    }
    let queue = sink.sink.target(group, stream)?;
    Ok(sink.sink.push(&queue, &event)?)
}
