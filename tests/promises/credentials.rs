//! Failures that are no target's own: credentials and the clock. Delivery pauses for all targets, one request at a time
//! probes, and when a probe succeeds all targets go on.

use cwl_local::Rule;

use crate::host::*;

#[test]
fn without_valid_credentials_one_request_probes_for_all_targets() {
    for code in
        ["UnrecognizedClientException", "ExpiredTokenException", "MissingAuthenticationTokenException"]
    {
        let local = local();
        local.create_group("g");
        local.add_fault(Rule::error(code, 400));
        let host = Host::open(&local, &[("flush_interval_ms", "1"), ("concurrency", "4")]);
        for target in 0..100 {
            host.must_push("g", &format!("s{target}"), "m");
        }
        // Up to four requests are out at first. Then one at a time follows, 200, 400, 800 ms … apart.
        assert!(local.wait_until(SOON, |local| local.count("*", "*") >= 5));
        let stats = host.stats();
        assert_eq!(
            (stats.endpoint_paused, stats.targets_failing),
            (1, 0),
            "{code}: no target fails by itself"
        );
        assert!(stats.requests <= 12, "{code}: {} requests for 100 targets", stats.requests);
        local.clear_faults();
        host.must_flush();
        assert_eq!((local.event_count("g"), host.stats().endpoint_paused), (100, 0), "{code}");
    }
}

#[test]
fn a_wrong_secret_keeps_the_events_and_the_json_names_the_error() {
    let local = local();
    let host = Host::open(&local, &[("secret_access_key", "wrong"), ("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| local.count("*", "*") >= 3));
    let stats = host.stats();
    assert_eq!((stats.pending_events, stats.endpoint_paused), (1, 1));
    assert!(host.json().contains("InvalidSignatureException"), "{}", host.json());
}

#[test]
fn a_clock_that_is_wrong_by_more_than_15_minutes_is_corrected_from_the_answers() {
    for offset_minutes in [-90, -20, 20, 90] {
        let local = local();
        local.set_clock_offset_ms(offset_minutes * 60_000);
        let host = Host::open(&local, &[("flush_interval_ms", "1")]);
        for number in numbers(10) {
            host.must_push("g", "s", number);
            host.must_flush();
        }
        assert_eq!(local.event_count("g"), 10, "{offset_minutes} minutes");
        let failed = host.stats().requests_failed;
        // One PutLogEvents fails for the clock and one for the missing group, but not every request.
        assert!(failed <= 3, "{offset_minutes} minutes: {failed} requests failed");
    }
}

#[test]
fn a_clock_that_steps_while_the_sink_is_open_is_corrected_again() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    for offset_minutes in [0, 40, -40, 0] {
        local.set_clock_offset_ms(offset_minutes * 60_000);
        host.must_push("g", "s", "m");
        host.must_flush();
    }
    assert_eq!(local.event_count("g"), 4);
}
