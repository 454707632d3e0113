//! The clock of the host may be wrong, and the answers of the service show it. Events without a timestamp and the ages of
//! events follow the time of the service then.

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The longest time between a push and the look at its timestamp.
const SLACK_MS: i64 = 30_000;

/// Opens a host whose clock is wrong: the clock of the service is `offset_ms` ahead of it.
fn open_with_wrong_clock(offset_ms: i64) -> (Local, Host) {
    let local = local();
    local.create_stream("g", "s");
    local.set_clock_offset_ms(offset_ms);
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    (local, host)
}

/// Pushes one event without a timestamp and waits for its outcome. Returns how far its timestamp is ahead of the clock of
/// the host, or `None` if the service did not take the event.
fn stamp_of_push(local: &Local, host: &Host, message: &str) -> Option<i64> {
    host.must_push("g", "s", message);
    host.must_flush();
    let event = local.arrival("g", "s").into_iter().find(|event| event.message == message)?;
    Some(event.timestamp_ms - now_ms())
}

/// Checks that an event without a timestamp gets the time of a service whose clock is `offset_ms` ahead.
#[track_caller]
fn assert_stamped(local: &Local, host: &Host, message: &str, offset_ms: i64) {
    let stamp = stamp_of_push(local, host, message);
    let is_right = stamp.is_some_and(|stamp| (stamp - offset_ms).abs() < SLACK_MS);
    assert!(is_right, "{message}: {stamp:?} ms ahead, not {offset_ms}: {}", host.json());
}

#[test]
fn a_clock_that_the_service_refuses_is_corrected_for_events_without_a_timestamp() {
    for offset_ms in [-3 * HOUR_MS, 3 * HOUR_MS, -20 * DAY_MS, 20 * DAY_MS] {
        let (local, host) = open_with_wrong_clock(offset_ms);
        // The error of the clock is not known yet.
        let _ = stamp_of_push(&local, &host, "first");
        for number in numbers(5) {
            assert_stamped(&local, &host, &number, offset_ms);
        }
        let stats = host.stats();
        assert!(stats.rejected_events <= 1, "{offset_ms} ms: {} rejected", stats.rejected_events);
        assert!(stats.requests_failed <= 1, "{offset_ms} ms: {} requests failed", stats.requests_failed);
    }
}

#[test]
fn a_clock_that_the_service_tolerates_is_corrected_after_two_answers() {
    for offset_ms in [-10 * MINUTE_MS, 10 * MINUTE_MS] {
        let (local, host) = open_with_wrong_clock(offset_ms);
        assert_stamped(&local, &host, "first", 0);
        assert_stamped(&local, &host, "second", 0);
        assert_stamped(&local, &host, "third", offset_ms);
    }
}

#[test]
fn a_clock_that_is_a_few_minutes_wrong_is_left_alone() {
    let (local, host) = open_with_wrong_clock(4 * MINUTE_MS);
    for number in numbers(5) {
        assert_stamped(&local, &host, &number, 0);
    }
}

#[test]
fn the_ages_of_events_are_judged_by_the_corrected_clock() {
    let (local, host) = open_with_wrong_clock(-20 * DAY_MS);
    let _ = stamp_of_push(&local, &host, "first");
    let service_ms = now_ms() - 20 * DAY_MS;
    assert_eq!(host.push_at("g", "s", service_ms - 13 * DAY_MS, "old"), CWL_OK, "{}", last_error());
    assert_eq!(host.push_at("g", "s", service_ms - 15 * DAY_MS, "m"), CWL_ERR_TOO_OLD);
    assert_eq!(host.push_at("g", "s", now_ms(), "m"), CWL_ERR_TOO_NEW);
    let rejected = host.stats().rejected_events;
    host.must_flush();
    assert_eq!(host.stats().rejected_events, rejected, "what was accepted is not refused later");
}

#[test]
fn the_correction_ends_when_the_clock_is_right_again() {
    let (local, host) = open_with_wrong_clock(3 * HOUR_MS);
    let _ = stamp_of_push(&local, &host, "first");
    assert_stamped(&local, &host, "corrected", 3 * HOUR_MS);
    local.set_clock_offset_ms(0);
    let _ = stamp_of_push(&local, &host, "right again");
    assert_stamped(&local, &host, "last", 0);
}

#[test]
fn the_date_of_a_proxy_does_not_move_the_clock() {
    for rule in [Rule::html(502), Rule::empty(502), Rule::html(200)] {
        let name = format!("{rule:?}");
        let (local, host) = open_with_wrong_clock(0);
        assert_stamped(&local, &host, "before", 0);
        local.add_fault(Rule::date_offset_ms(-20 * DAY_MS).count(1));
        local.add_fault(rule.count(1));
        assert_stamped(&local, &host, "refused once", 0);
        assert_stamped(&local, &host, "after", 0);
        let failed = host.stats().requests_failed;
        assert_eq!(failed, 1, "{name}: a request was signed with the time of the proxy");
    }
}

#[test]
fn the_date_that_a_proxy_writes_into_every_answer_does_not_move_the_clock() {
    for date_offset_ms in [-20 * DAY_MS, -3 * HOUR_MS, 3 * HOUR_MS] {
        let (local, host) = open_with_wrong_clock(0);
        local.add_fault(Rule::date_offset_ms(date_offset_ms));
        for number in numbers(5) {
            assert_stamped(&local, &host, &number, 0);
        }
        assert_eq!(host.stats().requests_failed, 0, "{date_offset_ms} ms");
    }
}

#[test]
fn an_old_event_that_is_read_again_does_not_date_the_live_events_after_it() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    let now = now_ms();
    for (given, follows) in
        [(now - 13 * DAY_MS, 0), (now - 2 * MINUTE_MS, 0), (now + HOUR_MS, 0), (now - 2000, -2000)]
    {
        assert_eq!(host.push_at("g", "s", given, "given"), CWL_OK);
        let stamp = stamp_of_push(&local, &host, &format!("after {given}"));
        let is_right = stamp.is_some_and(|stamp| (now_ms() + stamp - now - follows).abs() < SLACK_MS);
        assert!(is_right, "after an event at {} ms: {stamp:?}", given - now);
    }
    assert_eq!(host.push_at("h", "s", now - 2000, "given"), CWL_OK);
    host.must_push("h", "s", "follows");
    host.must_flush();
    assert!(
        local.events("h", "s").iter().all(|event| event.timestamp_ms == now - 2000),
        "the same line of text"
    );
}
