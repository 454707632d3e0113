//! Acks: what became of each event, on its way to the host.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::boundary::{self, Fault, enter};
use super::sink::{cwl_sink, with_signals_blocked};
use super::status::cwl_status;
use crate::outcome::{Ack, AckSignal, Outcome, Reason};
use crate::service::ApiError;
use crate::sink::AckError;
use crate::threads;

/// Most acks that a callback is given at once.
const CALLBACK_ACKS_MAX: usize = 1024;

/// How an event ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_outcome {
    /// CloudWatch Logs took it.
    CWL_DELIVERED = 0,
    /// CloudWatch Logs refused this event for its age, while it took the rest of its request.
    CWL_REJECTED = 1,
    /// Given up.
    CWL_DROPPED = 2,
    /// Still unsent when the sink was shut down.
    CWL_ABANDONED = 3,
}

/// Why an event ended so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_reason {
    /// Delivered: there is no reason to give.
    CWL_REASON_NONE = 0,
    /// Rejected: more than 14 days old when it arrived.
    CWL_REASON_TOO_OLD = 1,
    /// Rejected: more than 2 hours ahead when it arrived.
    CWL_REASON_TOO_NEW = 2,
    /// Rejected: older than the retention of its group.
    CWL_REASON_EXPIRED = 3,
    /// Dropped: CloudWatch Logs will never take its request.
    CWL_REASON_NOT_RETRYABLE = 4,
    /// Dropped: it was tried for `retry_max_age_ms`.
    CWL_REASON_TRIED_TOO_LONG = 5,
    /// Dropped: it was the oldest when there was no room.
    CWL_REASON_OVERFLOW = 6,
    /// Abandoned: the sink was shut down first.
    CWL_REASON_SHUTDOWN = 7,
    /// Abandoned: a defect in the library.
    CWL_REASON_DEFECT = 8,
}

/// What became of one event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cwl_ack {
    /// `sizeof(cwl_ack)`.
    pub struct_size: usize,
    /// The token that the event was pushed with.
    pub token: u64,
    /// How it ended.
    pub outcome: cwl_outcome,
    /// Why.
    pub reason: cwl_reason,
    /// The service's name for its last error, such as "AccessDeniedException", ending in NUL; NULL when there
    /// was none. Valid until the callback returns, or until the sink's next `cwl_poll_acks`.
    pub error_code: *const c_char,
    /// What that error said, in UTF-8, ending in NUL; NULL when there was none. Valid as long.
    pub error_message: *const c_char,
}

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
    enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        let callback = callback.ok_or_else(|| Fault::argument("callback is NULL"))?;
        let host = Host { callback, user };
        let give = move |acks: Vec<Ack>| {
            let told = Told::new(&acks);
            threads::call_back(|| host.call(&told.acks));
        };
        with_signals_blocked(|| sink.sink.set_ack_callback(CALLBACK_ACKS_MAX, give)).map_err(not_acked)
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
    let mut taken = 0;
    let status = enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        if (acks.is_null() && capacity > 0) || !acks.is_aligned() {
            return Err(Fault::argument("acks, where the result goes, is NULL or not aligned"));
        }
        // SAFETY: not NULL, and at least the first member of the first element is readable, by the host's word.
        let stride = if capacity > 0 { unsafe { (*acks).struct_size } } else { size_of::<cwl_ack>() };
        let size = size_of::<cwl_ack>();
        let allowed = size..=boundary::STRUCT_SIZE_TIMES_MAX * size;
        if !allowed.contains(&stride) || !stride.is_multiple_of(align_of::<cwl_ack>()) {
            return Err(Fault::argument(format!(
                "the struct_size of acks[0] is {stride}; sizeof(cwl_ack) is {size}"
            )));
        }
        if timeout_ms != 0 && !threads::may_wait() {
            return Err(not_acked(AckError::OwnThread));
        }
        let deadline = boundary::timeout(timeout_ms).map(|timeout| Instant::now() + timeout);
        let fetched = sink.sink.poll_acks(capacity, deadline).map_err(not_acked)?;
        let told = Told::new(&fetched);
        for (number, ack) in told.acks.iter().enumerate() {
            let ack = cwl_ack { struct_size: stride, ..*ack };
            // SAFETY: there is room for `capacity` acks of that size, by the host's word, and no more were fetched.
            unsafe {
                let place = acks.byte_add(number * stride);
                // Members of a later version are nothing here, and must not look like something.
                place.cast::<u8>().write_bytes(0, stride);
                place.write(ack);
            }
        }
        taken = told.acks.len() as i64;
        *sink.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        Ok(())
    });
    if status == cwl_status::CWL_OK { taken } else { -(status as i64) }
}

/// A file descriptor that is readable while there are acks to fetch with `cwl_poll_acks`, for hosts with an event
/// loop: pass it to poll(2) or epoll(7), and do not read, write or close it. It belongs to the sink and ends with
/// `cwl_sink_free`. The same one at each call; minus the `cwl_status` when it cannot be had. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_ack_fd(sink: *mut cwl_sink) -> c_int {
    let mut number = 0;
    let status = enter(|| {
        // SAFETY: a live sink, by the host's word; it is checked.
        let sink = unsafe { boundary::borrow(sink) }?;
        sink.sink.poll_acks(0, Some(Instant::now())).map_err(not_acked)?;
        let fd = sink.ack_fd.get_or_try_init(|| {
            let fd = EventFd::new()?;
            sink.sink.set_ack_signal(Box::new(EventFd(fd.0.clone())));
            Ok::<_, std::io::Error>(fd)
        });
        let fd = fd.map_err(|error| Fault::new(cwl_status::CWL_ERR_OPEN, format!("no eventfd: {error}")))?;
        number = fd.0.as_raw_fd();
        Ok(())
    });
    if status == cwl_status::CWL_OK { number } else { -(status as c_int) }
}

/// An eventfd: readable while its count is not zero.
#[derive(Debug)]
pub struct EventFd(Arc<OwnedFd>);

impl EventFd {
    fn new() -> std::io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        Ok(EventFd(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }
}

impl AckSignal for EventFd {
    fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: an open descriptor and eight readable bytes. It cannot fail but for a count that is full.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn lower(&self) {
        let mut count = [0u8; 8];
        // SAFETY: an open descriptor and room for eight bytes. Nothing to read is as good.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// Acks as C sees them, with the texts that they point to.
#[derive(Debug)]
pub struct Told {
    acks: Vec<cwl_ack>,
    /// The texts of each error, made once: neighbouring acks mostly share theirs.
    _texts: Vec<(Option<CString>, CString)>,
}

// SAFETY: its pointers are into its own texts.
unsafe impl Send for Told {}

impl Told {
    fn new(acks: &[Ack]) -> Self {
        let mut texts: Vec<(Option<CString>, CString)> = Vec::new();
        let mut last: Option<&Arc<ApiError>> = None;
        let mut pointers = (null(), null());
        let told = acks.iter().map(|ack| {
            let error = ack.resolution.error.as_ref();
            let same = matches!((error, last), (Some(error), Some(last)) if Arc::ptr_eq(error, last));
            if !same {
                last = error;
                pointers = match error {
                    None => (null(), null()),
                    Some(error) => {
                        let text =
                            |text: &str| CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default();
                        let (code, message) = (error.code.as_deref().map(text), text(&error.message));
                        let pointers = (code.as_ref().map_or(null(), |code| code.as_ptr()), message.as_ptr());
                        texts.push((code, message));
                        pointers
                    }
                };
            }
            cwl_ack {
                struct_size: size_of::<cwl_ack>(),
                token: ack.token,
                outcome: outcome(ack.resolution.reason.outcome()),
                reason: reason(ack.resolution.reason),
                error_code: pointers.0,
                error_message: pointers.1,
            }
        });
        let acks = told.collect();
        Told { acks, _texts: texts }
    }
}

fn outcome(outcome: Outcome) -> cwl_outcome {
    match outcome {
        Outcome::Delivered => cwl_outcome::CWL_DELIVERED,
        Outcome::Rejected => cwl_outcome::CWL_REJECTED,
        Outcome::Dropped => cwl_outcome::CWL_DROPPED,
        Outcome::Abandoned => cwl_outcome::CWL_ABANDONED,
    }
}

fn reason(reason: Reason) -> cwl_reason {
    match reason {
        Reason::None => cwl_reason::CWL_REASON_NONE,
        Reason::TooOld => cwl_reason::CWL_REASON_TOO_OLD,
        Reason::TooNew => cwl_reason::CWL_REASON_TOO_NEW,
        Reason::Expired => cwl_reason::CWL_REASON_EXPIRED,
        Reason::NotRetryable => cwl_reason::CWL_REASON_NOT_RETRYABLE,
        Reason::TriedTooLong => cwl_reason::CWL_REASON_TRIED_TOO_LONG,
        Reason::Overflow => cwl_reason::CWL_REASON_OVERFLOW,
        Reason::Shutdown => cwl_reason::CWL_REASON_SHUTDOWN,
        Reason::InternalError => cwl_reason::CWL_REASON_DEFECT,
    }
}

fn not_acked(error: AckError) -> Fault {
    let status = match error {
        AckError::HasCallback | AckError::IsPolled => cwl_status::CWL_ERR_INVALID_ARGUMENT,
        AckError::Closed => cwl_status::CWL_ERR_CLOSED,
        AckError::OwnThread => cwl_status::CWL_ERR_IN_CALLBACK,
        AckError::Thread(_) => cwl_status::CWL_ERR_OPEN,
    };
    Fault::new(status, error)
}
