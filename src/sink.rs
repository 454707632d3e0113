//! A sink: what a host opens, pushes into, flushes and shuts down. It owns the runtime, and is the only place
//! where a host's thread waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::runtime::{self, Runtime};

use crate::batch::Event;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, WhenFull};
use crate::engine::{Dependencies, Engine, PushError};
use crate::outcome::{Ack, AckSignal};
use crate::report::stats::Snapshot;
use crate::service::aws::{AwsLogs, ConnectError};
use crate::sources::{Source, Sources, StateError};
use crate::sync::{lock, wait_while_until};
use crate::target::Queue;
use crate::threads;
use crate::wait_group::WaitGroup;

/// How long the threads get to end, at shutdown, after the time-out.
const THREADS_END: Duration = Duration::from_millis(200);

/// How long the offsets get to come to the disk, at shutdown, after the time-out.
const LAST_SAVE: Duration = Duration::from_millis(100);

/// How long the host's ack callback gets for the last acks, at shutdown, after the time-out.
const LAST_ACKS: Duration = Duration::from_millis(100);

/// And for the call that it is in then.
const LAST_ACK_CALL: Duration = Duration::from_millis(50);

/// How long a push that waits for room waits at most before it looks again: not every change that lets it in is a
/// release of memory.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Most threads for what can only block, such as looking up a host's name.
const BLOCKING_THREADS_MAX: usize = 16;

/// Why a sink could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No client for the service could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The threads could not be started.
    #[error("the sink's threads could not be started: {0}")]
    Threads(#[from] std::io::Error),
    /// The folder for offsets cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The client was not made, for a defect in the sink.
    #[error("the client for CloudWatch Logs could not be made: a defect in the sink")]
    Defect,
}

/// Why a flush or a shutdown did not end as asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WaitError {
    /// The time-out came first.
    #[error("the time-out came before every event had an outcome")]
    TimedOut,
    /// Events had to be abandoned.
    #[error("{0} events could not be sent before the time-out and are abandoned")]
    Abandoned(u64),
    /// The caller is one of the sink's own threads or inside a callback: it would wait for itself.
    #[error("this call waits for the sink's own threads, so it cannot be made inside a callback")]
    OwnThread,
}

/// See the module. All methods may be called from any thread, at the same time.
#[derive(Debug)]
pub struct Sink {
    engine: Engine,
    /// The runtime, and how far the shutdown is. Nothing awaits while holding it.
    life: Mutex<Life>,
    ended: Condvar,
    /// How the host gets its acks. Nothing awaits while holding it.
    acking: Mutex<Acking>,
}

#[derive(Debug, Default)]
enum Acking {
    #[default]
    Disabled,
    Polled,
    CalledBack(AckThread),
}

/// The thread that calls the host back.
#[derive(Debug)]
struct AckThread {
    /// Done when it has nothing left to do.
    ended: Arc<WaitGroup>,
    /// It begins no further call.
    stopped: Arc<AtomicBool>,
    /// Taken by whoever waits for its end.
    thread: Option<JoinHandle<()>>,
}

/// Why acks cannot be had so.
#[derive(Debug, Error)]
#[allow(missing_docs)] // each variant's text says it
pub enum AckError {
    #[error("the sink has an ack callback already")]
    HasCallback,
    #[error("the acks of the sink are polled")]
    IsPolled,
    #[error("the sink is shut down")]
    Closed,
    #[error("this call waits for the sink's own threads, so it cannot be made inside a callback")]
    OwnThread,
    #[error("the thread for acks could not be started: {0}")]
    Thread(std::io::Error),
}

#[derive(Debug)]
enum Life {
    Open(Runtime),
    Ending,
    Ended,
}

impl Sink {
    /// Opens a sink. Sends no event yet; without a region in the options it may ask the instance's metadata
    /// for one, which takes some seconds where there is none.
    pub fn open(mut config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let sources = Sources::new(config.state_dir.as_deref())?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(config.worker_threads)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("cwl-sink")
            .on_thread_start(threads::mark_own)
            .enable_all()
            .build()?;
        // Spawned rather than blocked on, since the host may be inside a runtime of its own.
        let (answer, answered) = sync_channel(1);
        let connecting = config.clone();
        runtime.spawn(async move {
            let _ = answer.send(AwsLogs::connect(&connecting).await);
        });
        let api = answered.recv().map_err(|_| OpenError::Defect)??;
        let dependencies = Dependencies {
            api: Arc::new(api),
            clock: Arc::new(SystemClock),
            sources,
            seed: fastrand::u64(..),
        };
        let engine = Engine::start(config, dependencies, runtime.handle());
        Ok(Sink {
            engine,
            life: Mutex::new(Life::Open(runtime)),
            ended: Condvar::new(),
            acking: Mutex::default(),
        })
    }

    /// The queue of a target, made if it is new. A missing name is the configured one.
    pub fn target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        self.engine.target(group, stream)
    }

    /// The same, for pushes to come: none is, once the sink is shut down.
    pub fn open_target(&self, group: Option<&str>, stream: Option<&str>) -> Result<Arc<Queue>, PushError> {
        let queue = self.engine.target(group, stream)?;
        if self.engine.is_closing() { Err(PushError::Closed) } else { Ok(queue) }
    }

    /// Takes one event. Blocks only with `when_full=block`, and then at most `block_timeout_ms`; never on one
    /// of the sink's own threads, which have to make the room, nor inside a callback.
    pub fn push(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        let blocks = || self.engine.config().when_full == WhenFull::Block && threads::may_wait();
        let mark = self.engine.budget().release_mark();
        let Err(mut error) = self.engine.push(queue, event) else { return Ok(()) };
        if matches!(*error, PushError::Full { .. }) && blocks() {
            match self.push_when_released(queue, event, mark) {
                Ok(()) => return Ok(()),
                Err(last) => error = last,
            }
        }
        self.engine.count_refused();
        Err(error)
    }

    /// There was no room at `mark`: tries again after each release, and now and then, until the time-out.
    fn push_when_released(
        &self,
        queue: &Arc<Queue>,
        event: &Event<'_>,
        mut mark: u64,
    ) -> Result<(), Box<PushError>> {
        let deadline = Instant::now() + self.engine.config().block_timeout;
        loop {
            let look = deadline.min(Instant::now() + LOOK_AGAIN);
            self.engine.budget().wait_for_release(mark, look);
            mark = self.engine.budget().release_mark();
            match self.engine.push(queue, event) {
                Err(error) if matches!(*error, PushError::Full { .. }) && Instant::now() < deadline => {}
                done => return done,
            }
        }
    }

    /// Seals and sends; returns when every event accepted before the call is final. `None`: however long.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        if !threads::may_wait() {
            return Err(WaitError::OwnThread);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let done = self.engine.flush().wait(deadline);
        if done { Ok(()) } else { Err(WaitError::TimedOut) }
    }

    /// Takes no more events, sends what it can until the time-out, abandons the rest and stops the threads.
    /// A second call waits for the first and tells the same.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<(), WaitError> {
        if !threads::may_wait() {
            return Err(WaitError::OwnThread);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut life = lock(&self.life);
        match std::mem::replace(&mut *life, Life::Ending) {
            Life::Open(runtime) => {
                drop(life);
                self.end(runtime, deadline);
            }
            other => {
                *life = other;
                drop(life);
                self.wait_for_end(deadline)?;
            }
        }
        let Snapshot { abandoned_events, pending_events, .. } = self.engine.snapshot();
        // A thread that did not end in time, such as one inside a host's callback, may still have a batch.
        match abandoned_events + pending_events {
            0 => Ok(()),
            abandoned => Err(WaitError::Abandoned(abandoned)),
        }
    }

    fn end(&self, runtime: Runtime, deadline: Option<Instant>) {
        let all_final = self.engine.close(deadline.map(tokio::time::Instant::from_std));
        all_final.wait(deadline);
        self.engine.stop();
        self.save_offsets(&runtime, deadline);
        runtime.shutdown_timeout(THREADS_END);
        // Attempts that were cut off have ended with their tasks; what they put back meanwhile ends here.
        self.engine.stop();
        self.engine.sources().release();
        self.end_acks(deadline);
        *lock(&self.life) = Life::Ended;
        self.ended.notify_all();
    }

    /// Keeps the offsets a last time, on a thread of the runtime's, since a disk may hang.
    fn save_offsets(&self, runtime: &Runtime, deadline: Option<Instant>) {
        let saved = Arc::<WaitGroup>::default();
        let (part, engine) = (saved.guard(), self.engine.clone());
        // From inside the runtime, so that a thread made for it blocks every signal as the others do.
        runtime.spawn(async move {
            let _part = part;
            let _ = tokio::task::spawn_blocking(move || engine.sources().save()).await;
        });
        let latest = Instant::now() + LAST_SAVE;
        saved.wait(deadline.map(|deadline| deadline.max(latest)));
    }

    /// Every ack is in the line: whoever gives them to the host does so, and ends. What is left when its time is over
    /// is not given any more, so that a host may free what its callback uses.
    fn end_acks(&self, deadline: Option<Instant>) {
        self.engine.acks().close();
        let mut acking = lock(&self.acking);
        let Acking::CalledBack(AckThread { ended, stopped, thread }) = &mut *acking else { return };
        let (ended, stopped, thread) = (ended.clone(), stopped.clone(), thread.take());
        drop(acking);
        let latest = Instant::now() + LAST_ACKS;
        let mut over = ended.wait(deadline.map(|deadline| deadline.max(latest)));
        if !over {
            stopped.store(true, Ordering::SeqCst);
            over = ended.wait(Some(Instant::now() + LAST_ACK_CALL));
        }
        if over && let Some(thread) = thread {
            // It has nothing left to do but to end.
            let _ = thread.join();
        }
    }

    /// Gives every ack from now on to `give`, on a thread of its own, at most so many at once.
    pub fn give_acks(
        &self,
        most: usize,
        mut give: impl FnMut(Vec<Ack>) + Send + 'static,
    ) -> Result<(), AckError> {
        let mut acking = lock(&self.acking);
        match *acking {
            Acking::Disabled => {}
            Acking::Polled => return Err(AckError::IsPolled),
            Acking::CalledBack(..) => return Err(AckError::HasCallback),
        }
        if !matches!(*lock(&self.life), Life::Open(_)) {
            return Err(AckError::Closed);
        }
        let ended = Arc::<WaitGroup>::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let (part, engine, stop) = (ended.guard(), self.engine.clone(), stopped.clone());
        let calling = move || {
            let _part = part;
            threads::mark_own();
            while !engine.acks().is_finished() {
                let acks = engine.acks().take(most, None);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if !acks.is_empty() {
                    give(acks);
                }
            }
        };
        let thread = Builder::new().name("cwl-sink".into()).spawn(calling).map_err(AckError::Thread)?;
        self.engine.acks().enable();
        *acking = Acking::CalledBack(AckThread { ended, stopped, thread: Some(thread) });
        Ok(())
    }

    /// Takes at most so many acks, and waits for the first until the deadline (none: for ever). The first call
    /// begins the acking.
    pub fn poll_acks(&self, most: usize, deadline: Option<Instant>) -> Result<Vec<Ack>, AckError> {
        let mut acking = lock(&self.acking);
        match *acking {
            Acking::Polled => {}
            Acking::CalledBack(..) => return Err(AckError::HasCallback),
            Acking::Disabled => {
                self.engine.acks().enable();
                *acking = Acking::Polled;
            }
        }
        drop(acking);
        Ok(if most == 0 { Vec::new() } else { self.engine.acks().take(most, deadline) })
    }

    /// Sets what is told when there are acks to poll.
    pub fn signal_acks(&self, signal: Box<dyn AckSignal>) {
        self.engine.acks().set_signal(signal);
    }

    /// The source of that name, at the offset that was kept for it.
    pub fn source(&self, name: &str) -> Result<Arc<Source>, StateError> {
        self.engine.sources().open(name)
    }

    fn wait_for_end(&self, deadline: Option<Instant>) -> Result<(), WaitError> {
        let deadline = deadline.and_then(|deadline| deadline.checked_add(THREADS_END));
        let ended = |life: &Life| matches!(life, Life::Ended);
        let life = wait_while_until(&self.ended, lock(&self.life), deadline, |life| !ended(life));
        if ended(&life) { Ok(()) } else { Err(WaitError::TimedOut) }
    }

    /// What the sink did and holds. Also after the shutdown.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// The same with each target's state, as JSON.
    pub fn snapshot_json(&self) -> String {
        crate::report::stats::to_json(&self.engine.snapshot(), &self.engine.target_snapshots())
    }
}

impl Drop for Sink {
    /// Without a shutdown before: a shutdown that waits for nothing.
    fn drop(&mut self) {
        if !threads::may_wait() {
            // The last handle was let go inside a callback, or by one of the threads that a shutdown would wait for.
            self.engine.stop();
            self.engine.acks().close();
            let life =
                std::mem::replace(self.life.get_mut().unwrap_or_else(PoisonError::into_inner), Life::Ended);
            if let Life::Open(runtime) = life {
                runtime.shutdown_background();
            }
            return;
        }
        let _ = self.shutdown(Some(Duration::ZERO));
    }
}
