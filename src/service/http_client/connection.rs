//! An open connection: TCP or TLS, to the service or through a proxy.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connect};

/// Carries bytes both ways.
trait Transport: Read + Write + Connect + Send + Unpin {}

impl<T: Read + Write + Connect + Send + Unpin> Transport for T {}

/// See the module.
pub struct Connection {
    transport: Box<dyn Transport>,
    /// True if a proxy reads the requests, which then name the whole URL.
    is_read_by_proxy: bool,
}

impl Connection {
    /// A connection to the service, or a tunnel to it.
    pub(super) fn direct(transport: impl Read + Write + Connect + Send + Unpin + 'static) -> Self {
        Connection { transport: Box::new(transport), is_read_by_proxy: false }
    }

    /// A connection to a proxy that passes requests on.
    pub(super) fn to_proxy(transport: impl Read + Write + Connect + Send + Unpin + 'static) -> Self {
        Connection { transport: Box::new(transport), is_read_by_proxy: true }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("is_read_by_proxy", &self.is_read_by_proxy)
            .finish_non_exhaustive()
    }
}

impl Connect for Connection {
    fn connected(&self) -> Connected {
        self.transport.connected().proxy(self.is_read_by_proxy)
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(context, buffer)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }
}
