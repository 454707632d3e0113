//! Events in.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::slice;
use std::sync::Arc;

use super::boundary::{self, Fault, enter};
use super::sink::{SinkValue, cwl_sink, cwl_target};
use super::source::cwl_source;
use super::status::cwl_status;
use crate::batch::Event;
use crate::engine::PushError;
use crate::sink::Sink;

/// One event. Set `struct_size` to `sizeof(cwl_event)` and everything not used to 0.
///
/// Later versions add members at the end; an event with a smaller `struct_size` keeps its meaning.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cwl_event {
    /// `sizeof(cwl_event)`.
    pub struct_size: usize,
    /// The log group's name, ending in NUL. NULL: the option `log_group`.
    pub log_group: *const c_char,
    /// The log stream's name, ending in NUL. NULL: the option `log_stream`.
    pub log_stream: *const c_char,
    /// Milliseconds since the Unix epoch, at most 14 days ago and 2 hours ahead. 0: none; the event then takes
    /// the last timestamp that an event of the same target brought, else the time of the call.
    pub timestamp_ms: i64,
    /// The message: any bytes, NUL among them. What is not UTF-8 becomes U+FFFD.
    pub message: *const c_char,
    /// Bytes of the message, at least 1. What is longer than 1,048,550 as UTF-8 is cut, split or refused: the option
    /// `oversize`.
    pub message_len: usize,
    /// Any number; comes back in the event's ack.
    pub token: u64,
    /// The source that the event covers a part of; NULL: none. Of the same sink.
    pub source: *mut cwl_source,
    /// The first offset of the source that the event covers; without a source 0.
    pub offset_begin: u64,
    /// The first offset behind it, greater than `offset_begin`; without a source 0.
    pub offset_end: u64,
}

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
    enter(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: a live sink and a readable event, by the host's word; both are checked.
        let (sink, event) = unsafe { (boundary::borrow(sink)?, read(event, &mut whole)?) };
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
    let status = enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        if count == 0 {
            return Ok(());
        }
        // SAFETY: `events` points to at least one event, by the host's word.
        let mut whole = MaybeUninit::uninit();
        let stride = unsafe { read(events, &mut whole)? }.struct_size;
        while taken < count {
            // SAFETY: there are `count` events of that size behind each other, by the host's word.
            let event = unsafe { read(events.byte_add(taken * stride), &mut whole)? };
            if event.struct_size != stride {
                let size = event.struct_size;
                return Err(Fault::argument(format!(
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
    enter(|| {
        let mut whole = MaybeUninit::uninit();
        // SAFETY: a live target and a readable event, by the host's word; both are checked.
        let (target, event) = unsafe { (boundary::borrow(target)?, read(event, &mut whole)?) };
        if !event.log_group.is_null() || !event.log_stream.is_null() {
            return Err(Fault::argument("log_group and log_stream must be NULL: the target has them"));
        }
        // SAFETY: the message is readable, by the host's word.
        let event = unsafe { engine_event(&target.sink, event)? };
        target.sink.push(&target.queue, &event).map_err(refused)
    })
}

unsafe fn push(sink: &SinkValue, event: &cwl_event) -> Result<(), Fault> {
    // SAFETY: the event's pointers are readable, by the host's word.
    let (group, stream, event) = unsafe {
        (
            boundary::text("log_group", event.log_group)?,
            boundary::text("log_stream", event.log_stream)?,
            engine_event(&sink.sink, event)?,
        )
    };
    if group.is_none()
        && stream.is_none()
        && let Some(queue) = &sink.default_target
    {
        return sink.sink.push(queue, &event).map_err(refused);
    }
    let queue = sink.sink.target(group, stream).map_err(refused)?;
    sink.sink.push(&queue, &event).map_err(refused)
}

/// The event, of this, an earlier or a later version of the ABI; an earlier one's is completed in `whole`.
#[inline]
unsafe fn read(event: *const cwl_event, whole: &mut MaybeUninit<cwl_event>) -> Result<&cwl_event, Fault> {
    const SIZE: usize = size_of::<cwl_event>();
    const LEAST: usize = std::mem::offset_of!(cwl_event, token);
    if event.is_null() || !event.is_aligned() {
        return Err(Fault::argument("the event is NULL or not aligned"));
    }
    // SAFETY: not NULL, aligned, and at least its first member is readable, by the host's word.
    let size = unsafe { (*event).struct_size };
    if !(LEAST..=boundary::STRUCT_SIZE_TIMES_MAX * SIZE).contains(&size)
        || !size.is_multiple_of(align_of::<cwl_event>())
    {
        return Err(Fault::argument(format!(
            "the event's struct_size is {size}; sizeof(cwl_event) is {SIZE}"
        )));
    }
    if size < SIZE {
        // SAFETY: every member may be zero, and the event has `size` readable bytes, by the host's word.
        return Ok(unsafe {
            whole.as_mut_ptr().write_bytes(0, 1);
            std::ptr::copy_nonoverlapping(event.cast::<u8>(), whole.as_mut_ptr().cast::<u8>(), size);
            whole.assume_init_ref()
        });
    }
    // SAFETY: the event has `size` readable bytes, by the host's word.
    let newer = unsafe { slice::from_raw_parts(event.cast::<u8>().add(SIZE), size - SIZE) };
    if newer.iter().any(|byte| *byte != 0) {
        return Err(Fault::argument(format!(
            "the event uses members that this version, ABI {}, does not know",
            super::CWL_ABI_VERSION
        )));
    }
    // SAFETY: at least SIZE bytes are readable, and the host leaves them alone during the call.
    Ok(unsafe { &*event })
}

#[inline]
unsafe fn engine_event<'a>(sink: &Arc<Sink>, event: &cwl_event) -> Result<Event<'a>, Fault> {
    let timestamp_ms = Some(event.timestamp_ms).filter(|timestamp_ms| *timestamp_ms != 0);
    if event.message.is_null() && event.message_len > 0 {
        return Err(Fault::argument(format!("the message is NULL and message_len is {}", event.message_len)));
    }
    if isize::try_from(event.message_len).is_err() {
        return Err(Fault::argument(format!(
            "message_len is {}, more than memory can be",
            event.message_len
        )));
    }
    let message = match event.message_len {
        0 => &[],
        // SAFETY: not NULL, and `message_len` bytes are readable, by the host's word.
        len => unsafe { slice::from_raw_parts(event.message.cast::<u8>(), len) },
    };
    let range = if event.source.is_null() {
        if event.offset_begin != 0 || event.offset_end != 0 {
            return Err(Fault::argument("the event has offsets, but its source is NULL"));
        }
        None
    } else {
        // SAFETY: a live source, by the host's word; it is checked.
        let source = unsafe { boundary::borrow(event.source.cast_const()) }?;
        if !Arc::ptr_eq(&source.sink, sink) {
            return Err(Fault::argument("the source is another sink's"));
        }
        Some((&source.source, event.offset_begin, event.offset_end))
    };
    Ok(Event { timestamp_ms, message, token: event.token, range })
}

/// The code of an event that was not taken.
#[cold]
pub fn refused(error: impl Into<Box<PushError>>) -> Fault {
    let error = error.into();
    let status = match *error {
        PushError::Empty
        | PushError::BadRange { .. }
        | PushError::NegativeTimestamp { .. }
        | PushError::NoTarget(_)
        | PushError::BadName(_) => cwl_status::CWL_ERR_INVALID_ARGUMENT,
        PushError::TooLarge { .. } | PushError::NeverFits { .. } => cwl_status::CWL_ERR_TOO_LARGE,
        PushError::TooOld { .. } => cwl_status::CWL_ERR_TOO_OLD,
        PushError::TooNew { .. } => cwl_status::CWL_ERR_TOO_NEW,
        PushError::Full { .. } => cwl_status::CWL_ERR_FULL,
        PushError::Closed => cwl_status::CWL_ERR_CLOSED,
    };
    Fault::new(status, error)
}
