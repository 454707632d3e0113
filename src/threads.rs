//! The threads that must not wait for the sink: its own threads, and threads inside one of its callbacks.

use std::cell::Cell;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as a thread of the sink.
pub fn mark_own() {
    OWN.set(true);
}

/// Returns whether the calling thread is a thread of the sink.
pub fn is_own() -> bool {
    OWN.try_with(Cell::get).unwrap_or(false)
}

/// Returns whether the calling thread is inside a callback to the host.
pub fn is_in_callback() -> bool {
    IN_CALLBACK.try_with(Cell::get).unwrap_or(false)
}

/// Returns whether the calling thread may wait for threads of the sink.
pub fn may_wait() -> bool {
    !is_own() && !is_in_callback()
}

/// Calls the host back. Returns false, without the call, when the thread is inside a callback already.
pub fn call_back(callback: impl FnOnce()) -> bool {
    struct Left;
    impl Drop for Left {
        fn drop(&mut self) {
            let _ = IN_CALLBACK.try_with(|inside| inside.set(false));
        }
    }
    if IN_CALLBACK.try_with(|inside| inside.replace(true)).unwrap_or(true) {
        return false;
    }
    let _left = Left;
    callback();
    true
}
