//! ResourceNotFoundException: the library creates the missing group and stream and sends the batch again at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

#[test]
fn a_missing_group_and_stream_are_created_and_the_batch_is_sent_again_at_once() {
    let local = local();
    let host = Host::open(&local, &[("retention_days", "7")]);
    let begin = Instant::now();
    host.must_push("/new/group", "new stream", "the only line of a process that logs once and exits");
    host.must_flush();
    // A back-off would take at least 100 ms.
    let requests = local.requests_where(|request| request.operation != "PutRetentionPolicy");
    let operations: Vec<_> = requests.into_iter().map(|request| request.operation).collect();
    let expected = ["PutLogEvents", "CreateLogStream", "CreateLogGroup", "CreateLogStream", "PutLogEvents"];
    assert_eq!(operations, expected, "in {:?}", begin.elapsed());
    assert_eq!(host.stats().batches_retried, 0, "the batch is sent again without a back-off");
    assert!(local.wait_until(SOON, |local| local.group_retention("/new/group") == Some(7)));
    assert_eq!(local.event_count("/new/group"), 1);
}

#[test]
fn a_missing_stream_of_an_existing_group_is_created_without_changing_the_group() {
    let local = local();
    local.create_group("g");
    let host = Host::open(&local, &[("retention_days", "7")]);
    host.must_push("g", "s", "m");
    host.must_flush();
    assert_eq!(local.count("CreateLogGroup", "g"), 0);
    assert_eq!(
        local.group_retention("g"),
        None,
        "the sink does not change the retention of an existing group"
    );
    assert_eq!(local.event_count("g"), 1);
}

#[test]
fn two_hundred_threads_pushing_to_one_missing_group_create_it_once() {
    let local = local();
    // The delay lets every target find the group missing while it is being created.
    local.add_fault(Rule::delay_ms(50).operation("CreateLogGroup"));
    let host = Host::open(&local, &[("flush_interval_ms", "10"), ("concurrency", "16")]);
    let start = Barrier::new(200);
    thread::scope(|scope| {
        for number in 0..200 {
            let (host, start) = (&host, &start);
            scope.spawn(move || {
                start.wait();
                host.must_push("/missing", &format!("stream-{}", number % 100), number.to_string());
            });
        }
    });
    host.must_flush();
    assert_eq!(local.count("CreateLogGroup", "/missing"), 1);
    assert!(puts(&local, "/missing").len() <= 300, "{} PutLogEvents", puts(&local, "/missing").len());
    assert_eq!(local.successes("CreateLogStream", "/missing"), 100, "each stream once");
    assert_eq!(local.event_count("/missing"), 200);
    assert_eq!(host.stats().delivered_events, 200);
}

#[test]
fn a_stream_that_another_process_created_first_counts_as_created() {
    let local = local();
    local.add_fault(Rule::error("ResourceAlreadyExistsException", 400).operation("CreateLogStream").count(1));
    let host = Host::open(&local, &[("flush_interval_ms", "10")]);
    local.create_group("g");
    host.must_push("g", "s", "m");
    // The service says that the stream exists, but does not find it a moment later. The sink waits and tries again.
    host.wait_for_attempts(&local, "g", 2);
    local.create_stream("g", "s");
    host.must_flush();
    assert_eq!(local.event_count("g"), 1);
}

#[test]
fn when_the_options_forbid_creating_the_events_wait_until_the_stream_exists() {
    for (option, value) in [("create_log_stream", "false"), ("create_log_group", "false")] {
        let local = local();
        let host = Host::open(&local, &[(option, value)]);
        host.must_push("g", "s", "m");
        assert_eq!(host.flush(300), CWL_ERR_TIMEOUT, "{option}");
        assert_eq!(local.count("CreateLogGroup", "*"), 0, "{option}");
        local.create_stream("g", "s");
        host.must_flush();
        assert_eq!(local.event_count("g"), 1, "{option}");
    }
}

#[test]
fn a_group_that_may_not_be_created_holds_up_no_other() {
    let local = local();
    local.add_fault(Rule::error("AccessDeniedException", 400).operation("CreateLogGroup").group("/no/*"));
    let host = Host::open(&local, &[("concurrency", "1"), ("flush_interval_ms", "10")]);
    for number in 0..20 {
        host.must_push("/no/group", &format!("s{number}"), "m");
    }
    host.must_push("/yes", "s", "m");
    assert!(
        local.wait_until(Duration::from_secs(10), |local| local.event_count("/yes") == 1),
        "{}",
        host.json()
    );
    assert_eq!(local.successes("CreateLogGroup", "/no/*"), 0);
    local.clear_faults();
    host.must_flush();
    assert_eq!(local.event_count("/no/group"), 20);
}

/// Pushes one event to each of `streams` new streams.
fn push_to_new_streams(host: &Host, group: &str, streams: usize) {
    (0..streams).for_each(|number| host.must_push(group, &format!("new-{number}"), "m"));
}

#[test]
fn three_hundred_new_streams_of_a_group_are_created_side_by_side_with_two_put_log_events_each() {
    let local = local();
    local.create_group("g");
    local.add_fault(Rule::delay_ms(50).operation("CreateLogStream"));
    let host = Host::open(&local, &[("flush_interval_ms", "10"), ("concurrency", "8")]);
    let begin = Instant::now();
    push_to_new_streams(&host, "g", 300);
    host.must_flush();
    let elapsed = begin.elapsed();
    assert_eq!(local.event_count("g"), 300);
    let (puts, creates) = (puts(&local, "g").len(), local.count("CreateLogStream", "g"));
    println!("300 new streams: {puts} PutLogEvents and {creates} CreateLogStream in {elapsed:?}");
    assert!(puts <= 600 && creates == 300, "{puts} PutLogEvents and {creates} CreateLogStream");
    // One after the other, the creations alone take 15 s.
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[test]
fn throttled_creations_find_the_pace_and_every_event_is_delivered() {
    let local = local();
    local.create_stream("/healthy", "s");
    local.create_group("g");
    local.add_fault(Rule::throttle_per_second(50.0).operation("CreateLogStream"));
    let host = Host::open(&local, &[("flush_interval_ms", "10"), ("concurrency", "8")]);
    push_to_new_streams(&host, "g", 500);
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    for number in 0.. {
        let pushed = Instant::now();
        host.must_push("/healthy", "s", "m");
        host.wait_for_events(&local, "/healthy", number + 1);
        longest = longest.max(pushed.elapsed());
        if local.event_count("g") == 500 {
            break;
        }
        assert!(begin.elapsed() < SOON, "{} of 500 arrived: {}", local.event_count("g"), host.json());
        thread::sleep(Duration::from_millis(20));
    }
    let (elapsed, stats) = (begin.elapsed(), host.stats());
    let creates = local.count("CreateLogStream", "g");
    println!(
        "{creates} creations for 500 streams in {elapsed:?}, the longest wait of another was {longest:?}"
    );
    assert!(creates <= 600, "{} of {creates} creations were throttled", creates - 500);
    assert!(elapsed < Duration::from_secs(25), "{elapsed:?} for 500 streams at 50 per second");
    assert!(longest < Duration::from_secs(1), "another target waited {longest:?}");
    assert_eq!((stats.targets_failing, stats.concurrency_limit), (0, 8), "{}", host.json());
}

#[test]
fn a_stream_whose_creation_is_never_answered_holds_up_no_other_stream_of_its_group() {
    let local = local();
    local.create_group("g");
    local.add_fault(Rule::hang().operation("CreateLogStream").stream("silent"));
    let host = Host::open(&local, &[("flush_interval_ms", "10")]);
    host.must_push("g", "silent", "m");
    assert!(local.wait_until(SOON, |local| local.count("CreateLogStream", "g") == 1));
    let begin = Instant::now();
    push_to_new_streams(&host, "g", 20);
    host.wait_for_events(&local, "g", 20);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(host.shutdown(0), CWL_ERR_ABANDONED, "the event of the silent stream");
}

#[test]
fn what_may_not_be_created_is_found_within_5_s_of_its_creation_from_outside() {
    let cases = [("create_log_stream", "g"), ("create_log_group", "missing")];
    thread::scope(|scope| {
        for (option, group) in cases {
            scope.spawn(move || {
                let local = local();
                local.create_group("g");
                let host = Host::open(&local, &[(option, "false"), ("flush_interval_ms", "10")]);
                host.must_push(group, "s", "m");
                thread::sleep(Duration::from_secs(20));
                assert_eq!(local.event_count(group), 0, "{option}");
                let begin = Instant::now();
                local.create_stream(group, "s");
                host.wait_for_events(&local, group, 1);
                assert!(begin.elapsed() < Duration::from_secs(5), "{option}: {:?}", begin.elapsed());
            });
        }
    });
}

#[test]
fn a_stream_or_group_that_is_deleted_again_and_again_costs_only_what_it_held() {
    for delete_group in [false, true] {
        let local = local();
        let host = Host::open(&local, &[("flush_interval_ms", "10")]);
        let (begin, mut deletions, mut pushed, mut lost) = (Instant::now(), 1, 0, 0);
        let (mut longest, mut last_seen) = (Duration::ZERO, Instant::now());
        while begin.elapsed() < Duration::from_secs(9) {
            host.must_push("g", "s", "m");
            pushed += 1;
            thread::sleep(Duration::from_millis(10));
            if local.event_count("g") > 0 {
                longest = longest.max(last_seen.elapsed());
                last_seen = Instant::now();
            }
            if begin.elapsed() > Duration::from_secs(2 * deletions) {
                deletions += 1;
                lost += delete_while_quiet(&local, &host, delete_group);
            }
        }
        host.must_flush();
        let stats = host.stats();
        assert_eq!((stats.delivered_events, stats.dropped_events), (pushed, 0), "{}", host.json());
        assert_eq!(local.event_count("g") + lost, pushed as usize, "more than what was stored is gone");
        assert!(deletions >= 5 && longest < Duration::from_secs(1), "nothing arrived for {longest:?}");
    }
}

/// Deletes the stream or its group when all events have arrived. Returns the number of events that are gone with it.
fn delete_while_quiet(local: &Local, host: &Host, delete_group: bool) -> usize {
    assert!(eventually(|| host.stats().pending_events == 0), "{}", host.json());
    let lost = local.event_count("g");
    match delete_group {
        true => assert!(local.delete_group("g")),
        false => assert!(local.delete_stream("g", "s")),
    }
    lost
}

#[test]
fn a_group_whose_creation_is_refused_is_not_asked_for_by_each_of_its_streams() {
    let local = local();
    let refused = denied("g").operation("CreateLogGroup");
    let refused = local.add_fault(refused);
    let host = Host::open(&local, &[("flush_interval_ms", "10")]);
    push_to_new_streams(&host, "g", 300);
    assert!(eventually(|| host.stats().targets_failing == 300), "{}", host.json());
    thread::sleep(Duration::from_secs(2));
    let creates = local.count("CreateLogGroup", "g");
    assert!((2..=10).contains(&creates), "{creates} CreateLogGroup");
    local.remove_fault(refused);
    host.must_flush();
    assert_eq!(local.event_count("g"), 300);
}
