//! The data of the endpoint: log groups, their streams and their events.
//!
//! The store does not know requests and responses; the operations do.

mod stream;

use std::collections::BTreeMap;

use crate::error::ServiceError;
pub use stream::Event;
pub(crate) use stream::{Position, Stream};

/// A log group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Creation time, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Region of the request that created it.
    pub region: String,
    /// Log group class, such as `STANDARD`.
    pub class: String,
    /// Days for which events are kept; `None` means without end.
    pub retention_days: Option<u32>,
    /// ARN of the KMS key. Nothing is encrypted with it.
    pub kms_key: Option<String>,
    /// Streams by name.
    pub streams: BTreeMap<String, Stream>,
}

impl Group {
    /// Returns the ARN without the `:*` that stands for the streams. The account id is `000000000000`.
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
    /// Returns the group of this name, or the service error for a missing group.
    pub fn group(&mut self, name: &str) -> Result<&mut Group, ServiceError> {
        self.groups.get_mut(name).ok_or_else(ServiceError::no_group)
    }

    /// Returns the stream of this name. The service error says whether the group or the stream is missing.
    pub fn stream(&mut self, group: &str, stream: &str) -> Result<&mut Stream, ServiceError> {
        self.group(group)?.streams.get_mut(stream).ok_or_else(ServiceError::no_stream)
    }

    /// Creates a group with the defaults of `CreateLogGroup`. An existing group stays as it is.
    pub fn ensure_group(&mut self, name: &str, now_ms: i64) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            created_ms: now_ms,
            region: "us-east-1".to_owned(),
            class: "STANDARD".to_owned(),
            ..Group::default()
        })
    }

    /// Creates a stream, and its group when that is missing. Existing ones stay as they are.
    pub fn ensure_stream(&mut self, group: &str, stream: &str, now_ms: i64) -> &mut Stream {
        let streams = &mut self.ensure_group(group, now_ms).streams;
        streams.entry(stream.to_owned()).or_insert_with(|| Stream::new(now_ms))
    }
}
