//! `GetLogEvents`: the events of a stream, page by page, forward or backward.
//!
//! A page is in the order of time and holds at most 10,000 events and 1 MiB. A client that follows the forward tokens
//! or the backward tokens gets every event once, also when events arrive behind the page. At the end of the stream
//! the response repeats the token of the request.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::parameters;
use crate::error::ServiceError;
use crate::limits::{EVENT_OVERHEAD_BYTES, PAGE_BYTES, PAGE_EVENTS};
use crate::names::check_stream;
use crate::store::{Event, Position, Store};

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
struct EventPage<'a> {
    events: Vec<PageEvent<'a>>,
    next_forward_token: String,
    next_backward_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageEvent<'a> {
    timestamp: i64,
    message: &'a str,
    ingestion_time: i64,
}

/// A token: the direction and the position at which the next page begins.
#[derive(Clone, Copy)]
enum PageToken {
    Forward(Position),
    Backward(Position),
}

impl PageToken {
    fn to_text(self) -> String {
        let (direction, Position { timestamp_ms, arrival }) = match self {
            Self::Forward(position) => ('f', position),
            Self::Backward(position) => ('b', position),
        };
        format!("{direction}/{timestamp_ms:020}{arrival:020}/s")
    }

    fn parse(text: &str) -> Option<Self> {
        let (direction, rest) = text.split_once('/')?;
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

/// The tokens that lead from a page to the next page in each direction.
struct PageTokens {
    forward: PageToken,
    backward: PageToken,
}

/// The part of the stream that a call reads.
struct Selection {
    start: Position,
    end: Position,
    token: Option<PageToken>,
    /// The end of the part at which the page is taken.
    page_at: PageAt,
    max_events: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PageAt {
    Start,
    End,
}

impl Selection {
    fn of(input: &GetLogEvents) -> Result<Self, ServiceError> {
        let max_events = parameters::page_limit(input.limit, PAGE_EVENTS)?;
        let start = position_of("startTime", input.start_time)?;
        let start = start.unwrap_or(Position { timestamp_ms: 0, arrival: 0 });
        let end = position_of("endTime", input.end_time)?;
        let end = end.unwrap_or(Position { timestamp_ms: i64::MAX, arrival: usize::MAX });
        let invalid_token = || ServiceError::invalid_parameter("The specified nextToken is invalid.");
        let token = input.next_token.as_deref();
        let token = token.map(|text| PageToken::parse(text).ok_or_else(invalid_token)).transpose()?;
        let page_at = match token {
            Some(PageToken::Forward(_)) => PageAt::Start,
            Some(PageToken::Backward(_)) => PageAt::End,
            None if input.start_from_head == Some(true) => PageAt::Start,
            None => PageAt::End,
        };
        Ok(Self { start, end, token, page_at, max_events })
    }

    /// The positions between which the page lies.
    fn bounds(&self) -> Range<Position> {
        match self.token {
            Some(PageToken::Forward(position)) => self.start.max(position)..self.end,
            Some(PageToken::Backward(position)) => self.start..self.end.min(position),
            None => self.start..self.end,
        }
    }

    /// Takes the events that fit on one page.
    fn take_page<'a>(
        &self,
        events: impl DoubleEndedIterator<Item = (Position, &'a Event)>,
    ) -> Vec<(Position, &'a Event)> {
        let mut free_bytes = PAGE_BYTES;
        let fits = |(_, event): &(Position, &Event)| {
            let bytes = event.message.len() + EVENT_OVERHEAD_BYTES;
            let fits = bytes <= free_bytes;
            free_bytes = free_bytes.saturating_sub(bytes);
            fits
        };
        match self.page_at {
            PageAt::Start => events.take(self.max_events).take_while(fits).collect(),
            PageAt::End => {
                let mut page: Vec<_> = events.rev().take(self.max_events).take_while(fits).collect();
                page.reverse();
                page
            }
        }
    }

    fn tokens(&self, page: &[(Position, &Event)]) -> PageTokens {
        // From an empty page, both tokens continue at the position where the call began to read.
        let (before, after) = match (page.first(), page.last(), self.token) {
            (Some((first, _)), Some((last, _)), _) => {
                (*first, Position { arrival: last.arrival + 1, ..*last })
            }
            (_, _, Some(PageToken::Forward(position) | PageToken::Backward(position))) => {
                (position, position)
            }
            _ => (self.start, self.start),
        };
        PageTokens { forward: PageToken::Forward(after), backward: PageToken::Backward(before) }
    }
}

/// `GetLogEvents`.
pub(super) fn get_log_events(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: GetLogEvents = parameters::parse(json)?;
    let group = parameters::group_of_name_or_identifier(
        input.log_group_name.as_deref(),
        input.log_group_identifier.as_deref(),
    )?;
    let name = input.log_stream_name.as_deref().ok_or_else(|| ServiceError::missing("logStreamName"))?;
    check_stream("logStreamName", name)?;
    let selection = Selection::of(&input)?;
    let page = selection.take_page(store.stream(group, name)?.range(selection.bounds()));
    let tokens = selection.tokens(&page);
    let output = EventPage {
        events: page
            .iter()
            .map(|(_, event)| PageEvent {
                timestamp: event.timestamp_ms,
                message: &event.message,
                ingestion_time: event.ingestion_ms,
            })
            .collect(),
        next_forward_token: tokens.forward.to_text(),
        next_backward_token: tokens.backward.to_text(),
    };
    Ok(serde_json::to_vec(&output).expect("events can be written as JSON"))
}

/// The position before all events at or after a time.
fn position_of(member: &str, time_ms: Option<i64>) -> Result<Option<Position>, ServiceError> {
    match time_ms {
        Some(negative) if negative < 0 => Err(ServiceError::constraint(
            member,
            &negative.to_string(),
            "Member must have value greater than or equal to 0",
        )),
        _ => Ok(time_ms.map(|timestamp_ms| Position { timestamp_ms, arrival: 0 })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_forward_tokens_lead_to_every_event_once_and_the_last_one_repeats() {
        let mut store = store((0..25_000).map(|n| (n / 3, "m".to_owned())));
        let mut page = get(&mut store, json!({"startFromHead": true}));
        let mut read = times(&page);
        assert_eq!(read.len(), 10_000, "a page holds 10,000 events");
        loop {
            let token = page["nextForwardToken"].clone();
            page = get(&mut store, json!({"startFromHead": true, "nextToken": token}));
            read.extend(times(&page));
            if page["nextForwardToken"] == token {
                break;
            }
        }
        assert!(read.len() == 25_000 && read.is_sorted(), "{} events read", read.len());
    }

    #[test]
    fn the_backward_tokens_lead_from_the_latest_event_to_the_first_and_the_last_one_repeats() {
        let mut store = store((0..10).map(|n| (n, "m".to_owned())));
        let mut page = get(&mut store, json!({"limit": 4}));
        assert_eq!(times(&page), [6, 7, 8, 9]);
        let mut read = 4;
        loop {
            let token = page["nextBackwardToken"].clone();
            page = get(&mut store, json!({"limit": 4, "nextToken": token}));
            read += times(&page).len();
            if page["nextBackwardToken"] == token {
                break;
            }
        }
        assert_eq!(read, 10);
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
    fn an_event_that_arrives_later_is_on_the_page_of_the_last_forward_token() {
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
