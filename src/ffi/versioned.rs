//! Structs that begin with `struct_size`, so that hosts and libraries of different versions understand each other.
//!
//! A host sets `struct_size` to the size that its header knows. Later versions of the ABI add members at the end. So a
//! struct of an older host is shorter than ours, and a struct of a newer host is longer.

use std::mem::MaybeUninit;
use std::slice;

use super::abi_version::CWL_ABI_VERSION;
use super::error::FfiError;

/// The largest `struct_size` that is believed, as a multiple of the struct's own size. No later version grows beyond
/// it: a larger number was never set by a host.
const STRUCT_SIZE_TIMES_MAX: usize = 64;

/// A struct of the C ABI that begins with `struct_size`.
///
/// # Safety
///
/// The type is `repr(C)` without padding, its first member is `struct_size: usize`, and every member may be zero.
pub unsafe trait Versioned: Copy {
    /// The struct's name in C.
    const NAME: &'static str;
    /// The smallest size that a host may set: the size in the first version of the ABI.
    const MIN_SIZE: usize;
    /// True for structs that stand behind each other in arrays: their size is a multiple of their alignment.
    const IN_ARRAYS: bool;
}

/// Reads and checks the `struct_size` that a host set. `member` names the member in the error, such as "the
/// struct_size of stats".
///
/// # Safety
///
/// `object` is not NULL and aligned, and its first member is readable.
#[inline]
pub unsafe fn struct_size<T: Versioned>(member: &str, object: *const T) -> Result<usize, FfiError> {
    let own = size_of::<T>();
    // SAFETY: the first member is `struct_size`, and the caller says that it is readable.
    let size = unsafe { object.cast::<usize>().read() };
    let is_allowed = (T::MIN_SIZE..=STRUCT_SIZE_TIMES_MAX * own).contains(&size);
    if !is_allowed || (T::IN_ARRAYS && !size.is_multiple_of(align_of::<T>())) {
        return Err(FfiError::argument(format!("{member} is {size}; sizeof({}) is {own}", T::NAME)));
    }
    Ok(size)
}

/// Reads a struct of `size` bytes, of this, an older or a newer version of the ABI.
///
/// Members that an older host does not know are zero: the struct is then completed in `whole`. A newer host may only
/// use the members that this version knows; otherwise the struct is refused. `name` names the struct in the error.
///
/// # Safety
///
/// `object` is not NULL and aligned, and points to `size` readable bytes that nobody changes meanwhile.
#[inline]
pub unsafe fn read<'a, T: Versioned>(
    name: &str,
    object: *const T,
    size: usize,
    whole: &'a mut MaybeUninit<T>,
) -> Result<&'a T, FfiError> {
    let own = size_of::<T>();
    if size < own {
        // SAFETY: every member may be zero, and `size` bytes are readable.
        return Ok(unsafe {
            whole.as_mut_ptr().write_bytes(0, 1);
            std::ptr::copy_nonoverlapping(object.cast::<u8>(), whole.as_mut_ptr().cast::<u8>(), size);
            whole.assume_init_ref()
        });
    }
    // SAFETY: `size` bytes are readable.
    let newer = unsafe { slice::from_raw_parts(object.cast::<u8>().add(own), size - own) };
    if newer.iter().any(|byte| *byte != 0) {
        return Err(FfiError::argument(format!(
            "{name} uses members that this version, ABI {CWL_ABI_VERSION}, does not know"
        )));
    }
    // SAFETY: the whole struct is readable, and nobody changes it meanwhile.
    Ok(unsafe { &*object })
}

/// Writes a struct of `size` bytes for a host of this, an older or a newer version of the ABI.
///
/// An older host gets the members that it knows. Members that only a newer host knows are set to zero, so that they
/// do not look like values.
///
/// # Safety
///
/// `size` bytes at `place` are the caller's to write.
pub unsafe fn write<T: Versioned>(place: *mut T, value: &T, size: usize) {
    let known = size.min(size_of::<T>());
    // SAFETY: the caller has `size` bytes at `place`, the value has at least `known`, and the two do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>(), place.cast::<u8>(), known);
        place.cast::<u8>().add(known).write_bytes(0, size - known);
    }
}
