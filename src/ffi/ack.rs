//! Acks: the outcome of each event, on its way to the host.

use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use super::ack_array::{AckArray, cwl_ack};
use super::ack_callback::AckHost;
use super::boundary::ffi_call;
use super::error::FfiError;
use super::sink::cwl_sink;
use super::status::cwl_status;
use super::{handle, pointers, timeout, versioned};
use crate::sink::AckError;
use crate::sync::lock;
use crate::threads;

/// Receives an array of `count` acks, in the order in which the events became final. `user` is the pointer that
/// was given with the callback. The array is valid during the call only. Step from one ack to the next by the
/// `struct_size` of the first.
///
/// Called from one thread of the library, never while the library holds a lock. No further acks come while the
/// callback runs, so it should return quickly. It must not throw.
///
/// It may push events, and a push never blocks there. Calls that wait for the library (`cwl_flush`,
/// `cwl_shutdown`, `cwl_sink_open`, `cwl_poll_acks` with a time-out) and `cwl_set_log_callback` return
/// `CWL_ERR_IN_CALLBACK` there.
pub type cwl_ack_callback =
    Option<unsafe extern "C" fn(acks: *const cwl_ack, count: usize, user: *mut c_void)>;

/// Registers a callback that is called with the outcome of every event: one ack for each event that is accepted
/// from now on, never two. Events that were accepted before have no ack, so register the callback before the first
/// push.
///
/// Starts one thread. Does not block. Any thread. Acks that the callback has not been given yet count towards
/// `buffer_max_bytes`.
///
/// `callback` must not be NULL and cannot be replaced. `user` must stay valid until `cwl_shutdown` has returned and
/// no call is running.
///
/// Before `cwl_shutdown` returns, the callback is given the acks of all events, abandoned ones included. Its time
/// for them ends with the time-out of the shutdown, but not before 100 ms after the sink's other threads have
/// ended: at the latest 400 ms after the time-out.
/// - No new call begins after that. The acks that are left are only counted in `cwl_stats`.
/// - A call that is running then has another 50 ms to return. If it does not, this one call goes on after
///   `cwl_shutdown`.
///
/// Returns one of these errors:
/// - `CWL_ERR_INVALID_ARGUMENT`: `callback` is NULL, the sink has an ack callback already, or its acks are polled.
/// - `CWL_ERR_CLOSED`: the sink is shut down.
/// - `CWL_ERR_OPEN`: the thread could not be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_set_ack_callback(
    sink: *mut cwl_sink,
    callback: cwl_ack_callback,
    user: *mut c_void,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        let callback = callback.ok_or_else(|| FfiError::argument("callback is NULL"))?;
        sink.set_ack_host(AckHost { callback, user })
    })
}

/// Takes up to `capacity` acks into the array `acks`. Set the `struct_size` of the first element to
/// `sizeof(cwl_ack)` before the call.
///
/// Waits for the first ack, for at most `timeout_ms` milliseconds. `CWL_FOREVER` means no limit; any other negative
/// number counts as 0.
///
/// Returns the number of acks that were taken. 0 means that the time-out ended first, that `capacity` is 0, or that
/// the sink is shut down and no acks are left: then the call does not wait. A thread that polls without a limit
/// must end when it gets 0. On an error the call returns minus the `cwl_status`.
///
/// Acks begin with the first call of `cwl_poll_acks` or `cwl_ack_fd`: one for each event that is accepted from
/// then on, never two. Events that were accepted before have no ack, so make the first call before the first push,
/// with a time-out of 0. Acks that were not fetched yet count towards `buffer_max_bytes`. After the shutdown the
/// acks that are left can be fetched until `cwl_sink_free`.
///
/// One thread at a time. Not inside a callback. Not for a sink with an ack callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_poll_acks(
    sink: *mut cwl_sink,
    acks: *mut cwl_ack,
    capacity: usize,
    timeout_ms: i64,
) -> i64 {
    let mut count = 0;
    let status = ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        let mut stride = size_of::<cwl_ack>();
        if capacity > 0 || !acks.is_null() {
            pointers::check_out("acks", acks)?;
        }
        if capacity > 0 {
            // SAFETY: not NULL and aligned; the host says that the first element is readable.
            stride = unsafe { versioned::struct_size("the struct_size of acks[0]", acks) }?;
        }
        let timeout = timeout::from_ms(timeout_ms);
        if timeout != Some(Duration::ZERO) && !threads::may_wait() {
            return Err(AckError::OwnThread.into());
        }
        sink.poll_acks_from_now_on();
        let running = sink.running()?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let fetched = AckArray::new(&running.sink.poll_acks(capacity, deadline)?);
        for (index, ack) in fetched.acks().iter().enumerate() {
            let ack = cwl_ack { struct_size: stride, ..*ack };
            // SAFETY: the host has room for `capacity` acks of `stride` bytes, and no more were fetched.
            unsafe { versioned::write(acks.byte_add(index * stride), &ack, stride) };
        }
        count = fetched.acks().len() as i64;
        *lock(&running.polled_acks) = Some(fetched);
        Ok(())
    });
    if status == cwl_status::CWL_OK { count } else { -(status as i64) }
}

/// Returns a file descriptor that is readable while there are acks to fetch with `cwl_poll_acks`, for hosts with
/// an event loop. Every call returns the same descriptor. On an error it returns minus the `cwl_status`. Does not
/// block.
///
/// Pass the descriptor to poll(2) or epoll(7). Do not read, write or close it. It belongs to the sink and is not
/// valid after `cwl_sink_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_ack_fd(sink: *mut cwl_sink) -> c_int {
    let mut number = 0;
    let status = ffi_call(|| {
        // SAFETY: the host passes a sink; `borrow` checks it.
        let sink = unsafe { handle::borrow(sink) }?;
        sink.poll_acks_from_now_on();
        number = sink.ack_fd()?;
        Ok(())
    });
    if status == cwl_status::CWL_OK { number } else { -(status as c_int) }
}
