//! `cwl-sink` ships log events to Amazon CloudWatch Logs from inside a process that it does not own.
//!
//! C hosts load it as `libcwl_sink.so`; their manual is `include/cwl_sink.h`. This page is the map of the code. Each
//! folder is a layer. A file imports from its own layer and from the layers below it, never from above;
//! `tests/layers.rs` reads the `use` lines and fails otherwise.
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`ffi`] | The C ABI: pointers in, status codes out, no panic across the boundary. |
//! | [`sink`] | Opens, pushes, flushes and shuts down. Owns the runtime; the only place where a thread of the host waits. |
//! | [`engine`] | Orchestration: the way in of an event, one attempt to send a batch, what its answer means, the tasks. |
//! | [`schedule`] | Decides who may send and when. State machines without engine and without I/O. |
//! | [`report`] | Tells an operator: statistics, and sentences about targets that fail and recover. |
//! | [`target`] | One log group and stream: its queue, its circuit breaker, the registry of all of them. |
//! | [`batch`] | Turns events into a request body. |
//! | [`outcome`] | Gives every event exactly one outcome, and tells the host. |
//! | [`service`] | CloudWatch Logs as a trait, and its implementation with AWS's SDK. |
//! | [`sources`] | Keeps the offsets below which a source is final, in memory and on disk. |
//! | [`config`] | Every option, in one table. |
//! | [`memory`] | Bounds the memory that events take, and reuses large buffers. |
//! | leaves | [`limits`] of the service, [`health`] of a target, [`json`], [`clock`], [`service_clock`], [`process`], [`threads`], [`wait_group`], [`sync`]. |
//!
//! An event travels down and then out:
//!
//! ```text
//! host thread       ffi → sink → engine::push
//!                     │  escapes the message once, straight into the open batch of its target
//!                   target::queue ── one per log group and stream; no thread and no task of its own
//!                     │  the batch is sealed: it is full, older than flush_interval_ms, or flushed
//!                   schedule::pool ── targets take turns; the endpoint and the rate limiter say how much may go out
//!                     │  a permit: the right to have one request in flight
//!                   engine::sender ── one attempt, never a back-off
//!                     │
//!                   service ── PutLogEvents
//!           failed ───┴─── final
//! target::breaker,           outcome: delivered, rejected, dropped or abandoned;
//! schedule::retry_heap       then the acks of the host and the offsets of its sources
//! ```
//!
//! The Rust modules are public for the project's own tests and benches. Hosts use the C ABI.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod batch;
pub mod clock;
pub mod config;
pub mod engine;
#[allow(unsafe_code, reason = "a C ABI takes pointers")]
pub mod ffi;
pub mod health;
pub mod json;
pub mod limits;
pub mod memory;
pub mod outcome;
#[allow(
    unsafe_code,
    reason = "fork handlers are C functions, and what they share with the code is not locked"
)]
pub mod process;
pub mod report;
pub mod schedule;
pub mod service;
pub mod service_clock;
pub mod sink;
pub mod sources;
pub mod sync;
pub mod target;
pub mod threads;
pub mod wait_group;
