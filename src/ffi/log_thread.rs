//! The thread that hands log messages to the host, one after the other.
//!
//! Messages wait in a queue, so that no thread of the library and no call of the host waits for a slow callback. After a fork
//! the child has a thread of its own once it has a message.

use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_void};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sync::{lock, wait_while_until};
use crate::threads::{HostCalls, HostThread};

/// The most messages that wait. Further ones are counted, and the next message that is handed over says how many.
const MESSAGES_MAX: usize = 1000;

/// The level of a message about messages that were dropped: `CWL_LOG_WARN`.
const DROPPED_LEVEL: u8 = 2;

/// A callback that may end its thread.
pub type HostCallback = unsafe extern "C-unwind" fn(level: i32, message: *const c_char, user: *mut c_void);

/// The callback that a host registered.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub callback: HostCallback,
    pub user: *mut c_void,
}

// SAFETY: the host promises that its callback and `user` may be used from any thread.
unsafe impl Send for Host {}

/// See the module.
#[derive(Debug, Default)]
pub struct LogThread {
    calls: Arc<Calls>,
    /// The thread, if it was started. Held while it is started and ended.
    thread: Mutex<Option<HostThread>>,
}

#[derive(Debug, Default)]
struct Calls {
    /// Never held during a call of the host.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    host: Option<Host>,
    messages: VecDeque<Message>,
    /// Messages that found no room.
    dropped: u64,
    /// The message that the host is called with.
    current: Option<Message>,
    is_ending: bool,
    /// The thread has ended.
    is_gone: bool,
}

#[derive(Debug)]
struct Message {
    level: u8,
    text: CString,
}

/// One call of the host.
#[derive(Clone, Copy)]
struct Call {
    callback: HostCallback,
    level: i32,
    text: *const c_char,
    user: *mut c_void,
}

impl LogThread {
    /// Registers the callback. Starts the thread unless it runs. Waits until a running call of the old callback has returned.
    pub fn set_host(&self, host: Host) -> io::Result<()> {
        let mut thread = lock(&self.thread);
        let is_calling = |state: &State| !state.is_gone && state.current.is_some();
        let mut state = wait_while_until(&self.calls.changed, lock(&self.calls.state), None, is_calling);
        state.host = Some(host);
        if thread.is_some() && !state.is_gone {
            return Ok(());
        }
        (state.is_ending, state.is_gone) = (false, false);
        drop(state);
        // One that the host has ended.
        if let Some(ended) = thread.take() {
            ended.join();
        }
        *thread = Some(HostThread::start(c"cwl-log", self.calls.clone())?);
        Ok(())
    }

    /// Puts a message into the queue.
    pub fn push(&self, level: u8, text: CString) {
        let mut state = lock(&self.calls.state);
        if state.is_gone || state.is_ending || state.host.is_none() {
            return;
        }
        match state.messages.len() {
            ..MESSAGES_MAX => state.messages.push_back(Message { level, text }),
            _ => state.dropped += 1,
        }
        drop(state);
        self.calls.changed.notify_all();
    }

    /// Waits until the host has returned from every call for a message that is there by now, until `deadline` at the latest
    /// (`None`: without limit). Returns whether it has.
    pub fn wait_for_messages(&self, deadline: Option<Instant>) -> bool {
        let is_waiting =
            |state: &State| !state.is_gone && (state.current.is_some() || !state.messages.is_empty());
        let state = wait_while_until(&self.calls.changed, lock(&self.calls.state), deadline, is_waiting);
        !is_waiting(&state)
    }

    /// Ends the thread, once the callback has returned from its call. Messages that wait are dropped.
    pub fn end(&self) {
        let mut thread = lock(&self.thread);
        lock(&self.calls.state).is_ending = true;
        self.calls.changed.notify_all();
        if let Some(thread) = thread.take() {
            thread.join();
        }
    }
}

impl Calls {
    fn current_call(&self) -> Option<Call> {
        let state = lock(&self.state);
        let (host, message) = (state.host.as_ref()?, state.current.as_ref()?);
        Some(Call {
            callback: host.callback,
            level: i32::from(message.level),
            // The text stays where it is until the host has returned.
            text: message.text.as_ptr(),
            user: host.user,
        })
    }
}

impl HostCalls for Calls {
    fn next(&self) -> bool {
        let is_idle = |state: &State| !state.is_ending && state.messages.is_empty() && state.dropped == 0;
        let mut state = wait_while_until(&self.changed, lock(&self.state), None, is_idle);
        if state.is_ending {
            return false;
        }
        state.current = state.messages.pop_front().or_else(|| {
            let text = format!("{} log messages were dropped: the callback is too slow", state.dropped);
            state.dropped = 0;
            let text = CString::new(text).unwrap_or_default();
            Some(Message { level: DROPPED_LEVEL, text })
        });
        true
    }

    extern "C-unwind" fn call(&self) {
        if let Some(Call { callback, level, text, user }) = self.current_call() {
            // SAFETY: the host registered the callback for this; the text lives until it returns.
            unsafe { callback(level, text, user) };
        }
    }

    fn returned(&self) {
        lock(&self.state).current = None;
        self.changed.notify_all();
    }

    fn ended(&self) {
        let mut state = lock(&self.state);
        (state.is_gone, state.current, state.host) = (true, None, None);
        state.messages.clear();
        drop(state);
        self.changed.notify_all();
    }
}
