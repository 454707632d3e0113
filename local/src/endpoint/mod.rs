//! The endpoint as a test sees it: [`Local`] starts, pauses, resumes and stops it.
//!
//! `inspect.rs` adds the methods that read and change the state of a running endpoint.

mod inspect;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::faults::RuleError;
use crate::listener::{Listener, ListenerCommand};
use crate::options::Options;
use crate::server::Server;
use crate::tls::Tls;

/// A CloudWatch Logs endpoint that listens until it is dropped.
///
/// It runs on threads of its own. Every method may be called from any thread. A method waits for a lock at most, unless
/// its description says that it blocks. Dropping the endpoint closes the listener and every connection.
pub struct Local {
    server: Arc<Server>,
    addr: SocketAddr,
    /// `None` when the endpoint serves plain HTTP.
    certificate_pem: Option<String>,
    commands: UnboundedSender<ListenerCommand>,
    /// `None` only during the drop.
    runtime: Option<Runtime>,
}

/// An endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from other machines.
    #[error("listen address is {0}; allowed is a loopback address, such as 127.0.0.1:0")]
    NotLoopback(SocketAddr),
    /// The system refused to listen on the address.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address to listen on.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A fault rule has a wrong value.
    #[error("fault rule: {0}")]
    Rule(#[from] RuleError),
    /// The certificate for HTTPS could not be made.
    #[error("cannot make a TLS certificate: {0}")]
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// The threads could not be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

impl Local {
    /// Starts an endpoint. It listens when this returns.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.worker_threads.max(1))
            .thread_name("cwl-local")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let tls = options.tls.then(|| Tls::new(listen.ip())).transpose();
        let tls = tls.map_err(|error| StartError::Tls(error.into()))?;
        let (certificate_pem, acceptor) = match tls {
            Some(tls) => (Some(tls.certificate_pem), Some(tls.acceptor)),
            None => (None, None),
        };
        let server = Arc::new(Server::new(options)?);
        let listener = {
            let _context = runtime.enter();
            Listener::bind(listen, Arc::clone(&server), acceptor)
                .map_err(|source| StartError::Listen { addr: listen, source })?
        };
        let addr = listener.addr();
        let (commands, inbox) = unbounded_channel();
        runtime.spawn(listener.run(inbox));
        Ok(Self { server, addr, certificate_pem, commands, runtime: Some(runtime) })
    }

    /// Returns the URL for the endpoint option of an SDK: `http://127.0.0.1:PORT`, or `https://` with
    /// [`Options::tls`](crate::Options::tls).
    pub fn endpoint(&self) -> String {
        let scheme = if self.certificate_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Returns the certificate that a client must trust, as PEM; `None` without [`Options::tls`](crate::Options::tls).
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate_pem.as_deref()
    }

    /// Returns the address that the endpoint listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Pauses the endpoint: it refuses connections and closes the open ones. It keeps its data and its port. Blocks
    /// until the connections are closed.
    pub fn pause(&self) {
        let (done, wait) = mpsc::channel();
        if self.commands.send(ListenerCommand::Pause(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Resumes a paused endpoint on the same port. Blocks until it listens. An error means that the port is no longer
    /// available.
    pub fn resume(&self) -> io::Result<()> {
        let (done, wait) = mpsc::channel();
        let stopped = || io::Error::other("the endpoint was stopped");
        self.commands.send(ListenerCommand::Resume(done)).map_err(|_| stopped())?;
        wait.recv().map_err(|_| stopped())?
    }

    /// Closes the listener and every connection for good. Blocks until they are closed. The data can still be read.
    /// Dropping the endpoint does the same.
    pub fn stop(&self) {
        let (done, wait) = mpsc::channel();
        if self.commands.send(ListenerCommand::Stop(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            // No task is left. A shutdown that waits would panic in a test that drops this inside its own runtime.
            runtime.shutdown_background();
        }
    }
}
