//! What an endpoint is started with.

use std::net::{Ipv4Addr, SocketAddr};

use crate::faults::Rule;

/// The settings of one [`Local`](crate::Local).
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. It must be a loopback address; port 0 takes a free port. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The one access key id that is known. Default `test`.
    pub access_key: String,
    /// Its secret access key. Default `test`.
    pub secret_key: String,
    /// Serve HTTPS with a certificate made at the start, instead of HTTP; see
    /// [`Local::certificate_pem`](crate::Local::certificate_pem). Default `false`.
    pub tls: bool,
    /// Count events and requests, and keep neither; for benches. Default `false`.
    pub discard: bool,
    /// The fault rules to begin with. Default none.
    pub faults: Vec<Rule>,
    /// Milliseconds by which this endpoint's clock is ahead of the machine's (negative: behind). The signature's age,
    /// the age of events, ingestion times and the `Date` header all follow it. Default 0.
    pub clock_offset_ms: i64,
    /// How many [`RequestRecord`](crate::RequestRecord)s are kept; past it the oldest go. Default 200,000; none with
    /// `discard`. The counters count on.
    pub request_log_cap: usize,
    /// Threads that serve requests, at least 1. Default 2.
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
            worker_threads: 2,
        }
    }
}
