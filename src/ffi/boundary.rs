//! The boundary between the host and the library: no panic crosses it, and an error becomes a status code and a text.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use tracing::error;

use super::error::FfiError;
use super::status::cwl_status;
use crate::threads;

thread_local! {
    /// True while the thread runs code of the library, so that a panic is the library's.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a C entry and returns its status. Stores the text of an error as the calling thread's last error.
pub fn ffi_call(body: impl FnOnce() -> Result<(), FfiError>) -> cwl_status {
    let error = match catch_panic(body) {
        Some(Ok(())) => return cwl_status::CWL_OK,
        Some(Err(error)) => error,
        None => FfiError::new(cwl_status::CWL_ERR_INTERNAL, "internal error in cwl-sink: a panic was caught"),
    };
    error.store_as_last()
}

/// Runs the body of a C entry that returns no status. Returns `None` when the body panicked.
pub fn catch_panic<T>(body: impl FnOnce() -> T) -> Option<T> {
    install_quiet_panic_hook();
    INSIDE.with(|inside| {
        let outer = inside.replace(true);
        let result = catch_unwind(AssertUnwindSafe(body)).ok();
        inside.set(outer);
        result
    })
}

/// Sends the library's panics to the host's log callback instead of stderr.
///
/// A panic is the library's when it happens on one of its threads or inside a C entry. A shared object has a panic
/// hook of its own. In a Rust program other threads keep the hook that was there before.
fn install_quiet_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if threads::is_own() || INSIDE.try_with(Cell::get).unwrap_or(false) {
                // The text of a panic has two lines, and a log line has one.
                let text = panic.to_string().replace('\n', " ");
                error!("internal error in cwl-sink: {text}");
            } else {
                before(panic);
            }
        }));
    });
}
