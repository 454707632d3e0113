//! [`Local`]: an endpoint that runs, and its beginning and end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::faults::RuleError;
use crate::listener::{self, Command};
use crate::options::Options;
use crate::server::Server;
use crate::tls::Tls;

/// A CloudWatch Logs endpoint that listens until it is dropped.
///
/// It runs on threads of its own; every method may be called from any thread, and blocks for no more than a lock
/// unless it says so. Dropping it closes the listener and every connection.
pub struct Local {
    pub(crate) server: Arc<Server>,
    addr: SocketAddr,
    commands: UnboundedSender<Command>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from elsewhere.
    #[error("listen address is {0}; allowed is a loopback address, such as 127.0.0.1:0")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A fault rule is not sound.
    #[error("fault rule: {0}")]
    Rule(#[from] RuleError),
    /// HTTPS was asked for and there is no certificate for it.
    #[error("cannot make a TLS certificate: {0}")]
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// The threads could not be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

impl Local {
    /// Starts an endpoint. It listens when this returns.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let asked = options.listen;
        if !asked.ip().is_loopback() {
            return Err(StartError::NotLoopback(asked));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.worker_threads.max(1))
            .thread_name("cwl-local")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let tls = options.tls.then(|| Tls::new(asked.ip())).transpose();
        let tls = tls.map_err(|error| StartError::Tls(error.into()))?;
        let server = Arc::new(Server::new(options, tls)?);
        let failed = |source| StartError::Listen { addr: asked, source };
        let listener = {
            let _context = runtime.enter();
            listener::reserve(asked).and_then(listener::listen).map_err(failed)?
        };
        let addr = listener.local_addr().map_err(failed)?;
        let (commands, inbox) = unbounded_channel();
        runtime.spawn(listener::run(Arc::clone(&server), addr, listener, inbox));
        Ok(Self { server, addr, commands, runtime: Some(runtime) })
    }

    /// Where it listens, as an SDK wants it: `http://127.0.0.1:PORT`, or `https://` with
    /// [`Options::tls`](crate::Options::tls).
    pub fn endpoint(&self) -> String {
        let scheme = if self.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The certificate that a client must trust, as PEM; `None` without [`Options::tls`](crate::Options::tls).
    pub fn certificate_pem(&self) -> Option<&str> {
        self.server.tls.as_ref().map(|tls| tls.certificate_pem.as_str())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes the endpoint down: connections are refused and the open ones closed. What was sent is kept. Blocks until
    /// that is done. The port stays reserved.
    pub fn pause(&self) {
        let (done, wait) = mpsc::channel();
        if self.commands.send(Command::Pause(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Brings the endpoint back on the same port. Blocks until it listens. An error means that the port is gone.
    pub fn resume(&self) -> io::Result<()> {
        let (done, wait) = mpsc::channel();
        let stopped = || io::Error::other("the endpoint was stopped");
        self.commands.send(Command::Resume(done)).map_err(|_| stopped())?;
        wait.recv().map_err(|_| stopped())?
    }

    /// Closes the listener and every connection for good; blocks until that is done. What was sent can still be asked
    /// for. Dropping does the same.
    pub fn stop(&self) {
        let (done, wait) = mpsc::channel();
        if self.commands.send(Command::Stop(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            // Nothing is left to run, and waiting would panic where a test drops this inside a runtime of its own.
            runtime.shutdown_background();
        }
    }
}
