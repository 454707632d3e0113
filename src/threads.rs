//! Which threads must not be made to wait for the sink: its own, and those inside one of its callbacks.

use std::cell::Cell;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as one of the sink's own.
pub fn mark_own() {
    OWN.set(true);
}

/// Whether the calling thread is one of the sink's own.
pub fn is_own() -> bool {
    OWN.try_with(Cell::get).unwrap_or(false)
}

/// Whether the calling thread is inside a callback to the host.
pub fn is_in_callback() -> bool {
    IN_CALLBACK.try_with(Cell::get).unwrap_or(false)
}

/// Whether the calling thread may wait for what the sink's threads do.
pub fn may_wait() -> bool {
    !is_own() && !is_in_callback()
}

/// Calls the host back; false, and not called, when the thread is inside a callback already.
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
