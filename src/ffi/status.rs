//! Status codes and versions.

use std::ffi::{CStr, c_char};

use super::abi_version::CWL_ABI_VERSION;

/// The result of a call. The values never change; later versions may add some.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_status {
    /// Success.
    CWL_OK = 0,
    /// An argument is NULL, is not the handle that it should be, or has a value that is not allowed.
    /// `cwl_last_error` names the argument.
    CWL_ERR_INVALID_ARGUMENT = 1,
    /// An option's key or value, or a combination of options, is not allowed. `cwl_last_error` names the option,
    /// the value and what is allowed.
    CWL_ERR_CONFIG = 2,
    /// The event was not accepted: the buffers have no room for it (options `buffer_max_bytes` and
    /// `target_buffer_max_bytes`). Try again later. With `when_full=block`, `block_timeout_ms` passed without
    /// room.
    CWL_ERR_FULL = 3,
    /// The time-out ended first.
    CWL_ERR_TIMEOUT = 4,
    /// The sink is shut down or is shutting down. A pushed event was not accepted.
    CWL_ERR_CLOSED = 5,
    /// The event was not accepted. With `oversize=reject`: the message has more than 1,048,550 bytes as UTF-8, and
    /// CloudWatch Logs never accepts such a message. Otherwise: the event takes more memory than a target may ever
    /// hold.
    CWL_ERR_TOO_LARGE = 6,
    /// The event was not accepted: its timestamp is more than 14 days old, and CloudWatch Logs refuses such
    /// events.
    CWL_ERR_TOO_OLD = 7,
    /// The event was not accepted: its timestamp is more than 2 hours ahead, and CloudWatch Logs refuses such
    /// events.
    CWL_ERR_TOO_NEW = 8,
    /// The shutdown is complete, but some events could not be sent before the time-out and are abandoned.
    /// `cwl_stats` returns their number.
    CWL_ERR_ABANDONED = 9,
    /// The sink could not be opened: no region was found, the profile cannot be used, or threads could not be
    /// started. For acks: their thread or file descriptor could not be made.
    CWL_ERR_OPEN = 10,
    /// The call was made inside one of the library's callbacks, but it would wait for the library's own threads or
    /// for the callback.
    CWL_ERR_IN_CALLBACK = 11,
    /// The library had an internal error. Please report the text of `cwl_last_error`.
    CWL_ERR_INTERNAL = 12,
    /// The folder of the option `state_dir`, or a file in it, cannot be used or cannot be trusted.
    CWL_ERR_STATE = 13,
}

/// Returns the name of a status, such as "CWL_ERR_FULL". Returns "CWL_ERR_UNKNOWN" for any other number. The text
/// is static: do not free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_status_name(status: i32) -> *const c_char {
    let name: &CStr = match status {
        0 => c"CWL_OK",
        1 => c"CWL_ERR_INVALID_ARGUMENT",
        2 => c"CWL_ERR_CONFIG",
        3 => c"CWL_ERR_FULL",
        4 => c"CWL_ERR_TIMEOUT",
        5 => c"CWL_ERR_CLOSED",
        6 => c"CWL_ERR_TOO_LARGE",
        7 => c"CWL_ERR_TOO_OLD",
        8 => c"CWL_ERR_TOO_NEW",
        9 => c"CWL_ERR_ABANDONED",
        10 => c"CWL_ERR_OPEN",
        11 => c"CWL_ERR_IN_CALLBACK",
        12 => c"CWL_ERR_INTERNAL",
        13 => c"CWL_ERR_STATE",
        _ => c"CWL_ERR_UNKNOWN",
    };
    name.as_ptr()
}

/// Returns the version of the library, such as "0.1.0". The text is static: do not free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// Returns the library's `CWL_ABI_VERSION`. A host that uses an addition of a later version needs a library of
/// that version. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_abi_version() -> u32 {
    CWL_ABI_VERSION
}
