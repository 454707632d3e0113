//! Flush and shutdown: they wait for what they say and no longer, whatever the network does.

use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Rule;

use crate::host::*;

/// How much later than its time-out a shutdown may come back.
const LATE: Duration = Duration::from_millis(500);

#[test]
fn flush_returns_when_everything_before_it_is_delivered() {
    let local = local();
    local.add_fault(Rule::delay_ms(100).operation("PutLogEvents"));
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    for round in 1..=3 {
        for target in 0..5 {
            host.must_push("g", &format!("s{target}"), "m");
        }
        host.must_flush();
        assert_eq!(local.event_count("g"), 5 * round, "all is there in the moment flush returns");
        assert_eq!(host.stats().pending_events, 0);
    }
}

#[test]
fn flush_does_not_wait_for_what_is_pushed_after_it() {
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
    assert!(host.stats().pending_events > 0, "what came after is still waiting");
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
fn a_time_out_of_zero_only_starts_the_sending() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    assert_eq!(host.flush(0), CWL_OK, "nothing waits");
    host.must_push("g", "s", "m");
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    assert!(local.wait_until(SOON, |local| local.event_count("g") == 1));
}

#[test]
fn shutdown_sends_what_waits_and_says_that_all_is_delivered() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
    for number in numbers(1000) {
        host.must_push("g", "s", number);
    }
    assert_eq!(host.shutdown(10_000), CWL_OK, "{}", last_error());
    assert_eq!(arrived(&local, "g", "s"), numbers(1000));
    assert_eq!(host.shutdown(0), CWL_OK, "a second shutdown tells the same");
    assert_eq!(host.stats().delivered_events, 1000, "statistics stay readable");
}

#[test]
fn shutdown_gives_what_is_in_back_off_one_more_attempt() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("ServiceUnavailableException", 503).operation("PutLogEvents").count(3));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    // Three failures of the long strategy: the next attempt would be a minute away.
    assert!(local.wait_until(SOON, |local| puts(local, "g").len() == 3));
    assert_eq!(host.shutdown(10_000), CWL_OK, "{}", last_error());
    assert_eq!(local.event_count("g"), 1);
}

/// Shuts down a host with events for an endpoint that is no good, and checks the time and the accounts.
fn shutdown_comes_back(host: &Host, timeout_ms: u64, events: u64) {
    let begin = Instant::now();
    assert_eq!(host.shutdown(timeout_ms as i64), CWL_ERR_ABANDONED, "{}", last_error());
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(timeout_ms) + LATE, "shutdown({timeout_ms}) took {took:?}");
    assert!(last_error().contains(&events.to_string()), "{}", last_error());
    let stats = host.stats();
    assert_eq!((stats.abandoned_events, stats.pending_events, stats.buffered_bytes), (events, 0, 0));
    assert_eq!(host.push("g", "s", "late"), CWL_ERR_CLOSED);
}

#[test]
fn shutdown_comes_back_in_time_when_the_endpoint_hangs() {
    for timeout_ms in [0, 300, 1000] {
        let local = local();
        local.add_fault(Rule::hang());
        let host = Host::open(&local, &[("flush_interval_ms", "1")]);
        for target in 0..20 {
            host.must_push("g", &format!("s{target}"), "m");
        }
        assert!(local.wait_until(SOON, |local| local.in_flight() >= 8), "every worker hangs");
        shutdown_comes_back(&host, timeout_ms, 20);
    }
}

#[test]
fn shutdown_comes_back_in_time_when_the_endpoint_refuses_connections() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let host = Host::open_at(&format!("http://127.0.0.1:{port}"), &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    shutdown_comes_back(&host, 1000, 1);
}

#[test]
fn shutdown_comes_back_in_time_when_the_endpoint_dies_in_the_middle_of_a_response() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    // Half an answer, and then silence on an open connection.
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
    shutdown_comes_back(&host, 500, 1);
    drop(host);
    server.join().expect("the connection was closed");
}

#[test]
fn shutdown_comes_back_early_when_nothing_can_be_sent_within_its_time() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    // Five failures of the short strategy: from then on the next attempt is a minute away.
    assert!(local.wait_until(SOON, |local| puts(local, "g").len() >= 6));
    let begin = Instant::now();
    assert_eq!(host.shutdown(20_000), CWL_ERR_ABANDONED);
    assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
}

#[test]
fn a_sink_that_is_freed_without_a_shutdown_ends_at_once() {
    let local = local();
    local.add_fault(Rule::hang());
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    let begin = Instant::now();
    drop(host);
    assert!(begin.elapsed() < LATE, "took {:?}", begin.elapsed());
}
