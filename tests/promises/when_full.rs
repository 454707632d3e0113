//! Memory is bounded, and the host chooses what happens at the bound (`when_full`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::{self, *};

use crate::host::*;

/// The bound of the sinks here, `buffer_max_bytes`.
const BUFFER_MAX_BYTES: u64 = 1024 * 1024;

/// Opens a sink with a small bound.
fn open_bounded(local: &cwl_local::Local, options: &[(&str, &str)]) -> Host {
    let bounds = [("buffer_max_bytes", "1048576"), ("flush_interval_ms", "20")];
    Host::open(local, &[&bounds, options].concat())
}

/// Runs `body`, and checks all the while that `buffered_bytes` stays within the bound.
fn assert_within_bound<T>(host: &Host, body: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let used = host.stats().buffered_bytes;
                assert!(used <= BUFFER_MAX_BYTES, "{used} bytes are buffered");
                thread::yield_now();
            }
        });
        let result = body();
        done.store(true, Ordering::Relaxed);
        watch.join().expect("the gauge stayed within its bound");
        let peak = host.stats().buffered_bytes_peak;
        assert!(peak <= BUFFER_MAX_BYTES, "the peak is {peak} bytes");
        result
    })
}

/// Pushes until a push is refused. Returns the number of accepted events and the status of the refused one.
fn push_until_refused(host: &Host, group: &str) -> (u64, cwl_status) {
    for accepted in 0..1_000_000 {
        let status = host.push(group, "s", format!("{accepted:0100}"));
        if status != CWL_OK {
            return (accepted, status);
        }
    }
    panic!("a million events of 100 bytes fit into {BUFFER_MAX_BYTES} bytes");
}

#[test]
fn reject_refuses_a_push_without_room_and_accepts_again_when_there_is_room() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "reject")]);
    let accepted = assert_within_bound(&host, || {
        let (accepted, status) = push_until_refused(&host, "g");
        assert_eq!(status, CWL_ERR_FULL);
        assert!(last_error().contains("1048576 bytes (buffer_max_bytes)"), "{}", last_error());
        accepted
    });
    assert!(accepted > 1000, "only {accepted} events of 100 bytes fit into {BUFFER_MAX_BYTES} bytes");
    local.clear_faults();
    host.must_flush();
    host.must_push("g", "s", "again");
    host.must_flush();
    let stats = host.stats();
    assert_eq!((stats.delivered_events, stats.refused_events, stats.buffered_bytes), (accepted + 1, 1, 0));
    assert_eq!(local.event_count("g") as u64, accepted + 1);
}

#[test]
fn block_waits_for_room_and_loses_nothing() {
    let local = local();
    local.add_fault(cwl_local::Rule::delay_ms(5).operation("PutLogEvents"));
    let host = open_bounded(&local, &[("when_full", "block")]);
    // Each target stays within its own bound. Together they reach the sink's bound.
    let (events, targets) = (80_000, 8);
    assert_within_bound(&host, || {
        for number in 0..events {
            host.must_push("g", &format!("s{}", number % targets), format!("{number:0100}"));
        }
        host.must_flush();
    });
    assert!(
        host.stats().buffered_bytes_peak > BUFFER_MAX_BYTES / 2,
        "the bound was never reached: {:?}",
        host.stats()
    );
    for target in 0..targets {
        let arrived = arrived(&local, "g", &format!("s{target}"));
        assert_eq!(arrived.len(), events / targets);
        assert!(arrived.is_sorted(), "the events are out of order");
    }
}

#[test]
fn block_refuses_a_push_when_its_time_out_ends() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "block"), ("block_timeout_ms", "300")]);
    let begin = Instant::now();
    let (_, status) = push_until_refused(&host, "g");
    assert_eq!(status, CWL_ERR_FULL);
    assert!(begin.elapsed() >= Duration::from_millis(300), "took {:?}", begin.elapsed());
    let begin = Instant::now();
    let status = host.push("g", "s", "x".repeat(10_000));
    let waited = begin.elapsed();
    assert_eq!(status, CWL_ERR_FULL);
    assert!((300..800).contains(&waited.as_millis()), "a push waited {waited:?}");
}

#[test]
fn a_blocked_push_ends_when_the_sink_is_shut_down() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "block"), ("block_timeout_ms", "60000")]);
    thread::scope(|scope| {
        let pushing = scope.spawn(|| push_until_refused(&host, "g"));
        // The pushing thread waits once two readings 200 ms apart give the same count.
        let is_blocked = || {
            let before = host.stats().accepted_events;
            thread::sleep(Duration::from_millis(200));
            before > 0 && host.stats().accepted_events == before
        };
        while !is_blocked() {}
        assert_eq!(host.shutdown(100), CWL_ERR_ABANDONED);
        let (accepted, status) = pushing.join().expect("no panic");
        assert_eq!((status, host.stats().abandoned_events), (CWL_ERR_CLOSED, accepted));
    });
}

#[test]
fn drop_oldest_keeps_the_newest_events_and_counts_the_dropped_ones() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "drop_oldest")]);
    let events = 50_000;
    assert_within_bound(&host, || {
        for number in 0..events {
            host.must_push("g", "s", format!("{number:0100}"));
        }
    });
    local.clear_faults();
    host.must_flush();
    let stats = host.stats();
    assert!(stats.dropped_events > 0 && stats.delivered_events > 0, "{stats:?}");
    assert_eq!(stats.dropped_events + stats.delivered_events, events);
    let arrived = arrived(&local, "g", "s");
    assert!(arrived.is_sorted(), "the events are out of order");
    assert_eq!(arrived.len() as u64, stats.delivered_events);
    let newest = format!("{:0100}", events - 1);
    assert_eq!(arrived.last(), Some(&newest), "the newest event is never dropped");
}

#[test]
fn drop_oldest_makes_room_for_a_new_target_in_the_largest_target() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "drop_oldest")]);
    for number in 0..20_000 {
        host.must_push("g", "s", format!("{number:0100}"));
    }
    let big = "x".repeat(300_000);
    host.must_push("new", "s", &big);
    host.wait_for_events(&local, "new", 1);
}

/// Opens a sink of which healthy targets, whose requests hang by now, hold more than half, and a target that fails holds
/// four events.
fn open_more_than_half_full(local: &cwl_local::Local, old: impl Fn(usize) -> String) -> Host {
    let host = open_bounded(local, &[("when_full", "drop_oldest"), ("compression", "none")]);
    local.add_fault(denied("failing"));
    for number in 0..4 {
        host.must_push("failing", "s", old(number));
        host.wait_for_attempts(local, "failing", 1);
    }
    for target in 0..8 {
        host.must_push("healthy", &format!("s{target}"), "m");
    }
    host.wait_for_events(local, "healthy", 8);
    local.add_fault(cwl_local::Rule::hang().group("healthy").operation("PutLogEvents"));
    assert!(eventually(|| host.stats().targets_failing == 1 && host.stats().pending_events == 4));
    for target in 0..8 {
        host.must_push("healthy", &format!("s{target}"), "x".repeat(70_000));
    }
    let held = host.stats().buffered_bytes;
    assert!(held > BUFFER_MAX_BYTES / 2, "{held} bytes are held");
    host
}

#[test]
fn a_failing_target_may_always_replace_its_own_oldest_events() {
    let local = local();
    let host = open_more_than_half_full(&local, |number| format!("old {number} {}", "x".repeat(2000)));
    for number in 0..100 {
        host.must_push("failing", "s", format!("new {number} {}", "y".repeat(1000)));
    }
    let stats = host.stats();
    assert!(stats.dropped_events > 90, "{stats:?}");
    local.clear_faults();
    assert!(local.wait_until(SOON, |local| !arrived(local, "failing", "s").is_empty()));
    assert!(eventually(|| arrived(&local, "failing", "s").iter().any(|event| event.starts_with("new 99"))));
    assert!(arrived(&local, "failing", "s").is_sorted_by_key(|event| event.len() < 1500), "in order");
}

#[test]
fn metrics_of_a_failing_target_may_always_replace_their_own_oldest() {
    let local = local();
    let metrics = |number: usize| {
        format!(r#"{{"_aws":{{"CloudWatchMetrics":[]}},"n":{number},"x":"{}"}}"#, "x".repeat(1000))
    };
    let host = open_more_than_half_full(&local, metrics);
    for number in 0..100 {
        host.must_push("failing", "s", metrics(number));
    }
    assert!(host.stats().dropped_events > 90, "{:?}", host.stats());
}

#[test]
fn expected_events_of_busy_targets_leave_room_for_a_failing_one() {
    let local = local();
    local.add_fault(denied("failing"));
    let options = [
        ("buffer_max_bytes", "16777216"),
        ("flush_interval_ms", "600000"),
        ("compression", "none"),
        ("when_full", "reject"),
    ];
    let host = Host::open(&local, &options);
    host.must_push("failing", "s", "m");
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    for _ in 0..2 {
        for target in 0..8 {
            for _ in 0..1000 {
                host.must_push("busy", &format!("s{target}"), "x".repeat(1000));
            }
            host.flush(0);
            assert!(eventually(|| host.stats().pending_events == 1), "{:?}", host.stats());
        }
    }
    assert!(eventually(|| host.stats().targets_failing == 1));
    for target in 0..8 {
        host.must_push("busy", &format!("s{target}"), "one small event");
    }
    let held = host.stats().buffered_bytes;
    println!("{held} bytes are held for eight small events, and one that fails");
    assert!(held < 1 << 20, "{held} bytes are held for nine small events");
    host.must_push("failing", "s", "x".repeat(100_000));
}

/// The least time that a refused push takes, in a sink with this number of healthy targets that hold one event each.
fn cost_of_refusal(targets: usize) -> Duration {
    let local = local();
    let options =
        [("when_full", "drop_oldest"), ("buffer_max_bytes", "16777216"), ("flush_interval_ms", "600000")];
    let host = Host::open(&local, &options);
    let (small, large): (Vec<_>, Vec<_>) =
        ((0..targets).map(|n| format!("small{n}")).collect(), (0..12).map(|n| format!("large{n}")).collect());
    for stream in small.iter().chain(&large) {
        host.must_push("healthy", stream, "m");
    }
    host.must_flush();
    // While a request is out, no open batch is sent early to make room.
    local.add_fault(cwl_local::Rule::hang());
    small.iter().for_each(|stream| host.must_push("healthy", stream, "m"));
    assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
    large.iter().for_each(|stream| host.must_push("healthy", stream, "x".repeat(700_000)));
    let event = "x".repeat(20_000);
    let once = |_| {
        let begin = Instant::now();
        (0..10).for_each(|_| assert_eq!(host.push("unknown", "s", &event), CWL_ERR_FULL));
        begin.elapsed() / 10
    };
    let least = (0..30).map(once).min().expect("a time");
    assert_eq!(host.stats().dropped_events, 0);
    least
}

#[test]
fn a_refusal_costs_the_same_with_100_targets_and_with_10_000() {
    let (few, many) = (cost_of_refusal(100), cost_of_refusal(10_000));
    println!("a push without room takes {few:?} with 100 targets and {many:?} with 10,000");
    assert!(many < few * 4, "{few:?} with 100 targets, {many:?} with 10,000");
}

#[test]
fn one_target_stays_within_target_buffer_max_bytes() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("target_buffer_max_bytes", "131072")]);
    let (_, status) = push_until_refused(&host, "g");
    assert_eq!(status, CWL_ERR_FULL);
    assert!(host.stats().buffered_bytes <= 131_072, "{}", host.json());
    host.must_push("other", "s", "x".repeat(50_000));
}

#[test]
fn an_event_that_can_never_fit_is_refused_as_too_large_without_waiting() {
    let local = local();
    let host = open_bounded(&local, &[("when_full", "block"), ("target_buffer_max_bytes", "65536")]);
    let begin = Instant::now();
    assert_eq!(host.push("g", "s", "x".repeat(100_000)), CWL_ERR_TOO_LARGE);
    assert!(last_error().contains("target_buffer_max_bytes"), "{}", last_error());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_event_that_can_never_fit_drops_no_other_event_of_its_target() {
    let local = local();
    local.add_fault(denied("g"));
    let host = open_bounded(&local, &[("when_full", "drop_oldest"), ("target_buffer_max_bytes", "65536")]);
    (0..10).for_each(|_| host.must_push("g", "s", "an event that waits"));
    assert_eq!(host.push("g", "s", "x".repeat(100_000)), CWL_ERR_TOO_LARGE);
    assert_eq!((host.stats().dropped_events, host.stats().pending_events), (0, 10));
}

#[test]
fn an_event_is_refused_by_an_empty_sink_only_if_it_can_never_fit() {
    let local = local();
    for (buffer, of_target, step, oversize) in [
        (256 << 10, 256 << 10, 9_999, "reject"),
        (1 << 20, 1 << 20, 33_333, "reject"),
        (4 << 20, 1 << 20, 33_333, "reject"),
        (16 << 20, 16 << 20, 1_111_111, "split"),
    ] {
        for when_full in ["reject", "drop_oldest"] {
            let mut largest = 0;
            for bytes in (1..=15).map(|n| n * step) {
                let options = [
                    ("buffer_max_bytes", buffer.to_string()),
                    ("target_buffer_max_bytes", of_target.to_string()),
                    ("oversize", oversize.into()),
                    ("when_full", when_full.into()),
                ];
                let options: Vec<_> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
                let host = Host::open(&local, &options);
                match host.push("g", "s", "x".repeat(bytes)) {
                    CWL_OK => {
                        assert_eq!(largest, bytes - step, "a smaller event did not fit");
                        largest = bytes;
                        host.must_flush();
                    }
                    CWL_ERR_TOO_LARGE => assert!(bytes > of_target / 2, "{bytes} bytes of {of_target}"),
                    status => panic!("{status:?} for {bytes} bytes of {of_target}: {}", last_error()),
                }
            }
            assert!((of_target / 2..of_target).contains(&largest) || largest == 15 * step, "{largest}");
        }
    }
}
