//! Accepts, serves, refuses and closes connections.
//!
//! - A paused endpoint refuses connections, has none open and keeps its port.
//! - A connection that a fault rule resets ends in an RST, not in an orderly close; with TLS there is no
//!   `close_notify`.
//! - An idle connection can be closed after a fixed time, as a load balancer closes it.
//! - A TLS handshake that is slow or fails affects its own connection only.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, OpenedConnection};
use crate::handler;
use crate::server::Server;
use crate::uplink;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The pause after an error of accept(2). The most likely cause is that there are no free file descriptors; some
/// connections end meanwhile.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// A command to the listener. The listener replies when the command is carried out.
pub(crate) enum ListenerCommand {
    /// Refuses connections and closes the open ones.
    Pause(Sender<()>),
    /// Listens again.
    Resume(Sender<io::Result<()>>),
    /// Closes the listener and all connections for good.
    Stop(Sender<()>),
}

/// Accepts connections on one port and serves them.
pub(crate) struct Listener {
    server: Arc<Server>,
    tls: Option<TlsAcceptor>,
    addr: SocketAddr,
    port: Port,
    connections: JoinSet<()>,
}

/// The state of the port.
enum Port {
    /// Connections are accepted.
    Listening(TcpListener),
    /// Connections are refused; no other process gets the port.
    Reserved(Socket),
    /// The port could not be reserved; another process may have it.
    Released,
}

impl Listener {
    /// Begins to listen. Without `tls` it serves plain HTTP. It must be called in the context of the runtime.
    pub fn bind(listen: SocketAddr, server: Arc<Server>, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let socket = begin_to_listen(reserve(listen)?, &server)?;
        let addr = socket.local_addr()?;
        Ok(Self { server, tls, addr, port: Port::Listening(socket), connections: JoinSet::new() })
    }

    /// Returns the address, with the port that was chosen if port 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts and serves connections until [`ListenerCommand::Stop`].
    pub async fn run(mut self, mut commands: UnboundedReceiver<ListenerCommand>) {
        loop {
            tokio::select! {
                accepted = self.port.accept() => match accepted {
                    Ok(stream) => self.serve(stream),
                    Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
                },
                Some(_) = self.connections.join_next() => {}
                command = commands.recv() => match command {
                    Some(ListenerCommand::Pause(done)) => {
                        self.pause().await;
                        let _ = done.send(());
                    }
                    Some(ListenerCommand::Resume(done)) => {
                        let _ = done.send(self.resume());
                    }
                    Some(ListenerCommand::Stop(done)) => {
                        self.port = Port::Released;
                        self.connections.shutdown().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    fn serve(&mut self, stream: TcpStream) {
        let (server, tls) = (Arc::clone(&self.server), self.tls.clone());
        self.connections.spawn(async move {
            let _open = OpenGuard::new(&server);
            // An error is the result of the client's behaviour or of a fault rule; no caller needs it.
            let _ = serve_connection(&server, tls, stream).await;
        });
    }

    async fn pause(&mut self) {
        if let Port::Listening(_) = self.port {
            self.port = Port::Released;
        }
        self.connections.shutdown().await;
        if let Port::Released = self.port
            && let Ok(socket) = reserve(self.addr)
        {
            self.port = Port::Reserved(socket);
        }
    }

    fn resume(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.port, Port::Released) {
            Port::Listening(listener) => {
                self.port = Port::Listening(listener);
                return Ok(());
            }
            Port::Reserved(socket) => socket,
            Port::Released => reserve(self.addr)?,
        };
        self.port = Port::Listening(begin_to_listen(socket, &self.server)?);
        Ok(())
    }
}

impl Port {
    /// Waits for a connection; without end when the port is not listening.
    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Listening(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Reserved(_) | Self::Released => std::future::pending().await,
        }
    }
}

/// Binds the port without listening on it: connections are refused and no other process gets the port.
fn reserve(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Begins to listen on a reserved port. It must be called in the context of the runtime.
fn begin_to_listen(socket: Socket, server: &Server) -> io::Result<TcpListener> {
    if server.uplink.is_some() {
        // Before listen(2), so that accepted connections inherit it.
        socket.set_recv_buffer_size(uplink::RECV_BUFFER_BYTES)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

async fn serve_connection(
    server: &Arc<Server>,
    tls: Option<TlsAcceptor>,
    stream: TcpStream,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let number = server.connections_accepted.fetch_add(1, Ordering::Relaxed) + 1;
    let OpenedConnection { connection, stream } = Connection::open(number, stream)?;
    let connection = Arc::new(connection);
    match tls {
        None => serve_http(server, &connection, stream).await,
        Some(acceptor) => serve_http(server, &connection, acceptor.accept(stream).await?).await,
    }
}

/// Serves requests until the client closes the connection, a fault rule breaks it or it has been idle for too long.
async fn serve_http(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), ConnectionError> {
    let service = service_fn(|request| async {
        let _in_use = connection.begin_request();
        handler::handle(Arc::clone(server), Arc::clone(connection), request).await
    });
    let mut builder = http1::Builder::new();
    if server.uplink.is_some() {
        builder.max_buf_size(uplink::READ_BYTES);
    }
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        result = &mut served => return Ok(result?),
        () = idle_too_long(server, connection) => {}
    }
    server.connections_closed_idle.fetch_add(1, Ordering::Relaxed);
    // The connection is between two requests, so this closes it at once. What the client sends from now on is answered
    // by an RST.
    served.as_mut().graceful_shutdown();
    Ok(served.await?)
}

/// Waits until a connection is to be closed because it is idle; without end when idle connections stay open.
async fn idle_too_long(server: &Server, connection: &Connection) {
    match server.idle_close {
        Some(time) => connection.idle_for(time).await,
        None => std::future::pending().await,
    }
}

/// Counts a connection as open until it is dropped.
struct OpenGuard(Arc<Server>);

impl OpenGuard {
    fn new(server: &Arc<Server>) -> Self {
        server.connections_open.fetch_add(1, Ordering::Relaxed);
        server.notify();
        Self(Arc::clone(server))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
        self.0.notify();
    }
}
