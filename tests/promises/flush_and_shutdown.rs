//! Flush and shutdown wait for the events that they promise, and no longer than their time-out, whatever the network
//! does.

use std::io::Read;
use std::net::TcpListener;
use std::ptr::null;
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::{CWL_FOREVER, cwl_ack, cwl_outcome, cwl_poll_acks, cwl_reason};
use cwl_local::Rule;

use crate::host::*;

/// The longest time that a shutdown may take beyond its time-out.
const SHUTDOWN_MARGIN: Duration = Duration::from_millis(500);

#[test]
fn flush_returns_when_every_earlier_event_is_delivered() {
    let local = local();
    local.add_fault(Rule::delay_ms(100).operation("PutLogEvents"));
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    for round in 1..=3 {
        for target in 0..5 {
            host.must_push("g", &format!("s{target}"), "m");
        }
        host.must_flush();
        assert_eq!(local.event_count("g"), 5 * round, "every event has arrived when flush returns");
        assert_eq!(host.stats().pending_events, 0);
    }
}

#[test]
fn flush_does_not_wait_for_later_events() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    host.must_push("g", "s", "before");
    thread::scope(|scope| {
        let flush = scope.spawn(|| host.flush(SOON.as_millis() as i64));
        while !flush.is_finished() {
            host.must_push("g", "other", "after, and never sealed");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(flush.join().expect("no panic"), CWL_OK);
    });
    assert_eq!(arrived(&local, "g", "s"), ["before"]);
    assert!(host.stats().pending_events > 0, "later events still wait");
}

#[test]
fn flush_times_out_when_a_target_is_denied_and_delivers_the_others() {
    let local = local();
    local.add_fault(denied("no"));
    let host = Host::open(&local, &[]);
    host.must_push("no", "s", "m");
    host.must_push("yes", "s", "m");
    let begin = Instant::now();
    assert_eq!(host.flush(500), CWL_ERR_TIMEOUT);
    assert!((500..700).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    assert!(last_error().contains("time-out"), "{}", last_error());
    assert_eq!((local.event_count("yes"), host.stats().pending_events), (1, 1));
}

#[test]
fn a_flush_with_a_time_out_of_zero_only_starts_the_sending() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    assert_eq!(host.flush(0), CWL_OK, "no event waits");
    host.must_push("g", "s", "m");
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    host.wait_for_events(&local, "g", 1);
}

#[test]
fn a_negative_time_out_that_is_not_forever_is_zero() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[]);
    host.must_push("g", "s", "m");
    for timeout_ms in [-2, -1000, i64::MIN] {
        assert_eq!(host.flush(timeout_ms), CWL_ERR_TIMEOUT, "{timeout_ms}");
        let mut ack = cwl_ack {
            struct_size: size_of::<cwl_ack>(),
            token: 0,
            outcome: cwl_outcome::CWL_DELIVERED,
            reason: cwl_reason::CWL_REASON_NONE,
            error_code: null(),
            error_message: null(),
        };
        // SAFETY: a live sink and room for one ack.
        let count = unsafe { cwl_poll_acks(host.sink, &mut ack, 1, timeout_ms) };
        assert_eq!(count, 0, "{timeout_ms}");
    }
    assert_eq!(host.shutdown(-2), CWL_ERR_ABANDONED);
}

#[test]
fn forever_waits_as_long_as_it_takes() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::delay_ms(300).operation("PutLogEvents"));
    let host = Host::open(&local, &[]);
    host.must_push("g", "s", "m");
    assert_eq!((host.flush(CWL_FOREVER), local.event_count("g")), (CWL_OK, 1));
    host.must_push("g", "s", "m");
    assert_eq!((host.shutdown(CWL_FOREVER), local.event_count("g")), (CWL_OK, 2));
}

#[test]
fn shutdown_sends_waiting_events_and_a_second_shutdown_returns_the_same() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    for number in numbers(1000) {
        host.must_push("g", "s", number);
    }
    assert_eq!(host.shutdown(10_000), CWL_OK, "{}", last_error());
    assert_eq!(arrived(&local, "g", "s"), numbers(1000));
    assert_eq!(host.shutdown(0), CWL_OK, "a second shutdown returns the same");
    assert_eq!(host.stats().delivered_events, 1000, "statistics stay readable");
}

#[test]
fn shutdown_makes_one_more_attempt_for_a_batch_in_back_off() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("ServiceUnavailableException", 503).operation("PutLogEvents").count(3));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    // After three failures of the long strategy the next attempt would be a minute away.
    assert!(local.wait_until(SOON, |local| puts(local, "g").len() == 3));
    assert_eq!(host.shutdown(10_000), CWL_OK, "{}", last_error());
    assert_eq!(local.event_count("g"), 1);
}

#[test]
fn a_shutdown_probes_an_endpoint_whose_last_probe_hangs() {
    for targets in [1, 5] {
        let local = local();
        local.create_stream("g", "s0");
        let options =
            [("flush_interval_ms", "1"), ("request_timeout_ms", "600000"), ("slow_after_ms", "600000")];
        let host = Host::open(&local, &options);
        local.add_fault(Rule::error("ExpiredTokenException", 400).operation("PutLogEvents"));
        for target in 0..targets {
            host.must_push("g", &format!("s{target}"), "m");
        }
        assert!(eventually(|| host.stats().endpoint_paused == 1), "{}", host.json());
        local.set_faults(vec![Rule::hang()]);
        let probes = local.requests().len();
        assert!(local.wait_until(SOON, |local| local.requests().len() > probes && local.in_flight() > 0));
        // The endpoint is back, and the probe that hangs does not learn of it.
        local.clear_faults();
        assert_eq!(host.shutdown(20_000), CWL_OK, "{}: {}", last_error(), host.json());
        assert_eq!(local.event_count("g"), targets);
    }
}

/// Shuts down a host whose endpoint delivers nothing, and checks the time and the statistics.
fn assert_shutdown_abandons(host: &Host, timeout_ms: u64, events: u64) {
    let begin = Instant::now();
    assert_eq!(host.shutdown(timeout_ms as i64), CWL_ERR_ABANDONED, "{}", last_error());
    let took = begin.elapsed();
    assert!(
        took < Duration::from_millis(timeout_ms) + SHUTDOWN_MARGIN,
        "shutdown({timeout_ms}) took {took:?}"
    );
    assert!(last_error().contains(&events.to_string()), "{}", last_error());
    let stats = host.stats();
    assert_eq!((stats.abandoned_events, stats.pending_events, stats.buffered_bytes), (events, 0, 0));
    assert_eq!(host.push("g", "s", "late"), CWL_ERR_CLOSED);
}

#[test]
fn shutdown_returns_in_time_when_the_endpoint_hangs() {
    for timeout_ms in [0, 300, 1000] {
        let local = local();
        local.add_fault(Rule::hang());
        let host = Host::open(&local, &[("flush_interval_ms", "1")]);
        for target in 0..20 {
            host.must_push("g", &format!("s{target}"), "m");
        }
        assert!(local.wait_until(SOON, |local| local.in_flight() >= 8), "every request hangs");
        assert_shutdown_abandons(&host, timeout_ms, 20);
    }
}

#[test]
fn shutdown_returns_in_time_when_the_endpoint_refuses_connections() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let host = Host::open_at(&format!("http://127.0.0.1:{port}"), &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert_shutdown_abandons(&host, 1000, 1);
}

#[test]
fn shutdown_returns_in_time_when_the_endpoint_dies_in_the_middle_of_a_response() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    // The server sends half an answer, then nothing on an open connection.
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("the library connects");
        let mut some = [0; 1024];
        let _ = connection.read(&mut some);
        let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 100\r\n\r\n{\"next";
        std::io::Write::write_all(&mut connection, half).expect("written");
        while connection.read(&mut some).is_ok_and(|bytes| bytes > 0) {}
    });
    let host = Host::open_at(&format!("http://127.0.0.1:{port}"), &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert_shutdown_abandons(&host, 500, 1);
    drop(host);
    server.join().expect("the connection was closed");
}

#[test]
fn shutdown_returns_early_when_no_attempt_is_due_before_its_time_out() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    // After six failures the next attempt is more than three seconds away.
    host.wait_for_attempts(&local, "g", 6);
    let begin = Instant::now();
    assert_eq!(host.shutdown(3000), CWL_ERR_ABANDONED);
    assert!(begin.elapsed() < Duration::from_secs(2), "took {:?}", begin.elapsed());
}

#[test]
fn a_sink_that_is_freed_without_a_shutdown_ends_at_once() {
    let local = local();
    local.add_fault(Rule::hang());
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    let begin = Instant::now();
    drop(host);
    assert!(begin.elapsed() < SHUTDOWN_MARGIN, "took {:?}", begin.elapsed());
}
