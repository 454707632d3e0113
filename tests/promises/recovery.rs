//! Recovery: after a failure the whole backlog of a target arrives, in order, without losses and duplicates.

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{RequestRecord, Rule};

use crate::host::*;

#[test]
fn a_denied_group_that_becomes_allowed_gets_its_whole_backlog_in_order() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "20")]);
    // The flush interval seals several batches. They wait behind the batch that failed.
    for chunk in numbers(3000).chunks(500) {
        chunk.iter().for_each(|number| host.must_push("g", "s", number));
        let attempts = puts(&local, "g").len();
        host.wait_for_attempts(&local, "g", attempts + 1);
    }
    assert_eq!((host.stats().targets_failing, local.event_count("g")), (1, 0));
    assert_eq!(host.flush(100), CWL_ERR_TIMEOUT);
    local.clear_faults();
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), numbers(3000));
    let stats = host.stats();
    assert_eq!((stats.delivered_events, stats.targets_failing, stats.buffered_bytes), (3000, 0, 0));
}

#[test]
fn a_failing_target_is_probed_with_its_oldest_batch_only() {
    let local = local();
    local.add_fault(denied("g"));
    let host = Host::open(&local, &[("flush_interval_ms", "5")]);
    for number in numbers(200) {
        host.must_push("g", "s", number);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    host.wait_for_attempts(&local, "g", 4);
    let attempts = puts(&local, "g");
    let is_oldest = |attempt: &RequestRecord| attempt.events == attempts[0].events;
    assert!(attempts.iter().all(is_oldest), "attempts with another batch: {attempts:?}");
}

#[test]
fn every_temporary_failure_is_retried() {
    for rule in [
        Rule::error("ThrottlingException", 400),
        Rule::error("ServiceUnavailableException", 503),
        Rule::error("NobodyKnowsThisException", 400),
        Rule::reset_before(),
        Rule::empty(500),
        Rule::html(502),
        Rule::html(200),
        Rule::empty(200),
    ] {
        let local = local();
        let name = format!("{rule:?}");
        local.create_stream("g", "s");
        local.add_fault(rule.operation("PutLogEvents").count(1));
        let host = Host::open(&local, &[("flush_interval_ms", "10")]);
        for number in numbers(100) {
            host.must_push("g", "s", number);
        }
        host.must_flush();
        assert_eq!(arrived(&local, "g", "s"), numbers(100), "{name}");
        assert_eq!(host.stats().batches_retried, 1, "{name}");
    }
}

#[test]
fn a_batch_arrives_twice_when_its_answer_is_lost_and_counts_once() {
    for rule in [Rule::reset_after(), Rule::cut_response()] {
        let local = local();
        let name = format!("{rule:?}");
        local.create_stream("g", "s");
        local.add_fault(rule.operation("PutLogEvents").count(1));
        let host = Host::open(&local, &[("flush_interval_ms", "3600000")]);
        for number in numbers(10) {
            host.must_push("g", "s", number);
        }
        host.must_flush();
        let twice = [numbers(10), numbers(10)].concat();
        assert_eq!(arrived(&local, "g", "s"), twice, "{name}: the whole batch arrives twice");
        assert_eq!(host.stats().delivered_events, 10, "{name}");
    }
}

#[test]
fn a_batch_that_the_service_never_accepts_is_dropped_and_the_target_goes_on() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("InvalidParameterException", 400).operation("PutLogEvents").count(1));
    let host = Host::open(&local, &[]);
    host.must_push("g", "s", "never");
    host.must_flush();
    host.must_push("g", "s", "after");
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), ["after"]);
    let stats = host.stats();
    assert_eq!((stats.dropped_events, stats.delivered_events, stats.targets_failing), (1, 1, 0));
}

#[test]
fn already_accepted_data_of_an_old_emulator_counts_as_delivered() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::error("DataAlreadyAcceptedException", 400).operation("PutLogEvents").count(1));
    let host = Host::open(&local, &[]);
    host.must_push("g", "s", "m");
    host.must_flush();
    assert_eq!(host.stats().delivered_events, 1);
}

#[test]
fn an_endpoint_that_goes_away_and_comes_back_gets_every_event() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "10")]);
    host.must_push("g", "s", "0");
    host.must_flush();
    local.pause();
    for number in 1..50 {
        host.must_push("g", "s", number.to_string());
    }
    assert_eq!(host.flush(300), CWL_ERR_TIMEOUT);
    local.resume().expect("the port is still free");
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), numbers(50));
}
