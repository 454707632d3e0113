//! The schedule: which faults meet whom, how long they last for the sink after they are over, and what a target that is slow
//! may expect.

use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

/// Pushes an event to each group every 50 ms, for this time. Returns the number of events for each group.
fn push_for(host: &Host, groups: &[String], time: Duration) -> usize {
    let begin = Instant::now();
    let mut events = 0;
    while begin.elapsed() < time {
        groups.iter().for_each(|group| host.must_push(group, "s", events.to_string()));
        events += 1;
        thread::sleep(Duration::from_millis(50));
    }
    events
}

/// Waits until each group has this number of events, and returns how long that took.
fn wait_for_all(local: &Local, host: &Host, groups: &[String], events: usize) -> Duration {
    let begin = Instant::now();
    let all = |local: &Local| groups.iter().all(|group| local.event_count(group) >= events);
    assert!(local.wait_until(SOON, all), "{}", host.json());
    begin.elapsed()
}

#[test]
fn an_endpoint_that_answers_503_to_everybody_gets_probes_and_is_used_again_2_s_after_its_return() {
    let local = local();
    let groups = create_groups(&local, "/g", 20);
    let host = Host::open(&local, &[("flush_interval_ms", "20")]);
    let before = push_for(&host, &groups, Duration::from_millis(200));
    host.must_flush();
    let requests = local.count("PutLogEvents", "*");
    let down = local.add_fault(Rule::error("ServiceUnavailableException", 503).operation("PutLogEvents"));
    let meanwhile = push_for(&host, &groups, Duration::from_secs(10));
    let probes = local.count("PutLogEvents", "*") - requests;
    assert!(probes <= 25, "{probes} requests in an outage of 10 s");
    assert_eq!(host.stats().endpoint_paused, 1);
    local.remove_fault(down);
    let waited = wait_for_all(&local, &host, &groups, before + meanwhile);
    assert!(waited < Duration::from_millis(2500), "the last target waited {waited:?}");
    host.must_flush();
    assert_eq!((host.stats().targets_failing, host.stats().endpoint_paused), (0, 0));
}

#[test]
fn a_503_that_one_target_gets_is_its_own() {
    let local = local();
    let (groups, sick) = (create_groups(&local, "/g", 5), create_groups(&local, "/sick", 1));
    local.add_fault(Rule::error("ServiceUnavailableException", 503).group("/sick/*"));
    let host = Host::open(&local, &[("flush_interval_ms", "20")]);
    host.must_push(&sick[0], "s", "m");
    let events = push_for(&host, &groups, Duration::from_secs(3));
    assert!(wait_for_all(&local, &host, &groups, events) < Duration::from_secs(1));
    assert_eq!((host.stats().endpoint_paused, host.stats().targets_failing), (0, 1), "{}", host.json());
    local.clear_faults();
    host.must_flush();
}

#[test]
fn a_denied_group_gets_its_backlog_10_s_after_it_is_allowed() {
    let local = local();
    let groups = create_groups(&local, "/g", 1);
    local.add_fault(denied("/g/*"));
    let host = Host::open(&local, &[("flush_interval_ms", "20")]);
    let events = push_for(&host, &groups, Duration::from_secs(15));
    local.clear_faults();
    let waited = wait_for_all(&local, &host, &groups, events);
    assert!(waited < Duration::from_secs(10), "the backlog waited {waited:?}");
}

#[test]
fn when_every_answer_becomes_slow_nothing_pauses_nothing_is_sent_twice_and_2_s_after_the_end_all_is_well() {
    let local = local();
    let groups = create_groups(&local, "/g", 100);
    let host = Host::open(&local, &[("flush_interval_ms", "50")]);
    let before = push_for(&host, &groups, Duration::from_secs(1));
    assert!(wait_for_all(&local, &host, &groups, before) < Duration::from_secs(2));
    let slow = local.add_fault(Rule::delay_ms(2000).operation("PutLogEvents"));
    let watch = |host: &Host| {
        let stats = host.stats();
        assert_eq!((stats.endpoint_paused, stats.requests_failed), (0, 0), "{}", host.json());
    };
    let mut meanwhile = 0;
    for _ in 0..10 {
        meanwhile += push_for(&host, &groups, Duration::from_secs(1));
        watch(&host);
    }
    let arrived = local.total_events();
    // The slots alone carry a batch of each of 8 targets in 2 s.
    assert!(arrived > 100 * before as u64, "nothing arrived meanwhile");
    local.remove_fault(slow);
    // The requests that are out are answered within 2 s; all others go at once.
    let waited = wait_for_all(&local, &host, &groups, before + meanwhile);
    assert!(waited < Duration::from_secs(4), "the last target waited {waited:?}");
    watch(&host);
    assert_eq!(local.total_events(), 100 * (before + meanwhile) as u64, "nothing was sent twice");
}

#[test]
fn targets_that_are_answered_after_5_s_deliver_everything_from_a_cold_start() {
    let local = local();
    let (slow, healthy) = (create_groups(&local, "/slow", 50), create_groups(&local, "/healthy", 20));
    local.add_fault(Rule::delay_ms(5000).group("/slow/*"));
    let host = Host::open(&local, &[("flush_interval_ms", "200"), ("concurrency", "2")]);
    let all: Vec<_> = slow.iter().chain(&healthy).cloned().collect();
    let events = push_for(&host, &all, Duration::from_secs(12));
    let waited = wait_for_all(&local, &host, &healthy, events);
    assert!(waited < Duration::from_secs(1), "the healthy targets waited {waited:?}");
    let waited = wait_for_all(&local, &host, &slow, 1);
    assert!(waited < Duration::from_secs(15), "the first events of the last slow target waited {waited:?}");
    wait_for_all(&local, &host, &slow, events);
    host.must_flush();
    assert_eq!((host.stats().pending_events, host.stats().endpoint_paused), (0, 0));
    assert_eq!(host.stats().delivered_events, 70 * events as u64);
}

#[test]
fn silent_targets_cost_healthy_ones_less_than_a_second_when_a_flush_sends_everything_at_once() {
    // The flush sends targets in the order in which they came: the healthy ones first, or last.
    for is_healthy_first in [false, true] {
        let local = local();
        let (silent, healthy) = (create_groups(&local, "/silent", 200), create_groups(&local, "/healthy", 5));
        local.add_fault(Rule::hang().group("/silent/*"));
        let host = Host::open(&local, &[("flush_interval_ms", "3600000"), ("concurrency", "2")]);
        let mut groups = vec![&silent, &healthy];
        groups.rotate_left(usize::from(is_healthy_first));
        groups.into_iter().flatten().for_each(|group| host.must_push(group, "s", "m"));
        let begin = Instant::now();
        assert_eq!(host.flush(0), CWL_ERR_TIMEOUT);
        wait_for_all(&local, &host, &healthy, 1);
        let waited = begin.elapsed();
        // Before the first answer, a request is slow after 240 ms. Then the healthy ones take turns with silent ones.
        assert!(waited < Duration::from_secs(1), "healthy first: {is_healthy_first}, {waited:?}");
        assert_eq!(host.shutdown(0), CWL_ERR_ABANDONED);
    }
}

/// Silent targets are pushed first, and nothing is warm. Returns the longest wait of an event of five healthy targets.
fn cold_start(silent: usize, concurrency: &str, flush_interval_ms: &str) -> Duration {
    let local = local();
    let (silent, healthy) = (create_groups(&local, "/silent", silent), create_groups(&local, "/healthy", 5));
    local.add_fault(Rule::hang().group("/silent/*"));
    let options = [("flush_interval_ms", flush_interval_ms), ("concurrency", concurrency)];
    let host = Host::open(&local, &options);
    silent.iter().for_each(|group| host.must_push(group, "s", "never answered"));
    thread::sleep(Duration::from_millis(300));
    let mut worst = Duration::ZERO;
    for number in 1..6 {
        let begin = Instant::now();
        healthy.iter().for_each(|group| host.must_push(group, "s", "m"));
        wait_for_all(&local, &host, &healthy, number);
        worst = worst.max(begin.elapsed());
        silent.iter().for_each(|group| host.must_push(group, "s", "never answered"));
        assert_eq!(host.stats().endpoint_paused, 0, "{}", host.json());
    }
    assert_eq!(host.shutdown(0), CWL_ERR_ABANDONED);
    worst
}

#[test]
fn silent_targets_that_come_first_cost_healthy_ones_less_than_a_second_from_a_cold_start() {
    for (silent, concurrency, flush_interval_ms) in
        [(50, "2", "20"), (200, "2", "20"), (200, "8", "20"), (200, "2", "1000")]
    {
        let worst = cold_start(silent, concurrency, flush_interval_ms);
        let flush_interval = Duration::from_millis(flush_interval_ms.parse().expect("a number"));
        assert!(
            worst < flush_interval + Duration::from_secs(1),
            "{silent} silent targets, concurrency {concurrency}, flush interval {flush_interval:?}: {worst:?}"
        );
    }
}
