//! The behaviour of AWS's own agent, which users of a client for CloudWatch Logs know: one test for each row of the
//! comparison. `src/schedule/backoff.rs` tests the waiting times as numbers; the tests here measure them.

use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Rule;

use crate::host::*;

/// Measures the times between the first attempts for a group's only batch, while the endpoint follows `rule` for it.
fn measure_waits(rule: Rule, attempts: usize) -> Vec<Duration> {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(rule.operation("PutLogEvents").group("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    // If there were no other target, the endpoint could be at fault.
    host.must_push("healthy", "s", "m");
    host.must_flush();
    host.must_push("g", "s", "m");
    host.wait_for_attempts(&local, "g", attempts);
    puts(&local, "g").windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

/// Checks that each wait is in the upper half of its step. A busy machine may add half a second.
#[track_caller]
fn assert_in_upper_halves(waits: &[Duration], steps_ms: &[u64]) {
    for (wait, step) in waits.iter().zip(steps_ms) {
        let allowed = Duration::from_millis(step / 2)..Duration::from_millis(step + 500);
        assert!(allowed.contains(wait), "{waits:?} for {steps_ms:?}");
    }
}

#[test]
fn agent_row_after_most_errors_the_wait_begins_at_200_ms_and_doubles() {
    assert_in_upper_halves(
        &measure_waits(Rule::error("AccessDeniedException", 400), 5),
        &[200, 400, 800, 1600],
    );
}

#[test]
fn agent_row_after_500_503_and_a_lost_connection_the_wait_begins_at_2_s_and_doubles() {
    for rule in [Rule::empty(500), Rule::error("ServiceUnavailableException", 503), Rule::reset_before()] {
        assert_in_upper_halves(&measure_waits(rule, 3), &[2000, 4000]);
    }
}

#[test]
fn agent_row_throttling_slows_the_account_to_one_request_in_2_s_instead_of_failing_a_target() {
    let waits = measure_waits(Rule::error("ThrottlingException", 400), 8);
    assert!(waits.iter().all(|wait| *wait > Duration::from_millis(300)), "{waits:?}");
    assert!(waits[6] > Duration::from_millis(1300), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_millis(2800)), "{waits:?}");
}

#[test]
fn agent_row_targets_that_fail_together_do_not_retry_together() {
    let local = local();
    local.add_fault(denied("*"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    for target in 0..20 {
        host.must_push(&format!("g{target}"), "s", "m");
    }
    assert!(local.wait_until(SOON, |local| (0..20).all(|n| puts(local, &format!("g{n}")).len() >= 4)));
    let third_waits: Vec<_> = (0..20)
        .map(|n| {
            let attempts = puts(&local, &format!("g{n}"));
            (attempts[3].at - attempts[2].at).as_millis()
        })
        .collect();
    let min = third_waits.iter().min().expect("20 waits");
    let max = third_waits.iter().max().expect("20 waits");
    assert!(max - min > 100, "the third waits, of 400 to 800 ms, are {third_waits:?}");
}

#[test]
fn agent_row_a_batch_is_dropped_at_retry_max_age_ms_which_is_14_days_and_10_minutes() {
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
    assert_eq!(option.expect("the option exists").default, fourteen_days_and_ten_minutes.to_string());
}

#[test]
fn agent_row_an_invalid_parameter_is_not_retried_and_already_accepted_data_counts_as_delivered() {
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
        assert_eq!(puts(&local, "g").len(), 1, "{code} is not retried");
    }
}

#[test]
fn agent_row_a_missing_group_is_created_and_sent_to_at_once_also_when_it_was_just_created() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    host.wait_for_events(&local, "g", 1);
    // The agent would not create the group again for 5 s.
    local.delete_group("g");
    host.must_push("g", "s", "m");
    host.wait_for_events(&local, "g", 1);
    assert_eq!(local.count("CreateLogGroup", "g"), 2);
    assert_eq!(host.stats().batches_retried, 0, "the batch is sent again without a back-off");
}

#[test]
fn agent_row_flush_interval_is_5_s() {
    let local = local();
    let host = Host::open(&local, &[]);
    let begin = Instant::now();
    host.must_push("g", "s", "m");
    host.wait_for_events(&local, "g", 1);
    let waited = begin.elapsed();
    assert!((5000..5900).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn agent_row_a_message_that_is_too_long_is_cut_and_marked() {
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
fn agent_row_an_event_without_a_timestamp_gets_the_last_one_of_its_target_if_that_is_near_or_the_current_time()
 {
    let local = local();
    let host = Host::open(&local, &[]);
    let given = now_ms() - 10_000;
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
        |n| format!(r#"{{"_aws":{{"CloudWatchMetrics":[]}},"n":"{n:04}","pad":"{}"}}"#, "x".repeat(900));
    host.must_push("g", "s", "a log line");
    host.must_push("g", "s", metric(1));
    host.must_push("g", "s", "another log line");
    host.must_flush();
    let requests: Vec<_> =
        accepted_puts(&local, "g").iter().map(|request| (request.emf, request.events)).collect();
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
