//! The promises, kept through the public API: the C ABI in front, a real HTTP endpoint behind.
//!
//! Each file is one family of promises; `host.rs` is a host as a C program would be one.

mod host;

mod acks;
mod agent_behaviours;
mod bad_input;
mod bytes;
mod credentials;
mod flush_and_shutdown;
mod header;
mod isolation;
mod limits;
mod missing_groups;
mod poison_pill;
mod races;
mod recovery;
mod secrets;
mod sources;
mod when_full;
