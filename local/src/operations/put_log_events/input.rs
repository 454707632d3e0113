//! The parameters of `PutLogEvents`, read from JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::ServiceError;
use crate::limits::{ENTITY_ATTRIBUTES, ENTITY_KEY_ATTRIBUTES, ENTITY_VALUE_CHARS, EVENT_OVERHEAD_BYTES};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "M: DeserializeOwned")]
pub(super) struct Input<M> {
    pub log_group_name: Option<String>,
    pub log_stream_name: Option<String>,
    pub log_events: Option<Vec<InputEvent<M>>>,
    pub entity: Option<Entity>,
}

#[derive(Deserialize)]
#[serde(bound = "M: DeserializeOwned")]
pub(super) struct InputEvent<M> {
    timestamp: Option<i64>,
    message: Option<M>,
}

impl<M: Message> InputEvent<M> {
    /// Checks that the event is complete. `number` counts from 1, as the service's messages do.
    pub fn check(&self, number: usize) -> Result<(), ServiceError> {
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

    /// Measures the message. Missing values count as 0 and empty.
    pub fn into_batch_event(self) -> BatchEvent {
        let message = self.message.map_or(MeasuredMessage { bytes: 0, text: None }, Message::measure);
        BatchEvent {
            timestamp_ms: self.timestamp.unwrap_or(0),
            message_bytes: message.bytes,
            message: message.text,
        }
    }
}

/// One event of a batch.
pub(super) struct BatchEvent {
    pub timestamp_ms: i64,
    pub message_bytes: usize,
    /// `None` when events are only counted.
    pub message: Option<String>,
}

impl BatchEvent {
    /// Returns the bytes of the event, as the service counts a batch.
    pub fn counted_bytes(&self) -> usize {
        self.message_bytes + EVENT_OVERHEAD_BYTES
    }
}

/// The text of a message, or only its length when the text is not kept.
pub(super) trait Message: DeserializeOwned {
    fn is_empty(&self) -> bool;
    fn measure(self) -> MeasuredMessage;
}

/// A message and its length.
pub(super) struct MeasuredMessage {
    /// Length in UTF-8 bytes.
    bytes: usize,
    /// The text; `None` when it is not kept.
    text: Option<String>,
}

impl Message for String {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn measure(self) -> MeasuredMessage {
        MeasuredMessage { bytes: self.len(), text: Some(self) }
    }
}

/// The length in UTF-8 bytes of a string that is not kept.
pub(super) struct Length(usize);

impl Message for Length {
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn measure(self) -> MeasuredMessage {
        MeasuredMessage { bytes: self.0, text: None }
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
pub(super) struct Entity {
    key_attributes: Option<BTreeMap<String, String>>,
    attributes: Option<BTreeMap<String, String>>,
}

impl Entity {
    /// Returns the service's name of the error in the entity, if there is one.
    pub fn error(&self) -> Option<&'static str> {
        const KEYS: [&str; 5] = ["Type", "ResourceType", "Identifier", "Name", "Environment"];
        let fits = |text: &str, chars: usize| (1..=chars).contains(&text.chars().count());
        let keys = self.key_attributes.iter().flatten();
        let is_wrong_key = |(key, value): (&String, &String)| {
            !KEYS.contains(&key.as_str()) || !fits(value, ENTITY_VALUE_CHARS)
        };
        if !ENTITY_KEY_ATTRIBUTES.contains(&keys.clone().count()) || keys.clone().any(is_wrong_key) {
            return Some("InvalidKeyAttributes");
        }
        let attributes = self.attributes.iter().flatten();
        let is_wrong_attribute =
            |(key, value): (&String, &String)| !fits(key, 256) || !fits(value, ENTITY_VALUE_CHARS);
        (attributes.clone().count() > ENTITY_ATTRIBUTES || attributes.clone().any(is_wrong_attribute))
            .then_some("InvalidAttributes")
    }
}
