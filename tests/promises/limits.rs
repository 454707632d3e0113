//! The limits of the service, each tested at its edge. The endpoint refuses a request beyond a limit, which fails the
//! test too.

use ::cwl_sink::ffi::cwl_status::*;

use crate::host::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Opens a host that seals a batch only when it is full or flushed.
fn open_without_flush_interval(local: &cwl_local::Local) -> Host {
    Host::open(local, &[("flush_interval_ms", "3600000"), ("compression", "none")])
}

#[test]
fn a_batch_has_at_most_1_048_576_counted_bytes_and_one_more_byte_starts_another() {
    let local = local();
    let host = open_without_flush_interval(&local);
    // 1,023 events of 1,024 counted bytes, then one that fills the batch exactly or is one byte too long.
    for _ in 0..1023 {
        host.must_push("whole", "s", "x".repeat(1024 - 26));
        host.must_push("split", "s", "x".repeat(1024 - 26));
    }
    host.must_push("whole", "s", "y".repeat(1024 - 26));
    host.must_push("split", "s", "y".repeat(1025 - 26));
    host.must_push("whole", "s", "z");
    host.must_flush();
    let sizes =
        |group: &str| accepted_puts(&local, group).iter().map(|r| r.counted_bytes).collect::<Vec<_>>();
    assert_eq!(sizes("whole"), [1_048_576, 27]);
    assert_eq!(sizes("split"), [1023 * 1024, 1025]);
}

#[test]
fn a_full_batch_is_sent_without_waiting_for_the_flush_interval() {
    let local = local();
    let host = open_without_flush_interval(&local);
    for _ in 0..1024 {
        host.must_push("g", "s", "x".repeat(1024 - 26));
    }
    host.wait_for_events(&local, "g", 1024);
}

#[test]
fn a_batch_has_at_most_10_000_events_and_one_more_event_starts_another() {
    let local = local();
    let host = open_without_flush_interval(&local);
    for number in numbers(10_001) {
        host.must_push("g", "s", number);
    }
    host.must_flush();
    let events: Vec<_> = accepted_puts(&local, "g").iter().map(|request| request.events).collect();
    assert_eq!(events, [10_000, 1]);
    assert_eq!(arrived(&local, "g", "s"), numbers(10_001));
}

#[test]
fn a_batch_spans_at_most_24_hours_and_one_more_millisecond_starts_another() {
    let local = local();
    let host = open_without_flush_interval(&local);
    let now = now_ms();
    for (group, span) in [("together", DAY_MS), ("apart", DAY_MS + 1)] {
        assert_eq!(host.push_at(group, "s", now - span, "old"), CWL_OK);
        assert_eq!(host.push_at(group, "s", now, "new"), CWL_OK);
        // The same events, the older one last.
        assert_eq!(host.push_at(group, "back", now, "new"), CWL_OK);
        assert_eq!(host.push_at(group, "back", now - span, "old"), CWL_OK);
    }
    host.must_flush();
    let requests = |group: &str, stream: &str| {
        accepted_puts(&local, group)
            .iter()
            .filter(|r| r.stream == stream)
            .map(|r| r.events)
            .collect::<Vec<_>>()
    };
    assert_eq!((requests("together", "s"), requests("together", "back")), (vec![2], vec![2]));
    assert_eq!((requests("apart", "s"), requests("apart", "back")), (vec![1, 1], vec![1, 1]));
}

#[test]
fn events_pushed_out_of_order_arrive_in_a_stable_order_by_time() {
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
        assert_eq!(accepted_puts(&local, "g").len(), 1, "one batch");
    }
}

#[test]
fn a_message_has_at_most_1_048_550_bytes_and_one_more_byte_is_refused_at_the_push() {
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
    // A byte that is not UTF-8 becomes U+FFFD, which has three bytes.
    assert_eq!(host.push("invalid", "s", vec![0xFF; 349_517]), CWL_ERR_TOO_LARGE);
    host.must_push("invalid", "s", vec![0xFF; 349_516]);
    host.must_flush();
    for group in ["ascii", "control", "two", "invalid"] {
        assert_eq!(local.event_count(group), 1, "{group}");
    }
    assert_eq!(host.stats().delivered_events, 4);
}

#[test]
fn an_event_that_is_too_old_or_too_new_for_the_service_is_refused_with_its_own_status() {
    let local = local();
    let host = open_without_flush_interval(&local);
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
fn events_that_the_service_rejects_for_their_age_count_as_rejected_and_the_others_as_delivered() {
    let local = local();
    let reject = cwl_local::Reject { too_old: 2, too_new: 1, expired: 0 };
    local.add_fault(cwl_local::Rule::reject(reject).operation("PutLogEvents"));
    let host = open_without_flush_interval(&local);
    for number in numbers(10) {
        host.must_push("g", "s", number);
    }
    host.must_flush();
    let stats = host.stats();
    assert_eq!((stats.delivered_events, stats.rejected_events, stats.pending_events), (7, 3, 0));
    assert_eq!(local.event_count("g"), 7);
}
