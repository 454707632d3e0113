//! One call of an operation.

use super::context::CallContext;
use super::output::{Accepted, CallOutput};
use super::parameters::{self, Names};
use super::put_log_events::Batch;
use super::{describe, get_log_events, manage};
use crate::error::ServiceError;
use crate::faults::Reject;
use crate::operation::PUT_LOG_EVENTS;
use crate::store::Store;

/// A call whose group and stream could be read. The fault rules need both before the operation is carried out.
pub(crate) enum Call {
    /// `PutLogEvents`, with all its parameters.
    PutLogEvents(Batch),
    /// Any other operation.
    Other {
        /// The operation's name.
        operation: String,
        /// The group and the stream that the call names.
        names: Names,
        /// The parameters.
        json: Vec<u8>,
    },
}

impl Call {
    /// Reads the parameters of an operation. With `discard` no message is kept, only its length.
    pub fn parse(operation: &str, json: Vec<u8>, discard: bool) -> Result<Self, ServiceError> {
        if operation == PUT_LOG_EVENTS {
            return Batch::parse(&json, discard).map(Self::PutLogEvents);
        }
        let names = parameters::names(&json)?;
        Ok(Self::Other { operation: operation.to_owned(), names, json })
    }

    /// Carries the operation out. `forced` makes `PutLogEvents` reject valid events.
    pub fn execute(
        self,
        store: &mut Store,
        context: &CallContext<'_>,
        forced: Reject,
    ) -> Result<CallOutput, ServiceError> {
        let (operation, json) = match self {
            Self::PutLogEvents(batch) => return batch.put(store, context.now_ms, forced),
            Self::Other { operation, json, .. } => (operation, json),
        };
        let body = match operation.as_str() {
            "CreateLogGroup" => manage::create_log_group(store, &json, context),
            "CreateLogStream" => manage::create_log_stream(store, &json, context),
            "PutRetentionPolicy" => manage::put_retention_policy(store, &json),
            "DeleteLogGroup" => manage::delete_log_group(store, &json),
            "DeleteLogStream" => manage::delete_log_stream(store, &json),
            "DescribeLogGroups" => describe::log_groups(store, &json),
            "DescribeLogStreams" => describe::log_streams(store, &json),
            "GetLogEvents" => get_log_events::get_log_events(store, &json),
            other => Err(ServiceError::unknown_operation(format!("unknown operation {other}"))),
        }?;
        Ok(CallOutput { body, accepted: Accepted::default() })
    }
}
