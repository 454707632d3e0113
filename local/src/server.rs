//! The part of an endpoint that all connections share: the state, the fault rules, the clock and the counters.
//!
//! Lock order: no lock is held while another one is taken.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::auth::SignatureVerifier;
use crate::faults::{FaultTable, RuleError};
use crate::options::Options;
use crate::request_log::RequestLog;
use crate::store::Store;
use crate::uplink::Uplink;

/// The stored events and the log of requests. They change together: when the events of a request are visible, its
/// record is visible too.
pub(crate) struct State {
    pub store: Store,
    pub request_log: RequestLog,
}

/// The result of [`Server::wait_for_change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    Changed,
    TimedOut,
}

/// The shared part of an endpoint.
pub(crate) struct Server {
    /// Verifies the signature of each request.
    pub signature_verifier: SignatureVerifier,
    /// True to count events and keep none.
    pub discard: bool,
    /// The time after which an idle connection is closed.
    pub idle_close: Option<Duration>,
    /// The thin line that all request bodies share.
    pub uplink: Option<Uplink>,
    /// Guards the state. It is locked while a verified request is carried out. Never held across an await.
    state: Mutex<State>,
    /// Guards the fault rules. It is locked while they are evaluated or changed. Never held across an await.
    faults: Mutex<FaultTable>,
    clock_offset_ms: AtomicI64,
    /// Guards the number of changes that [`Server::wait_for_change`] waits for. Never held across an await.
    change_count: Mutex<u64>,
    changed: Condvar,
    /// Connections accepted so far.
    pub connections_accepted: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Connections closed so far because they were idle.
    pub connections_closed_idle: AtomicU64,
    /// Bytes of request bodies read so far, also of requests that the client broke off.
    pub body_bytes_read: AtomicU64,
    /// Requests that have begun and have no response yet.
    pub in_flight: AtomicU64,
    /// The most requests that were in flight at the same time.
    pub in_flight_peak: AtomicU64,
}

impl Server {
    /// Makes a server without groups and requests.
    pub fn new(options: Options) -> Result<Self, RuleError> {
        let mut faults = FaultTable::default();
        faults.replace(options.faults, Instant::now())?;
        let max_records = if options.discard { 0 } else { options.request_log_cap };
        Ok(Self {
            signature_verifier: SignatureVerifier::new(options.access_key, options.secret_key),
            discard: options.discard,
            idle_close: options.idle_close_ms.map(|ms| Duration::from_millis(ms.get())),
            uplink: options.uplink_bytes_per_s.map(Uplink::new),
            state: Mutex::new(State { store: Store::default(), request_log: RequestLog::new(max_records) }),
            faults: Mutex::new(faults),
            clock_offset_ms: AtomicI64::new(options.clock_offset_ms),
            change_count: Mutex::new(0),
            changed: Condvar::new(),
            connections_accepted: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            connections_closed_idle: AtomicU64::new(0),
            body_bytes_read: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_peak: AtomicU64::new(0),
        })
    }

    /// Locks the state. After a change, call [`Server::notify`].
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the fault rules.
    pub fn faults(&self) -> MutexGuard<'_, FaultTable> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time of the endpoint's clock.
    pub fn now(&self) -> SystemTime {
        self.now_plus_ms(0)
    }

    /// Returns the time that the endpoint's clock will show in `ms` milliseconds.
    pub fn now_plus_ms(&self, ms: i64) -> SystemTime {
        let offset_ms = self.clock_offset_ms.load(Ordering::Relaxed).saturating_add(ms);
        let offset = Duration::from_millis(offset_ms.unsigned_abs());
        let now = SystemTime::now();
        if offset_ms < 0 { now - offset } else { now + offset }
    }

    /// Returns the time of the endpoint's clock, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        let since_epoch = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    /// Sets the endpoint's clock `offset_ms` milliseconds ahead of the machine's clock (negative: behind).
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Counts a change and wakes all threads that wait for one.
    pub fn notify(&self) {
        *self.change_count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Returns the number of changes so far, for [`Server::wait_for_change`].
    pub fn change_count(&self) -> u64 {
        *self.change_count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the number of changes differs from `seen` or the deadline has passed.
    pub fn wait_for_change(&self, seen: u64, deadline: Instant) -> WaitResult {
        let mut change_count = self.change_count.lock().unwrap_or_else(PoisonError::into_inner);
        while *change_count == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return WaitResult::TimedOut;
            }
            change_count =
                self.changed.wait_timeout(change_count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        WaitResult::Changed
    }
}
