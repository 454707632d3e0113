//! Every limit of `PutLogEvents` at its edge: the last value that is taken and the first that is not.

use super::*;
use crate::limits::HOUR_MS;
use serde_json::{Value, json};

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

/// Puts into group `g`, stream `s`, which are there; the group keeps events for `retention_days`.
fn put_with(
    body: &Value,
    retention_days: Option<u32>,
    forced: Reject,
) -> (Result<Value, ServiceError>, usize) {
    let mut kept = 0;
    let mut answers = [false, true].map(|discard| {
        let mut store = Store::default();
        store.ensure_stream("g", "s", NOW);
        store.ensure_group("g", NOW).retention_days = retention_days;
        let answer = Batch::parse(body.to_string().as_bytes(), discard)
            .and_then(|batch| batch.take(&mut store, NOW, forced))
            .map(|(json, taken)| (serde_json::from_slice::<Value>(&json).unwrap(), taken));
        let stream = store.stream("g", "s").unwrap();
        let counted = answer.as_ref().map_or(0, |(_, taken)| taken.events);
        assert_eq!(stream.count, counted, "the stream counts what the answer says was taken");
        if !discard {
            kept = stream.arrived().len();
            assert_eq!(kept, counted, "what was taken is kept");
        }
        answer.map(|(json, _)| json)
    });
    assert_eq!(answers[0], answers[1], "counting without keeping answers the same");
    (std::mem::replace(&mut answers[0], Ok(Value::Null)), kept)
}

fn put(body: &Value) -> Result<Value, ServiceError> {
    put_with(body, None, Reject::default()).0
}

fn body(events: Vec<Value>) -> Value {
    json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events})
}

fn at(timestamps: &[i64]) -> Value {
    body(timestamps.iter().map(|at| json!({"timestamp": at, "message": "m"})).collect())
}

fn of_bytes(sizes: &[usize]) -> Value {
    body(sizes.iter().map(|bytes| json!({"timestamp": NOW, "message": "x".repeat(*bytes)})).collect())
}

#[track_caller]
fn refused(body: &Value, text: &str) {
    let error = put(body).expect_err("it was taken");
    assert_eq!((error.status, error.code.as_ref()), (400, "InvalidParameterException"));
    assert!(error.message.contains(text), "{}", error.message);
}

#[test]
fn a_batch_has_1_to_10000_events() {
    refused(&body(vec![]), "'logEvents'");
    assert_eq!(put(&at(&[NOW])), Ok(json!({})));
    assert_eq!(put(&at(&[NOW; 10_000])), Ok(json!({})));
    refused(&at(&[NOW; 10_001]), "less than or equal to 10000");
}

#[test]
fn a_lone_message_may_have_1048550_bytes() {
    assert_eq!(put(&of_bytes(&[1_048_550])), Ok(json!({})));
    refused(&of_bytes(&[1_048_551]), "Upload too large: 1048577 bytes exceeds limit of 1048576");
}

#[test]
fn every_event_costs_26_bytes_besides_its_message() {
    assert_eq!(put(&of_bytes(&[1_048_576 - 2 * 26 - 1, 1])), Ok(json!({})));
    refused(&of_bytes(&[1_048_576 - 2 * 26, 1]), "Upload too large");
}

#[test]
fn bytes_are_counted_as_utf8_and_not_as_json() {
    let message = |text: &str, count| body(vec![json!({"timestamp": NOW, "message": text.repeat(count)})]);
    // A newline is two bytes of JSON and one of the message.
    assert_eq!(put(&message("\n", 1_048_550)), Ok(json!({})));
    assert_eq!(put(&message("ä", 524_275)), Ok(json!({})));
    refused(&message("ä", 524_276), "Upload too large");
}

#[test]
fn an_empty_message_is_refused_and_named() {
    let events = vec![json!({"timestamp": NOW, "message": "m"}), json!({"timestamp": NOW, "message": ""})];
    refused(&body(events), "'logEvents.2.member.message'");
}

#[test]
fn timestamps_are_0_or_more_and_in_order() {
    assert!(put(&at(&[0])).is_ok());
    refused(&at(&[-1]), "'logEvents.1.member.timestamp'");
    assert_eq!(put(&at(&[NOW, NOW, NOW + 1])), Ok(json!({})));
    refused(&at(&[NOW, NOW - 1]), "must be in chronological order.");
}

#[test]
fn names_are_checked_and_must_exist() {
    let names = |group: &str, stream: &str| json!({"logGroupName": group, "logStreamName": stream, "logEvents": [{"timestamp": NOW, "message": "m"}]});
    refused(&names("g g", "s"), "'logGroupName'");
    refused(&names("g", "s:s"), "'logStreamName'");
    assert_eq!(put(&names("other", "s")), Err(ServiceError::no_group()));
    assert_eq!(put(&names("g", "other")), Err(ServiceError::no_stream()));
}

#[test]
fn what_is_missing_is_named() {
    refused(&json!({"logStreamName": "s", "logEvents": []}), "'logGroupName'");
    refused(&json!({"logGroupName": "g", "logEvents": []}), "'logStreamName'");
    refused(&json!({"logGroupName": "g", "logStreamName": "s"}), "'logEvents'");
    refused(&body(vec![json!({"message": "m"})]), "member.timestamp'");
    refused(&body(vec![json!({"timestamp": NOW})]), "member.message'");
}

#[test]
fn what_is_not_json_of_the_right_types_is_a_serialization_error() {
    for bad in [
        &b"{"[..],
        b"[]",
        b"{\"logGroupName\":1}",
        b"{\"logGroupName\":\"\xff\"}",
        b"{\"logGroupName\":\"\\ud800\"}",
    ] {
        let error = Batch::parse(bad, false).err().expect("it was read");
        assert_eq!(error.code, "SerializationException");
    }
    for message in [&b"\"\xff\""[..], b"\"\\ud800\"", b"\"a\nb\"", b"1"] {
        let json = [&br#"{"logEvents":[{"timestamp":1,"message":"#[..], message, b"}]}"].concat();
        for discard in [false, true] {
            let error = Batch::parse(&json, discard).err().expect("it was read");
            assert_eq!(error.code, "SerializationException");
        }
    }
}

#[test]
fn the_valid_events_may_span_24_hours() {
    assert_eq!(put(&at(&[NOW - 24 * HOUR_MS, NOW])), Ok(json!({})));
    refused(&at(&[NOW - 24 * HOUR_MS - 1, NOW]), "cannot span more than 24 hours.");
}

#[test]
fn events_that_are_dropped_do_not_count_for_the_span() {
    let timestamps = [NOW - 15 * DAY_MS, NOW - HOUR_MS, NOW, NOW + 3 * HOUR_MS];
    let rejected =
        json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3}});
    assert_eq!(put_with(&at(&timestamps), None, Reject::default()), (Ok(rejected), 2));
}

#[test]
fn an_event_is_too_old_past_14_days() {
    assert_eq!(put(&at(&[NOW - 14 * DAY_MS])), Ok(json!({})));
    let rejected = json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}});
    assert_eq!(put_with(&at(&[NOW - 14 * DAY_MS - 1]), None, Reject::default()), (Ok(rejected), 0));
}

#[test]
fn an_event_is_too_new_past_2_hours() {
    assert_eq!(put(&at(&[NOW + 2 * HOUR_MS])), Ok(json!({})));
    let rejected = json!({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 1}});
    let timestamps = [NOW + 2 * HOUR_MS, NOW + 2 * HOUR_MS + 1];
    assert_eq!(put_with(&at(&timestamps), None, Reject::default()), (Ok(rejected), 1));
}

#[test]
fn an_event_is_expired_past_the_retention_of_its_group() {
    let none = Reject::default();
    assert_eq!(put_with(&at(&[NOW - 3 * DAY_MS]), Some(3), none), (Ok(json!({})), 1));
    let rejected = json!({"rejectedLogEventsInfo": {"expiredLogEventEndIndex": 1}});
    assert_eq!(put_with(&at(&[NOW - 3 * DAY_MS - 1, NOW]), Some(3), none), (Ok(rejected), 1));
    let both = json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}});
    assert_eq!(put_with(&at(&[NOW - 15 * DAY_MS, NOW - 4 * DAY_MS, NOW]), Some(3), none), (Ok(both), 1));
}

#[test]
fn a_forced_rejection_takes_its_events_off_the_matching_ends() {
    let forced = |too_old, too_new, expired| {
        let (answer, kept) = put_with(&at(&[NOW; 5]), None, Reject { too_old, too_new, expired });
        (answer.unwrap()["rejectedLogEventsInfo"].clone(), kept)
    };
    assert_eq!(forced(1, 0, 0), (json!({"tooOldLogEventEndIndex": 1}), 4));
    assert_eq!(forced(0, 2, 0), (json!({"tooNewLogEventStartIndex": 3}), 3));
    assert_eq!(forced(0, 0, 2), (json!({"expiredLogEventEndIndex": 2}), 3));
    let all =
        json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4});
    assert_eq!(forced(1, 1, 1), (all, 2));
    assert_eq!(forced(9, 0, 0), (json!({"tooOldLogEventEndIndex": 5}), 0));
}

#[test]
fn a_refused_entity_is_named_while_the_events_are_taken() {
    let with = |keys: Value, attributes: Value| {
        let mut body = at(&[NOW]);
        body["entity"] = json!({"keyAttributes": keys, "attributes": attributes});
        put_with(&body, None, Reject::default())
    };
    let refused = |name| (Ok(json!({"rejectedEntityInfo": {"errorType": name}})), 1);
    let keys = json!({"Type": "Service", "Name": "n"});
    let attributes =
        |count| (0..count).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>();
    assert_eq!(with(keys.clone(), json!(attributes(10))), (Ok(json!({})), 1));
    assert_eq!(with(keys, json!(attributes(11))), refused("InvalidAttributes"));
    assert_eq!(with(json!({"Type": "Service"}), json!({})), refused("InvalidKeyAttributes"));
    assert_eq!(with(json!({"Type": "Service", "Colour": "n"}), json!({})), refused("InvalidKeyAttributes"));
}
