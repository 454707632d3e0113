//! `GetLogEvents`: a stream's events, page by page, forwards or backwards.
//!
//! Promises: a page is in the order of time and holds at most 10,000 events and 1 MiB; walking on with the forward
//! token (or the backward token) meets every event once, whatever arrives behind; at an end the token that was
//! given comes back.

use serde::{Deserialize, Serialize};

use crate::describe::group_parameter;
use crate::error::ServiceError;
use crate::limits::{EVENT_OVERHEAD_BYTES, PAGE_BYTES, PAGE_EVENTS};
use crate::manage::parameters;
use crate::names::check_stream;
use crate::store::Store;
use crate::stream::Position;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    start_from_head: Option<bool>,
    limit: Option<i64>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    events: Vec<OutputEvent<'a>>,
    next_forward_token: String,
    next_backward_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputEvent<'a> {
    timestamp: i64,
    message: &'a str,
    ingestion_time: i64,
}

/// A way to go on from a place in the stream.
#[derive(Clone, Copy)]
enum Walk {
    Forward(Position),
    Backward(Position),
}

impl Walk {
    fn token(self) -> String {
        let (direction, Position { timestamp_ms, arrival }) = match self {
            Self::Forward(position) => ('f', position),
            Self::Backward(position) => ('b', position),
        };
        format!("{direction}/{timestamp_ms:020}{arrival:020}/s")
    }

    fn parse(token: &str) -> Option<Self> {
        let (direction, rest) = token.split_once('/')?;
        let digits = rest.strip_suffix("/s").filter(|digits| digits.len() == 40)?;
        let timestamp_ms = digits.get(..20)?.parse().ok()?;
        let arrival = digits.get(20..)?.parse().ok()?;
        let position = Position { timestamp_ms, arrival };
        match direction {
            "f" => Some(Self::Forward(position)),
            "b" => Some(Self::Backward(position)),
            _ => None,
        }
    }
}

/// `GetLogEvents`.
pub(crate) fn get_log_events(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: GetLogEvents = parameters(json)?;
    let group = group_parameter(input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let name = input.log_stream_name.as_deref().ok_or_else(|| ServiceError::missing("logStreamName"))?;
    check_stream("logStreamName", name)?;
    let limit = page_limit(input.limit)?;
    let start = at_time("startTime", input.start_time)?.unwrap_or(Position { timestamp_ms: 0, arrival: 0 });
    let end = at_time("endTime", input.end_time)?;
    let end = end.unwrap_or(Position { timestamp_ms: i64::MAX, arrival: usize::MAX });
    let walk = match input.next_token.as_deref() {
        Some(token) => Some(
            Walk::parse(token)
                .ok_or_else(|| ServiceError::invalid_parameter("The specified nextToken is invalid."))?,
        ),
        None => None,
    };
    let from_head = match walk {
        Some(Walk::Forward(_)) => true,
        Some(Walk::Backward(_)) => false,
        None => input.start_from_head.unwrap_or(false),
    };
    let (from, to) = match walk {
        Some(Walk::Forward(position)) => (start.max(position), end),
        Some(Walk::Backward(position)) => (start, end.min(position)),
        None => (start, end),
    };
    let range = store.stream(group, name)?.between(from, to);
    let mut room = PAGE_BYTES;
    let fits = |(_, event): &(Position, &crate::stream::Event)| {
        let bytes = event.message.len() + EVENT_OVERHEAD_BYTES;
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    let page: Vec<_> = if from_head {
        range.take(limit).take_while(fits).collect()
    } else {
        let mut page: Vec<_> = range.rev().take(limit).take_while(fits).collect();
        page.reverse();
        page
    };
    // Where the page is empty both ways lead on from where it was looked for.
    let (before, after) = match (page.first(), page.last(), walk) {
        (Some((first, _)), Some((last, _)), _) => (*first, Position { arrival: last.arrival + 1, ..*last }),
        (_, _, Some(Walk::Forward(position) | Walk::Backward(position))) => (position, position),
        _ => (start, start),
    };
    let output = Output {
        events: page
            .iter()
            .map(|(_, event)| OutputEvent {
                timestamp: event.timestamp_ms,
                message: &event.message,
                ingestion_time: event.ingestion_ms,
            })
            .collect(),
        next_forward_token: Walk::Forward(after).token(),
        next_backward_token: Walk::Backward(before).token(),
    };
    Ok(serde_json::to_vec(&output).expect("events are JSON"))
}

fn at_time(member: &str, time: Option<i64>) -> Result<Option<Position>, ServiceError> {
    match time {
        Some(negative) if negative < 0 => Err(ServiceError::constraint(
            member,
            &negative.to_string(),
            "Member must have value greater than or equal to 0",
        )),
        time => Ok(time.map(|timestamp_ms| Position { timestamp_ms, arrival: 0 })),
    }
}

fn page_limit(limit: Option<i64>) -> Result<usize, ServiceError> {
    let Some(limit) = limit else { return Ok(PAGE_EVENTS) };
    usize::try_from(limit).ok().filter(|limit| (1..=PAGE_EVENTS).contains(limit)).ok_or_else(|| {
        ServiceError::constraint("limit", &limit.to_string(), "Member must have value between 1 and 10000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Event;
    use serde_json::{Value, json};

    fn store(events: impl Iterator<Item = (i64, String)>) -> Store {
        let mut store = Store::default();
        let event = |(timestamp_ms, message)| Event { timestamp_ms, ingestion_ms: 1, message };
        store.ensure_stream("g", "s", 1).keep(events.map(event));
        store
    }

    fn get(store: &mut Store, body: Value) -> Value {
        let mut body = body;
        body["logGroupName"] = "g".into();
        body["logStreamName"] = "s".into();
        serde_json::from_slice(&get_log_events(store, body.to_string().as_bytes()).unwrap()).unwrap()
    }

    fn times(page: &Value) -> Vec<i64> {
        page["events"].as_array().unwrap().iter().map(|event| event["timestamp"].as_i64().unwrap()).collect()
    }

    #[test]
    fn a_walk_forwards_meets_every_event_once_and_ends_on_its_token() {
        let mut store = store((0..25_000).map(|n| (n / 3, "m".to_owned())));
        let mut page = get(&mut store, json!({"startFromHead": true}));
        let mut met = times(&page);
        assert_eq!(met.len(), 10_000, "a page holds 10,000 events");
        loop {
            let token = page["nextForwardToken"].clone();
            page = get(&mut store, json!({"startFromHead": true, "nextToken": token}));
            met.extend(times(&page));
            if page["nextForwardToken"] == token {
                break;
            }
        }
        assert!(met.len() == 25_000 && met.is_sorted(), "{} events met", met.len());
    }

    #[test]
    fn a_walk_backwards_begins_with_the_latest_and_ends_on_its_token() {
        let mut store = store((0..10).map(|n| (n, "m".to_owned())));
        let mut page = get(&mut store, json!({"limit": 4}));
        assert_eq!(times(&page), [6, 7, 8, 9]);
        let mut met = 4;
        loop {
            let token = page["nextBackwardToken"].clone();
            page = get(&mut store, json!({"limit": 4, "nextToken": token}));
            met += times(&page).len();
            if page["nextBackwardToken"] == token {
                break;
            }
        }
        assert_eq!(met, 10);
    }

    #[test]
    fn a_page_holds_1_mib() {
        let mut store = store((0..5).map(|n| (n, "x".repeat(400_000))));
        assert_eq!(times(&get(&mut store, json!({"startFromHead": true}))), [0, 1]);
        assert_eq!(times(&get(&mut store, json!({}))), [3, 4]);
        let mut lone = self::store(std::iter::once((1, "x".repeat(1_048_550))));
        assert_eq!(times(&get(&mut lone, json!({}))), [1]);
    }

    #[test]
    fn the_start_is_inclusive_and_the_end_exclusive() {
        let mut store = store((0..10).map(|n| (n, "m".to_owned())));
        assert_eq!(times(&get(&mut store, json!({"startTime": 3, "endTime": 6}))), [3, 4, 5]);
        assert_eq!(times(&get(&mut store, json!({"startTime": 6, "endTime": 3}))), [0_i64; 0]);
    }

    #[test]
    fn what_arrives_later_is_met_from_the_end_of_the_walk() {
        let mut store = store(std::iter::empty());
        let page = get(&mut store, json!({}));
        let token = page["nextForwardToken"].clone();
        store.ensure_stream("g", "s", 1).keep(std::iter::once(Event {
            timestamp_ms: 7,
            ingestion_ms: 8,
            message: "late".to_owned(),
        }));
        assert_eq!(times(&get(&mut store, json!({"nextToken": token, "startFromHead": true}))), [7]);
    }

    #[test]
    fn wrong_parameters_are_refused() {
        let mut store = store(std::iter::empty());
        for wrong in [
            json!({"logGroupName": "g"}),
            json!({"logStreamName": "s"}),
            json!({"logGroupName": "g", "logStreamName": "s", "limit": 0}),
            json!({"logGroupName": "g", "logStreamName": "s", "limit": 10_001}),
            json!({"logGroupName": "g", "logStreamName": "s", "startTime": -1}),
            json!({"logGroupName": "g", "logStreamName": "s", "nextToken": "f/1"}),
            json!({"logGroupName": "g", "logGroupIdentifier": "g", "logStreamName": "s"}),
        ] {
            let error = get_log_events(&mut store, wrong.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.code, "InvalidParameterException", "{wrong}");
        }
        let other = br#"{"logGroupName":"g","logStreamName":"t"}"#;
        assert_eq!(get_log_events(&mut store, other), Err(ServiceError::no_stream()));
    }
}
