//! ResourceNotFoundException: the library creates the missing group and stream and sends the batch again at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Rule;

use crate::host::*;

#[test]
fn a_missing_group_and_stream_are_created_and_the_batch_is_sent_again_at_once() {
    let local = local();
    let host = Host::open(&local, &[("retention_days", "7")]);
    let begin = Instant::now();
    host.must_push("/new/group", "new stream", "the only line of a process that logs once and exits");
    host.must_flush();
    // A back-off would take at least 100 ms.
    let operations: Vec<_> = local.requests().into_iter().map(|request| request.operation).collect();
    let expected = [
        "PutLogEvents",
        "CreateLogStream",
        "CreateLogGroup",
        "PutRetentionPolicy",
        "CreateLogStream",
        "PutLogEvents",
    ];
    assert_eq!(operations, expected, "in {:?}", begin.elapsed());
    assert_eq!(host.stats().batches_retried, 0, "the batch is sent again without a back-off");
    assert_eq!(local.group_retention("/new/group"), Some(7));
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
