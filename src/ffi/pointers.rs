//! Checks of pointers: C strings that a host passes, and places for results.

use std::ffi::{CStr, c_char};

use super::error::FfiError;

/// Reads a C string that must be UTF-8. Returns `None` for NULL. `name` stands in the error.
///
/// # Safety
///
/// `text` is NULL or points to a string that ends in NUL and outlives the result.
pub unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, FfiError> {
    // SAFETY: the caller keeps the contract of `utf8`.
    let text = unsafe { utf8(text) };
    text.map_err(|text| FfiError::argument(format!("{name} is not UTF-8: {text:?}")))
}

/// Reads a C string as [`text`] does, but never shows its value in an error. For secrets.
///
/// # Safety
///
/// As for [`text`].
pub unsafe fn secret_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, FfiError> {
    // SAFETY: the caller keeps the contract of `utf8`.
    unsafe { utf8(text) }.map_err(|_| FfiError::argument(format!("{name} is not UTF-8")))
}

/// Reads a C string. The error is a string that is not UTF-8.
///
/// # Safety
///
/// As for [`text`].
unsafe fn utf8<'a>(text: *const c_char) -> Result<Option<&'a str>, &'a CStr> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and a C string as the caller says.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| text)
}

/// Checks an out-parameter and borrows the place for the result. `name` stands in the error.
///
/// # Safety
///
/// `place` is NULL or points to room for a `T` that nobody else uses meanwhile.
pub unsafe fn out<'a, T>(name: &str, place: *mut T) -> Result<&'a mut T, FfiError> {
    check_out(name, place)?;
    // SAFETY: not NULL, aligned, and the caller's to write.
    Ok(unsafe { &mut *place })
}

/// Checks that an out-parameter is neither NULL nor misaligned. `name` stands in the error.
pub fn check_out<T>(name: &str, place: *mut T) -> Result<(), FfiError> {
    if place.is_null() || !place.is_aligned() {
        return Err(FfiError::argument(format!("{name}, where the result goes, is NULL or not aligned")));
    }
    Ok(())
}
