//! A sink: what a host opens, pushes into, flushes and shuts down. It owns the runtime, and is the only place where a thread
//! of the host waits.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Event;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, WhenFull};
use crate::engine::{Dependencies, Engine, PushError};
use crate::outcome::{Ack, AckSignal};
use crate::report::stats::{self, Snapshot};
use crate::service::aws::{AwsLogs, ConnectError};
use crate::service_clock::ServiceClock;
use crate::sources::{Source, Sources, StateError};
use crate::sync::{lock, wait_while_until};
use crate::target::Queue;
use crate::threads;
use crate::wait_group::WaitGroup;
use thiserror::Error;

use ack_delivery::AckDelivery;
use workers::Workers;

pub use ack_delivery::{AckCallback, AckError};

mod ack_delivery;
mod workers;

/// The time for the threads to end at shutdown, after the time-out.
const THREADS_END: Duration = Duration::from_millis(200);
/// The time for the offsets to reach the disk at shutdown, after the time-out.
const LAST_SAVE: Duration = Duration::from_millis(100);
/// The longest wait of a blocked push before it tries again. Not every change that lets it in is a release of memory.
const PUSH_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The reason why a sink could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No client for the service could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The threads could not be started.
    #[error("the sink cannot work: {0}")]
    Threads(#[from] std::io::Error),
    /// The folder for offsets cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The client could not be made because of an internal error.
    #[error("internal error in cwl-sink: the client for CloudWatch Logs could not be made")]
    Internal,
}

/// The reason why a flush or a shutdown did not end as asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WaitError {
    /// The time-out came first.
    #[error("the time-out came before every event had an outcome")]
    TimedOut,
    /// Events had to be abandoned.
    #[error("{0} events could not be sent before the time-out and are abandoned")]
    Abandoned(u64),
    /// The calling thread is a thread of the sink or inside a callback: it would wait for itself.
    #[error("this call waits for the sink's own threads, so it cannot be made inside a callback")]
    OwnThread,
}

/// See the module. All methods may be called from any thread, several at the same time.
#[derive(Debug)]
pub struct Sink {
    engine: Engine,
    /// Guards the runtime and the progress of the shutdown. Nothing awaits while holding it.
    lifecycle: Mutex<Lifecycle>,
    ended: Condvar,
    acks: AckDelivery,
    region: Option<String>,
}

#[derive(Debug)]
enum Lifecycle {
    Open(Workers),
    Ending,
    Ended,
}

impl Sink {
    /// Opens a sink. Sends no event yet. When no region is set in the options, the environment or the profile, it asks the
    /// metadata of the instance, which takes some seconds where there is none.
    pub fn open(mut config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let sources = Sources::new(config.state_dir.as_deref())?;
        let workers = Workers::start(config.worker_threads)?;
        // Spawned rather than blocked on, since the calling thread may be inside a runtime of the host.
        let (sender, receiver) = sync_channel(1);
        let connecting = config.clone();
        let clock = Arc::new(ServiceClock::new(SystemClock));
        let corrected = clock.clone();
        workers.runtimes()[0].spawn(async move {
            let _ = sender.send(AwsLogs::connect(&connecting, corrected).await);
        });
        let api = receiver.recv().map_err(|_| OpenError::Internal)??;
        let region = api.region();
        // A child of a fork has the random state of its parent, and its jitter must differ.
        let seed = fastrand::u64(..) ^ u64::from(std::process::id());
        let dependencies = Dependencies { api: Arc::new(api), clock, sources, seed };
        let engine = Engine::start(config, dependencies, workers.runtimes());
        Ok(Sink {
            engine,
            lifecycle: Mutex::new(Lifecycle::Open(workers)),
            ended: Condvar::new(),
            acks: AckDelivery::default(),
            region,
        })
    }

    /// The region that requests go to, wherever it was found.
    pub fn region(&self) -> Option<String> {
        self.region.clone()
    }

    /// The queue of a target, created if it is new. A missing name is the configured one.
    pub fn target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        self.engine.target(group, stream)
    }

    /// The queue of a target for later pushes. Refused once the sink is shut down.
    pub fn open_target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        let queue = self.engine.target(group, stream)?;
        if self.engine.is_closing() { Err(PushError::Closed) } else { Ok(queue) }
    }

    /// Pushes one event. Blocks only with `when_full=block`, for at most `block_timeout_ms`. Never blocks on a thread of the
    /// sink, which has to make the room, nor inside a callback.
    pub fn push(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        let blocks = || self.engine.config().when_full == WhenFull::Block && threads::may_wait();
        let releases = self.engine.budget().releases();
        let Err(mut error) = self.engine.push(queue, event) else { return Ok(()) };
        if matches!(*error, PushError::Full { .. }) && blocks() {
            match self.push_when_released(queue, event, releases) {
                Ok(()) => return Ok(()),
                Err(last) => error = last,
            }
        }
        self.engine.count_refused();
        Err(error)
    }

    /// Tries a push again after each release of memory and after [`PUSH_RETRY_INTERVAL`], until the time-out. `releases` was
    /// read before the first attempt.
    fn push_when_released(
        &self,
        queue: &Arc<Queue>,
        event: &Event<'_>,
        mut releases: u64,
    ) -> Result<(), Box<PushError>> {
        let deadline = Instant::now() + self.engine.config().block_timeout;
        loop {
            let next_try = deadline.min(Instant::now() + PUSH_RETRY_INTERVAL);
            self.engine.budget().wait_for_release(releases, next_try);
            releases = self.engine.budget().releases();
            match self.engine.push(queue, event) {
                Err(error) if matches!(*error, PushError::Full { .. }) && Instant::now() < deadline => {}
                done => return done,
            }
        }
    }

    /// Seals and sends everything. Returns when every event accepted before the call is final, or after `timeout` (`None`:
    /// without limit).
    pub fn flush(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        if !threads::may_wait() {
            return Err(WaitError::OwnThread);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let done = self.engine.flush().wait(deadline);
        if done { Ok(()) } else { Err(WaitError::TimedOut) }
    }

    /// Accepts no more events, sends what it can until the time-out, abandons the rest and stops the threads. A second call
    /// waits for the first and returns the same.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        if !threads::may_wait() {
            return Err(WaitError::OwnThread);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut lifecycle = lock(&self.lifecycle);
        match std::mem::replace(&mut *lifecycle, Lifecycle::Ending) {
            Lifecycle::Open(workers) => {
                drop(lifecycle);
                self.end(workers, deadline);
            }
            other => {
                *lifecycle = other;
                drop(lifecycle);
                self.wait_for_end(deadline)?;
            }
        }
        let Snapshot { abandoned_events, pending_events, .. } = self.engine.snapshot();
        // A thread that did not end in time, such as one inside a callback of the host, may still hold a batch.
        match abandoned_events + pending_events {
            0 => Ok(()),
            abandoned => Err(WaitError::Abandoned(abandoned)),
        }
    }

    fn end(&self, workers: Workers, deadline: Option<Instant>) {
        let all_final = self.engine.close(deadline.map(tokio::time::Instant::from_std));
        all_final.wait(deadline);
        self.engine.wait_for_owed_settings().wait(deadline);
        self.engine.stop();
        self.save_offsets(deadline);
        workers.end(THREADS_END);
        // Attempts that were cut off have ended with their tasks. Batches that they requeued meanwhile are abandoned here.
        self.engine.stop();
        self.engine.sources().release();
        self.acks.finish(&self.engine, deadline);
        *lock(&self.lifecycle) = Lifecycle::Ended;
        self.ended.notify_all();
    }

    /// Saves the offsets for the last time, on a thread of its own, since a disk may hang.
    fn save_offsets(&self, deadline: Option<Instant>) {
        let saved = Arc::<WaitGroup>::default();
        let (guard, sources) = (saved.guard(), self.engine.sources().clone());
        let save = move || {
            let _guard = guard;
            sources.save();
        };
        if threads::start("cwl-state", save).is_err() {
            // Better to wait for the disk than to send everything once more after the next start.
            self.engine.sources().save();
        }
        let earliest = Instant::now() + LAST_SAVE;
        saved.wait(deadline.map(|deadline| deadline.max(earliest)));
    }

    fn wait_for_end(&self, deadline: Option<Instant>) -> Result<(), WaitError> {
        let deadline = deadline.and_then(|deadline| deadline.checked_add(THREADS_END));
        let has_ended = |lifecycle: &Lifecycle| matches!(lifecycle, Lifecycle::Ended);
        let lifecycle =
            wait_while_until(&self.ended, lock(&self.lifecycle), deadline, |lifecycle| !has_ended(lifecycle));
        if has_ended(&lifecycle) { Ok(()) } else { Err(WaitError::TimedOut) }
    }

    /// Passes every ack from now on to `callback`, at most `max` at once, on a thread of its own.
    pub fn set_ack_callback(&self, max: usize, callback: impl AckCallback) -> Result<(), AckError> {
        let is_open = || matches!(*lock(&self.lifecycle), Lifecycle::Open(_));
        self.acks.start_callback(&self.engine, is_open, max, callback)
    }

    /// Takes at most `max` acks. Waits for the first one until `deadline` (`None`: without limit). The first call enables
    /// acks.
    pub fn poll_acks(&self, max: usize, deadline: Option<Instant>) -> Result<Vec<Ack>, AckError> {
        self.acks.poll(&self.engine, max, deadline)
    }

    /// Sets the signal that is raised while there are acks to poll.
    pub fn set_ack_signal(&self, signal: Box<dyn AckSignal>) {
        self.engine.acks().set_signal(signal);
    }

    /// Opens a source by its name, at the offset that was saved for it.
    pub fn source(&self, name: &str) -> Result<Arc<Source>, StateError> {
        self.engine.sources().open(name)
    }

    /// The statistics now. Also after the shutdown.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// The statistics with the state of each target, as JSON.
    pub fn snapshot_json(&self) -> String {
        stats::to_json(&self.engine.snapshot(), &self.engine.target_snapshots())
    }
}

impl Drop for Sink {
    /// Shuts down with a time-out of 0, if that was not done before.
    fn drop(&mut self) {
        if !threads::may_wait() {
            // The last handle was freed inside a callback, or by a thread that a shutdown would wait for.
            self.engine.stop();
            self.engine.acks().close();
            let lifecycle = self.lifecycle.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Lifecycle::Open(workers) = std::mem::replace(lifecycle, Lifecycle::Ended) {
                drop(workers);
            }
            return;
        }
        let _ = self.shutdown(Some(Duration::ZERO));
    }
}
