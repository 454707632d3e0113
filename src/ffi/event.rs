//! Events as C passes them, read and checked.

use std::ffi::c_char;
use std::mem::{MaybeUninit, offset_of};
use std::slice;
use std::sync::Arc;

use super::error::FfiError;
use super::handle;
use super::running::SharedSink;
use super::source::cwl_source;
use super::versioned::{self, Versioned};
use crate::batch::Event;

/// One event. Set `struct_size` to `sizeof(cwl_event)` and every unused member to 0.
///
/// Later versions add members at the end. An event with a smaller `struct_size` keeps its meaning.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cwl_event {
    /// `sizeof(cwl_event)`.
    pub struct_size: usize,
    /// The name of the log group, ending in NUL. NULL means the option `log_group`.
    pub log_group: *const c_char,
    /// The name of the log stream, ending in NUL. NULL means the option `log_stream`.
    pub log_stream: *const c_char,
    /// Milliseconds since the Unix epoch, at most 14 days ago and at most 2 hours ahead: the limits of
    /// `PutLogEvents`. 0 means no timestamp: the event takes the last timestamp that was pushed to the same
    /// target if that is at most a minute away from the time of the call, or else the time of the call. Metrics (EMF)
    /// count as a target of their own. The time is that of the machine, or that of CloudWatch Logs once its answers show
    /// that the clock of the machine is more than 5 minutes wrong.
    pub timestamp_ms: i64,
    /// The message: any bytes, NUL included. Bytes that are not UTF-8 become U+FFFD.
    pub message: *const c_char,
    /// Length of the message in bytes, at least 1. The option `oversize` says whether a message of more than
    /// 1,048,550 bytes as UTF-8 is cut, split or refused.
    pub message_len: usize,
    /// Any number. It comes back in the event's ack.
    pub token: u64,
    /// The source that the event covers a part of. It must belong to the same sink. NULL means none.
    pub source: *mut cwl_source,
    /// The first offset of the source that the event covers. 0 without a source.
    pub offset_begin: u64,
    /// The first offset after the part that the event covers, greater than `offset_begin`. 0 without a source.
    pub offset_end: u64,
}

// SAFETY: `repr(C)`, without padding; pointers and numbers may be zero.
unsafe impl Versioned for cwl_event {
    const NAME: &'static str = "cwl_event";
    const MIN_SIZE: usize = offset_of!(cwl_event, token);
    const IN_ARRAYS: bool = true;
}

impl cwl_event {
    /// Reads and checks the `struct_size` of an event.
    ///
    /// # Safety
    ///
    /// `event` is NULL or its first member is readable.
    #[inline]
    pub(super) unsafe fn size(event: *const cwl_event) -> Result<usize, FfiError> {
        if event.is_null() || !event.is_aligned() {
            return Err(FfiError::argument("the event is NULL or not aligned"));
        }
        // SAFETY: not NULL and aligned; the caller says that the first member is readable.
        unsafe { versioned::struct_size("the event's struct_size", event) }
    }

    /// Reads an event of this, an older or a newer version of the ABI. An older one is completed in `whole`.
    ///
    /// # Safety
    ///
    /// `event` is NULL or points to `struct_size` readable bytes that nobody changes meanwhile.
    #[inline]
    pub(super) unsafe fn read(
        event: *const cwl_event,
        whole: &mut MaybeUninit<cwl_event>,
    ) -> Result<&cwl_event, FfiError> {
        // SAFETY: the caller says that `struct_size` bytes are readable, if the event is not NULL.
        unsafe { versioned::read("the event", event, Self::size(event)?, whole) }
    }

    /// Reads the event at this index of an array whose events have `stride` bytes each. Reads nothing beyond those bytes, whatever
    /// the event says of its size.
    ///
    /// # Safety
    ///
    /// `events` is not NULL and points to more than `index` events of `stride` bytes, which nobody changes meanwhile.
    #[inline]
    pub(super) unsafe fn read_in_array(
        events: *const cwl_event,
        stride: usize,
        index: usize,
        whole: &mut MaybeUninit<cwl_event>,
    ) -> Result<&cwl_event, FfiError> {
        // SAFETY: the caller says that this event is in the array, and `stride` bytes of it are readable.
        unsafe {
            let event = events.byte_add(index * stride);
            match Self::size(event)? {
                size if size == stride => versioned::read("the event", event, stride, whole),
                size => Err(FfiError::argument(format!(
                    "event {index}: struct_size is {size}, the first has {stride}"
                ))),
            }
        }
    }

    /// Returns the event as the sink takes it. The result borrows the message and the source.
    ///
    /// # Safety
    ///
    /// The message has `message_len` readable bytes, and `source` is NULL or a live handle; both outlive the result.
    #[inline]
    pub(super) unsafe fn as_event<'a>(&self, sink: &Arc<SharedSink>) -> Result<Event<'a>, FfiError> {
        let timestamp_ms = Some(self.timestamp_ms).filter(|timestamp_ms| *timestamp_ms != 0);
        if self.message.is_null() && self.message_len > 0 {
            return Err(FfiError::argument(format!(
                "the message is NULL and message_len is {}",
                self.message_len
            )));
        }
        if isize::try_from(self.message_len).is_err() {
            return Err(FfiError::argument(format!(
                "message_len is {}, more than memory can be",
                self.message_len
            )));
        }
        let message = match self.message_len {
            0 => &[],
            // SAFETY: not NULL; the host says that `message_len` bytes are readable.
            len => unsafe { slice::from_raw_parts(self.message.cast::<u8>(), len) },
        };
        let range = if self.source.is_null() {
            if self.offset_begin != 0 || self.offset_end != 0 {
                return Err(FfiError::argument("the event has offsets, but its source is NULL"));
            }
            None
        } else {
            // SAFETY: the host passes a source; `borrow` checks it.
            let source = unsafe { handle::borrow(self.source.cast_const()) }?;
            if !Arc::ptr_eq(&source.sink, sink) {
                return Err(FfiError::argument("the source is another sink's"));
            }
            Some((source.source()?, self.offset_begin, self.offset_end))
        };
        Ok(Event { timestamp_ms, message, token: self.token, range })
    }
}
