//! Acks: what became of each event, on its way to the host.

use std::ffi::{c_int, c_void};
use std::time::Instant;

use super::ack_array::{AckArray, cwl_ack};
use super::boundary::ffi_call;
use super::error::FfiError;
use super::event_fd::EventFd;
use super::signals::with_signals_blocked;
use super::sink::cwl_sink;
use super::status::cwl_status;
use super::{handle, pointers, timeout, versioned};
use crate::outcome::Ack;
use crate::sink::AckError;
use crate::sync::lock;
use crate::threads;

/// Most acks that a callback is given at once.
const CALLBACK_ACKS_MAX: usize = 1024;

/// Takes acks: `count` of them behind each other, in the order in which the events became final, valid during the
/// call only, and the `user` pointer that was given with the callback. Step through the array by the first one's
/// `struct_size`.
///
/// Called from one thread of the library's, never while a lock of the library is held. It may push events; calls
/// that wait for the library (`cwl_flush`, `cwl_shutdown`, `cwl_sink_open`) return `CWL_ERR_IN_CALLBACK` there, and a
/// push never blocks. While it runs, no further acks come: it should be quick. It must not throw.
pub type cwl_ack_callback =
    Option<unsafe extern "C" fn(acks: *const cwl_ack, count: usize, user: *mut c_void)>;

/// Has the outcome of every event told to `callback`: one ack for each event accepted from now on, never two. Those
/// accepted before have none, so call it before the first push. Can be called once for a sink, and not for one whose
/// acks are polled.
///
/// Starts one thread. Acks that the callback has not been given yet count towards `buffer_max_bytes`. Before
/// `cwl_shutdown` returns, the callback has been given the acks of all events, those abandoned included. If it takes
/// longer than 100 ms beyond the shutdown's time-out for them, it is not called again, and what is left is only counted
/// by `cwl_stats`; then a call that has not returned 50 ms later goes on after `cwl_shutdown`, and no other.
///
/// Returns `CWL_ERR_CLOSED` after the shutdown, and `CWL_ERR_OPEN` when the thread cannot be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_set_ack_callback(
    sink: *mut cwl_sink,
    callback: cwl_ack_callback,
    user: *mut c_void,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        let callback = callback.ok_or_else(|| FfiError::argument("callback is NULL"))?;
        let host = Host { callback, user };
        let call_back = move |acks: Vec<Ack>| {
            let acks = AckArray::new(&acks);
            threads::call_back(|| host.call(acks.acks()));
        };
        Ok(with_signals_blocked(|| sink.sink.set_ack_callback(CALLBACK_ACKS_MAX, call_back))?)
    })
}

struct Host {
    callback: unsafe extern "C" fn(acks: *const cwl_ack, count: usize, user: *mut c_void),
    user: *mut c_void,
}

// SAFETY: the host promises that its callback and `user` may be used from the library's thread.
unsafe impl Send for Host {}

impl Host {
    fn call(&self, acks: &[cwl_ack]) {
        // SAFETY: the host gave the callback for this; the acks live until it returns.
        unsafe { (self.callback)(acks.as_ptr(), acks.len(), self.user) }
    }
}

/// Takes up to `capacity` acks into `acks`, an array whose first element has its `struct_size` set to
/// `sizeof(cwl_ack)`. Waits for the first, at most `timeout_ms` milliseconds; negative: without limit. Returns how
/// many were taken, 0 at the time-out; negative: minus the `cwl_status` of what went wrong.
///
/// The first call, or that of `cwl_ack_fd`, begins the acking: events accepted before have no ack, so make it before
/// the first push, with a time-out of 0. One ack for each event from then on, never two; those not fetched yet count
/// towards `buffer_max_bytes`. After the shutdown the acks that are left can still be fetched, until `cwl_sink_free`.
/// One thread at a time; not inside a callback, and not for a sink with an ack callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_poll_acks(
    sink: *mut cwl_sink,
    acks: *mut cwl_ack,
    capacity: usize,
    timeout_ms: i64,
) -> i64 {
    let mut count = 0;
    let status = ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        let mut stride = size_of::<cwl_ack>();
        if capacity > 0 || !acks.is_null() {
            pointers::check_out("acks", acks)?;
        }
        if capacity > 0 {
            // SAFETY: not NULL and aligned, and the first element is readable, by the host's word.
            stride = unsafe { versioned::struct_size("the struct_size of acks[0]", acks) }?;
        }
        if timeout_ms != 0 && !threads::may_wait() {
            return Err(AckError::OwnThread.into());
        }
        let deadline = timeout::from_ms(timeout_ms).map(|timeout| Instant::now() + timeout);
        let fetched = AckArray::new(&sink.sink.poll_acks(capacity, deadline)?);
        for (index, ack) in fetched.acks().iter().enumerate() {
            let ack = cwl_ack { struct_size: stride, ..*ack };
            // SAFETY: there is room for `capacity` acks of `stride` bytes, by the host's word, and no more were
            // fetched.
            unsafe { versioned::write(acks.byte_add(index * stride), &ack, stride) };
        }
        count = fetched.acks().len() as i64;
        *lock(&sink.polled_acks) = Some(fetched);
        Ok(())
    });
    if status == cwl_status::CWL_OK { count } else { -(status as i64) }
}

/// A file descriptor that is readable while there are acks to fetch with `cwl_poll_acks`, for hosts with an event
/// loop: pass it to poll(2) or epoll(7), and do not read, write or close it. It belongs to the sink and ends with
/// `cwl_sink_free`. The same one at each call; minus the `cwl_status` when it cannot be had. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_ack_fd(sink: *mut cwl_sink) -> c_int {
    let mut number = 0;
    let status = ffi_call(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { handle::borrow(sink) }?;
        sink.sink.poll_acks(0, Some(Instant::now()))?;
        let fd = sink.ack_fd.get_or_try_init(|| {
            let fd = EventFd::new()?;
            sink.sink.set_ack_signal(Box::new(fd.clone()));
            Ok::<_, std::io::Error>(fd)
        });
        let fd =
            fd.map_err(|error| FfiError::new(cwl_status::CWL_ERR_OPEN, format!("no eventfd: {error}")))?;
        number = fd.number();
        Ok(())
    });
    if status == cwl_status::CWL_OK { number } else { -(status as c_int) }
}
