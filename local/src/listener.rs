//! Connections: accepting, refusing, closing and resetting them.
//!
//! Promises: a paused endpoint refuses connections and has none open, and keeps its port meanwhile; a connection that
//! a fault rule resets ends in an RST, not in an orderly close, and with TLS without a closing word; how long a client
//! takes over its handshake, and how that ends, is its own affair.

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::handler;
use crate::server::Server;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What the owner wants of the listener. Each is answered when it is done.
pub(crate) enum Command {
    /// Refuse connections and close those that are open.
    Pause(Sender<io::Result<()>>),
    /// Listen again.
    Resume(Sender<io::Result<()>>),
    /// Close everything for good.
    Stop(Sender<()>),
}

/// One connection, as far as its requests need to know it.
pub(crate) struct Connection {
    /// Counted from 1 in the order of acceptance.
    pub number: u64,
    /// A second handle of the socket that hyper owns.
    socket: StdTcpStream,
}

impl Connection {
    /// From now on the connection ends in an RST when its last handle is dropped.
    pub fn reset_when_dropped(&self) {
        // An error means that the client was faster; then there is nothing left to reset.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

/// Takes the port without listening on it: connections to it are refused and nobody else gets it.
pub(crate) fn reserve(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Begins to listen on a reserved port. It needs the runtime's context.
pub(crate) fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepts and serves until it is told to stop.
pub(crate) async fn run(
    server: Arc<Server>,
    addr: SocketAddr,
    listener: TcpListener,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    let mut reserved = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    let server = Arc::clone(&server);
                    connections.spawn(async move {
                        let _open = Open::begin(&server);
                        // How a connection ends is the client's affair or a fault rule's; nobody waits to hear it.
                        let _ = serve(&server, stream).await;
                    });
                }
                // Out of file descriptors, most likely: let some connections end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            command = commands.recv() => match command {
                Some(Command::Pause(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    if reserved.is_none() {
                        reserved = reserve(addr).ok();
                    }
                    let _ = done.send(Ok(()));
                }
                Some(Command::Resume(done)) => {
                    if listener.is_none() {
                        let socket = reserved.take().map_or_else(|| reserve(addr), Ok);
                        match socket.and_then(listen) {
                            Ok(again) => listener = Some(again),
                            Err(error) => {
                                let _ = done.send(Err(error));
                                continue;
                            }
                        }
                    }
                    let _ = done.send(Ok(()));
                }
                Some(Command::Stop(done)) => {
                    drop(listener);
                    connections.shutdown().await;
                    let _ = done.send(());
                    return;
                }
                None => return,
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn serve(
    server: &Arc<Server>,
    stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let number = server.connections_accepted.fetch_add(1, Ordering::Relaxed) + 1;
    let stream = stream.into_std()?;
    let connection = Arc::new(Connection { number, socket: stream.try_clone()? });
    let stream = TcpStream::from_std(stream)?;
    let service = service_fn(|request| handler::handle(Arc::clone(server), Arc::clone(&connection), request));
    match &server.tls {
        None => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?,
        Some(tls) => {
            let stream = tls.acceptor.accept(stream).await?;
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
        }
    }
    Ok(())
}

/// A connection that counts as open until it is dropped.
struct Open(Arc<Server>);

impl Open {
    fn begin(server: &Arc<Server>) -> Self {
        server.connections_open.fetch_add(1, Ordering::Relaxed);
        server.notify();
        Self(Arc::clone(server))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
        self.0.notify();
    }
}
