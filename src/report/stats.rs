//! The statistics of a sink: counters, gauges, and the snapshot that hosts read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::json;

use crate::outcome::Outcome;
use crate::target::QueueSnapshot;
use crate::target::breaker::BreakerState;

/// Defines the counters, each once: its field, the method that adds one, and the field of the snapshot that it fills.
macro_rules! counters {
    ($($(#[$doc:meta])* $counter:ident => $count:ident;)*) => {
        /// The counters that the sink adds to. Each has the name of the statistic that it fills.
        #[derive(Debug, Default)]
        pub struct Stats {
            requests: AtomicU64,
            requests_in_flight: AtomicU64,
            wire_bytes: AtomicU64,
            $($counter: AtomicU64,)*
        }

        impl Stats {
            $(
                $(#[$doc])*
                pub fn $count(&self) {
                    self.$counter.fetch_add(1, Ordering::Relaxed);
                }
            )*

            /// Writes the counters into a snapshot.
            pub fn fill(&self, snapshot: &mut Snapshot) {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                snapshot.requests = read(&self.requests);
                snapshot.requests_in_flight = read(&self.requests_in_flight);
                snapshot.wire_bytes = read(&self.wire_bytes);
                $(snapshot.$counter = read(&self.$counter);)*
            }
        }
    };
}

counters! {
    /// Counts a request that failed.
    requests_failed => count_failed_request;
    /// Counts a request that was throttled.
    requests_throttled => count_throttled_request;
    /// Counts a push that was refused.
    refused_events => count_refused_event;
    /// Counts a message that was cut to the limit of the service.
    truncated_events => count_truncated_event;
    /// Counts a batch that goes back for another attempt.
    batches_retried => count_retried_batch;
}

/// A request in flight. It is counted until this is dropped.
#[derive(Debug)]
pub struct RequestInFlight<'a>(&'a Stats);

impl Stats {
    /// Counts a request with a body of `bytes` bytes, and counts it as in flight until the result is dropped.
    pub fn begin_request(&self, bytes: usize) -> RequestInFlight<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.wire_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.requests_in_flight.fetch_add(1, Ordering::Relaxed);
        RequestInFlight(self)
    }

    /// Returns whether a request awaits its answer.
    pub fn is_sending(&self) -> bool {
        self.requests_in_flight.load(Ordering::Relaxed) > 0
    }
}

impl Drop for RequestInFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The statistics of a sink. Counters count from its opening on. Gauges show the present state. Each number is exact, but
/// two of them may be read a moment apart.
///
/// The C ABI hands out this struct as `cwl_stats_snapshot`: every member is a `u64`, and a new one goes to the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Events that pushes accepted.
    pub accepted_events: u64,
    /// Message bytes of the accepted events, as UTF-8.
    pub accepted_bytes: u64,
    /// Pushes to a target that were refused, for any reason.
    pub refused_events: u64,
    /// Events that the service took.
    pub delivered_events: u64,
    /// Message bytes of the batches that the service took.
    pub delivered_bytes: u64,
    /// Events that the service refused for their age while it took the rest of their batch.
    pub rejected_events: u64,
    /// Events that were dropped: not retryable, tried for too long, or the oldest when there was no room.
    pub dropped_events: u64,
    /// Events that were still unsent at shutdown.
    pub abandoned_events: u64,
    /// Gauge: accepted events without an outcome.
    pub pending_events: u64,
    /// Gauge: memory reserved for events, in bytes.
    pub buffered_bytes: u64,
    /// The highest value of `buffered_bytes` so far.
    pub buffered_bytes_peak: u64,
    /// Gauge: known targets.
    pub targets: u64,
    /// Gauge: targets whose last batch failed and that are probed until one is delivered.
    pub targets_failing: u64,
    /// `PutLogEvents` requests.
    pub requests: u64,
    /// `PutLogEvents` requests that were answered with an error or not at all.
    pub requests_failed: u64,
    /// Gauge: `PutLogEvents` requests that await their answer.
    pub requests_in_flight: u64,
    /// The number of times that a batch went back for another attempt.
    pub batches_retried: u64,
    /// Body bytes of the requests, after compression.
    pub wire_bytes: u64,
    /// Events whose message was cut to the limit of the service.
    pub truncated_events: u64,
    /// Gauge: 1 while delivery is paused for all targets, because of credentials or of missing answers; else 0.
    pub endpoint_paused: u64,
    /// Gauge: the most requests in flight at present, without the slow lane. It is the option `concurrency`, or less while
    /// the account is throttled or the endpoint has just come back.
    pub concurrency_limit: u64,
    /// Gauge: requests in the slow lane: slow requests that made room for others.
    pub requests_slow: u64,
    /// Requests that were answered with throttling.
    pub requests_throttled: u64,
    /// Gauge: groups that the sink has created and whose retention is not set yet.
    pub settings_owed: u64,
}

/// A snapshot and its targets as JSON: the counters by their names, and an array `target_states`.
pub fn to_json(snapshot: &Snapshot, targets: &[QueueSnapshot]) -> String {
    let mut document = json!(snapshot);
    document["target_states"] = json!(targets.iter().map(target_json).collect::<Vec<_>>());
    document.to_string()
}

fn target_json(target: &QueueSnapshot) -> serde_json::Value {
    let ended = |outcome: Outcome| target.counts.of(outcome);
    json!({
        "log_group": target.group,
        "log_stream": target.stream,
        "emf": target.emf,
        "breaker": match target.breaker {
            BreakerState::Closed => "closed",
            BreakerState::Open(_) => "open",
            BreakerState::HalfOpen(_) => "half_open",
        },
        "batches_waiting": target.waiting_batches,
        "events_waiting": target.waiting_events,
        "batches_in_flight": target.in_flight,
        "in_slow_lane": target.in_slow_lane,
        "buffered_bytes": target.buffered_bytes,
        "accepted_events": target.counts.accepted,
        "accepted_bytes": target.counts.accepted_bytes,
        "delivered_events": ended(Outcome::Delivered),
        "rejected_events": ended(Outcome::Rejected),
        "dropped_events": ended(Outcome::Dropped),
        "abandoned_events": ended(Outcome::Abandoned),
        "last_error": target.last_error.as_ref().map(|last| json!({
            "code": last.error.code.as_deref(),
            "status": last.error.status,
            "message": &*last.error.message,
            "at_ms": last.at_ms,
        })),
        "next_attempt_in_ms": target
            .next_attempt
            .map(|at| at.saturating_duration_since(tokio::time::Instant::now()).as_millis() as u64),
    })
}
