//! Text on its way to C.

use std::ffi::CString;

/// Copies a text for C. A NUL inside becomes U+FFFD.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}
