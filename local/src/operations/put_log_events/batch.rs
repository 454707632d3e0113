//! A batch of events: its checks and its storage.
//!
//! A batch is refused as a whole when its names, the number of its events, their bytes or their order are wrong. Each
//! event is rejected or accepted by its age. The events that are not rejected are valid. A batch is refused too when
//! its valid events span more than 24 hours. The response reports the rejected events by their indices in the batch.

use serde::Serialize;

use super::ages::{Ages, RejectedEvents};
use super::input::{BatchEvent, Input, Length, Message};
use crate::error::ServiceError;
use crate::faults::Reject;
use crate::limits::{BATCH_BYTES, BATCH_EVENTS, BATCH_SPAN_MS};
use crate::names;
use crate::operations::output::{Accepted, CallOutput};
use crate::operations::parameters;
use crate::store::{Event, Store};

/// The parameters of a `PutLogEvents` call. [`Batch::put`] reports all errors except those of the JSON.
pub(crate) struct Batch {
    /// Log group; empty when it is missing.
    pub group: String,
    /// Log stream; empty when it is missing.
    pub stream: String,
    /// Bytes of all events, as the service counts a batch.
    pub counted_bytes: usize,
    events: Vec<BatchEvent>,
    /// The error of the first check that the batch as a whole fails; `Ok` when it passes all of them.
    check: Result<(), ServiceError>,
    /// The error in the entity, which does not affect the events.
    entity_error: Option<&'static str>,
}

impl Batch {
    /// Reads the parameters. With `discard` no message is kept, only its length.
    pub fn parse(json: &[u8], discard: bool) -> Result<Self, ServiceError> {
        if discard { Self::parse_as::<Length>(json) } else { Self::parse_as::<String>(json) }
    }

    fn parse_as<M: Message>(json: &[u8]) -> Result<Self, ServiceError> {
        let input: Input<M> = parameters::parse(json)?;
        let group = input.log_group_name.unwrap_or_default();
        let stream = input.log_stream_name.unwrap_or_default();
        let mut check = names::check_group("logGroupName", &group)
            .and_then(|()| names::check_stream("logStreamName", &stream));
        let input_events = input.log_events.unwrap_or_else(|| {
            check = check.clone().and(Err(ServiceError::missing("logEvents")));
            Vec::new()
        });
        let mut counted_bytes = 0;
        let mut events = Vec::with_capacity(input_events.len());
        for (index, input_event) in input_events.into_iter().enumerate() {
            if check.is_ok() {
                check = input_event.check(index + 1);
            }
            let event = input_event.into_batch_event();
            counted_bytes += event.counted_bytes();
            events.push(event);
        }
        let check = check.and_then(|()| check_events(&events, counted_bytes));
        let entity_error = input.entity.and_then(|entity| entity.error());
        Ok(Self { group, stream, counted_bytes, events, check, entity_error })
    }

    /// Returns the number of events in the batch.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Checks the batch and stores its valid events. `forced` rejects further events although they are valid.
    pub fn put(self, store: &mut Store, now_ms: i64, forced: Reject) -> Result<CallOutput, ServiceError> {
        self.check?;
        let retention_days = store.group(&self.group)?.retention_days;
        let stream = store.stream(&self.group, &self.stream)?;
        let ages = Ages::of(&self.events, now_ms, retention_days, forced);
        let valid = &self.events[ages.valid.clone()];
        let mut accepted = Accepted::default();
        if let (Some(first), Some(last)) = (valid.first(), valid.last()) {
            let (first_ms, last_ms) = (first.timestamp_ms, last.timestamp_ms);
            if last_ms - first_ms > BATCH_SPAN_MS {
                return Err(ServiceError::invalid_parameter(
                    "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
                ));
            }
            let counted_bytes = valid.iter().map(BatchEvent::counted_bytes).sum();
            accepted = Accepted { events: valid.len(), counted_bytes };
            stream.count_accepted(accepted.events, accepted.counted_bytes, first_ms, last_ms, now_ms);
            let event = |event: BatchEvent| {
                let (timestamp_ms, message) = (event.timestamp_ms, event.message?);
                Some(Event { timestamp_ms, ingestion_ms: now_ms, message })
            };
            let valid = self.events.into_iter().skip(ages.valid.start).take(accepted.events);
            stream.keep(valid.filter_map(event));
        }
        let output = PutResult {
            rejected_log_events_info: ages.rejected,
            rejected_entity_info: self.entity_error.map(|error_type| RejectedEntity { error_type }),
        };
        let body = serde_json::to_vec(&output).expect("indices and names can be written as JSON");
        Ok(CallOutput { body, accepted })
    }
}

fn check_events(events: &[BatchEvent], counted_bytes: usize) -> Result<(), ServiceError> {
    if events.is_empty() {
        return Err(ServiceError::constraint(
            "logEvents",
            "[]",
            "Member must have length greater than or equal to 1",
        ));
    }
    if events.len() > BATCH_EVENTS {
        return Err(ServiceError::constraint(
            "logEvents",
            &format!("{} events", events.len()),
            "Member must have length less than or equal to 10000",
        ));
    }
    if counted_bytes > BATCH_BYTES {
        return Err(ServiceError::invalid_parameter(format!(
            "Upload too large: {counted_bytes} bytes exceeds limit of {BATCH_BYTES}"
        )));
    }
    if !events.is_sorted_by_key(|event| event.timestamp_ms) {
        return Err(ServiceError::invalid_parameter(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PutResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_log_events_info: Option<RejectedEvents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_entity_info: Option<RejectedEntity>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RejectedEntity {
    error_type: &'static str,
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
