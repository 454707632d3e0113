//! A target that fails or is slow costs the others nothing, and an endpoint in trouble gets few requests.

use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

const FAST: [(&str, &str); 2] = [("flush_interval_ms", "20"), ("concurrency", "2")];

/// Pushes `events` events to an empty group, waits for each before the next, and returns the longest wait.
fn longest_wait(local: &Local, host: &Host, group: &str, events: usize) -> Duration {
    let deliver = |number: usize| {
        let begin = Instant::now();
        host.must_push(group, "s", format!("{number}"));
        assert!(
            local.wait_until(SOON, |local| local.event_count(group) > number),
            "event {number} of {group} did not arrive: {}",
            host.json()
        );
        begin.elapsed()
    };
    (0..events).map(deliver).max().unwrap_or_default()
}

#[test]
fn targets_that_are_never_answered_hold_up_no_other() {
    let local = local();
    let silent = create_groups(&local, "/silent", 20);
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    let host = Host::open(&local, &FAST);
    // The sink knows nothing about any target, and the silent ones come first.
    silent.iter().for_each(|group| host.must_push(group, "s", "never answered"));
    assert!(local.wait_until(SOON, |local| local.in_flight() >= 2));
    let first = longest_wait(&local, &host, "/healthy/0", 1);
    assert!(first < Duration::from_secs(10), "the first event waited {first:?}");
    let begin_of_rest = Instant::now();
    for number in 1..40 {
        let begin = Instant::now();
        host.must_push("/healthy/0", "s", "m");
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") > number));
        assert!(begin.elapsed() < Duration::from_secs(2), "event {number} waited {:?}", begin.elapsed());
    }
    let rest = begin_of_rest.elapsed();
    assert!(rest < Duration::from_secs(10), "39 events took {rest:?}");
    local.clear_faults();
    assert_eq!(host.shutdown(60_000), CWL_OK, "{}", last_error());
    assert_eq!(host.stats().delivered_events, 60);
}

#[test]
fn a_request_older_than_slow_after_ms_frees_its_permit_and_finishes_in_the_slow_lane() {
    let local = local();
    create_groups(&local, "/slow", 1);
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::delay_ms(4000).group("/slow/*"));
    let host =
        Host::open(&local, &[("flush_interval_ms", "1"), ("concurrency", "1"), ("slow_after_ms", "300")]);
    let begin = Instant::now();
    host.must_push("/slow/0", "s", "slow");
    assert!(local.wait_until(SOON, |local| puts(local, "/slow/0").len() == 1 || local.in_flight() == 1));
    host.must_push("/healthy/0", "s", "after it");
    host.wait_for_events(&local, "/healthy/0", 1);
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(2), "the healthy target waited {waited:?}");
    assert_eq!(host.stats().requests_slow, 1, "{}", host.json());
    host.must_flush();
    assert_eq!(
        (host.stats().delivered_events, host.stats().requests_failed),
        (2, 0),
        "no request was sent twice"
    );
}

#[test]
fn a_target_with_a_request_in_the_slow_lane_sends_nothing_else() {
    let local = local();
    create_groups(&local, "/slow", 1);
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::delay_ms(3000).group("/slow/*"));
    let options = [
        ("concurrency", "2"),
        ("target_concurrency", "2"),
        ("flush_interval_ms", "1"),
        ("slow_after_ms", "100"),
    ];
    let host = Host::open(&local, &options);
    host.must_push("/slow/0", "s", "first");
    assert!(local.wait_until(SOON, |local| local.in_flight() == 1));
    host.must_push("/slow/0", "s", "second");
    longest_wait(&local, &host, "/healthy/0", 30);
    assert_eq!(host.stats().requests_slow, 1, "{}", host.json());
    assert!(
        local.wait_until(Duration::from_secs(1), |local| local.in_flight() == 1),
        "the second request waits for the first"
    );
    host.must_flush();
    assert_eq!(arrived(&local, "/slow/0", "s"), ["first", "second"]);
}

#[test]
fn when_the_slow_lane_is_full_requests_that_outlived_their_patience_are_cut_short_and_sent_again() {
    let local = local();
    let silent = create_groups(&local, "/silent", 100);
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    let options = [("concurrency", "2"), ("flush_interval_ms", "1"), ("slow_after_ms", "50")];
    let host = Host::open(&local, &options);
    let mut healthy = 0;
    let mut deliver_to_healthy = || {
        host.must_push("/healthy/0", "s", "m");
        healthy += 1;
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") == healthy), "{healthy}");
        healthy
    };
    deliver_to_healthy();
    silent.iter().for_each(|group| host.must_push(group, "s", "m"));
    let begin = Instant::now();
    // The lane has room for 48 requests of targets on probation, and the first of them times out after 30 s.
    while host.stats().requests_failed < 20 {
        deliver_to_healthy();
        assert!(host.stats().requests_slow <= 64);
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "only {} requests were cut short",
            host.stats().requests_failed
        );
    }
    local.clear_faults();
    let healthy = deliver_to_healthy();
    assert_eq!(host.shutdown(60_000), CWL_OK);
    assert_eq!(
        (host.stats().delivered_events, local.total_events()),
        (100 + healthy as u64, 100 + healthy as u64)
    );
}

#[test]
fn a_slow_target_does_not_wait_for_targets_that_are_never_answered() {
    let local = local();
    let silent = create_groups(&local, "/silent", 100);
    create_groups(&local, "/late", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    local.add_fault(Rule::delay_ms(200).group("/late/*"));
    let options = [("concurrency", "2"), ("flush_interval_ms", "1"), ("slow_after_ms", "100")];
    let host = Host::open(&local, &options);
    longest_wait(&local, &host, "/late/0", 1);
    silent.iter().for_each(|group| host.must_push(group, "s", "m"));
    // The silent targets fill the part of the lane that targets on probation may fill.
    assert!(eventually(|| host.stats().requests_slow >= 48), "{}", host.json());
    let begin = Instant::now();
    host.must_push("/late/0", "s", "another");
    host.wait_for_events(&local, "/late/0", 2);
    // The first of the silent requests times out after 30 s.
    assert!(begin.elapsed() < Duration::from_secs(10), "the slow target waited {:?}", begin.elapsed());
    local.clear_faults();
    assert_eq!(host.shutdown(60_000), CWL_OK);
    assert_eq!(local.total_events(), 102);
}

#[test]
fn targets_whose_connections_are_reset_fail_by_themselves_while_others_deliver() {
    let local = local();
    let (resets, healthy) = (create_groups(&local, "/reset", 50), create_groups(&local, "/healthy", 20));
    let host = Host::open(&local, &FAST);
    resets.iter().chain(&healthy).for_each(|group| host.must_push(group, "s", "before the fault"));
    host.must_flush();
    local.add_fault(Rule::reset_before().group("/reset/*"));
    resets.iter().for_each(|group| host.must_push(group, "s", "after the fault"));
    for number in 1..60 {
        healthy.iter().for_each(|group| host.must_push(group, "s", "m"));
        let begin = Instant::now();
        let all = |local: &Local| healthy.iter().all(|group| local.event_count(group) > number);
        assert!(local.wait_until(SOON, all), "{number}");
        // Many resets in a row look like an outage, until a probe shows that it is none: every 2 s at most.
        assert!(begin.elapsed() < Duration::from_secs(6), "event {number} waited {:?}", begin.elapsed());
    }
    let stats = host.stats();
    assert_eq!((stats.endpoint_paused, stats.concurrency_limit), (0, 2));
    assert!(stats.targets_failing >= 40, "only {} of 50 targets fail", stats.targets_failing);
}

#[test]
fn an_endpoint_that_is_down_gets_one_probe_at_a_time_and_is_used_again_soon_after_its_return() {
    let local = local();
    let groups = create_groups(&local, "/g", 20);
    let host = Host::open(&local, &FAST);
    groups.iter().for_each(|group| host.must_push(group, "s", "before"));
    host.must_flush();
    let before = local.count("PutLogEvents", "*");
    let down = local.add_fault(Rule::reset_before());
    let begin = Instant::now();
    let mut pushed = 20;
    while begin.elapsed() < Duration::from_secs(4) {
        groups.iter().for_each(|group| host.must_push(group, "s", "meanwhile"));
        pushed += 20;
        thread::sleep(Duration::from_millis(50));
    }
    let probes = local.count("PutLogEvents", "*") - before;
    assert!(probes <= 15, "{probes} requests in an outage of 4 s");
    assert_eq!(host.stats().endpoint_paused, 1);
    local.remove_fault(down);
    let back = Instant::now();
    assert!(local.wait_until(SOON, |local| local.total_events() == pushed), "{}", host.json());
    assert!(back.elapsed() < Duration::from_secs(5), "the backlog took {:?}", back.elapsed());
    host.must_flush();
    assert_eq!(host.stats().targets_failing, 0);
}

#[test]
fn a_throttled_account_slows_all_targets_a_little_and_makes_none_fail() {
    let local = local();
    let groups = create_groups(&local, "/g", 20);
    local.add_fault(Rule::throttle_per_second(20.0).operation("PutLogEvents"));
    let host = Host::open(&local, &FAST);
    let begin = Instant::now();
    let mut pushed = 0;
    let mut at_5_s = (0, 0);
    while begin.elapsed() < Duration::from_secs(10) {
        groups.iter().for_each(|group| host.must_push(group, "s", "m"));
        pushed += 20;
        if begin.elapsed() < Duration::from_secs(5) {
            at_5_s = (host.stats().requests, host.stats().requests_throttled);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let stats = host.stats();
    let (sent, throttled) = (stats.requests - at_5_s.0, stats.requests_throttled - at_5_s.1);
    assert!(throttled * 5 < sent, "{throttled} of {sent} requests were throttled");
    assert!(sent - throttled >= 80, "only {} of 100 allowed requests were sent", sent - throttled);
    assert_eq!(stats.targets_failing, 0, "{}", host.json());
    local.clear_faults();
    host.must_flush();
    assert_eq!(local.total_events(), pushed);
}

#[test]
fn throttled_creations_slow_only_the_targets_that_wait_for_them() {
    let local = local();
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::error("ThrottlingException", 400).operation("CreateLogStream"));
    let host = Host::open(&local, &FAST);
    longest_wait(&local, &host, "/healthy/0", 1);
    let limit = host.stats().concurrency_limit;
    (0..30).for_each(|number| host.must_push("/healthy/0", &format!("new-{number}"), "m"));
    let is_throttled = || host.json().contains(r#""code":"ThrottlingException""#);
    assert!(eventually(is_throttled), "{}", host.json());
    for number in 1..21 {
        let begin = Instant::now();
        host.must_push("/healthy/0", "s", "m");
        host.wait_for_events(&local, "/healthy/0", number + 1);
        assert!(begin.elapsed() < Duration::from_secs(1), "event {number} waited {:?}", begin.elapsed());
    }
    assert_eq!(host.stats().concurrency_limit, limit, "{}", host.json());
    local.clear_faults();
    host.must_flush();
    assert_eq!(local.total_events(), 51);
}

#[test]
fn a_target_that_is_always_throttled_waits_alone() {
    let local = local();
    create_groups(&local, "/throttled", 1);
    create_groups(&local, "/healthy", 1);
    local.add_fault(Rule::error("ThrottlingException", 400).group("/throttled/*"));
    let host = Host::open(&local, &FAST);
    longest_wait(&local, &host, "/healthy/0", 1);
    host.must_push("/throttled/0", "s", "m");
    let begin = Instant::now();
    let mut number = 1;
    while host.stats().targets_failing == 0 {
        assert!(begin.elapsed() < SOON, "{}", host.json());
        host.must_push("/healthy/0", "s", "m");
        number += 1;
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") >= number));
    }
    assert!(puts(&local, "/throttled/0").len() <= 10, "{} attempts", puts(&local, "/throttled/0").len());
}

#[test]
fn an_idle_target_is_forgotten_and_made_again_by_the_next_push() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1"), ("target_idle_ms", "1000")]);
    let held = Target::open(&host, Some(c"g"), Some(c"held")).expect("a target");
    for day in 0..30 {
        host.must_push("g", &format!("day{day}"), "m");
    }
    host.must_flush();
    assert!(
        eventually(|| host.stats().targets == 1),
        "only the open handle keeps its target: {}",
        host.json()
    );
    assert_eq!(
        (host.stats().accepted_events, host.stats().delivered_events),
        (30, 30),
        "the counters keep the events of forgotten targets"
    );
    assert_eq!(held.push("after a while"), CWL_OK);
    drop(held);
    host.must_push("g", "day0", "again");
    host.must_flush();
    assert_eq!(arrived(&local, "g", "day0"), ["m", "again"]);
    assert_eq!(host.stats().accepted_events, 32);
    assert!(eventually(|| host.stats().targets == 0), "{}", host.json());
}

#[test]
fn the_json_of_a_failing_target_has_the_error_its_time_and_the_next_attempt() {
    let local = local();
    local.add_fault(denied("/denied"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    let begin_ms = now_ms();
    host.must_push("/denied", "s", "m");
    host.wait_for_attempts(&local, "/denied", 4);
    assert!(eventually(|| host.json().contains(r#""breaker":"open""#)));
    let json: serde_json::Value = serde_json::from_str(&host.json()).expect("JSON");
    let target = &json["target_states"][0];
    assert_eq!(target["breaker"], "open", "{target}");
    assert_eq!((&target["events_waiting"], &target["batches_in_flight"]), (&1.into(), &0.into()));
    assert_eq!(target["last_error"]["code"], "AccessDeniedException");
    let at_ms = target["last_error"]["at_ms"].as_i64().expect("a time");
    assert!((begin_ms..=now_ms()).contains(&at_ms));
    let wait_ms = target["next_attempt_in_ms"].as_u64().expect("a duration");
    assert!(wait_ms < 60_000, "{wait_ms}");
    local.clear_faults();
    host.must_flush();
    let json: serde_json::Value = serde_json::from_str(&host.json()).expect("JSON");
    let target = &json["target_states"][0];
    assert_eq!((&target["breaker"], target["last_error"].is_null()), (&"closed".into(), true), "{target}");
    assert!(target["next_attempt_in_ms"].is_null());
}
