//! The operations of the service. Each takes parameters as JSON and returns the body of the response or a service
//! error.
//!
//! - `call.rs`: one call with its parameters; it selects the operation. It imports the operations:
//! - `put_log_events/`: `PutLogEvents`.
//! - `manage.rs`: creates, changes and deletes log groups and log streams.
//! - `describe.rs`: `DescribeLogGroups` and `DescribeLogStreams`.
//! - `get_log_events.rs`: `GetLogEvents`.
//! - `parameters.rs`, `context.rs` and `output.rs`: used by all operations.

mod call;
mod context;
mod describe;
mod get_log_events;
mod manage;
mod output;
mod parameters;
mod put_log_events;

pub(crate) use call::Call;
pub(crate) use context::CallContext;
pub(crate) use output::Accepted;
