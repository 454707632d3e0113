//! What AWS's own agent does, row by row: the behaviour that users of a client for CloudWatch Logs know. Where the
//! row is about waiting, the numbers themselves are checked in `src/retry.rs`, and here what follows from them.

use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Rule;

use crate::host::*;

/// The times between the first tries of a group's only batch.
fn waits(rule: Rule, tries: usize) -> Vec<Duration> {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(rule.operation("PutLogEvents"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| puts(local, "g").len() >= tries));
    let tries = puts(&local, "g");
    tries.windows(2).map(|two| two[1].at - two[0].at).collect()
}

/// Each wait is in the upper half of its step, but for what a busy machine adds.
fn in_upper_halves(waits: &[Duration], steps_ms: &[u64]) {
    for (wait, step) in waits.iter().zip(steps_ms) {
        let (least, most) = (Duration::from_millis(step / 2), Duration::from_millis(step + 500));
        assert!((least..most).contains(wait), "{waits:?} for {steps_ms:?}");
    }
}

#[test]
fn agent_row_short_strategy_most_errors_wait_200_ms_doubled() {
    in_upper_halves(&waits(Rule::error("AccessDeniedException", 400), 5), &[200, 400, 800, 1600]);
}

#[test]
fn agent_row_long_strategy_500_503_and_a_lost_connection_wait_2_s_doubled() {
    in_upper_halves(&waits(Rule::empty(500), 3), &[2000, 4000]);
    in_upper_halves(&waits(Rule::error("ServiceUnavailableException", 503), 2), &[2000]);
    // A connection that is lost while others get through; while nobody does, it is the endpoint's.
    let local = local();
    local.create_stream("g", "s");
    local.create_stream("well", "s");
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("well", "s", "m");
    host.must_push("g", "s", "m");
    host.must_flush();
    local.add_fault(Rule::reset_before().group("g"));
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| {
        host.must_push("well", "s", "m");
        puts(local, "g").len() >= 3
    }));
    let tries = puts(&local, "g");
    in_upper_halves(&[tries[2].at - tries[1].at], &[2000]);
}

#[test]
fn agent_row_throttling_slows_the_account_down_to_a_request_in_2_s_rather_than_one_target() {
    let waits = waits(Rule::error("ThrottlingException", 400), 8);
    assert!(waits.iter().all(|wait| *wait > Duration::from_millis(400)), "{waits:?}");
    assert!(waits[6] > Duration::from_millis(1300), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_millis(2800)), "{waits:?}");
}

#[test]
fn agent_row_jitter_two_targets_that_fail_together_do_not_come_back_together() {
    let local = local();
    local.add_fault(denied("*"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    for target in 0..20 {
        host.must_push(&format!("g{target}"), "s", "m");
    }
    assert!(local.wait_until(SOON, |local| (0..20).all(|n| puts(local, &format!("g{n}")).len() >= 4)));
    let third: Vec<_> = (0..20)
        .map(|n| {
            let tries = puts(&local, &format!("g{n}"));
            (tries[3].at - tries[2].at).as_millis()
        })
        .collect();
    let (least, most) = (third.iter().min().expect("some"), third.iter().max().expect("some"));
    assert!(most - least > 100, "the third waits, of 400 to 800 ms, are {third:?}");
}

#[test]
fn agent_row_gives_up_after_the_longest_age() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "1"), ("retry_max_age_ms", "1000")]);
    let begin = Instant::now();
    host.must_push("g", "s", "m");
    host.must_flush();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!((host.stats().dropped_events, host.stats().targets_failing), (1, 0));
    assert!(puts(&local, "g").len() >= 2);
    let option = ::cwl_sink::config::OPTIONS.iter().find(|option| option.key == "retry_max_age_ms");
    let fourteen_days_and_ten_minutes = (14 * 24 * 60 + 10) * 60_000;
    assert_eq!(option.expect("there").default, fourteen_days_and_ten_minutes.to_string());
}

#[test]
fn agent_row_does_not_retry_an_invalid_parameter_and_takes_accepted_data_for_delivered() {
    for (code, delivered, dropped) in
        [("InvalidParameterException", 0, 1), ("DataAlreadyAcceptedException", 1, 0)]
    {
        let local = local();
        local.create_stream("g", "s");
        local.add_fault(Rule::error(code, 400).operation("PutLogEvents"));
        let host = Host::open(&local, &[]);
        host.must_push("g", "s", "m");
        host.must_flush();
        let stats = host.stats();
        assert_eq!((stats.delivered_events, stats.dropped_events), (delivered, dropped), "{code}");
        assert_eq!(puts(&local, "g").len(), 1, "{code} is not tried again");
    }
}

#[test]
fn agent_row_a_missing_group_is_created_and_remembered_for_5_s_and_sent_to_at_once() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| local.event_count("g") == 1));
    assert_eq!(host.stats().batches_retried, 0, "at once, without a back-off");
    // The service forgets it again: within 5 s that is taken for its own delay, and not created once more.
    local.delete_group("g");
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| puts(local, "g").len() >= 5));
    assert_eq!(local.count("CreateLogGroup", "g"), 1);
    // After that it is: at the attempt that comes after the longest back-off, a minute.
    assert!(local.wait_until(2 * SOON, |local| local.count("CreateLogGroup", "g") == 2));
    host.must_flush();
}

#[test]
fn agent_row_flush_interval_is_5_s() {
    let local = local();
    let host = Host::open(&local, &[]);
    let begin = Instant::now();
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| local.event_count("g") == 1));
    let waited = begin.elapsed();
    assert!((5000..5900).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn agent_row_an_over_long_message_is_cut_and_says_so() {
    let local = local();
    let host = Host::open(&local, &[]);
    host.must_push("g", "s", "ü".repeat(600_000));
    host.must_flush();
    let arrived = arrived(&local, "g", "s");
    assert!(arrived[0].ends_with("ü[Truncated...]"));
    assert!((1_048_548..=1_048_550).contains(&arrived[0].len()), "{}", arrived[0].len());
    assert_eq!(host.stats().truncated_events, 1);
}

#[test]
fn agent_row_an_event_without_a_timestamp_takes_the_last_one_of_its_target_or_else_now() {
    let local = local();
    let host = Host::open(&local, &[]);
    let given = now_ms() - 3_600_000;
    assert_eq!(host.push_at("g", "s", given, "given"), CWL_OK);
    host.must_push("g", "s", "last");
    host.must_push("g", "other", "now");
    host.must_flush();
    assert!(local.events("g", "s").iter().all(|event| event.timestamp_ms == given));
    assert!((now_ms() - local.events("g", "other")[0].timestamp_ms) < 60_000);
}

#[test]
fn agent_row_metrics_go_out_in_requests_of_their_own_and_drop_the_oldest_when_full() {
    let local = local();
    let options =
        [("flush_interval_ms", "3600000"), ("when_full", "reject"), ("buffer_max_bytes", "1048576")];
    let host = Host::open(&local, &options);
    let metric =
        |n| format!(r#"{{"_aws":{{"CloudWatchMetrics":[]}},"n":{n:04},"pad":"{}"}}"#, "x".repeat(900));
    host.must_push("g", "s", "a log line");
    host.must_push("g", "s", metric(1));
    host.must_push("g", "s", "another log line");
    host.must_flush();
    let requests: Vec<_> = taken(&local, "g").iter().map(|request| (request.emf, request.events)).collect();
    assert!(requests.contains(&(true, 1)) && requests.contains(&(false, 2)), "{requests:?}");

    local.add_fault(denied("g"));
    for number in 0..2000 {
        host.must_push("g", "s", metric(number));
    }
    assert!(host.stats().dropped_events > 0, "pushed 2 MB of metrics into 1 MiB: {:?}", host.stats());
    local.clear_faults();
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s").last(), Some(&metric(1999)), "the newest are kept");
}
