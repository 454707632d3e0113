//! The HTTP client under the SDK: hyper and rustls, put together for this library.
//!
//! It speaks HTTP/1.1 only. One connection carries one request at a time, so a connection that goes silent costs one request
//! its time-out. Over HTTP/2, which the SDK's own client prefers, it would cost all requests that share it.

mod connection;
mod connector;
mod errors;
mod resolver;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

pub use self::errors::is_wrapper;

use self::connector::Connector;
use self::errors::{TimedOut, body_error, connector_error};
use self::trust::Trust;
use crate::limits::CONNECTION_IDLE_MAX;
use crate::sync::lock;

/// The most bytes of an answer that are read. CloudWatch Logs answers with far less, and many answers may come at once.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The connections that were opened with one connect time-out, and are open or idle.
type Pool = legacy::Client<Connector, SdkBody>;

/// See the module. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` apply, as they are when the client is made.
#[derive(Debug)]
pub struct Client {
    proxies: Arc<Matcher>,
    trust: Arc<Trust>,
    /// The pools by their connect time-out. The service has one, the metadata of the instance another.
    pools: Mutex<Vec<(Option<Duration>, Pool)>>,
}

impl Client {
    /// A client that trusts the certificates in `ca_bundle`, or those of the system.
    pub fn new(ca_bundle: Option<PathBuf>) -> Self {
        Client {
            proxies: Arc::new(Matcher::from_env()),
            trust: Arc::new(Trust::new(ca_bundle)),
            pools: Mutex::default(),
        }
    }

    fn pool(&self, connect_timeout: Option<Duration>) -> Pool {
        let mut pools = lock(&self.pools);
        if let Some((_, pool)) = pools.iter().find(|(timeout, _)| *timeout == connect_timeout) {
            return pool.clone();
        }
        let connector = Connector::new(self.proxies.clone(), self.trust.clone(), connect_timeout);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(CONNECTION_IDLE_MAX)
            .build(connector);
        pools.push((connect_timeout, pool.clone()));
        pool
    }
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Exchange {
            pool: self.pool(settings.connect_timeout()),
            proxies: self.proxies.clone(),
            answer_timeout: settings.read_timeout(),
        })
    }
}

/// Sends requests and waits for the heads of their answers.
#[derive(Debug)]
struct Exchange {
    pool: Pool,
    proxies: Arc<Matcher>,
    answer_timeout: Option<Duration>,
}

impl HttpConnector for Exchange {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // Over TLS, the connector tells the proxy who we are.
        if request.uri().scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.proxies.intercept(request.uri())
            && let Some(credentials) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let (answer, limit) = (self.pool.request(request), self.answer_timeout);
        HttpConnectorFuture::new(async move {
            let answer = match limit {
                Some(limit) => timeout(limit, answer)
                    .await
                    .map_err(|_| ConnectorError::timeout(Box::new(TimedOut { what: "the answer", limit })))?,
                None => answer.await,
            };
            let answer = answer.map_err(|error| connector_error(error.into()))?;
            let limited = |body| Limited::new(body, ANSWER_BYTES_MAX).map_err(body_error);
            HttpResponse::try_from(answer.map(|body| SdkBody::from_body_1_x(limited(body))))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
