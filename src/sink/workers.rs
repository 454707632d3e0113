//! The threads that run the tasks of a sink.
//!
//! Each worker is a thread with a runtime of its own, rather than one of a runtime with several threads: such a runtime panics
//! or hangs when one of its threads cannot be started.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{self, Handle};
use tokio::sync::watch;

use crate::threads;
use crate::wait_group::WaitGroup;

/// See the module. Dropping it ends the threads, without waiting for them.
#[derive(Debug)]
pub(super) struct Workers {
    runtimes: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped when the threads are to end.
    stop: watch::Sender<()>,
    /// Done when every thread has dropped its tasks.
    ended: Arc<WaitGroup>,
}

impl Workers {
    /// Starts `count` threads.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        let ended = Arc::<WaitGroup>::default();
        let (mut runtimes, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let (mut stopped, guard) = (stopped.clone(), ended.guard());
            let run = move || {
                let _guard = guard;
                // An error says that the sender was dropped.
                while runtime.block_on(stopped.changed()).is_ok() {}
                drop(runtime);
            };
            threads.push(threads::start("cwl-worker", run)?);
        }
        Ok(Workers { runtimes, threads, stop, ended })
    }

    /// The runtimes, one for each thread.
    pub(super) fn runtimes(&self) -> &[Handle] {
        &self.runtimes
    }

    /// Drops all tasks and waits at most `timeout` for the threads to end. A thread that takes longer, such as one inside a
    /// callback of the host, ends by itself later.
    pub(super) fn end(self, timeout: Duration) {
        let Workers { threads, stop, ended, .. } = self;
        drop(stop);
        if ended.wait(Some(Instant::now() + timeout)) {
            for thread in threads {
                // Its tasks are gone, so it has nothing left to do but to end.
                let _ = thread.join();
            }
        }
    }
}
