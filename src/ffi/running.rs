//! The running sink behind a handle: one in each process that uses the handle.
//!
//! After a fork, the first call in the child that needs a running sink opens one with the same options. The parent's sink is
//! left as it is. What it has accepted, it delivers in the parent.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;

use super::ack_array::AckArray;
use super::ack_callback::AckHost;
use super::error::FfiError;
use super::event_fd::EventFd;
use super::status::cwl_status;
use crate::config::Config;
use crate::process::{self, PerProcess};
use crate::sink::{Sink, WaitError};
use crate::target::Queue;
use crate::threads;

/// The part that the handles of a sink, of its targets and of its sources share. See the module.
pub struct SharedSink {
    config: Config,
    /// The process that opened the sink.
    opened_in: u32,
    running: PerProcess<Running>,
    /// The sink was shut down, in this process or in a parent before the fork.
    is_closed: AtomicBool,
    /// The host polls acks.
    polls_acks: AtomicBool,
    /// The descriptor that `cwl_ack_fd` returned; -1 before.
    ack_fd: AtomicI32,
    ack_host: OnceCell<AckHost>,
}

/// A sink that runs in this process.
pub struct Running {
    pub sink: Sink,
    /// The target of the options `log_group` and `log_stream`, if both are set.
    pub default_target: Option<Arc<Queue>>,
    /// The acks of the last poll, since the host may still read their texts. Held only to replace them.
    pub polled_acks: Mutex<Option<AckArray>>,
    ack_event: OnceCell<EventFd>,
}

impl SharedSink {
    /// Opens a sink in this process.
    pub fn open(mut config: Config) -> Result<Self, FfiError> {
        process::watch_forks().map_err(|error| {
            FfiError::new(
                cwl_status::CWL_ERR_OPEN,
                format!("forks of the process cannot be noticed: {error}"),
            )
        })?;
        let running = Running::open(config.clone())?;
        // What was found out is not asked for again in a child.
        config.region = running.sink.region();
        Ok(SharedSink {
            config,
            opened_in: process::generation(),
            running: PerProcess::new(running),
            is_closed: AtomicBool::new(false),
            polls_acks: AtomicBool::new(false),
            ack_fd: AtomicI32::new(-1),
            ack_host: OnceCell::new(),
        })
    }

    /// The sink of this process.
    #[inline]
    pub fn running(&self) -> Result<&Running, FfiError> {
        self.running.get_or_make(|| self.open_in_child())
    }

    /// The sink of this process, if it has one: a child has none before it needs it.
    pub fn running_already(&self) -> Option<&Running> {
        self.running.get()
    }

    /// Returns an error in a child, which cannot use the `state_dir` of its parent.
    pub fn check_state_dir(&self) -> Result<(), FfiError> {
        match &self.config.state_dir {
            Some(path) if self.opened_in != process::generation() => Err(FfiError::new(
                cwl_status::CWL_ERR_STATE,
                format!(
                    "state_dir: {path} belongs to the parent process; open a sink with a folder of its own"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Notes that the sink is shut down: children do not open it again.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Registers the callback for acks.
    pub fn set_ack_host(&self, host: AckHost) -> Result<(), FfiError> {
        self.running()?.start_ack_thread(host.clone())?;
        // An earlier callback would have been an error.
        let _ = self.ack_host.set(host);
        Ok(())
    }

    /// Enables the polling of acks.
    pub fn poll_acks_from_now_on(&self) {
        self.polls_acks.store(true, Ordering::Relaxed);
    }

    /// The descriptor that is readable while there are acks.
    pub fn ack_fd(&self) -> Result<i32, FfiError> {
        let number = self.running()?.ack_fd(EventFd::new)?;
        self.ack_fd.store(number, Ordering::Relaxed);
        Ok(number)
    }

    fn open_in_child(&self) -> Result<Running, FfiError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(FfiError::new(cwl_status::CWL_ERR_CLOSED, "the sink was shut down before the fork"));
        }
        if !threads::may_wait() {
            return Err(WaitError::OwnThread.into());
        }
        let mut config = self.config.clone();
        config.state_dir = None;
        let running = Running::open(config)?;
        if let Some(host) = self.ack_host.get() {
            running.start_ack_thread(host.clone())?;
        } else if self.polls_acks.load(Ordering::Relaxed) {
            running.enable_acks()?;
        }
        let number = self.ack_fd.load(Ordering::Relaxed);
        if number >= 0 {
            // The event loop of the host knows this number.
            running.ack_fd(|| EventFd::in_place_of_parents(number))?;
        }
        Ok(running)
    }
}

impl Running {
    fn open(config: Config) -> Result<Self, FfiError> {
        let sink = Sink::open(config)?;
        let default_target = sink.target(None, None).ok();
        Ok(Running { sink, default_target, polled_acks: Mutex::default(), ack_event: OnceCell::new() })
    }

    /// Enables acks, which are polled.
    pub fn enable_acks(&self) -> Result<(), FfiError> {
        Ok(self.sink.poll_acks(0, None).map(drop)?)
    }

    fn start_ack_thread(&self, host: AckHost) -> Result<(), FfiError> {
        host.start(&self.sink)
    }

    fn ack_fd(&self, open: impl FnOnce() -> std::io::Result<EventFd>) -> Result<i32, FfiError> {
        self.enable_acks()?;
        let event = self.ack_event.get_or_try_init(|| {
            let event = open()?;
            self.sink.set_ack_signal(Box::new(event.clone()));
            Ok::<_, std::io::Error>(event)
        });
        let event =
            event.map_err(|error| FfiError::new(cwl_status::CWL_ERR_OPEN, format!("no eventfd: {error}")))?;
        Ok(event.number())
    }
}
