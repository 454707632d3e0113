//! Errors on their way to the host: a status code, and a text that `cwl_last_error` returns.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt::Display;

use super::status::cwl_status;
use super::text::c_string;
use crate::config::ConfigError;
use crate::engine::PushError;
use crate::sink::{AckError, OpenError, WaitError};
use crate::sources::StateError;

/// An error of a C entry: the status code and the text for `cwl_last_error`.
///
/// Boxed, so that a result without an error fits into a register.
#[derive(Debug)]
pub struct FfiError(Box<Details>);

#[derive(Debug)]
struct Details {
    status: cwl_status,
    text: String,
}

impl FfiError {
    /// An error with this status and text.
    pub fn new(status: cwl_status, text: impl Display) -> Self {
        FfiError(Box::new(Details { status, text: text.to_string() }))
    }

    /// An error in an argument: `CWL_ERR_INVALID_ARGUMENT`.
    pub fn argument(text: impl Display) -> Self {
        FfiError::new(cwl_status::CWL_ERR_INVALID_ARGUMENT, text)
    }

    /// Makes the text the calling thread's last error, and returns the status.
    pub fn store_as_last(self) -> cwl_status {
        let Details { status, text } = *self.0;
        let text = c_string(&text);
        let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
        status
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Returns the text of the calling thread's last error: a sentence in UTF-8 that ends in NUL. Returns "" when no
/// call of the thread has failed; never NULL. A call that succeeds does not change the text.
///
/// The text belongs to the library: do not free it. It is valid until the same thread's next call that fails, or
/// until the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// An error of the library that a C entry may return. This is the one table of errors and their status codes.
pub trait HasStatus: Display {
    /// The status code that hosts get for this error.
    fn status(&self) -> cwl_status;
}

impl<E: HasStatus> From<E> for FfiError {
    #[cold]
    fn from(error: E) -> Self {
        FfiError::new(error.status(), error)
    }
}

impl<E: HasStatus> HasStatus for Box<E> {
    fn status(&self) -> cwl_status {
        (**self).status()
    }
}

impl HasStatus for ConfigError {
    fn status(&self) -> cwl_status {
        cwl_status::CWL_ERR_CONFIG
    }
}

impl HasStatus for StateError {
    fn status(&self) -> cwl_status {
        cwl_status::CWL_ERR_STATE
    }
}

impl HasStatus for OpenError {
    fn status(&self) -> cwl_status {
        match self {
            OpenError::Config(error) => error.status(),
            OpenError::State(error) => error.status(),
            OpenError::Connect(_) | OpenError::Threads(_) => cwl_status::CWL_ERR_OPEN,
            OpenError::Internal => cwl_status::CWL_ERR_INTERNAL,
        }
    }
}

impl HasStatus for PushError {
    fn status(&self) -> cwl_status {
        match self {
            PushError::Empty
            | PushError::BadRange { .. }
            | PushError::NegativeTimestamp { .. }
            | PushError::NoTarget(_)
            | PushError::BadName(_) => cwl_status::CWL_ERR_INVALID_ARGUMENT,
            PushError::TooLarge { .. } | PushError::EmfTooLarge { .. } | PushError::NeverFits { .. } => {
                cwl_status::CWL_ERR_TOO_LARGE
            }
            PushError::TooOld { .. } => cwl_status::CWL_ERR_TOO_OLD,
            PushError::TooNew { .. } => cwl_status::CWL_ERR_TOO_NEW,
            PushError::Full { .. } => cwl_status::CWL_ERR_FULL,
            PushError::Closed => cwl_status::CWL_ERR_CLOSED,
        }
    }
}

impl HasStatus for WaitError {
    fn status(&self) -> cwl_status {
        match self {
            WaitError::TimedOut => cwl_status::CWL_ERR_TIMEOUT,
            WaitError::Abandoned(_) => cwl_status::CWL_ERR_ABANDONED,
            WaitError::OwnThread => cwl_status::CWL_ERR_IN_CALLBACK,
        }
    }
}

impl HasStatus for AckError {
    fn status(&self) -> cwl_status {
        match self {
            AckError::HasCallback | AckError::IsPolled => cwl_status::CWL_ERR_INVALID_ARGUMENT,
            AckError::Closed => cwl_status::CWL_ERR_CLOSED,
            AckError::OwnThread => cwl_status::CWL_ERR_IN_CALLBACK,
            AckError::Thread(_) => cwl_status::CWL_ERR_OPEN,
        }
    }
}
