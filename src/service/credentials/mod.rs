//! Credentials: where they are looked up, and how long they are used.
//!
//! [`cache`] holds the present credentials and decides when to look again. A request waits for credentials before it is
//! sent, so their source has a time-out of its own. [`chain`] looks in all places, in AWS's order. [`profiles`] reads AWS's
//! configuration files, and [`process`] runs the `credential_process` of a profile.

mod asked;
pub mod cache;
pub mod chain;
mod process;
mod process_output;
pub mod profiles;
