//! A thin line to the endpoint: all connections together upload at a limited rate.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The receive buffer of each connection on a thin line, in bytes. The kernel doubles it. A larger one would take a
/// whole request body before the endpoint has read any of it.
pub(crate) const RECV_BUFFER_BYTES: usize = 16 * 1024;

/// The most bytes that are read from one connection before the next connection has its turn. It is the least that
/// hyper allows.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// The longest time for which the line may catch up. A timer that fires late must not lower the rate.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A line that all request bodies share.
///
/// Connections have turns in the order in which they asked, [`READ_BYTES`] a turn, so they share the line equally.
pub(crate) struct Uplink {
    bytes_per_s: f64,
    /// The time at which the line has carried all bytes so far. The lock is the queue of the connections: it is fair,
    /// and it is held while a connection's bytes are on the line.
    free_at: Mutex<Instant>,
}

impl Uplink {
    /// Makes an idle line.
    #[expect(clippy::cast_precision_loss, reason = "no line has 2^53 bytes a second")]
    pub fn new(bytes_per_s: NonZeroU64) -> Self {
        Self { bytes_per_s: bytes_per_s.get() as f64, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits for as long as the line needs for these bytes, after the bytes of all others that asked before.
    #[expect(clippy::cast_precision_loss, reason = "a body has at most 64 MiB")]
    pub async fn carry(&self, bytes: usize) {
        let mut free_at = self.free_at.lock().await;
        let earliest_start = Instant::now().checked_sub(CATCH_UP).unwrap_or(*free_at);
        *free_at = (*free_at).max(earliest_start) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
        tokio::time::sleep_until(*free_at).await;
    }
}
