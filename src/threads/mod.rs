//! The threads of the sink: how they start, and which threads must not wait for the sink.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use crate::process::generation;

#[allow(unsafe_code, reason = "threads that the host may end are started by C functions")]
mod host_calls;
#[allow(unsafe_code, reason = "the signal mask of a thread is set by C functions")]
mod signals;

pub use host_calls::{HostCalls, HostThread};

thread_local! {
    /// The process in which the thread is one of the sink, by its generation.
    static OWN: Cell<Option<u32>> = const { Cell::new(None) };
    /// The process in which the thread is inside a callback.
    static IN_CALLBACK: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Starts a thread of the sink. It blocks every signal, except those of faults, so that the handlers of the host never run on
/// it. The name has at most 15 characters, as the kernel keeps no more.
pub fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let run = move || {
        OWN.set(Some(generation()));
        body()
    };
    signals::with_signals_blocked(|| Builder::new().name(name.to_owned()).spawn(run)).map_err(not_started)
}

fn not_started(error: io::Error) -> io::Error {
    let text = format!(
        "no thread could be started: {error}; the number of threads is limited (ulimit -u, or pids.max of the cgroup)"
    );
    io::Error::new(error.kind(), text)
}

/// Makes a call that can only block, on a thread of its own. When the future is dropped, the call goes on.
pub async fn call_blocking<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    // The receiver may be gone.
    start(name, move || drop(sender.send(call())))?;
    receiver.await.map_err(|_| io::Error::other("the call panicked"))
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
