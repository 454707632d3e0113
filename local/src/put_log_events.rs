//! `PutLogEvents`: which batches are taken, which events of them, and what the client is told.
//!
//! Promises: a batch is taken or refused as a whole by its shape (names, number, bytes, order, span), and each of its
//! events by its age; the answer names the events that were not taken by their indices in the batch. "Valid" are the
//! events that are not dropped for their age; only they must lie within 24 hours.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ServiceError;
use crate::faults::Reject;
use crate::limits::{
    BATCH_BYTES, BATCH_EVENTS, BATCH_SPAN_MS, DAY_MS, ENTITY_ATTRIBUTES, ENTITY_KEY_ATTRIBUTES,
    ENTITY_VALUE_CHARS, EVENT_OVERHEAD_BYTES, TOO_NEW_MS, TOO_OLD_MS,
};
use crate::names;
use crate::store::Store;
use crate::stream::Event;

/// A `PutLogEvents` request whose JSON could be read. What else is wrong with it is told by [`Batch::take`].
pub(crate) struct Batch {
    /// Log group, empty when it is missing.
    pub group: String,
    /// Log stream, empty when it is missing.
    pub stream: String,
    /// Bytes as the service counts them.
    pub counted_bytes: usize,
    items: Vec<Item>,
    /// The first rule of shape that the batch breaks.
    shape: Result<(), ServiceError>,
    /// Why its entity is refused.
    entity_error: Option<&'static str>,
}

/// What was taken of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Events taken.
    pub events: usize,
    /// Their bytes as the service counts them.
    pub counted_bytes: usize,
}

struct Item {
    timestamp_ms: i64,
    message_bytes: usize,
    /// `None` when events are only counted.
    message: Option<String>,
}

impl Batch {
    /// Reads the JSON of a request. With `discard` no message is kept, only its length.
    pub fn parse(json: &[u8], discard: bool) -> Result<Self, ServiceError> {
        if discard { Self::parse_as::<Length>(json) } else { Self::parse_as::<String>(json) }
    }

    fn parse_as<M: Message>(json: &[u8]) -> Result<Self, ServiceError> {
        let input: Input<M> =
            serde_json::from_slice(json).map_err(|error| ServiceError::serialization(error.to_string()))?;
        let group = input.log_group_name.unwrap_or_default();
        let stream = input.log_stream_name.unwrap_or_default();
        let mut shape = names::check_group("logGroupName", &group)
            .and_then(|()| names::check_stream("logStreamName", &stream));
        let events = input.log_events.unwrap_or_else(|| {
            shape = shape.clone().and(Err(ServiceError::missing("logEvents")));
            Vec::new()
        });
        let mut counted_bytes = 0;
        let mut items = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            if shape.is_ok() {
                shape = event.check(index + 1);
            }
            let (message_bytes, message) = event.message.map_or((0, None), Message::measure);
            counted_bytes += message_bytes + EVENT_OVERHEAD_BYTES;
            items.push(Item { timestamp_ms: event.timestamp.unwrap_or(0), message_bytes, message });
        }
        let shape = shape.and_then(|()| check_batch(&items, counted_bytes));
        let entity_error = input.entity.and_then(|entity| entity.error());
        Ok(Self { group, stream, counted_bytes, items, shape, entity_error })
    }

    /// Events in the batch.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes the batch, or what of it is young and old enough, and returns the answer's body.
    ///
    /// `forced` rejects further events although nothing is wrong with them.
    pub fn take(
        self,
        store: &mut Store,
        now_ms: i64,
        forced: Reject,
    ) -> Result<(Vec<u8>, Taken), ServiceError> {
        self.shape?;
        let retention_days = store.group(&self.group)?.retention_days;
        let stream = store.stream(&self.group, &self.stream)?;
        let ages = Ages::of(&self.items, now_ms, retention_days, forced);
        let valid = &self.items[ages.valid.clone()];
        let mut taken = Taken::default();
        if let (Some(first), Some(last)) = (valid.first(), valid.last()) {
            let (first_ms, last_ms) = (first.timestamp_ms, last.timestamp_ms);
            if last_ms - first_ms > BATCH_SPAN_MS {
                return Err(ServiceError::invalid_parameter(
                    "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
                ));
            }
            let bytes = valid.iter().map(|item| item.message_bytes + EVENT_OVERHEAD_BYTES).sum();
            taken = Taken { events: valid.len(), counted_bytes: bytes };
            stream.count_taken(taken.events, taken.counted_bytes, first_ms, last_ms, now_ms);
            let event = |item: Item| {
                let (timestamp_ms, message) = (item.timestamp_ms, item.message?);
                Some(Event { timestamp_ms, ingestion_ms: now_ms, message })
            };
            let valid = self.items.into_iter().skip(ages.valid.start).take(taken.events);
            stream.keep(valid.filter_map(event));
        }
        let output = Output {
            rejected_log_events_info: ages.rejected,
            rejected_entity_info: self.entity_error.map(|error_type| RejectedEntity { error_type }),
        };
        Ok((serde_json::to_vec(&output).expect("indices and names are JSON"), taken))
    }
}

fn check_batch(items: &[Item], counted_bytes: usize) -> Result<(), ServiceError> {
    if items.is_empty() {
        return Err(ServiceError::constraint(
            "logEvents",
            "[]",
            "Member must have length greater than or equal to 1",
        ));
    }
    if items.len() > BATCH_EVENTS {
        return Err(ServiceError::constraint(
            "logEvents",
            &format!("{} events", items.len()),
            "Member must have length less than or equal to 10000",
        ));
    }
    if counted_bytes > BATCH_BYTES {
        return Err(ServiceError::invalid_parameter(format!(
            "Upload too large: {counted_bytes} bytes exceeds limit of {BATCH_BYTES}"
        )));
    }
    if !items.is_sorted_by_key(|item| item.timestamp_ms) {
        return Err(ServiceError::invalid_parameter(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(())
}

/// Which events of a batch are of the right age.
struct Ages {
    valid: std::ops::Range<usize>,
    rejected: Option<RejectedEvents>,
}

impl Ages {
    /// The items are in the order of their timestamps, so each age is one end of them.
    fn of(items: &[Item], now_ms: i64, retention_days: Option<u32>, forced: Reject) -> Self {
        let older_than =
            |age_ms: i64| items.partition_point(|item| item.timestamp_ms < now_ms.saturating_sub(age_ms));
        let too_old_end = older_than(TOO_OLD_MS).max(forced.too_old.min(items.len()));
        let retention_ms = retention_days.map(|days| i64::from(days) * DAY_MS);
        let mut expired_end = retention_ms.map_or(0, older_than);
        if forced.expired > 0 {
            expired_end = expired_end.max(too_old_end.saturating_add(forced.expired).min(items.len()));
        }
        let begin = too_old_end.max(expired_end);
        let latest_ms = now_ms.saturating_add(TOO_NEW_MS);
        let too_new_start = items
            .partition_point(|item| item.timestamp_ms <= latest_ms)
            .min(items.len().saturating_sub(forced.too_new))
            .max(begin);
        let rejected = RejectedEvents {
            too_old_log_event_end_index: (too_old_end > 0).then_some(too_old_end),
            too_new_log_event_start_index: (too_new_start < items.len()).then_some(too_new_start),
            expired_log_event_end_index: (expired_end > too_old_end).then_some(expired_end),
        };
        let all_valid = begin == 0 && too_new_start == items.len();
        Self { valid: begin..too_new_start, rejected: (!all_valid).then_some(rejected) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "M: DeserializeOwned")]
struct Input<M> {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
    log_events: Option<Vec<InputEvent<M>>>,
    entity: Option<Entity>,
}

#[derive(Deserialize)]
#[serde(bound = "M: DeserializeOwned")]
struct InputEvent<M> {
    timestamp: Option<i64>,
    message: Option<M>,
}

impl<M: Message> InputEvent<M> {
    /// `number` counts from 1, as the service's messages do.
    fn check(&self, number: usize) -> Result<(), ServiceError> {
        let member = |name: &str| format!("logEvents.{number}.member.{name}");
        match self.timestamp {
            None => return Err(ServiceError::missing(&member("timestamp"))),
            Some(negative) if negative < 0 => {
                return Err(ServiceError::constraint(
                    &member("timestamp"),
                    &negative.to_string(),
                    "Member must have value greater than or equal to 0",
                ));
            }
            Some(_) => {}
        }
        match &self.message {
            None => Err(ServiceError::missing(&member("message"))),
            Some(message) if message.is_empty() => Err(ServiceError::constraint(
                &member("message"),
                "",
                "Member must have length greater than or equal to 1",
            )),
            Some(_) => Ok(()),
        }
    }
}

/// A message's text, or its length where the text is not kept.
trait Message: DeserializeOwned {
    fn is_empty(&self) -> bool;
    /// UTF-8 bytes, and the text if it is there.
    fn measure(self) -> (usize, Option<String>);
}

impl Message for String {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn measure(self) -> (usize, Option<String>) {
        (self.len(), Some(self))
    }
}

/// The UTF-8 bytes of a string that was read and let go.
struct Length(usize);

impl Message for Length {
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn measure(self) -> (usize, Option<String>) {
        (self.0, None)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LengthVisitor;
        impl Visitor<'_> for LengthVisitor {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length(text.len()))
            }
        }
        deserializer.deserialize_str(LengthVisitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entity {
    key_attributes: Option<BTreeMap<String, String>>,
    attributes: Option<BTreeMap<String, String>>,
}

impl Entity {
    /// The service's name for what is wrong with it.
    fn error(&self) -> Option<&'static str> {
        const KEYS: [&str; 5] = ["Type", "ResourceType", "Identifier", "Name", "Environment"];
        let fits = |text: &str, chars: usize| (1..=chars).contains(&text.chars().count());
        let keys = self.key_attributes.iter().flatten();
        let key_is_wrong = |(key, value): (&String, &String)| {
            !KEYS.contains(&key.as_str()) || !fits(value, ENTITY_VALUE_CHARS)
        };
        if !ENTITY_KEY_ATTRIBUTES.contains(&keys.clone().count()) || keys.clone().any(key_is_wrong) {
            return Some("InvalidKeyAttributes");
        }
        let attributes = self.attributes.iter().flatten();
        let attribute_is_wrong =
            |(key, value): (&String, &String)| !fits(key, 256) || !fits(value, ENTITY_VALUE_CHARS);
        (attributes.clone().count() > ENTITY_ATTRIBUTES || attributes.clone().any(attribute_is_wrong))
            .then_some("InvalidAttributes")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_log_events_info: Option<RejectedEvents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_entity_info: Option<RejectedEntity>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RejectedEvents {
    #[serde(skip_serializing_if = "Option::is_none")]
    too_new_log_event_start_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    too_old_log_event_end_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_log_event_end_index: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RejectedEntity {
    error_type: &'static str,
}

#[cfg(test)]
#[path = "put_log_events_tests.rs"]
mod tests;
