//! Acks: one for each accepted event, never two, with what became of it.

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
use cwl_local::{Reject, Rule};

use crate::host::*;

/// An ack as a test keeps it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    token: u64,
    outcome: cwl_outcome,
    reason: cwl_reason,
    error: Option<(String, String)>,
}

fn told(ack: &cwl_ack) -> Told {
    let text = |text: *const std::ffi::c_char| {
        // SAFETY: NULL or a C string, by the ABI's word.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned())
    };
    let error = text(ack.error_message).map(|message| (text(ack.error_code).unwrap_or_default(), message));
    Told { token: ack.token, outcome: ack.outcome, reason: ack.reason, error }
}

/// What a callback was given.
#[derive(Default)]
struct Given {
    acks: Mutex<Vec<Told>>,
    /// Pushes one more event for each ack below 100, from inside the callback.
    host: Mutex<Option<usize>>,
}

unsafe extern "C" fn keep(acks: *const cwl_ack, count: usize, user: *mut c_void) {
    // SAFETY: `user` is a `Given` that outlives the sink, and there are `count` acks.
    let (given, acks) = unsafe { (&*user.cast::<Given>(), std::slice::from_raw_parts(acks, count)) };
    for ack in acks {
        assert_eq!(ack.struct_size, size_of::<cwl_ack>());
        if let Some(sink) = *given.host.lock().expect("no panic")
            && ack.token < 100
        {
            let sink = sink as *mut cwl_sink;
            let event = cwl_event { token: ack.token + 100, ..event(b"from inside") };
            // SAFETY: the sink is live until the callback is over.
            unsafe {
                assert_eq!(cwl_push_event(sink, &event), CWL_OK);
                assert_eq!(cwl_flush(sink, 1), CWL_ERR_IN_CALLBACK);
                assert_eq!(cwl_shutdown(sink, 1), CWL_ERR_IN_CALLBACK);
            }
        }
    }
    given.acks.lock().expect("no panic").extend(acks.iter().map(told));
}

const TARGET: [(&str, &str); 2] = [("log_group", "g"), ("log_stream", "s")];

fn push(host: &Host, token: u64, message: &[u8]) -> cwl_status {
    // SAFETY: a live sink and a whole event.
    unsafe { cwl_push_event(host.sink, &cwl_event { token, ..event(message) }) }
}

fn call_back(host: &Host, given: &Given) {
    let user = (&raw const *given).cast_mut().cast();
    // SAFETY: a live sink; `given` outlives it.
    unsafe { assert_eq!(cwl_set_ack_callback(host.sink, Some(keep), user), CWL_OK, "{}", last_error()) };
}

/// Fetches what there is, waiting for the first so long.
fn poll(host: &Host, capacity: usize, timeout_ms: i64) -> Vec<Told> {
    let empty = cwl_ack {
        struct_size: size_of::<cwl_ack>(),
        token: 0,
        outcome: CWL_DELIVERED,
        reason: CWL_REASON_NONE,
        error_code: null(),
        error_message: null(),
    };
    let mut acks = vec![empty; capacity];
    // SAFETY: a live sink and room for so many acks.
    let count = unsafe { cwl_poll_acks(host.sink, acks.as_mut_ptr(), capacity, timeout_ms) };
    assert!(count >= 0, "{}", last_error());
    acks[..count as usize].iter().map(told).collect()
}

fn poll_all(host: &Host) -> Vec<Told> {
    let mut acks = Vec::new();
    loop {
        let more = poll(host, 7, 0);
        if more.is_empty() {
            return acks;
        }
        acks.extend(more);
    }
}

/// Every event accepted from now on is acked.
fn ask(host: &Host) {
    assert!(poll(host, 1, 0).is_empty());
}

#[test]
fn every_accepted_event_has_one_ack_across_flush_and_shutdown() {
    let local = local();
    let given = Given::default();
    {
        let host = Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "1")]].concat());
        call_back(&host, &given);
        let mut token = 0;
        for round in 0..20 {
            for _ in 0..50 {
                assert_eq!(push(&host, token, b"m"), CWL_OK);
                token += 1;
            }
            if round % 5 == 0 {
                host.must_flush();
            }
        }
        assert_eq!(host.shutdown(10_000), CWL_OK);
        let mut tokens: Vec<_> = given.acks.lock().expect("no panic").iter().map(|ack| ack.token).collect();
        assert_eq!(tokens.len(), 1000, "all acks are out when the shutdown returns");
        tokens.sort();
        assert_eq!(tokens, (0..1000).collect::<Vec<_>>());
    }
    assert!(given.acks.lock().expect("no panic").iter().all(|ack| ack.outcome == CWL_DELIVERED));
}

#[test]
fn the_acks_of_abandoned_events_are_out_before_the_shutdown_returns() {
    for polled in [true, false] {
        let local = local();
        local.add_fault(denied("g"));
        let given = Given::default();
        let host = Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "1")]].concat());
        if polled {
            ask(&host)
        } else {
            call_back(&host, &given)
        }
        (0..10).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
        assert!(local.wait_until(SOON, |local| !puts(local, "g").is_empty()));
        assert_eq!(host.shutdown(200), CWL_ERR_ABANDONED);
        let acks = if polled { poll_all(&host) } else { given.acks.lock().expect("no panic").clone() };
        assert_eq!(acks.len(), 10, "polled: {polled}");
        for ack in acks {
            assert_eq!((ack.outcome, ack.reason), (CWL_ABANDONED, CWL_REASON_SHUTDOWN));
            let (code, message) = ack.error.expect("the service's last error");
            assert!(code == "AccessDeniedException" && !message.is_empty(), "{code}: {message}");
        }
        drop(host);
    }
}

#[test]
fn a_push_from_inside_the_ack_callback_is_accepted_and_acked() {
    let local = local();
    let given = Given::default();
    let host =
        Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "1"), ("when_full", "block")]].concat());
    *given.host.lock().expect("no panic") = Some(host.sink as usize);
    call_back(&host, &given);
    (0..10).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
    assert!(local.wait_until(SOON, |local| local.event_count("g") == 20), "{}", host.json());
    assert_eq!(host.shutdown(10_000), CWL_OK);
    let mut tokens: Vec<_> = given.acks.lock().expect("no panic").iter().map(|ack| ack.token).collect();
    tokens.sort();
    assert_eq!(tokens, (0..10).chain(100..110).collect::<Vec<_>>());
}

#[test]
fn events_that_the_service_rejects_are_told_one_by_one_through_the_sort() {
    let local = local();
    local.add_fault(Rule::reject(Reject { too_old: 2, expired: 1, too_new: 2 }).operation("PutLogEvents"));
    let host = Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "3600000")]].concat());
    ask(&host);
    let now = now_ms();
    // The token is the place of the event in the order of time; pushed in another order.
    for token in [5u64, 0, 7, 3, 9, 1, 8, 2, 6, 4] {
        let event = cwl_event { token, timestamp_ms: now + token as i64, ..event(b"m") };
        // SAFETY: a live sink and a whole event.
        unsafe { assert_eq!(cwl_push_event(host.sink, &event), CWL_OK) };
    }
    host.must_flush();
    let reasons: BTreeMap<_, _> = poll_all(&host).into_iter().map(|ack| (ack.token, ack.reason)).collect();
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
fn what_is_dropped_says_why_with_the_services_own_words() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("InvalidParameterException", 400).operation("PutLogEvents").count(1));
    let host = Host::open(&local, &TARGET);
    ask(&host);
    assert_eq!(push(&host, 7, b"never"), CWL_OK);
    host.must_flush();
    let acks = poll_all(&host);
    assert_eq!((acks.len(), acks[0].token), (1, 7));
    assert_eq!((acks[0].outcome, acks[0].reason), (CWL_DROPPED, CWL_REASON_NOT_RETRYABLE));
    assert_eq!(acks[0].error.as_ref().expect("an error").0, "InvalidParameterException");
}

#[test]
fn polling_waits_for_the_first_ack_and_a_file_descriptor_says_that_there_are_some() {
    let local = local();
    let host = Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "3600000")]].concat());
    // SAFETY: a live sink.
    let fd = unsafe { cwl_ack_fd(host.sink) };
    assert!(fd > 0, "{}", last_error());
    let readable = |timeout_ms| {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&mut poll, 1, timeout_ms) == 1 }
    };
    assert!(!readable(0));
    (0..5).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
    assert!(poll(&host, 10, 50).is_empty(), "nothing is final yet");
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    assert!(readable(60_000), "acks have come");
    assert_eq!(poll(&host, 3, 60_000).len(), 3);
    assert!(readable(0), "two are left");
    assert_eq!(poll(&host, 10, 60_000).len(), 2);
    assert!(!readable(0), "none is left");
    // SAFETY: a live sink.
    assert_eq!(unsafe { cwl_ack_fd(host.sink) }, fd, "the same one at each call");
}

#[test]
fn acks_that_are_not_fetched_count_towards_the_memory_and_others_cost_nothing() {
    let local = local();
    let host = Host::open(&local, &TARGET);
    (0..1000).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
    host.must_flush();
    assert_eq!(host.stats().buffered_bytes, 0, "nobody asked for these");
    ask(&host);
    (0..1000).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
    host.must_flush();
    assert!(host.stats().buffered_bytes >= 8000, "{}", host.stats().buffered_bytes);
    assert_eq!(poll_all(&host).len(), 1000);
    assert_eq!(host.stats().buffered_bytes, 0);
}

#[test]
fn an_event_that_was_split_has_one_ack_and_its_pieces_make_up_the_whole() {
    let local = local();
    let options = [("oversize", "split"), ("flush_interval_ms", "3600000")];
    let host = Host::open(&local, &[&TARGET[..], &options].concat());
    ask(&host);
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
    let given = Given::default();
    let host = Host::open(&local, &TARGET);
    call_back(&host, &given);
    let user = (&raw const given).cast_mut().cast();
    // SAFETY: a live sink; `given` outlives it.
    unsafe {
        assert_eq!(cwl_set_ack_callback(host.sink, Some(keep), user), CWL_ERR_INVALID_ARGUMENT);
        assert_eq!(cwl_poll_acks(host.sink, std::ptr::null_mut(), 0, 0), -(CWL_ERR_INVALID_ARGUMENT as i64));
        assert_eq!(cwl_ack_fd(host.sink), -(CWL_ERR_INVALID_ARGUMENT as i32));
        let polled = Host::open(&local, &TARGET);
        ask(&polled);
        assert_eq!(cwl_set_ack_callback(polled.sink, Some(keep), user), CWL_ERR_INVALID_ARGUMENT);
        assert_eq!(cwl_set_ack_callback(polled.sink, None, user), CWL_ERR_INVALID_ARGUMENT);
    }
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
    let host = Host::open(&local, &TARGET);
    let held = lock.lock().expect("free");
    let user = (&raw const *lock).cast_mut().cast();
    // SAFETY: a live sink; the lock is never freed.
    unsafe { assert_eq!(cwl_set_ack_callback(host.sink, Some(stuck), user), CWL_OK) };
    assert_eq!(push(&host, 1, b"m"), CWL_OK);
    host.must_flush();
    let begin = Instant::now();
    host.shutdown(300);
    assert!(begin.elapsed() < Duration::from_millis(800), "took {:?}", begin.elapsed());
    drop(held);
}

#[test]
fn after_the_shutdown_no_callback_begins_however_many_acks_are_left() {
    /// Takes its time, and counts the calls that begin once it may not be called any more.
    #[derive(Default)]
    struct Slow {
        calls: AtomicUsize,
        over: AtomicBool,
        late: AtomicUsize,
    }
    unsafe extern "C" fn slow(_: *const cwl_ack, _: usize, user: *mut c_void) {
        // SAFETY: `user` lives as long as the program.
        let slow = unsafe { &*user.cast::<Slow>() };
        slow.calls.fetch_add(1, Ordering::SeqCst);
        slow.late.fetch_add(usize::from(slow.over.load(Ordering::SeqCst)), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
    let told: &'static Slow = Box::leak(Box::default());
    let local = local();
    local.add_fault(denied("*"));
    let host = Host::open(&local, &[&TARGET[..], &[("flush_interval_ms", "3600000")]].concat());
    let user = (&raw const *told).cast_mut().cast();
    // SAFETY: a live sink; the counters are never freed.
    unsafe { assert_eq!(cwl_set_ack_callback(host.sink, Some(slow), user), CWL_OK) };
    (0..200_000).for_each(|token| assert_eq!(push(&host, token, b"m"), CWL_OK));
    let begin = Instant::now();
    assert_eq!(host.shutdown(0), CWL_ERR_ABANDONED);
    told.over.store(true, Ordering::SeqCst);
    assert!(begin.elapsed() < Duration::from_millis(500), "took {:?}", begin.elapsed());
    let calls = told.calls.load(Ordering::SeqCst);
    assert!((1..150).contains(&calls), "{calls} calls: it was not called until the time was over");
    // As long as ten more calls would take.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(told.late.load(Ordering::SeqCst), 0, "calls after the shutdown");
}
