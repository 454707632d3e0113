//! The schedule: who may send, and when. State machines without engine and without I/O.

mod attempts;
pub mod backoff;
pub mod body_limit;
pub mod endpoint;
pub mod flush_timers;
pub mod latency;
pub mod pool;
pub mod rate_limiter;
pub mod retry_heap;
pub mod service_errors;
