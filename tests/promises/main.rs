//! Tests of the promises through the public API: the C ABI on one side, a real HTTP endpoint on the other.
//!
//! Each file is one family of promises. `host.rs` has the helpers: a host that uses the library as a C program
//! does. `relay.rs` is a line that can go dead.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a test reports what it measured")]

mod host;
mod relay;

mod acks;
mod agent_behaviours;
mod bad_input;
mod bytes;
mod clock;
mod connections;
mod credentials;
mod error_texts;
mod flush_and_shutdown;
mod header;
mod isolation;
mod limits;
mod missing_groups;
mod owed_settings;
mod poison_pill;
mod races;
mod recovery;
mod refused_content;
mod schedule;
mod secrets;
mod sources;
mod when_full;
