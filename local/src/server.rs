//! What all connections share: the state, its lock, its clock, and the word that something changed.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::{FaultTable, RuleError};
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::store::Store;
use crate::tls::Tls;

/// The operations there are.
pub(crate) const OPERATIONS: [&str; 9] = [
    "PutLogEvents",
    "CreateLogGroup",
    "CreateLogStream",
    "PutRetentionPolicy",
    "DeleteLogGroup",
    "DeleteLogStream",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "GetLogEvents",
];

/// What was sent and the account of it, which change together: who sees a request's events sees its record too.
pub(crate) struct State {
    pub store: Store,
    pub ledger: Ledger,
}

/// The shared side of an endpoint.
pub(crate) struct Server {
    /// The known key.
    pub keys: Keys,
    /// What HTTPS is served with; `None` for HTTP.
    pub tls: Option<Tls>,
    /// Count events and keep none.
    pub discard: bool,
    /// Locked for the moment in which a checked request takes effect; nothing awaits under it.
    state: Mutex<State>,
    /// Locked while the rules are asked or changed; nothing awaits under it.
    faults: Mutex<FaultTable>,
    clock_offset_ms: AtomicI64,
    /// How often anything changed; what [`Server::wait_for_change`] sleeps on. Nothing awaits under it.
    changes: Mutex<u64>,
    changed: Condvar,
    /// Connections accepted so far.
    pub connections_accepted: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Requests read and not yet answered.
    pub in_flight: AtomicU64,
    /// The most there ever were of them.
    pub in_flight_peak: AtomicU64,
}

impl Server {
    /// A server with nothing in it.
    pub fn new(options: Options, tls: Option<Tls>) -> Result<Self, RuleError> {
        let mut faults = FaultTable::default();
        faults.replace(options.faults, Instant::now())?;
        let cap = if options.discard { 0 } else { options.request_log_cap };
        Ok(Self {
            keys: Keys::new(options.access_key, options.secret_key),
            tls,
            discard: options.discard,
            state: Mutex::new(State { store: Store::default(), ledger: Ledger::new(cap) }),
            faults: Mutex::new(faults),
            clock_offset_ms: AtomicI64::new(options.clock_offset_ms),
            changes: Mutex::new(0),
            changed: Condvar::new(),
            connections_accepted: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_peak: AtomicU64::new(0),
        })
    }

    /// Locks the state. Who changes it calls [`Server::notify`] after.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the fault rules.
    pub fn faults(&self) -> MutexGuard<'_, FaultTable> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This endpoint's clock.
    pub fn now(&self) -> SystemTime {
        let offset_ms = self.clock_offset_ms.load(Ordering::Relaxed);
        let offset = Duration::from_millis(offset_ms.unsigned_abs());
        let now = SystemTime::now();
        if offset_ms < 0 { now - offset } else { now + offset }
    }

    /// This endpoint's clock, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Puts this endpoint's clock so many milliseconds ahead of the machine's.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Wakes everybody who waits for a change.
    pub fn notify(&self) {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// A number that is another one after every change.
    pub fn change(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until anything has changed since `seen` or the deadline is there; `false` for the deadline.
    pub fn wait_for_change(&self, seen: u64, deadline: Instant) -> bool {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        while *changes == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            changes = self.changed.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
