//! `cwl-local`: a CloudWatch Logs endpoint on loopback, for tests, benches and demos.
//!
//! It accepts the requests that the service accepts and refuses the requests that the service refuses. It checks every
//! limit, order and name of its operations and every signature. This code shares nothing with any AWS SDK. On demand it
//! fails in the ways in which networks and services fail.
//!
//! ```
//! let local = cwl_local::Local::start(cwl_local::Options::default()).unwrap();
//! local.create_stream("/app", "host-1");
//! local.add_fault(cwl_local::Rule::error("ThrottlingException", 400).group("/app").count(2));
//! // Point a client at local.endpoint(), with access key "test" and secret "test". Then:
//! let arrived = local.wait_until(std::time::Duration::from_millis(1), |local| local.event_count("/app") == 3);
//! assert!(!arrived, "no client has sent events");
//! ```
//!
//! The parts, in layers. A file imports from its own folder and from the layers below it only; `layers_tests.rs` checks
//! this:
//!
//! 1. `endpoint/`: [`Local`] owns the runtime and the listener, and has the methods for tests.
//! 2. `listener.rs`: accepts, closes and resets connections; pausing it refuses them.
//! 3. `handler/`: handles one request: signature, faults, operation, record, response.
//! 4. `control.rs`: the control paths over HTTP: `/_local/faults` and `/_local/stats`.
//! 5. `server.rs`: the state that all connections share, and its locks.
//! 6. `operations/`: the operations of the service; `options.rs`: the settings of an endpoint.
//! 7. Parts that do not import each other:
//!    - `auth/`: verifies Signature Version 4.
//!    - `faults/`: the [`Rule`]s; decides what happens to a request.
//!    - `store/`: the log groups, the log streams and the events.
//!    - `request_log.rs`: the [`RequestRecord`]s and the [`Counters`].
//!    - `response.rs`: the HTTP responses.
//! 8. `names.rs`: checks the names of groups and streams.
//! 9. Leaves:
//!    - `error.rs`: the error responses of the service.
//!    - `limits.rs`: the limits of the service.
//!    - `operation.rs`: the names of the operations.
//!    - `glob.rs`: matches names against patterns.
//!    - `connection.rs`: one accepted connection; it can be reset, and it knows how long it has been idle.
//!    - `tls.rs`: the certificate for HTTPS.
//!    - `uplink.rs`: a thin line that all request bodies share.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod auth;
mod connection;
mod control;
mod endpoint;
mod error;
mod faults;
mod glob;
mod handler;
#[cfg(test)]
mod layers_tests;
mod limits;
mod listener;
mod names;
mod operation;
mod operations;
mod options;
mod request_log;
mod response;
mod server;
mod store;
mod tls;
mod uplink;
#[cfg(test)]
mod wire_tests;

pub use endpoint::{Local, StartError};
pub use faults::{Effect, Reject, ResetWhen, Rule, RuleError, RuleId, RuleStatus, parse_rules};
pub use options::Options;
pub use request_log::{Counters, Outcome, RequestRecord};
pub use store::Event;
