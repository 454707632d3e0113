//! Threads that call the host back.
//!
//! A host may end the thread that calls it, with pthread_exit or pthread_cancel. An interpreter of Python does so when it has
//! ended. The C library then unwinds the stack of the thread. It ends the process when it meets something that catches
//! exceptions, as every thread of the standard library does. So these threads are started by the C library, and at the moment
//! of a call there is nothing on their stack that has to be dropped or that catches.

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::start::not_started;
use super::{marks, signals};
use crate::process::generation;

/// The calls that a thread makes, one after the other.
pub trait HostCalls: Send + Sync + 'static {
    /// Waits for something to call the host with, and keeps it. Returns false when no more calls come.
    fn next(&self) -> bool;
    /// Calls the host with what is kept. When the host is called, nothing that has to be dropped is on the stack.
    extern "C-unwind" fn call(&self);
    /// The host has returned: drops what was kept.
    fn returned(&self);
    /// The thread ends, by itself or since the host ended it inside a call.
    fn ended(&self);
}

/// A thread that calls the host back.
#[derive(Debug)]
pub struct HostThread {
    thread: libc::pthread_t,
}

/// Kept by the thread itself. Dropped at its end, whoever ends it.
struct AtEnd(Arc<dyn HostCalls>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.ended();
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

impl HostThread {
    /// Starts a thread that makes these calls. `name` has at most 15 characters and ends in NUL.
    pub fn start<C: HostCalls>(name: &'static CStr, calls: Arc<C>) -> io::Result<Self> {
        let start = Box::into_raw(Box::new(Start { name, calls }));
        let mut thread = MaybeUninit::uninit();
        let run: extern "C-unwind" fn(*mut c_void) -> *mut c_void = run::<C>;
        // SAFETY: the two differ in nothing but in what may happen to the stack of the thread.
        let run: extern "C" fn(*mut c_void) -> *mut c_void = unsafe { std::mem::transmute(run) };
        // SAFETY: `run` takes the box over once the thread has started.
        let error: c_int = signals::with_signals_blocked(|| unsafe {
            libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), run, start.cast())
        });
        if error != 0 {
            // SAFETY: no thread has taken the box over.
            drop(unsafe { Box::from_raw(start) });
            return Err(not_started(io::Error::from_raw_os_error(error)));
        }
        // SAFETY: pthread_create has filled it.
        Ok(HostThread { thread: unsafe { thread.assume_init() } })
    }

    /// Waits for the end of the thread.
    pub fn join(self) {
        // SAFETY: a thread of this process that was neither joined nor detached.
        unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) };
        std::mem::forget(self);
    }
}

impl Drop for HostThread {
    /// Lets the thread end by itself.
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::pthread_detach(self.thread) };
    }
}

struct Start<C> {
    name: &'static CStr,
    calls: Arc<C>,
}

extern "C-unwind" fn run<C: HostCalls>(start: *mut c_void) -> *mut c_void {
    let calls = begin::<C>(start);
    let process = generation();
    // A callback that forks returns in the child too, where there is nothing to call for.
    // SAFETY: `begin` keeps the value for as long as the thread lives.
    while process == generation() && unsafe { (*calls).next() } {
        marks::mark_callback(true);
        // SAFETY: as above.
        unsafe { (*calls).call() };
        marks::mark_callback(false);
        // SAFETY: as above.
        unsafe { (*calls).returned() };
    }
    std::ptr::null_mut()
}

/// Marks the thread, and leaves the calls to its end. Returns them.
fn begin<C: HostCalls>(start: *mut c_void) -> *const C {
    // SAFETY: `HostThread::start` has left the box to this thread.
    let Start { name, calls } = *unsafe { Box::from_raw(start.cast::<Start<C>>()) };
    // SAFETY: the calling thread and a C string.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
    marks::mark_own();
    let pointer = Arc::as_ptr(&calls);
    AT_END.with(|at_end| *at_end.borrow_mut() = Some(AtEnd(calls)));
    pointer
}
