//! Nothing that one target does costs another, and an endpoint in trouble is not hammered.

use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::{cwl_target_free, cwl_target_open, cwl_target_push};
use cwl_local::{Local, Rule};

use crate::host::*;

const FAST: [(&str, &str); 2] = [("flush_interval_ms", "20"), ("concurrency", "2")];

/// The groups of that name, with a stream "s" each.
fn groups(local: &Local, name: &str, count: usize) -> Vec<String> {
    let groups: Vec<_> = (0..count).map(|number| format!("{name}/{number}")).collect();
    groups.iter().for_each(|group| local.create_stream(group, "s"));
    groups
}

/// Pushes one event after the other to a group and waits for each; the longest wait.
fn slowest_of(local: &Local, host: &Host, group: &str, events: usize) -> Duration {
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
fn targets_that_never_answer_hold_up_no_other() {
    let local = local();
    let silent = groups(&local, "/silent", 20);
    groups(&local, "/healthy", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    let host = Host::open(&local, &FAST);
    // Nothing is known of any, and they come first.
    silent.iter().for_each(|group| host.must_push(group, "s", "never answered"));
    assert!(local.wait_until(SOON, |local| local.in_flight() >= 2));
    let first = slowest_of(&local, &host, "/healthy/0", 1);
    assert!(first < Duration::from_secs(10), "the first event waited {first:?}");
    let more = Instant::now();
    for number in 1..40 {
        let begin = Instant::now();
        host.must_push("/healthy/0", "s", "m");
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") > number));
        assert!(begin.elapsed() < Duration::from_secs(2), "event {number} waited {:?}", begin.elapsed());
    }
    assert!(more.elapsed() < Duration::from_secs(10), "{:?}", more.elapsed());
    local.clear_faults();
    assert_eq!(host.shutdown(60_000), CWL_OK, "{}", last_error());
    assert_eq!(host.stats().delivered_events, 60);
}

#[test]
fn a_request_older_than_slow_after_ms_leaves_its_worker_and_finishes_in_the_slow_lane() {
    let local = local();
    groups(&local, "/slow", 1);
    groups(&local, "/healthy", 1);
    local.add_fault(Rule::delay_ms(4000).group("/slow/*"));
    let host =
        Host::open(&local, &[("flush_interval_ms", "1"), ("concurrency", "1"), ("slow_after_ms", "300")]);
    let begin = Instant::now();
    host.must_push("/slow/0", "s", "slow");
    assert!(local.wait_until(SOON, |local| puts(local, "/slow/0").len() == 1 || local.in_flight() == 1));
    host.must_push("/healthy/0", "s", "behind it");
    assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") == 1));
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(2), "the healthy one waited {waited:?}");
    assert_eq!(host.stats().requests_slow, 1, "{}", host.json());
    host.must_flush();
    assert_eq!(
        (host.stats().delivered_events, host.stats().requests_failed),
        (2, 0),
        "and it was not tried twice"
    );
}

#[test]
fn while_a_target_has_a_request_in_the_slow_lane_it_sends_nothing_else() {
    let local = local();
    groups(&local, "/slow", 1);
    groups(&local, "/healthy", 1);
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
    slowest_of(&local, &host, "/healthy/0", 30);
    assert_eq!(host.stats().requests_slow, 1, "{}", host.json());
    assert!(
        local.wait_until(Duration::from_secs(1), |local| local.in_flight() == 1),
        "the second waits for the first"
    );
    host.must_flush();
    assert_eq!(arrived(&local, "/slow/0", "s"), ["first", "second"]);
}

#[test]
fn when_the_slow_lane_is_full_the_oldest_is_cancelled_and_tried_again() {
    let local = local();
    let silent = groups(&local, "/silent", 60);
    groups(&local, "/healthy", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    let options = [("concurrency", "2"), ("flush_interval_ms", "1"), ("slow_after_ms", "50")];
    let host = Host::open(&local, &options);
    let mut healthy = 0;
    let mut still_gets_through = || {
        host.must_push("/healthy/0", "s", "m");
        healthy += 1;
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") == healthy), "{healthy}");
        healthy
    };
    still_gets_through();
    silent.iter().for_each(|group| host.must_push(group, "s", "m"));
    let begin = Instant::now();
    // The lane has room for 32, and 30 s are to pass until the first of them times out.
    while host.stats().requests_failed < 20 {
        still_gets_through();
        assert!(host.stats().requests_slow <= 32);
        assert!(begin.elapsed() < Duration::from_secs(20), "{} were cancelled", host.stats().requests_failed);
    }
    local.clear_faults();
    let healthy = still_gets_through();
    assert_eq!(host.shutdown(60_000), CWL_OK);
    assert_eq!(
        (host.stats().delivered_events, local.total_events()),
        (60 + healthy as u64, 60 + healthy as u64)
    );
}

#[test]
fn one_that_is_slow_but_gets_through_does_not_wait_for_those_that_never_answer() {
    let local = local();
    let silent = groups(&local, "/silent", 30);
    groups(&local, "/late", 1);
    local.add_fault(Rule::hang().group("/silent/*"));
    local.add_fault(Rule::delay_ms(200).group("/late/*"));
    let options = [("concurrency", "2"), ("flush_interval_ms", "1"), ("slow_after_ms", "100")];
    let host = Host::open(&local, &options);
    slowest_of(&local, &host, "/late/0", 1);
    silent.iter().for_each(|group| host.must_push(group, "s", "m"));
    // So many that a late one finds no room: the lane is for 32, and a quarter of it not for those.
    assert!(eventually(|| host.stats().requests_slow >= 24), "{}", host.json());
    let begin = Instant::now();
    host.must_push("/late/0", "s", "another");
    assert!(local.wait_until(SOON, |local| local.event_count("/late/0") == 2), "{}", host.json());
    // 30 s are to pass until the first of the others times out.
    assert!(begin.elapsed() < Duration::from_secs(10), "it waited {:?}", begin.elapsed());
    local.clear_faults();
    assert_eq!(host.shutdown(60_000), CWL_OK);
    assert_eq!(local.total_events(), 32);
}

#[test]
fn targets_whose_connections_are_reset_are_to_blame_themselves_while_others_get_through() {
    let local = local();
    let (resets, healthy) = (groups(&local, "/reset", 50), groups(&local, "/healthy", 20));
    let host = Host::open(&local, &FAST);
    resets.iter().chain(&healthy).for_each(|group| host.must_push(group, "s", "while all is well"));
    host.must_flush();
    local.add_fault(Rule::reset_before().group("/reset/*"));
    resets.iter().for_each(|group| host.must_push(group, "s", "then reset"));
    for number in 1..60 {
        healthy.iter().for_each(|group| host.must_push(group, "s", "m"));
        let begin = Instant::now();
        let all = |local: &Local| healthy.iter().all(|group| local.event_count(group) > number);
        assert!(local.wait_until(SOON, all), "{number}");
        assert!(begin.elapsed() < Duration::from_secs(3), "event {number} waited {:?}", begin.elapsed());
    }
    let stats = host.stats();
    assert_eq!((stats.endpoint_paused, stats.concurrency_limit), (0, 2));
    assert!(stats.targets_failing >= 40, "{} of 50 wait by themselves", stats.targets_failing);
}

#[test]
fn an_endpoint_that_is_down_is_asked_by_one_probe_at_a_time_and_used_again_soon_after_its_return() {
    let local = local();
    let groups = groups(&local, "/g", 20);
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
    let asked = local.count("PutLogEvents", "*") - before;
    assert!(asked <= 15, "{asked} requests in an outage of 4 s");
    assert_eq!(host.stats().endpoint_paused, 1);
    local.remove_fault(down);
    let back = Instant::now();
    assert!(local.wait_until(SOON, |local| local.total_events() == pushed), "{}", host.json());
    assert!(back.elapsed() < Duration::from_secs(5), "the backlog took {:?}", back.elapsed());
    host.must_flush();
    assert_eq!(host.stats().targets_failing, 0);
}

#[test]
fn a_throttled_account_slows_everybody_a_little_and_makes_nobody_fail() {
    let local = local();
    let groups = groups(&local, "/g", 20);
    local.add_fault(Rule::throttle_per_second(20.0).operation("PutLogEvents"));
    let host = Host::open(&local, &FAST);
    let begin = Instant::now();
    let mut pushed = 0;
    let mut early = (0, 0);
    while begin.elapsed() < Duration::from_secs(10) {
        groups.iter().for_each(|group| host.must_push(group, "s", "m"));
        pushed += 20;
        if begin.elapsed() < Duration::from_secs(5) {
            early = (host.stats().requests, host.stats().requests_throttled);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let stats = host.stats();
    let (sent, throttled) = (stats.requests - early.0, stats.requests_throttled - early.1);
    assert!(throttled * 5 < sent, "{throttled} of {sent} requests were throttled");
    assert!(sent - throttled >= 80, "{} of 100 requests that were allowed", sent - throttled);
    assert_eq!(stats.targets_failing, 0, "{}", host.json());
    local.clear_faults();
    host.must_flush();
    assert_eq!(local.total_events(), pushed);
}

#[test]
fn creations_that_are_throttled_slow_nobody_but_who_waits_for_them() {
    let local = local();
    groups(&local, "/healthy", 1);
    local.add_fault(Rule::error("ThrottlingException", 400).operation("CreateLogStream"));
    let host = Host::open(&local, &FAST);
    slowest_of(&local, &host, "/healthy/0", 1);
    let limit = host.stats().concurrency_limit;
    (0..30).for_each(|number| host.must_push("/healthy/0", &format!("new-{number}"), "m"));
    assert!(local.wait_until(SOON, |local| local.count("CreateLogStream", "*") >= 30), "{}", host.json());
    assert!(eventually(|| host.stats().targets_failing == 30), "{}", host.json());
    assert_eq!(host.stats().concurrency_limit, limit, "{}", host.json());
    local.clear_faults();
    host.must_flush();
    assert_eq!(local.total_events(), 31);
}

#[test]
fn a_target_that_is_always_throttled_waits_alone() {
    let local = local();
    groups(&local, "/throttled", 1);
    groups(&local, "/healthy", 1);
    local.add_fault(Rule::error("ThrottlingException", 400).group("/throttled/*"));
    let host = Host::open(&local, &FAST);
    slowest_of(&local, &host, "/healthy/0", 1);
    host.must_push("/throttled/0", "s", "m");
    let begin = Instant::now();
    let mut number = 1;
    while host.stats().targets_failing == 0 {
        assert!(begin.elapsed() < SOON, "{}", host.json());
        host.must_push("/healthy/0", "s", "m");
        number += 1;
        assert!(local.wait_until(SOON, |local| local.event_count("/healthy/0") >= number));
    }
    assert!(puts(&local, "/throttled/0").len() <= 10, "{} tries", puts(&local, "/throttled/0").len());
}

#[test]
fn an_idle_target_is_forgotten_and_made_anew() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1"), ("target_idle_ms", "1000")]);
    let mut held = std::ptr::null_mut();
    // SAFETY: a live sink, two C strings and room for the target.
    let opened = unsafe { cwl_target_open(host.sink, c"g".as_ptr(), c"held".as_ptr(), &mut held) };
    assert_eq!(opened, CWL_OK);
    for day in 0..30 {
        host.must_push("g", &format!("day{day}"), "m");
    }
    host.must_flush();
    assert!(eventually(|| host.stats().targets == 1), "all but the one that is held: {}", host.json());
    assert_eq!((host.stats().accepted_events, host.stats().delivered_events), (30, 30), "the totals stay");
    let event = event(b"after a while");
    // SAFETY: a live target and a whole event; the target is freed once.
    unsafe {
        assert_eq!(cwl_target_push(held, &event), CWL_OK);
        cwl_target_free(held);
    }
    host.must_push("g", "day0", "again");
    host.must_flush();
    assert_eq!(arrived(&local, "g", "day0"), ["m", "again"]);
    assert_eq!(host.stats().accepted_events, 32);
    assert!(eventually(|| host.stats().targets == 0), "{}", host.json());
}

#[test]
fn the_json_says_of_a_failing_target_why_since_when_and_until_when() {
    let local = local();
    local.add_fault(denied("/denied"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    let begin_ms = now_ms();
    host.must_push("/denied", "s", "m");
    assert!(local.wait_until(SOON, |local| puts(local, "/denied").len() >= 4));
    assert!(eventually(|| host.json().contains(r#""breaker":"open""#)));
    let json: serde_json::Value = serde_json::from_str(&host.json()).expect("JSON");
    let target = &json["target_states"][0];
    assert_eq!(target["breaker"], "open", "{target}");
    assert_eq!((&target["events_waiting"], &target["batches_in_flight"]), (&1.into(), &0.into()));
    assert_eq!(target["last_error"]["code"], "AccessDeniedException");
    let at_ms = target["last_error"]["at_ms"].as_i64().expect("a time");
    assert!((begin_ms..=now_ms()).contains(&at_ms));
    let wait_ms = target["next_attempt_in_ms"].as_u64().expect("a wait");
    assert!(wait_ms < 60_000, "{wait_ms}");
    local.clear_faults();
    host.must_flush();
    let json: serde_json::Value = serde_json::from_str(&host.json()).expect("JSON");
    let target = &json["target_states"][0];
    assert_eq!((&target["breaker"], target["last_error"].is_null()), (&"closed".into(), true), "{target}");
    assert!(target["next_attempt_in_ms"].is_null());
}
