//! Every limit of `PutLogEvents`: the last value that is accepted and the first that is not.

use super::*;
use crate::limits::{DAY_MS, HOUR_MS};
use serde_json::{Value, json};

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

/// The result of one call.
#[derive(Debug, PartialEq)]
struct Put {
    result: Result<Value, ServiceError>,
    /// Number of events that the stream keeps.
    kept: usize,
}

fn accepted(response: Value, kept: usize) -> Put {
    Put { result: Ok(response), kept }
}

/// Puts the batch into the existing stream `s` of group `g`. The group keeps events for `retention_days`.
fn put_with(body: &Value, retention_days: Option<u32>, forced: Reject) -> Put {
    let mut kept = 0;
    let [kept_result, discarded_result] = [false, true].map(|discard| {
        let mut store = Store::default();
        store.ensure_stream("g", "s", NOW);
        store.ensure_group("g", NOW).retention_days = retention_days;
        let output = Batch::parse(body.to_string().as_bytes(), discard)
            .and_then(|batch| batch.put(&mut store, NOW, forced));
        let stream = store.stream("g", "s").unwrap();
        let accepted = output.as_ref().map_or(0, |output| output.accepted.events);
        assert_eq!(stream.count, accepted, "the stream does not count the accepted events");
        if !discard {
            kept = stream.in_arrival_order().len();
            assert_eq!(kept, accepted, "the stream does not keep the accepted events");
        }
        output.map(|output| serde_json::from_slice::<Value>(&output.body).unwrap())
    });
    assert_eq!(kept_result, discarded_result, "the response depends on discard");
    Put { result: kept_result, kept }
}

fn put(body: &Value) -> Result<Value, ServiceError> {
    put_with(body, None, Reject::default()).result
}

fn body(events: Vec<Value>) -> Value {
    json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events})
}

fn at(timestamps: &[i64]) -> Value {
    body(timestamps.iter().map(|timestamp| json!({"timestamp": timestamp, "message": "m"})).collect())
}

fn of_bytes(sizes: &[usize]) -> Value {
    body(sizes.iter().map(|bytes| json!({"timestamp": NOW, "message": "x".repeat(*bytes)})).collect())
}

#[track_caller]
fn assert_refused(body: &Value, text: &str) {
    let error = put(body).expect_err("the batch was accepted");
    assert_eq!((error.status, error.code.as_ref()), (400, "InvalidParameterException"));
    assert!(error.message.contains(text), "{}", error.message);
}

#[test]
fn a_batch_has_1_to_10000_events() {
    assert_refused(&body(vec![]), "'logEvents'");
    assert_eq!(put(&at(&[NOW])), Ok(json!({})));
    assert_eq!(put(&at(&[NOW; 10_000])), Ok(json!({})));
    assert_refused(&at(&[NOW; 10_001]), "less than or equal to 10000");
}

#[test]
fn a_lone_message_may_have_1048550_bytes() {
    assert_eq!(put(&of_bytes(&[1_048_550])), Ok(json!({})));
    assert_refused(&of_bytes(&[1_048_551]), "Upload too large: 1048577 bytes exceeds limit of 1048576");
}

#[test]
fn every_event_costs_26_bytes_besides_its_message() {
    assert_eq!(put(&of_bytes(&[1_048_576 - 2 * 26 - 1, 1])), Ok(json!({})));
    assert_refused(&of_bytes(&[1_048_576 - 2 * 26, 1]), "Upload too large");
}

#[test]
fn bytes_are_counted_as_utf8_and_not_as_json() {
    let message = |text: &str, count| body(vec![json!({"timestamp": NOW, "message": text.repeat(count)})]);
    // A newline is two bytes of JSON and one of the message.
    assert_eq!(put(&message("\n", 1_048_550)), Ok(json!({})));
    assert_eq!(put(&message("ä", 524_275)), Ok(json!({})));
    assert_refused(&message("ä", 524_276), "Upload too large");
}

#[test]
fn an_empty_message_is_refused_and_named() {
    let events = vec![json!({"timestamp": NOW, "message": "m"}), json!({"timestamp": NOW, "message": ""})];
    assert_refused(&body(events), "'logEvents.2.member.message'");
}

#[test]
fn timestamps_are_0_or_more_and_in_order() {
    assert!(put(&at(&[0])).is_ok());
    assert_refused(&at(&[-1]), "'logEvents.1.member.timestamp'");
    assert_eq!(put(&at(&[NOW, NOW, NOW + 1])), Ok(json!({})));
    assert_refused(&at(&[NOW, NOW - 1]), "must be in chronological order.");
}

#[test]
fn names_are_checked_and_must_exist() {
    let names = |group: &str, stream: &str| json!({"logGroupName": group, "logStreamName": stream, "logEvents": [{"timestamp": NOW, "message": "m"}]});
    assert_refused(&names("g g", "s"), "'logGroupName'");
    assert_refused(&names("g", "s:s"), "'logStreamName'");
    assert_eq!(put(&names("other", "s")), Err(ServiceError::no_group()));
    assert_eq!(put(&names("g", "other")), Err(ServiceError::no_stream()));
}

#[test]
fn a_missing_parameter_is_named() {
    assert_refused(&json!({"logStreamName": "s", "logEvents": []}), "'logGroupName'");
    assert_refused(&json!({"logGroupName": "g", "logEvents": []}), "'logStreamName'");
    assert_refused(&json!({"logGroupName": "g", "logStreamName": "s"}), "'logEvents'");
    assert_refused(&body(vec![json!({"message": "m"})]), "member.timestamp'");
    assert_refused(&body(vec![json!({"timestamp": NOW})]), "member.message'");
}

#[test]
fn wrong_json_or_a_wrong_type_is_a_serialization_error() {
    for bad in [
        &b"{"[..],
        b"[]",
        b"{\"logGroupName\":1}",
        b"{\"logGroupName\":\"\xff\"}",
        b"{\"logGroupName\":\"\\ud800\"}",
    ] {
        let error = Batch::parse(bad, false).err().expect("the batch was read");
        assert_eq!(error.code, "SerializationException");
    }
    for message in [&b"\"\xff\""[..], b"\"\\ud800\"", b"\"a\nb\"", b"1"] {
        let json = [&br#"{"logEvents":[{"timestamp":1,"message":"#[..], message, b"}]}"].concat();
        for discard in [false, true] {
            let error = Batch::parse(&json, discard).err().expect("the batch was read");
            assert_eq!(error.code, "SerializationException");
        }
    }
}

#[test]
fn the_valid_events_may_span_24_hours() {
    assert_eq!(put(&at(&[NOW - 24 * HOUR_MS, NOW])), Ok(json!({})));
    assert_refused(&at(&[NOW - 24 * HOUR_MS - 1, NOW]), "cannot span more than 24 hours.");
}

#[test]
fn rejected_events_do_not_count_for_the_span() {
    let timestamps = [NOW - 15 * DAY_MS, NOW - HOUR_MS, NOW, NOW + 3 * HOUR_MS];
    let rejected =
        json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3}});
    assert_eq!(put_with(&at(&timestamps), None, Reject::default()), accepted(rejected, 2));
}

#[test]
fn an_event_is_too_old_past_14_days() {
    assert_eq!(put(&at(&[NOW - 14 * DAY_MS])), Ok(json!({})));
    let rejected = json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}});
    assert_eq!(put_with(&at(&[NOW - 14 * DAY_MS - 1]), None, Reject::default()), accepted(rejected, 0));
}

#[test]
fn an_event_is_too_new_past_2_hours() {
    assert_eq!(put(&at(&[NOW + 2 * HOUR_MS])), Ok(json!({})));
    let rejected = json!({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 1}});
    let timestamps = [NOW + 2 * HOUR_MS, NOW + 2 * HOUR_MS + 1];
    assert_eq!(put_with(&at(&timestamps), None, Reject::default()), accepted(rejected, 1));
}

#[test]
fn an_event_is_expired_past_the_retention_of_its_group() {
    let none = Reject::default();
    assert_eq!(put_with(&at(&[NOW - 3 * DAY_MS]), Some(3), none), accepted(json!({}), 1));
    let rejected = json!({"rejectedLogEventsInfo": {"expiredLogEventEndIndex": 1}});
    assert_eq!(put_with(&at(&[NOW - 3 * DAY_MS - 1, NOW]), Some(3), none), accepted(rejected, 1));
    let both = json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}});
    assert_eq!(put_with(&at(&[NOW - 15 * DAY_MS, NOW - 4 * DAY_MS, NOW]), Some(3), none), accepted(both, 1));
}

#[test]
fn a_forced_rejection_rejects_events_at_the_matching_ends() {
    let forced = |too_old, too_new, expired| {
        let put = put_with(&at(&[NOW; 5]), None, Reject { too_old, too_new, expired });
        (put.result.unwrap()["rejectedLogEventsInfo"].clone(), put.kept)
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
fn a_refused_entity_is_reported_and_the_events_are_accepted() {
    let with = |keys: Value, attributes: Value| {
        let mut body = at(&[NOW]);
        body["entity"] = json!({"keyAttributes": keys, "attributes": attributes});
        put_with(&body, None, Reject::default())
    };
    let refused = |name| accepted(json!({"rejectedEntityInfo": {"errorType": name}}), 1);
    let keys = json!({"Type": "Service", "Name": "n"});
    let attributes =
        |count| (0..count).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>();
    assert_eq!(with(keys.clone(), json!(attributes(10))), accepted(json!({}), 1));
    assert_eq!(with(keys, json!(attributes(11))), refused("InvalidAttributes"));
    assert_eq!(with(json!({"Type": "Service"}), json!({})), refused("InvalidKeyAttributes"));
    assert_eq!(with(json!({"Type": "Service", "Colour": "n"}), json!({})), refused("InvalidKeyAttributes"));
}
