//! Handles: opaque pointers that a host holds, each with a Rust value behind it.

use super::error::FfiError;

/// An opaque struct of the C ABI, and the value behind a pointer to it.
pub trait Handle {
    /// The value that the handle owns.
    type Value;
    /// The handle's type in C.
    const NAME: &'static str;
    /// Eight letters at the beginning of the memory behind the handle. They tell one type of handle from another,
    /// and from memory that was freed.
    const MARK: u64;
}

/// The memory behind a handle.
#[repr(C)]
struct Marked<V> {
    mark: u64,
    value: V,
}

/// Moves a value into a new handle. [`from_handle`] moves the value out and frees the handle.
pub fn into_handle<H: Handle>(value: H::Value) -> *mut H {
    Box::into_raw(Box::new(Marked { mark: H::MARK, value })).cast()
}

/// Borrows the value behind a handle.
///
/// # Safety
///
/// `handle` is NULL, or points to a live object of the library, of this type or another.
pub unsafe fn borrow<'a, H: Handle>(handle: *const H) -> Result<&'a H::Value, FfiError> {
    // SAFETY: the caller keeps the contract of `check`.
    let handle = unsafe { check(handle) }?;
    // SAFETY: the mark was checked: this is a live handle of this type.
    Ok(unsafe { &(*handle).value })
}

/// Borrows the value behind a handle that no other thread uses, to change the value.
///
/// # Safety
///
/// As for [`borrow`], and no other thread uses the handle meanwhile.
pub unsafe fn borrow_mut<'a, H: Handle>(handle: *mut H) -> Result<&'a mut H::Value, FfiError> {
    // SAFETY: the caller keeps the contract of `check`.
    let handle = unsafe { check(handle) }?.cast_mut();
    // SAFETY: the mark was checked: this is a live handle of this type; the caller says that it is not shared.
    Ok(unsafe { &mut (*handle).value })
}

/// Frees a handle and returns its value. Returns `None` for NULL and for a pointer to anything but a live handle of
/// this type.
///
/// # Safety
///
/// As for [`borrow`], and nobody uses the handle any more.
pub unsafe fn from_handle<H: Handle>(handle: *mut H) -> Option<H::Value> {
    // SAFETY: the caller keeps the contract of `check`.
    let handle = unsafe { check(handle) }.ok()?.cast_mut();
    // SAFETY: the mark was checked: `into_handle` made this memory. Clearing the mark lets a second call see that the
    // handle was freed, as long as the memory has not been used again.
    let handle = unsafe {
        (&raw mut (*handle).mark).write_volatile(0);
        Box::from_raw(handle)
    };
    Some(handle.value)
}

/// Checks the mark of a handle.
///
/// # Safety
///
/// As for [`borrow`].
unsafe fn check<H: Handle>(handle: *const H) -> Result<*const Marked<H::Value>, FfiError> {
    let name = H::NAME;
    if handle.is_null() {
        return Err(FfiError::argument(format!("the {name} is NULL")));
    }
    let handle = handle.cast::<Marked<H::Value>>();
    // SAFETY: not NULL, aligned, and live as the caller says; every type of handle begins with its mark.
    if !handle.is_aligned() || unsafe { (&raw const (*handle).mark).read_volatile() } != H::MARK {
        return Err(FfiError::argument(format!("the pointer given as {name} is not one, or was freed")));
    }
    Ok(handle)
}
