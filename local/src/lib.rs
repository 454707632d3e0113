//! `cwl-local`: a CloudWatch Logs endpoint on loopback, for tests, benches and demos.
//!
//! It promises to take what the service takes and to refuse what the service refuses: every limit, order and name
//! of the operations below is checked, and every signature is verified, by code that shares nothing with any AWS
//! SDK. On top of that it fails on demand, in the ways networks and services fail.
//!
//! ```
//! let local = cwl_local::Local::start(cwl_local::Options::default()).unwrap();
//! local.create_stream("/app", "host-1");
//! local.add_fault(cwl_local::Rule::error("ThrottlingException", 400).group("/app").count(2));
//! // point a client at local.endpoint(), with access key "test" and secret "test", then:
//! let arrived = local.wait_until(std::time::Duration::from_millis(1), |local| local.event_count("/app") == 3);
//! assert!(!arrived, "nobody sent anything");
//! ```
//!
//! The house, in the way of a request:
//!
//! - [`Local`] owns the runtime, the listener and everything a test may ask for (`local.rs`, `inspect.rs`).
//! - `listener.rs` accepts, closes and resets connections; pausing it refuses them. `tls.rs` is for those who want HTTPS.
//! - `handler.rs` leads one request from its body to its answer: signature, faults, operation, record.
//! - `sigv4.rs` verifies Signature Version 4; `keys.rs` holds the key that is known.
//! - `faults/` holds the [`Rule`]s and decides what happens to a request.
//! - `put_log_events.rs`, `manage.rs`, `describe.rs` and `get_log_events.rs` are the operations; `limits.rs` their numbers.
//! - `store.rs` and `stream.rs` keep what was created and what was sent.
//! - `ledger.rs` keeps the [`RequestRecord`]s and the [`Counters`].
//! - `control.rs` is the way in over HTTP for those who are not Rust: `/_local/faults` and `/_local/stats`.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod control;
mod describe;
mod error;
mod faults;
mod get_log_events;
mod handler;
mod inspect;
mod keys;
mod ledger;
mod limits;
mod listener;
mod local;
mod manage;
mod names;
mod options;
mod put_log_events;
mod response;
mod server;
mod sigv4;
mod store;
mod stream;
mod tls;
#[cfg(test)]
mod wire_client;
#[cfg(test)]
mod wire_tests;

pub use faults::{Effect, Reject, ResetWhen, Rule, RuleError, RuleId, RuleStatus, parse_rules};
pub use ledger::{Counters, Outcome, RequestRecord};
pub use local::{Local, StartError};
pub use options::Options;
pub use stream::Event;
