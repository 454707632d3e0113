//! Acks as C sees them: `cwl_ack`, its enumerations, and an array of acks with the texts that they point to.

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::Arc;

use super::text::c_string;
use super::versioned::Versioned;
use crate::outcome::{Ack, Outcome, Reason};
use crate::service::ApiError;

/// The outcome of an event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_outcome {
    /// CloudWatch Logs accepted the event.
    CWL_DELIVERED = 0,
    /// CloudWatch Logs refused this event for its age, and accepted the rest of its request.
    CWL_REJECTED = 1,
    /// The library gave the event up.
    CWL_DROPPED = 2,
    /// The library does not know that the event arrived: no attempt had succeeded at the shutdown, or the library
    /// had an internal error. A request whose answer was still missing may have arrived, so an event that is sent
    /// again may be there twice.
    CWL_ABANDONED = 3,
}

/// The reason for an outcome.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_reason {
    /// Delivered: there is no reason to give.
    CWL_REASON_NONE = 0,
    /// Rejected: the event was more than 14 days old when it arrived.
    CWL_REASON_TOO_OLD = 1,
    /// Rejected: the event was more than 2 hours ahead when it arrived.
    CWL_REASON_TOO_NEW = 2,
    /// Rejected: the event was older than the retention of its log group.
    CWL_REASON_EXPIRED = 3,
    /// Dropped: CloudWatch Logs will never accept the request.
    CWL_REASON_NOT_RETRYABLE = 4,
    /// Dropped: the event was tried for `retry_max_age_ms`.
    CWL_REASON_TRIED_TOO_LONG = 5,
    /// Dropped: the event was the oldest when there was no room.
    CWL_REASON_OVERFLOW = 6,
    /// Abandoned: the sink was shut down first.
    CWL_REASON_SHUTDOWN = 7,
    /// Abandoned: the library had an internal error.
    CWL_REASON_DEFECT = 8,
}

/// The outcome of one event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cwl_ack {
    /// `sizeof(cwl_ack)`.
    pub struct_size: usize,
    /// The token that the event was pushed with.
    pub token: u64,
    /// The outcome.
    pub outcome: cwl_outcome,
    /// The reason for the outcome.
    pub reason: cwl_reason,
    /// The service's name for the event's last error, such as "AccessDeniedException", ending in NUL. NULL when
    /// there was no error, or when the error has no name. Valid until the callback returns, or until the sink's
    /// next `cwl_poll_acks` or its `cwl_sink_free`.
    pub error_code: *const c_char,
    /// The text of that error, in UTF-8, ending in NUL: one line of at most 500 characters. NULL when there was no
    /// error. Valid as long as `error_code`.
    pub error_message: *const c_char,
}

// SAFETY: `repr(C)`, without padding; NULL and the first enumerators are zero.
unsafe impl Versioned for cwl_ack {
    const NAME: &'static str = "cwl_ack";
    const MIN_SIZE: usize = size_of::<cwl_ack>();
    const IN_ARRAYS: bool = true;
}

/// Acks as C sees them, with the texts that they point to.
#[derive(Debug)]
pub struct AckArray {
    acks: Vec<cwl_ack>,
    /// The texts of each error, made once: neighbouring acks mostly share theirs.
    _texts: Vec<ErrorTexts>,
}

// SAFETY: the pointers are into texts that the array owns.
unsafe impl Send for AckArray {}

impl AckArray {
    /// Converts acks for C, in their order.
    pub fn new(acks: &[Ack]) -> Self {
        let mut texts: Vec<ErrorTexts> = Vec::new();
        let mut last: Option<&Arc<ApiError>> = None;
        let c_acks = acks.iter().map(|ack| {
            let error = ack.resolution.error.as_ref();
            if let Some(error) = error
                && !last.is_some_and(|last| Arc::ptr_eq(last, error))
            {
                texts.push(ErrorTexts::new(error));
                last = Some(error);
            }
            let texts = error.and_then(|_| texts.last());
            cwl_ack {
                struct_size: size_of::<cwl_ack>(),
                token: ack.token,
                outcome: ack.resolution.reason.outcome().into(),
                reason: ack.resolution.reason.into(),
                error_code: texts.map_or(null(), ErrorTexts::code),
                error_message: texts.map_or(null(), ErrorTexts::message),
            }
        });
        let acks = c_acks.collect();
        AckArray { acks, _texts: texts }
    }

    /// The acks, valid as long as the array.
    pub fn acks(&self) -> &[cwl_ack] {
        &self.acks
    }
}

/// The texts of one error of the service. Moving this value does not move the texts.
#[derive(Debug)]
struct ErrorTexts {
    code: Option<CString>,
    message: CString,
}

impl ErrorTexts {
    fn new(error: &ApiError) -> Self {
        ErrorTexts { code: error.code.as_deref().map(c_string), message: c_string(&error.message) }
    }

    fn code(&self) -> *const c_char {
        self.code.as_ref().map_or(null(), |code| code.as_ptr())
    }

    fn message(&self) -> *const c_char {
        self.message.as_ptr()
    }
}

impl From<Outcome> for cwl_outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => cwl_outcome::CWL_DELIVERED,
            Outcome::Rejected => cwl_outcome::CWL_REJECTED,
            Outcome::Dropped => cwl_outcome::CWL_DROPPED,
            Outcome::Abandoned => cwl_outcome::CWL_ABANDONED,
        }
    }
}

impl From<Reason> for cwl_reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::None => cwl_reason::CWL_REASON_NONE,
            Reason::TooOld => cwl_reason::CWL_REASON_TOO_OLD,
            Reason::TooNew => cwl_reason::CWL_REASON_TOO_NEW,
            Reason::Expired => cwl_reason::CWL_REASON_EXPIRED,
            Reason::NotRetryable => cwl_reason::CWL_REASON_NOT_RETRYABLE,
            Reason::TriedTooLong => cwl_reason::CWL_REASON_TRIED_TOO_LONG,
            Reason::Overflow => cwl_reason::CWL_REASON_OVERFLOW,
            Reason::Shutdown => cwl_reason::CWL_REASON_SHUTDOWN,
            Reason::InternalError => cwl_reason::CWL_REASON_DEFECT,
        }
    }
}
