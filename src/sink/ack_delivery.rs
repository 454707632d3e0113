//! The delivery of acks to the host: not at all, by polling, or by a callback on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::engine::Engine;
use crate::outcome::Ack;
use crate::sync::lock;
use crate::threads::{HostCalls, HostThread};
use crate::wait_group::{WaitGroup, WaitGuard};

/// The time for the last acks at shutdown, after the time-out.
const LAST_ACKS: Duration = Duration::from_millis(100);
/// The time for the call that is running then.
const LAST_CALL: Duration = Duration::from_millis(50);

/// The reason why acks cannot be had.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the text of each variant says it")]
pub enum AckError {
    #[error("the sink has an ack callback already")]
    HasCallback,
    #[error("the acks of the sink are polled")]
    IsPolled,
    #[error("the sink is shut down")]
    Closed,
    #[error("this call waits for the sink's own threads, so it cannot be made inside a callback")]
    OwnThread,
    #[error("acks cannot be delivered: {0}")]
    Thread(std::io::Error),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AckDelivery {
    /// Guards the mode. Nothing awaits while holding it.
    mode: Mutex<Mode>,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Disabled,
    Polled,
    CalledBack(AckThread),
}

/// The callback of a host for acks.
pub trait AckCallback: Send + Sync + 'static {
    /// Keeps acks for the next call.
    fn keep(&self, acks: &[Ack]);
    /// Calls the host with the acks that are kept, see [`HostCalls::call`].
    extern "C-unwind" fn call(&self);
    /// The host has returned: drops the acks.
    fn drop_acks(&self);
}

/// The thread that calls the host back.
#[derive(Debug)]
struct AckThread {
    /// Done when the thread has nothing left to do.
    finished: Arc<WaitGroup>,
    /// The thread begins no further call.
    stopped: Arc<AtomicBool>,
    /// Taken by the caller that joins the thread.
    thread: Option<HostThread>,
}

impl AckDelivery {
    /// Passes every ack from now on to `callback`, at most `max` at once, on a thread of its own. `is_open` is asked under
    /// the lock.
    pub(super) fn start_callback(
        &self,
        engine: &Engine,
        is_open: impl FnOnce() -> bool,
        max: usize,
        callback: impl AckCallback,
    ) -> Result<(), AckError> {
        let mut mode = lock(&self.mode);
        match *mode {
            Mode::Disabled => {}
            Mode::Polled => return Err(AckError::IsPolled),
            Mode::CalledBack(..) => return Err(AckError::HasCallback),
        }
        if !is_open() {
            return Err(AckError::Closed);
        }
        let thread = AckThread::start(engine.clone(), max, callback).map_err(AckError::Thread)?;
        engine.acks().enable();
        *mode = Mode::CalledBack(thread);
        Ok(())
    }

    /// Takes at most `max` acks. Waits for the first one until `deadline` (`None`: without limit). The first call enables
    /// acks.
    pub(super) fn poll(
        &self,
        engine: &Engine,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<Ack>, AckError> {
        let mut mode = lock(&self.mode);
        match *mode {
            Mode::Polled => {}
            Mode::CalledBack(..) => return Err(AckError::HasCallback),
            Mode::Disabled => {
                engine.acks().enable();
                *mode = Mode::Polled;
            }
        }
        drop(mode);
        Ok(if max == 0 { Vec::new() } else { engine.acks().take(max, deadline) })
    }

    /// Ends the delivery at shutdown: every ack is queued, and the callback gets the last ones. When its time is over, the
    /// rest is not delivered, so that a host may free what its callback uses.
    pub(super) fn finish(&self, engine: &Engine, deadline: Option<Instant>) {
        engine.acks().close();
        let mut mode = lock(&self.mode);
        let Mode::CalledBack(AckThread { finished, stopped, thread }) = &mut *mode else { return };
        let (finished, stopped, thread) = (finished.clone(), stopped.clone(), thread.take());
        drop(mode);
        let earliest = Instant::now() + LAST_ACKS;
        let mut is_finished = finished.wait(deadline.map(|deadline| deadline.max(earliest)));
        if !is_finished {
            stopped.store(true, Ordering::SeqCst);
            is_finished = finished.wait(Some(Instant::now() + LAST_CALL));
        }
        if is_finished && let Some(thread) = thread {
            // The thread has nothing left to do but to end.
            thread.join();
        }
    }
}

impl AckThread {
    fn start(engine: Engine, max: usize, callback: impl AckCallback) -> std::io::Result<Self> {
        let finished = Arc::<WaitGroup>::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let running = Mutex::new(Some(finished.guard()));
        let calls = AckCalls { engine, max, callback, stopped: stopped.clone(), running };
        let thread = HostThread::start(c"cwl-acks", Arc::new(calls))?;
        Ok(AckThread { finished, stopped, thread: Some(thread) })
    }
}

/// The calls of the thread.
struct AckCalls<C> {
    engine: Engine,
    max: usize,
    callback: C,
    stopped: Arc<AtomicBool>,
    /// `None` once the thread has nothing left to do. Held only to drop it.
    running: Mutex<Option<WaitGuard>>,
}

impl<C: AckCallback> HostCalls for AckCalls<C> {
    fn next(&self) -> bool {
        while !self.engine.acks().is_finished() {
            let acks = self.engine.acks().take(self.max, None);
            if self.stopped.load(Ordering::SeqCst) {
                return false;
            }
            if !acks.is_empty() {
                self.callback.keep(&acks);
                return true;
            }
        }
        false
    }

    extern "C-unwind" fn call(&self) {
        self.callback.call();
    }

    fn returned(&self) {
        self.callback.drop_acks();
    }

    fn ended(&self) {
        self.callback.drop_acks();
        drop(lock(&self.running).take());
    }
}
