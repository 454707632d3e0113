//! `cwl-sink` ships log events to Amazon CloudWatch Logs from inside somebody else's process.
//!
//! C hosts load it as `libcwl_sink.so` and find its manual in `include/cwl_sink.h`. This page is the map of
//! the house. An event goes one way:
//!
//! ```text
//! host's thread        ffi ── the C ABI: pointers in, codes out
//!                        │
//!                      sink ── open, push, flush, shutdown; owns the runtime
//!                        │
//!                      engine ── what all parts share (event: cut, split, recognized)
//!                        │  message (escape): escaped once, into the open batch of its target
//!                      queue (registry, batch, buffers, memory) ── one per target; no thread and no task of its own
//!                        │  sealed: full, older than flush_interval (flush_timer), or flush
//!                      pool ── the lines, the workers and the slow lane; endpoint, pace: how much may go out at all
//!                        │  turn: the seat of one attempt; in_flight: its batch, which comes back in exactly one way
//!                      sender ── one attempt (body: in order, compressed; target_manager creates what is missing)
//!                        │
//!                      logs_api ── the seam to the service; logs_api::aws is the one place that names the SDK
//!                        │
//!              failed ───┴─── final
//!        breaker, retry       ack: one of four outcomes; offsets, sources, state_dir: what need not be read again
//! ```
//!
//! Beside it stand [`config`], the table of options; [`limits`], the service's numbers; [`stats`] and
//! [`transitions`], what an operator is told; [`latency`], what is usual; [`clock`],
//! the time of day as a seam; [`threads`] and [`countdown`], for hosts' threads that wait.
//!
//! The Rust modules are public for the project's own tests and benches; hosts use the C ABI.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod ack;
pub mod batch;
pub mod body;
pub mod breaker;
pub mod buffers;
pub mod clock;
pub mod config;
pub mod countdown;
pub mod endpoint;
pub mod engine;
pub mod escape;
pub mod event;
#[allow(unsafe_code)]
pub mod ffi;
pub mod flush_timer;
pub mod in_flight;
pub mod latency;
pub mod limits;
pub mod logs_api;
pub mod memory;
pub mod message;
pub mod offsets;
pub mod pace;
pub mod pool;
pub mod queue;
pub mod registry;
pub mod retry;
pub mod sender;
pub mod sink;
pub mod sources;
pub mod state_dir;
pub mod stats;
pub mod target_manager;
pub mod threads;
pub mod transitions;
pub mod turn;
