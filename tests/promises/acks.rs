//! Acks: one for each accepted event, never two, with its outcome.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::ptr::null;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_outcome::*;
use ::cwl_sink::ffi::cwl_reason::*;
use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;
use cwl_local::{Local, Reject, Rule};

use crate::host::*;

/// A copy of an ack, which outlives the callback or the poll.
#[derive(Clone, Debug, PartialEq)]
struct AckCopy {
    token: u64,
    outcome: cwl_outcome,
    reason: cwl_reason,
    /// The name and the text of the error, if there was one.
    error: Option<(String, String)>,
}

impl From<&cwl_ack> for AckCopy {
    fn from(ack: &cwl_ack) -> Self {
        let text = |text: *const std::ffi::c_char| {
            // SAFETY: the header says that it is NULL or a C string.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned())
        };
        let error =
            text(ack.error_message).map(|message| (text(ack.error_code).unwrap_or_default(), message));
        AckCopy { token: ack.token, outcome: ack.outcome, reason: ack.reason, error }
    }
}

/// The acks that a callback received.
#[derive(Default)]
struct Received {
    acks: Mutex<Vec<AckCopy>>,
    /// The address of a sink that gets one more event for each ack with a token below 100, from inside the callback.
    push_to: Mutex<Option<usize>>,
}

impl Received {
    fn acks(&self) -> Vec<AckCopy> {
        self.acks.lock().expect("no panic").clone()
    }

    fn sorted_tokens(&self) -> Vec<u64> {
        let mut tokens: Vec<_> = self.acks().iter().map(|ack| ack.token).collect();
        tokens.sort();
        tokens
    }
}

unsafe extern "C" fn receive(acks: *const cwl_ack, count: usize, user: *mut c_void) {
    // SAFETY: `user` is a `Received` that outlives the sink, and there are `count` acks.
    let (received, acks) = unsafe { (&*user.cast::<Received>(), std::slice::from_raw_parts(acks, count)) };
    for ack in acks {
        assert_eq!(ack.struct_size, size_of::<cwl_ack>());
        if let Some(sink) = *received.push_to.lock().expect("no panic")
            && ack.token < 100
        {
            let sink = sink as *mut cwl_sink;
            let event = cwl_event { token: ack.token + 100, ..event(b"from inside") };
            // SAFETY: the sink is live until the callback has returned.
            unsafe {
                assert_eq!(cwl_push_event(sink, &event), CWL_OK);
                assert_eq!(cwl_flush(sink, 1), CWL_ERR_IN_CALLBACK);
                assert_eq!(cwl_shutdown(sink, 1), CWL_ERR_IN_CALLBACK);
            }
        }
    }
    received.acks.lock().expect("no panic").extend(acks.iter().map(AckCopy::from));
}

/// Opens a sink with a target in its options.
fn open(local: &Local, options: &[(&str, &str)]) -> Host {
    Host::open(local, &[&[("log_group", "g"), ("log_stream", "s")], options].concat())
}

const SEAL_SOON: (&str, &str) = ("flush_interval_ms", "1");
const SEAL_ON_FLUSH: (&str, &str) = ("flush_interval_ms", "3600000");

fn push(host: &Host, token: u64, message: &[u8]) -> cwl_status {
    // SAFETY: a live sink and a whole event.
    unsafe { cwl_push_event(host.sink, &cwl_event { token, ..event(message) }) }
}

/// Pushes one event for each token, which must be accepted.
fn must_push(host: &Host, tokens: std::ops::Range<u64>) {
    tokens.for_each(|token| assert_eq!(push(host, token, b"m"), CWL_OK));
}

/// Registers a callback with a value that it gets as `user`.
fn register<T>(host: &Host, callback: cwl_ack_callback, user: &T) -> cwl_status {
    // SAFETY: a live sink; `user` outlives it.
    unsafe { cwl_set_ack_callback(host.sink, callback, (&raw const *user).cast_mut().cast()) }
}

/// Fetches up to `capacity` acks, and waits for the first until the time-out.
fn poll(host: &Host, capacity: usize, timeout_ms: i64) -> Vec<AckCopy> {
    let empty = cwl_ack {
        struct_size: size_of::<cwl_ack>(),
        token: 0,
        outcome: CWL_DELIVERED,
        reason: CWL_REASON_NONE,
        error_code: null(),
        error_message: null(),
    };
    let mut acks = vec![empty; capacity];
    // SAFETY: a live sink and room for `capacity` acks.
    let count = unsafe { cwl_poll_acks(host.sink, acks.as_mut_ptr(), capacity, timeout_ms) };
    assert!(count >= 0, "{}", last_error());
    acks[..count as usize].iter().map(AckCopy::from).collect()
}

/// Fetches all acks that are there.
fn poll_all(host: &Host) -> Vec<AckCopy> {
    let mut acks = Vec::new();
    loop {
        let more = poll(host, 7, 0);
        if more.is_empty() {
            return acks;
        }
        acks.extend(more);
    }
}

/// Switches polled acks on: every event accepted from now on is acked.
fn start_polling(host: &Host) {
    assert!(poll(host, 1, 0).is_empty());
}

#[test]
fn every_accepted_event_has_one_ack_across_flush_and_shutdown() {
    let local = local();
    let received = Received::default();
    {
        let host = open(&local, &[SEAL_SOON]);
        assert_eq!(register(&host, Some(receive), &received), CWL_OK, "{}", last_error());
        for round in 0..20 {
            must_push(&host, round * 50..(round + 1) * 50);
            if round % 5 == 0 {
                host.must_flush();
            }
        }
        assert_eq!(host.shutdown(10_000), CWL_OK);
        assert_eq!(received.acks().len(), 1000, "acks that came before the shutdown returned");
        assert_eq!(received.sorted_tokens(), (0..1000).collect::<Vec<_>>());
    }
    assert!(received.acks().iter().all(|ack| ack.outcome == CWL_DELIVERED));
}

#[test]
fn the_acks_of_abandoned_events_come_before_the_shutdown_returns() {
    for polled in [true, false] {
        let local = local();
        local.add_fault(denied("g"));
        let received = Received::default();
        let host = open(&local, &[SEAL_SOON]);
        if polled {
            start_polling(&host)
        } else {
            assert_eq!(register(&host, Some(receive), &received), CWL_OK, "{}", last_error())
        }
        must_push(&host, 0..10);
        host.wait_for_attempts(&local, "g", 1);
        assert_eq!(host.shutdown(200), CWL_ERR_ABANDONED);
        let acks = if polled { poll_all(&host) } else { received.acks() };
        assert_eq!(acks.len(), 10, "polled: {polled}");
        for ack in acks {
            assert_eq!((ack.outcome, ack.reason), (CWL_ABANDONED, CWL_REASON_SHUTDOWN));
            let (code, message) = ack.error.expect("the last error of the service");
            assert!(code == "AccessDeniedException" && !message.is_empty(), "{code}: {message}");
        }
        drop(host);
    }
}

#[test]
fn a_push_from_inside_the_ack_callback_is_accepted_and_acked() {
    let local = local();
    let received = Received::default();
    let host = open(&local, &[SEAL_SOON, ("when_full", "block")]);
    *received.push_to.lock().expect("no panic") = Some(host.sink as usize);
    assert_eq!(register(&host, Some(receive), &received), CWL_OK, "{}", last_error());
    must_push(&host, 0..10);
    host.wait_for_events(&local, "g", 20);
    assert_eq!(host.shutdown(10_000), CWL_OK);
    assert_eq!(received.sorted_tokens(), (0..10).chain(100..110).collect::<Vec<_>>());
}

#[test]
fn each_event_that_the_service_rejects_has_its_own_reason_whatever_the_order_of_the_pushes() {
    let local = local();
    local.add_fault(Rule::reject(Reject { too_old: 2, expired: 1, too_new: 2 }).operation("PutLogEvents"));
    let host = open(&local, &[SEAL_ON_FLUSH]);
    start_polling(&host);
    let now = now_ms();
    // The token is the place of the event in the order of time. The events are pushed in another order.
    for token in [5u64, 0, 7, 3, 9, 1, 8, 2, 6, 4] {
        let event = cwl_event { token, timestamp_ms: now + token as i64, ..event(b"m") };
        // SAFETY: a live sink and a whole event.
        unsafe { assert_eq!(cwl_push_event(host.sink, &event), CWL_OK) };
    }
    host.must_flush();
    let reasons: BTreeMap<_, _> = poll_all(&host).into_iter().map(|ack| (ack.token, ack.reason)).collect();
    assert_eq!(reasons.len(), 10, "every event has an ack");
    for (token, reason) in reasons {
        let expected = match token {
            0 | 1 => CWL_REASON_TOO_OLD,
            2 => CWL_REASON_EXPIRED,
            3..=7 => CWL_REASON_NONE,
            _ => CWL_REASON_TOO_NEW,
        };
        assert_eq!(reason, expected, "the event at place {token}");
    }
}

#[test]
fn the_ack_of_a_dropped_event_has_the_reason_and_the_error_of_the_service() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("InvalidParameterException", 400).operation("PutLogEvents").count(1));
    let host = open(&local, &[]);
    start_polling(&host);
    assert_eq!(push(&host, 7, b"never"), CWL_OK);
    host.must_flush();
    let acks = poll_all(&host);
    assert_eq!((acks.len(), acks[0].token), (1, 7));
    assert_eq!((acks[0].outcome, acks[0].reason), (CWL_DROPPED, CWL_REASON_NOT_RETRYABLE));
    assert_eq!(acks[0].error.as_ref().expect("an error").0, "InvalidParameterException");
}

#[test]
fn polling_waits_for_the_first_ack_and_the_file_descriptor_is_readable_while_there_are_acks() {
    let local = local();
    let host = open(&local, &[SEAL_ON_FLUSH]);
    // SAFETY: a live sink.
    let fd = unsafe { cwl_ack_fd(host.sink) };
    assert!(fd > 0, "{}", last_error());
    let readable = |timeout_ms| {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&mut poll, 1, timeout_ms) == 1 }
    };
    assert!(!readable(0));
    must_push(&host, 0..5);
    assert!(poll(&host, 10, 50).is_empty(), "nothing is final yet");
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    assert!(readable(60_000), "acks are there");
    assert_eq!(poll(&host, 3, 60_000).len(), 3);
    assert!(readable(0), "two are left");
    assert_eq!(poll(&host, 10, 60_000).len(), 2);
    assert!(!readable(0), "none is left");
    // SAFETY: a live sink.
    assert_eq!(unsafe { cwl_ack_fd(host.sink) }, fd, "every call returns the same descriptor");
}

#[test]
fn acks_that_are_not_fetched_count_towards_the_memory_and_nothing_is_kept_without_a_poll() {
    let local = local();
    let host = open(&local, &[]);
    must_push(&host, 0..1000);
    host.must_flush();
    assert_eq!(host.stats().buffered_bytes, 0, "nobody polls, so no ack is kept");
    start_polling(&host);
    must_push(&host, 0..1000);
    host.must_flush();
    assert!(host.stats().buffered_bytes >= 8000, "{}", host.stats().buffered_bytes);
    assert_eq!(poll_all(&host).len(), 1000);
    assert_eq!(host.stats().buffered_bytes, 0);
}

#[test]
fn a_split_event_has_one_ack_and_its_pieces_join_to_the_whole_message() {
    let local = local();
    let host = open(&local, &[SEAL_ON_FLUSH, ("oversize", "split")]);
    start_polling(&host);
    let message = "a\u{1F600}".repeat(500_000);
    assert_eq!(push(&host, 1, b"before"), CWL_OK);
    assert_eq!(push(&host, 2, message.as_bytes()), CWL_OK);
    assert_eq!(push(&host, 3, b"after"), CWL_OK);
    host.must_flush();
    let tokens: Vec<_> = poll_all(&host).into_iter().map(|ack| ack.token).collect();
    assert_eq!(tokens, [1, 2, 3]);
    let arrived = arrived(&local, "g", "s");
    assert_eq!((arrived.len(), arrived[1..4].concat() == message), (5, true));
}

#[test]
fn a_callback_and_polling_exclude_each_other() {
    let local = local();
    let received = Received::default();
    let host = open(&local, &[]);
    assert_eq!(register(&host, Some(receive), &received), CWL_OK, "{}", last_error());
    assert_eq!(register(&host, Some(receive), &received), CWL_ERR_INVALID_ARGUMENT);
    // SAFETY: a live sink, and room for no acks.
    unsafe {
        assert_eq!(cwl_poll_acks(host.sink, std::ptr::null_mut(), 0, 0), -(CWL_ERR_INVALID_ARGUMENT as i64));
        assert_eq!(cwl_ack_fd(host.sink), -(CWL_ERR_INVALID_ARGUMENT as i32));
    }
    let polled = open(&local, &[]);
    start_polling(&polled);
    assert_eq!(register(&polled, Some(receive), &received), CWL_ERR_INVALID_ARGUMENT);
    assert_eq!(register(&polled, None, &received), CWL_ERR_INVALID_ARGUMENT);
    drop(host);
}

#[test]
fn a_shutdown_does_not_wait_for_an_ack_callback_that_never_returns() {
    unsafe extern "C" fn stuck(_: *const cwl_ack, _: usize, user: *mut c_void) {
        // SAFETY: `user` is a lock that lives as long as the program.
        drop(unsafe { &*user.cast::<Mutex<()>>() }.lock());
    }
    let lock: &'static Mutex<()> = Box::leak(Box::default());
    let local = local();
    let host = open(&local, &[]);
    let held = lock.lock().expect("free");
    assert_eq!(register(&host, Some(stuck), lock), CWL_OK);
    assert_eq!(push(&host, 1, b"m"), CWL_OK);
    host.must_flush();
    let begin = Instant::now();
    host.shutdown(300);
    assert!(begin.elapsed() < Duration::from_millis(800), "took {:?}", begin.elapsed());
    drop(held);
}

#[test]
fn no_callback_begins_after_the_shutdown_however_many_acks_are_left() {
    /// A callback that is slow and counts its calls.
    #[derive(Default)]
    struct Slow {
        calls: AtomicUsize,
        is_shut_down: AtomicBool,
        calls_after_shutdown: AtomicUsize,
    }
    unsafe extern "C" fn slow(_: *const cwl_ack, _: usize, user: *mut c_void) {
        // SAFETY: `user` lives as long as the program.
        let slow = unsafe { &*user.cast::<Slow>() };
        slow.calls.fetch_add(1, Ordering::SeqCst);
        let is_late = slow.is_shut_down.load(Ordering::SeqCst);
        slow.calls_after_shutdown.fetch_add(usize::from(is_late), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
    let counts: &'static Slow = Box::leak(Box::default());
    let local = local();
    local.add_fault(denied("*"));
    let host = open(&local, &[SEAL_ON_FLUSH]);
    assert_eq!(register(&host, Some(slow), counts), CWL_OK);
    must_push(&host, 0..200_000);
    let begin = Instant::now();
    assert_eq!(host.shutdown(0), CWL_ERR_ABANDONED);
    counts.is_shut_down.store(true, Ordering::SeqCst);
    assert!(begin.elapsed() < Duration::from_millis(500), "took {:?}", begin.elapsed());
    let calls = counts.calls.load(Ordering::SeqCst);
    assert!((1..150).contains(&calls), "{calls} calls before the time for acks ended");
    // The time that ten more calls would take.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(counts.calls_after_shutdown.load(Ordering::SeqCst), 0, "calls after the shutdown");
}
