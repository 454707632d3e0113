//! One bad event costs only itself: a batch that the service refuses for its content or size is halved until the refused
//! events stand alone.

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

const BAD: &str = "POISON";

/// Refuses every `PutLogEvents` whose body holds a bad event.
fn refuse(local: &Local, code: &str) {
    local.add_fault(Rule::error(code, 400).operation("PutLogEvents").body_contains(BAD));
}

/// An endpoint with the stream g/s, and a host whose batches are sealed by a flush only.
fn world(code: &str, options: &[(&str, &str)]) -> (Local, Host) {
    let local = local();
    local.create_stream("g", "s");
    refuse(&local, code);
    let host = Host::open(&local, &[&[("flush_interval_ms", "3600000")], options].concat());
    (local, host)
}

/// Messages of which those at the places in `bad` are refused.
fn messages(count: usize, bad: &[usize]) -> Vec<String> {
    let message =
        |place| if bad.contains(&place) { format!("{place} {BAD}") } else { format!("{place} good") };
    (0..count).map(message).collect()
}

fn good(messages: &[String]) -> Vec<String> {
    messages.iter().filter(|message| !message.contains(BAD)).cloned().collect()
}

fn refused_puts(local: &Local) -> usize {
    puts(local, "g").iter().filter(|request| !request.outcome.is_ok()).count()
}

#[test]
fn one_bad_event_of_five_thousand_is_dropped_alone_and_all_others_arrive_in_order() {
    for (code, compression) in [
        ("InvalidParameterException", "gzip"),
        ("InvalidParameterException", "none"),
        ("SerializationException", "gzip"),
        ("ValidationException", "gzip"),
        ("MalformedRequestException", "gzip"),
        ("NobodyKnowsThisException", "gzip"),
        ("NobodyKnowsThisException", "none"),
    ] {
        let (local, host) = world(code, &[("compression", compression)]);
        let pushed = messages(5000, &[1234]);
        pushed.iter().for_each(|message| host.must_push("g", "s", message));
        host.must_flush();
        let stats = host.stats();
        assert_eq!((stats.delivered_events, stats.dropped_events), (4999, 1), "{code}, {compression}");
        assert!(
            arrived(&local, "g", "s") == good(&pushed),
            "{code}, {compression}: not what was pushed, in order"
        );
        // log2(5000) is 12.3. An unknown refusal of an event that stands alone is confirmed once.
        assert!(
            refused_puts(&local) <= 15,
            "{code}, {compression}: {} refused requests",
            refused_puts(&local)
        );
        messages(100, &[]).iter().for_each(|message| host.must_push("g", "s", message));
        host.must_flush();
        assert_eq!(host.stats().delivered_events, 5099, "{code}: the target continues");
    }
}

#[test]
fn bad_events_anywhere_in_a_batch_are_dropped_and_no_other_event_is() {
    for bad in [&[0][..], &[999], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[3, 250, 251, 500, 998], &[499, 500]] {
        for code in ["InvalidParameterException", "NobodyKnowsThisException"] {
            let (local, host) = world(code, &[]);
            let pushed = messages(1000, bad);
            pushed.iter().for_each(|message| host.must_push("g", "s", message));
            host.must_flush();
            assert_eq!(host.stats().dropped_events, bad.len() as u64, "{code}: {bad:?}");
            assert!(
                arrived(&local, "g", "s") == good(&pushed),
                "{code}: {bad:?}: not what was pushed, in order"
            );
        }
    }
}

#[test]
fn an_event_that_is_refused_alone_for_an_unknown_reason_does_not_block_its_target() {
    let (local, host) = world("NobodyKnowsThisException", &[]);
    host.must_push("g", "s", BAD);
    assert_eq!(host.flush(300), CWL_ERR_TIMEOUT, "it is kept: perhaps the target is at fault");
    assert_eq!(host.stats().dropped_events, 0);
    let pushed = messages(100, &[]);
    pushed.iter().for_each(|message| host.must_push("g", "s", message));
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), pushed);
    assert_eq!((host.stats().delivered_events, host.stats().dropped_events), (100, 1));
}

#[test]
fn good_events_behind_hundreds_of_bad_ones_arrive() {
    let (local, host) = world("InvalidParameterException", &[]);
    let bad: Vec<usize> = (0..300).collect();
    let pushed = messages(600, &bad);
    pushed.iter().for_each(|message| host.must_push("g", "s", message));
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), good(&pushed));
    assert_eq!(host.stats().dropped_events, 300);
}

#[test]
fn a_target_that_is_refused_everything_for_an_unknown_reason_is_not_asked_once_for_each_event_and_loses_none()
{
    let (local, host) = world("OddException", &[]);
    let all: Vec<usize> = (0..10_000).collect();
    let pushed = messages(10_000, &all);
    pushed.iter().for_each(|message| host.must_push("g", "s", message));
    assert_eq!(host.flush(100), CWL_ERR_TIMEOUT);
    assert!(local.wait_until(SOON, |_| host.stats().targets_failing == 1), "{}", host.json());
    assert!(refused_puts(&local) <= 100, "{} requests", refused_puts(&local));
    local.clear_faults();
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), pushed);
    assert_eq!(host.stats().dropped_events, 0);
}

#[test]
fn a_body_that_is_too_large_on_the_wire_is_halved_and_the_size_that_passes_is_remembered() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::empty(413).operation("PutLogEvents").body_over_bytes(1_200_000));
    let host = Host::open(&local, &[("flush_interval_ms", "3600000"), ("compression", "none")]);
    let push_large = || {
        for _ in 0..40 {
            host.must_push("g", "s", vec![0x01; 26_000]);
        }
        host.must_flush();
    };
    push_large();
    messages(10, &[]).iter().for_each(|message| host.must_push("g", "s", message));
    host.must_flush();
    assert_eq!((host.stats().delivered_events, host.stats().dropped_events), (50, 0));
    let refused = refused_puts(&local);
    push_large();
    assert_eq!(host.stats().delivered_events, 90);
    assert_eq!(refused_puts(&local), refused, "a size that was refused is not sent again");
}

#[test]
fn a_metric_document_that_is_too_long_is_refused_and_never_cut() {
    for oversize in ["truncate", "split", "reject"] {
        let (_local, host) = world("InvalidParameterException", &[("oversize", oversize)]);
        let document = format!(r#"{{"_aws":{{"CloudWatchMetrics":[]}},"text":"{}"}}"#, "x".repeat(1_200_000));
        assert_eq!(host.push("g", "s", &document), CWL_ERR_TOO_LARGE);
        assert!(last_error().contains("cannot be cut or split"), "{}", last_error());
        assert_eq!(host.stats().accepted_events, 0);
    }
}

#[test]
fn only_a_document_with_its_metadata_at_the_root_is_sent_as_metrics() {
    let (local, host) = world("InvalidParameterException", &[]);
    let lines = [
        "a plain line",
        r#"{"msg":"policy","x":{"CloudWatchMetrics":1}}"#,
        r#"{"msg":"policy","x":{"_aws":{"CloudWatchMetrics":[]}}}"#,
        "another line",
    ];
    lines.iter().for_each(|line| host.must_push("g", "s", line));
    host.must_flush();
    assert_eq!(arrived(&local, "g", "s"), lines);
    let requests = puts(&local, "g");
    assert!(requests.len() == 1 && !requests[0].emf, "one request, in order: {requests:?}");
}
