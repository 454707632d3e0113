//! The boundary: no panic crosses it, an error becomes a code and a text, a pointer becomes a reference.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use tracing::error;

use super::status::cwl_status;
use crate::threads;

/// An error on its way out: the code, and the text for `cwl_last_error`. In a box, so that what is no error passes
/// in a register.
#[derive(Debug)]
pub struct Fault(Box<(cwl_status, String)>);

impl Fault {
    pub fn new(status: cwl_status, text: impl Display) -> Self {
        Fault(Box::new((status, text.to_string())))
    }

    pub fn argument(text: impl Display) -> Self {
        Fault::new(cwl_status::CWL_ERR_INVALID_ARGUMENT, text)
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// The thread is inside the boundary, so a panic belongs to the library.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs an entry's body. No panic leaves it, and nothing is written to the host's stderr.
pub fn enter(body: impl FnOnce() -> Result<(), Fault>) -> cwl_status {
    let fault = match guarded(body) {
        Some(Ok(())) => return cwl_status::CWL_OK,
        Some(Err(fault)) => fault,
        None => Fault::new(cwl_status::CWL_ERR_INTERNAL, "a defect in cwl-sink: a panic was caught"),
    };
    let (status, text) = *fault.0;
    set_last_error(text);
    status
}

/// Runs the body of an entry that gives no status back. None when it panicked.
pub fn guarded<T>(body: impl FnOnce() -> T) -> Option<T> {
    quiet_panics();
    INSIDE.with(|inside| {
        let outer = inside.replace(true);
        let result = catch_unwind(AssertUnwindSafe(body)).ok();
        inside.set(outer);
        result
    })
}

/// Panics of the library's own threads and entries go to the host's log callback. In a shared object the
/// hook is the library's own; in a Rust program other threads keep the hook that was there.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if threads::is_own() || INSIDE.try_with(Cell::get).unwrap_or(false) {
                error!("a defect in cwl-sink: {panic}");
            } else {
                before(panic);
            }
        }));
    });
}

fn set_last_error(text: String) {
    let text = CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
}

/// The calling thread's last error.
pub fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// What C knows as an opaque struct, and what stands behind a pointer to it.
pub trait Kind {
    /// What the handle holds.
    type Value;
    /// The handle's name in C.
    const NAME: &'static str;
    /// Eight letters that stand at its beginning.
    const MARK: u64;
}

/// What a handle points to. The mark tells one kind from another and from memory that was freed.
#[repr(C)]
struct Handle<V> {
    mark: u64,
    value: V,
}

/// Gives a value out as a handle.
pub fn give<K: Kind>(value: K::Value) -> *mut K {
    Box::into_raw(Box::new(Handle { mark: K::MARK, value })).cast()
}

/// The value behind a handle.
///
/// # Safety
///
/// `handle` is NULL, or points to a live object of the library's, of this kind or another.
pub unsafe fn borrow<'a, K: Kind>(handle: *const K) -> Result<&'a K::Value, Fault> {
    // SAFETY: by the caller's word.
    let handle = unsafe { checked(handle) }?;
    // SAFETY: the mark says that it is a live handle of this kind.
    Ok(unsafe { &(*handle).value })
}

/// The value behind a handle that nobody else uses, to be changed.
///
/// # Safety
///
/// As for [`borrow`], and no other thread uses the handle meanwhile.
pub unsafe fn borrow_mut<'a, K: Kind>(handle: *mut K) -> Result<&'a mut K::Value, Fault> {
    // SAFETY: by the caller's word.
    let handle = unsafe { checked(handle) }?.cast_mut();
    // SAFETY: the mark says that it is a live handle of this kind, and the caller that it is not shared.
    Ok(unsafe { &mut (*handle).value })
}

/// Takes a handle back; nothing for NULL and for what is no handle of this kind.
///
/// # Safety
///
/// As for [`borrow`], and nobody uses the handle any more.
pub unsafe fn take_back<K: Kind>(handle: *mut K) -> Option<K::Value> {
    // SAFETY: by the caller's word.
    let handle = unsafe { checked(handle) }.ok()?.cast_mut();
    // SAFETY: the mark says that `give` made it. Clearing the mark makes a second call see that it is gone,
    // as long as the memory has not been used again.
    let handle = unsafe {
        (&raw mut (*handle).mark).write_volatile(0);
        Box::from_raw(handle)
    };
    Some(handle.value)
}

unsafe fn checked<K: Kind>(handle: *const K) -> Result<*const Handle<K::Value>, Fault> {
    let name = K::NAME;
    if handle.is_null() {
        return Err(Fault::argument(format!("the {name} is NULL")));
    }
    let handle = handle.cast::<Handle<K::Value>>();
    // SAFETY: not NULL, aligned, and live by the caller's word; every kind begins with its mark.
    if !handle.is_aligned() || unsafe { (&raw const (*handle).mark).read_volatile() } != K::MARK {
        return Err(Fault::argument(format!("the pointer given as {name} is not one, or was freed")));
    }
    Ok(handle)
}

/// A C string as text; none for NULL.
///
/// # Safety
///
/// `text` is NULL or points to a string that ends in NUL and outlives the result.
pub unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Fault> {
    // SAFETY: by the caller's word.
    let text = unsafe { utf8(text) };
    text.map_err(|text| Fault::argument(format!("{name} is not UTF-8: {text:?}")))
}

/// The same for text that must not be shown, such as a secret.
///
/// # Safety
///
/// As for [`text`].
pub unsafe fn hidden_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Fault> {
    // SAFETY: by the caller's word.
    unsafe { utf8(text) }.map_err(|_| Fault::argument(format!("{name} is not UTF-8")))
}

/// The text, or what is not.
unsafe fn utf8<'a>(text: *const c_char) -> Result<Option<&'a str>, &'a CStr> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and a C string by the caller's word.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| text)
}

/// A struct of a later version is not larger than so many of this one's: what says more was never set.
pub const STRUCT_SIZE_TIMES_MAX: usize = 64;

/// Where a result goes.
///
/// # Safety
///
/// `place` is NULL or points to room for a `T` that nobody else uses meanwhile.
pub unsafe fn out<'a, T>(name: &str, place: *mut T) -> Result<&'a mut T, Fault> {
    if place.is_null() || !place.is_aligned() {
        return Err(Fault::argument(format!("{name}, where the result goes, is NULL or not aligned")));
    }
    // SAFETY: not NULL, aligned, and the caller's to write.
    Ok(unsafe { &mut *place })
}

/// A time-out in milliseconds; none for a negative one.
pub fn timeout(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}
