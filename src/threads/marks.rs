//! What a thread is to the sink: one of its own, or one that is inside a callback. Such a thread must not wait for the sink.

use std::cell::Cell;

use crate::process::generation;

thread_local! {
    /// The process in which the thread is one of the sink, by its generation.
    static OWN: Cell<Option<u32>> = const { Cell::new(None) };
    /// The process in which the thread is inside a callback.
    static IN_CALLBACK: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Marks the calling thread as a thread of the sink.
pub(super) fn mark_own() {
    OWN.set(Some(generation()));
}

/// Notes that the calling thread enters or leaves a callback.
pub(super) fn mark_callback(is_inside: bool) {
    IN_CALLBACK.set(is_inside.then(generation));
}

/// Returns whether the calling thread is a thread of the sink.
pub fn is_own() -> bool {
    OWN.try_with(Cell::get).is_ok_and(is_of_this_process)
}

/// Returns whether the calling thread is inside a callback to the host.
pub fn is_in_callback() -> bool {
    IN_CALLBACK.try_with(Cell::get).is_ok_and(is_of_this_process)
}

/// A host may fork on a thread of the sink. In the child that thread is the host's.
fn is_of_this_process(mark: Option<u32>) -> bool {
    mark == Some(generation())
}

/// Returns whether the calling thread may wait for threads of the sink.
pub fn may_wait() -> bool {
    !is_own() && !is_in_callback()
}
