//! The start of a thread of the sink.

use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use super::{marks, signals};

/// Starts a thread of the sink. It blocks every signal, except those of faults, so that the handlers of the host never run on
/// it. The name has at most 15 characters, as the kernel keeps no more.
pub fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let run = move || {
        marks::mark_own();
        body()
    };
    signals::with_signals_blocked(|| Builder::new().name(name.to_owned()).spawn(run)).map_err(not_started)
}

/// The error of a thread that could not be started, with what limits the number of threads.
pub(super) fn not_started(error: io::Error) -> io::Error {
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
