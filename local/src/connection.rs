//! One accepted connection, as its requests see it.

use std::io::{self, Write};
use std::net::TcpStream as StdTcpStream;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// An accepted connection.
pub(crate) struct Connection {
    /// The number of the connection, counted from 1 in the order of acceptance.
    pub number: u64,
    /// A second handle of the socket that hyper owns.
    socket: StdTcpStream,
    activity: watch::Sender<Activity>,
}

/// The use of a connection at present.
#[derive(Clone, Copy)]
enum Activity {
    /// A request has begun and has no answer yet.
    Request,
    /// The last answer was given at this time, or the connection was accepted then.
    IdleSince(Instant),
}

/// A connection and the stream that hyper reads and writes.
pub(crate) struct OpenedConnection {
    pub connection: Connection,
    pub stream: TcpStream,
}

/// A request on a connection. When it is dropped, the connection is idle.
pub(crate) struct RequestGuard<'a>(&'a Connection);

impl Connection {
    /// Keeps a second handle of the stream's socket.
    pub fn open(number: u64, stream: TcpStream) -> io::Result<OpenedConnection> {
        let stream = stream.into_std()?;
        let activity = watch::Sender::new(Activity::IdleSince(Instant::now()));
        let connection = Self { number, socket: stream.try_clone()?, activity };
        Ok(OpenedConnection { connection, stream: TcpStream::from_std(stream)? })
    }

    /// Begins a request.
    pub fn begin_request(&self) -> RequestGuard<'_> {
        self.activity.send_replace(Activity::Request);
        RequestGuard(self)
    }

    /// Waits until the connection has been idle for this time.
    pub async fn idle_for(&self, time: Duration) {
        let mut activity = self.activity.subscribe();
        loop {
            let now = *activity.borrow_and_update();
            tokio::select! {
                () = end_of_idle_time(now, time) => return,
                _ = activity.changed() => {}
            }
        }
    }

    /// Writes bytes that are not HTTP.
    pub fn write_garbage(&self) {
        // An error means that the client has closed the connection already; then nobody reads them.
        let _ = (&self.socket).write_all(b"HTTP/1.1 abc\r\n\r\n");
    }

    /// Makes the connection end in an RST when its last handle is dropped.
    pub fn reset_when_dropped(&self) {
        // An error means that the client has closed the connection already; then there is nothing to reset.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.activity.send_replace(Activity::IdleSince(Instant::now()));
    }
}

/// Waits for the end of the idle time; without end during a request.
async fn end_of_idle_time(activity: Activity, time: Duration) {
    match activity {
        Activity::Request => std::future::pending().await,
        Activity::IdleSince(since) => tokio::time::sleep_until(since + time).await,
    }
}
