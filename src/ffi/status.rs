//! Status codes and versions.

use std::ffi::{CStr, c_char};

/// Version of the ABI: what `cwl_abi_version` of a library of the same major version returns at least. The
/// SONAME carries the major version.
pub const CWL_ABI_VERSION: u32 = 1;

/// What a call came to. The values are fixed for ever; later versions may add some.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_status {
    /// Done.
    CWL_OK = 0,
    /// An argument is NULL, is not the handle it should be, or is not allowed. `cwl_last_error` names it.
    CWL_ERR_INVALID_ARGUMENT = 1,
    /// An option's key or value, or a combination of options, is not allowed. `cwl_last_error` names the
    /// option, the value and what is allowed.
    CWL_ERR_CONFIG = 2,
    /// There is no room for the event (`buffer_max_bytes`, `target_buffer_max_bytes`). It was not taken; try
    /// again later. With `when_full=block`: still no room after `block_timeout_ms`.
    CWL_ERR_FULL = 3,
    /// The time-out came first.
    CWL_ERR_TIMEOUT = 4,
    /// The sink is shut down, or is being shut down. The event was not taken.
    CWL_ERR_CLOSED = 5,
    /// With `oversize=reject`: the message has more than 1,048,550 bytes as UTF-8, which CloudWatch Logs never takes.
    /// Else: the event takes more memory than a target may ever hold. The event was not taken.
    CWL_ERR_TOO_LARGE = 6,
    /// The timestamp is more than 14 days old, which CloudWatch Logs does not take. The event was not taken.
    CWL_ERR_TOO_OLD = 7,
    /// The timestamp is more than 2 hours ahead, which CloudWatch Logs does not take. The event was not taken.
    CWL_ERR_TOO_NEW = 8,
    /// The shutdown is complete, but some events could not be sent before the time-out and are abandoned.
    /// `cwl_stats` says how many.
    CWL_ERR_ABANDONED = 9,
    /// The sink could not be opened: no region could be found, or threads could not be started.
    CWL_ERR_OPEN = 10,
    /// The call would wait for the library's own threads, and was made inside one of its callbacks.
    CWL_ERR_IN_CALLBACK = 11,
    /// A defect in the library. Please report the text of `cwl_last_error`.
    CWL_ERR_INTERNAL = 12,
    /// The folder `state_dir`, or a file in it, cannot be used or cannot be trusted.
    CWL_ERR_STATE = 13,
}

/// The name of a status, such as "CWL_ERR_FULL"; "CWL_ERR_UNKNOWN" for a number that is none. The text is
/// static: do not free it. Any thread.
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

/// The library's version, such as "0.1.0". The text is static: do not free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// The library's `CWL_ABI_VERSION`. A host built against a header of a higher one needs a newer library.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_abi_version() -> u32 {
    CWL_ABI_VERSION
}
