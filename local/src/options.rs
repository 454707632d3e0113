//! The settings of an endpoint.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;

use crate::faults::Rule;

/// The settings of one [`Local`](crate::Local).
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on. It must be a loopback address; port 0 takes a free port. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The access key id that is accepted. Default `test`.
    pub access_key: String,
    /// The secret access key of `access_key`. Default `test`.
    pub secret_key: String,
    /// True to serve HTTPS instead of HTTP, with a certificate that is made at the start; see
    /// [`Local::certificate_pem`](crate::Local::certificate_pem). Default `false`.
    pub tls: bool,
    /// True to count events and requests, and keep neither; for benches. Default `false`.
    pub discard: bool,
    /// The fault rules at the start. Default none.
    pub faults: Vec<Rule>,
    /// Milliseconds by which the endpoint's clock is ahead of the machine's clock (negative: behind). This clock
    /// decides the age of signatures and events, the ingestion times and the `Date` header. Default 0.
    pub clock_offset_ms: i64,
    /// The most [`RequestRecord`](crate::RequestRecord)s that are kept; a new record then replaces the oldest. The
    /// counters are not limited. Default 200,000; with `discard` none are kept.
    pub request_log_cap: usize,
    /// Milliseconds after which a connection without a request is closed, as a load balancer closes it. They count from
    /// the last answer, and before the first answer from the acceptance. A request that arrives at the same time finds
    /// the connection closed. Default: connections stay open.
    pub idle_close_ms: Option<NonZeroU64>,
    /// The most bytes of request bodies that are read per second, over all connections together; the connections share
    /// them equally. Their receive buffers are small, so that a client feels the rate. Default: no limit.
    pub uplink_bytes_per_s: Option<NonZeroU64>,
    /// Number of threads that serve requests, at least 1. Default 2.
    pub worker_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_key: "test".to_owned(),
            secret_key: "test".to_owned(),
            tls: false,
            discard: false,
            faults: Vec::new(),
            clock_offset_ms: 0,
            request_log_cap: 200_000,
            idle_close_ms: None,
            uplink_bytes_per_s: None,
            worker_threads: 2,
        }
    }
}
