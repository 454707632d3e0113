//! One accepted connection, as its requests see it.

use std::io::{self, Write};
use std::net::TcpStream as StdTcpStream;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// An accepted connection.
pub(crate) struct Connection {
    /// The number of the connection, counted from 1 in the order of acceptance.
    pub number: u64,
    /// A second handle of the socket that hyper owns.
    socket: StdTcpStream,
}

/// A connection and the stream that hyper reads and writes.
pub(crate) struct OpenedConnection {
    pub connection: Connection,
    pub stream: TcpStream,
}

impl Connection {
    /// Keeps a second handle of the stream's socket.
    pub fn open(number: u64, stream: TcpStream) -> io::Result<OpenedConnection> {
        let stream = stream.into_std()?;
        let connection = Self { number, socket: stream.try_clone()? };
        Ok(OpenedConnection { connection, stream: TcpStream::from_std(stream)? })
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
