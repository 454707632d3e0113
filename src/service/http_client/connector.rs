//! Opens connections: name, TCP, proxy and TLS, all within one time-out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::connection::Connection;
use super::errors::{NotConnected, TimedOut, is_caused_by};
use super::resolver::Resolver;
use super::trust::Trust;
use crate::limits::{TCP_KEEPALIVE, TCP_KEEPALIVE_PROBES};

/// See the module.
#[derive(Clone, Debug)]
pub struct Connector {
    tcp: HttpConnector<Resolver>,
    proxies: Arc<Matcher>,
    trust: Arc<Trust>,
    timeout: Option<Duration>,
}

impl Connector {
    pub(super) fn new(proxies: Arc<Matcher>, trust: Arc<Trust>, timeout: Option<Duration>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        tcp.set_keepalive_interval(Some(TCP_KEEPALIVE));
        tcp.set_keepalive_retries(Some(TCP_KEEPALIVE_PROBES));
        // An address that never answers leaves time for the next one.
        tcp.set_connect_timeout(timeout);
        Connector { tcp, proxies, trust, timeout }
    }

    async fn connect(self, proxy: Option<Intercept>, target: Uri) -> Result<Connection, BoxError> {
        match proxy {
            None => Ok(Connection::direct(self.open(target).await?)),
            Some(proxy) => self.connect_through(&proxy, target).await,
        }
    }

    async fn connect_through(&self, proxy: &Intercept, target: Uri) -> Result<Connection, BoxError> {
        if !is_https(&target) {
            return Ok(Connection::to_proxy(self.open(proxy.uri().clone()).await?));
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.https()?);
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let connected = HttpsConnector::from((tunnel, self.trust.tls_config()?)).call(target).await;
        Ok(Connection::direct(self.checked(connected)?))
    }

    async fn open(&self, url: Uri) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
        match is_https(&url) {
            true => self.checked(self.https()?.call(url).await),
            false => Ok(MaybeHttpsStream::Http(self.tcp.clone().call(url).await?)),
        }
    }

    fn https(&self) -> Result<HttpsConnector<HttpConnector<Resolver>>, BoxError> {
        Ok(HttpsConnector::from((self.tcp.clone(), self.trust.tls_config()?)))
    }

    /// The connection. The certificates are read again after a server's certificate was refused.
    fn checked<T>(&self, connected: Result<T, BoxError>) -> Result<T, BoxError> {
        connected.inspect_err(|error| {
            if is_caused_by::<rustls::Error>(error.as_ref()) {
                self.trust.read_again();
            }
        })
    }
}

fn is_https(url: &Uri) -> bool {
    url.scheme() == Some(&Scheme::HTTPS)
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let proxy = self.proxies.intercept(&target);
        let to = match &proxy {
            None => target.authority().map_or_else(|| target.to_string(), ToString::to_string),
            Some(proxy) => format!("the proxy {} of the environment", proxy.uri()),
        };
        let (connecting, limit) = (self.clone().connect(proxy, target), self.timeout);
        Box::pin(async move {
            let connected = match limit {
                None => connecting.await,
                Some(limit) => timeout(limit, connecting)
                    .await
                    .unwrap_or_else(|_| Err(TimedOut { what: "the connection", limit }.into())),
            };
            connected.map_err(|source| NotConnected { to, source }.into())
        })
    }
}
