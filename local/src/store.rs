//! What was created and what was sent: log groups, their streams, their events.
//!
//! It promises to create only what was asked for. It knows no request and no answer; the operations do.

use std::collections::BTreeMap;

use crate::error::ServiceError;
use crate::stream::Stream;

/// A log group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Region of the request that created it.
    pub region: String,
    /// Class, such as `STANDARD`.
    pub class: String,
    /// Days for which events are kept; `None` is for ever.
    pub retention_days: Option<u32>,
    /// ARN of the key the events would be encrypted with.
    pub kms_key: Option<String>,
    /// Streams by name.
    pub streams: BTreeMap<String, Stream>,
}

impl Group {
    /// The group's ARN without the `:*` that stands for its streams. The account's number is made up.
    pub fn arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:000000000000:log-group:{name}", self.region)
    }
}

/// All log groups, by name.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub groups: BTreeMap<String, Group>,
}

impl Store {
    /// The group of this name, or the service's refusal.
    pub fn group(&mut self, name: &str) -> Result<&mut Group, ServiceError> {
        self.groups.get_mut(name).ok_or_else(ServiceError::no_group)
    }

    /// The stream of this name, or the service's refusal, which tells the group from the stream.
    pub fn stream(&mut self, group: &str, stream: &str) -> Result<&mut Stream, ServiceError> {
        self.group(group)?.streams.get_mut(stream).ok_or_else(ServiceError::no_stream)
    }

    /// Creates a group as `CreateLogGroup` would without any choice made; what is there stays.
    pub fn ensure_group(&mut self, name: &str, now_ms: i64) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            created_ms: now_ms,
            region: "us-east-1".to_owned(),
            class: "STANDARD".to_owned(),
            ..Group::default()
        })
    }

    /// Creates a stream, and its group where that is missing; what is there stays.
    pub fn ensure_stream(&mut self, group: &str, stream: &str, now_ms: i64) -> &mut Stream {
        let streams = &mut self.ensure_group(group, now_ms).streams;
        streams.entry(stream.to_owned()).or_insert_with(|| Stream::new(now_ms))
    }
}
