//! Every limit of the service at its edge. The endpoint refuses what is beyond it, so each test would also fail by
//! a request that was not taken.

use ::cwl_sink::ffi::cwl_status::*;

use crate::host::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A host that seals a batch only when it is full.
fn patient(local: &cwl_local::Local) -> Host {
    Host::open(local, &[("flush_interval_ms", "3600000"), ("compression", "none")])
}

#[test]
fn a_batch_of_exactly_1_048_576_counted_bytes_goes_out_whole_and_one_more_byte_starts_another() {
    let local = local();
    let host = patient(&local);
    // 1,023 events of 1,024 counted bytes, and a last one that fills the batch to the byte, or passes it by one.
    for _ in 0..1023 {
        host.must_push("whole", "s", "x".repeat(1024 - 26));
        host.must_push("split", "s", "x".repeat(1024 - 26));
    }
    host.must_push("whole", "s", "y".repeat(1024 - 26));
    host.must_push("split", "s", "y".repeat(1025 - 26));
    host.must_push("whole", "s", "z");
    host.must_flush();
    let sizes = |group: &str| taken(&local, group).iter().map(|r| r.counted_bytes).collect::<Vec<_>>();
    assert_eq!(sizes("whole"), [1_048_576, 27]);
    assert_eq!(sizes("split"), [1023 * 1024, 1025]);
}

#[test]
fn a_full_batch_goes_out_at_once_without_waiting_for_the_flush_interval() {
    let local = local();
    let host = patient(&local);
    for _ in 0..1024 {
        host.must_push("g", "s", "x".repeat(1024 - 26));
    }
    assert!(local.wait_until(SOON, |local| local.event_count("g") == 1024), "{}", host.json());
}

#[test]
fn a_batch_of_10_000_events_goes_out_whole_and_one_more_starts_another() {
    let local = local();
    let host = patient(&local);
    for number in numbers(10_001) {
        host.must_push("g", "s", number);
    }
    host.must_flush();
    let events: Vec<_> = taken(&local, "g").iter().map(|request| request.events).collect();
    assert_eq!(events, [10_000, 1]);
    assert_eq!(arrived(&local, "g", "s"), numbers(10_001));
}

#[test]
fn events_24_hours_apart_go_out_together_and_a_millisecond_more_splits_them() {
    let local = local();
    let host = patient(&local);
    let now = now_ms();
    for (group, span) in [("together", DAY_MS), ("apart", DAY_MS + 1)] {
        assert_eq!(host.push_at(group, "s", now - span, "old"), CWL_OK);
        assert_eq!(host.push_at(group, "s", now, "new"), CWL_OK);
        // The other way round: the older one comes last.
        assert_eq!(host.push_at(group, "back", now, "new"), CWL_OK);
        assert_eq!(host.push_at(group, "back", now - span, "old"), CWL_OK);
    }
    host.must_flush();
    let requests = |group: &str, stream: &str| {
        taken(&local, group).iter().filter(|r| r.stream == stream).map(|r| r.events).collect::<Vec<_>>()
    };
    assert_eq!((requests("together", "s"), requests("together", "back")), (vec![2], vec![2]));
    assert_eq!((requests("apart", "s"), requests("apart", "back")), (vec![1, 1], vec![1, 1]));
}

#[test]
fn events_pushed_out_of_order_arrive_sorted_by_time_and_stable() {
    for compression in ["gzip", "none"] {
        let local = local();
        let host = Host::open(&local, &[("flush_interval_ms", "3600000"), ("compression", compression)]);
        let now = now_ms();
        let mut pushed: Vec<(i64, String)> =
            (0..2000).map(|n| (now - (n * 7919) % 50, format!("{n} \"\n\u{1F600}"))).collect();
        for (timestamp_ms, message) in &pushed {
            assert_eq!(host.push_at("g", "s", *timestamp_ms, message), CWL_OK);
        }
        host.must_flush();
        pushed.sort_by_key(|(timestamp_ms, _)| *timestamp_ms);
        let arrived: Vec<_> =
            local.arrival("g", "s").into_iter().map(|e| (e.timestamp_ms, e.message)).collect();
        assert_eq!(arrived, pushed);
        assert_eq!(taken(&local, "g").len(), 1, "one batch");
    }
}

#[test]
fn a_message_of_1_048_550_bytes_passes_and_one_more_byte_is_refused_at_push() {
    let local = local();
    let host = Host::open(&local, &[("flush_interval_ms", "3600000"), ("oversize", "reject")]);
    for (group, character, times) in
        [("ascii", "x", 1_048_550), ("control", "\u{1}", 1_048_550), ("two", "ü", 524_275)]
    {
        let message = character.repeat(times);
        assert_eq!(message.len(), 1_048_550);
        host.must_push(group, "s", &message);
        assert_eq!(host.push(group, "s", message + "x"), CWL_ERR_TOO_LARGE);
        assert!(last_error().contains("1048551") && last_error().contains("1048550"), "{}", last_error());
    }
    // Each byte that is not UTF-8 counts as the three of U+FFFD.
    assert_eq!(host.push("invalid", "s", vec![0xFF; 349_517]), CWL_ERR_TOO_LARGE);
    host.must_push("invalid", "s", vec![0xFF; 349_516]);
    host.must_flush();
    for group in ["ascii", "control", "two", "invalid"] {
        assert_eq!(local.event_count(group), 1, "{group}");
    }
    assert_eq!(host.stats().delivered_events, 4);
}

#[test]
fn events_too_old_or_too_far_ahead_for_the_service_are_refused_with_their_own_codes() {
    let local = local();
    let host = patient(&local);
    let now = now_ms();
    assert_eq!(host.push_at("g", "s", now - 14 * DAY_MS - 60_000, "m"), CWL_ERR_TOO_OLD);
    assert!(last_error().contains("14 days"), "{}", last_error());
    assert_eq!(host.push_at("g", "s", now + 2 * 3_600_000 + 60_000, "m"), CWL_ERR_TOO_NEW);
    assert!(last_error().contains("2 hours"), "{}", last_error());
    assert_eq!(host.push_at("g", "s", now - 14 * DAY_MS + 60_000, "m"), CWL_OK);
    assert_eq!(host.push_at("g", "s", now + 2 * 3_600_000 - 60_000, "m"), CWL_OK);
    host.must_flush();
    assert_eq!(local.event_count("g"), 2);
    assert_eq!(host.stats().rejected_events, 0);
}

#[test]
fn events_that_the_service_rejects_by_age_are_counted_as_rejected_and_the_others_as_delivered() {
    let local = local();
    let reject = cwl_local::Reject { too_old: 2, too_new: 1, expired: 0 };
    local.add_fault(cwl_local::Rule::reject(reject).operation("PutLogEvents"));
    let host = patient(&local);
    for number in numbers(10) {
        host.must_push("g", "s", number);
    }
    host.must_flush();
    let stats = host.stats();
    assert_eq!((stats.delivered_events, stats.rejected_events, stats.pending_events), (7, 3, 0));
    assert_eq!(local.event_count("g"), 7);
}
