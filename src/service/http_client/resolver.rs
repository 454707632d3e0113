//! Looks up the addresses of a host name, as the system is configured to.
//!
//! Each lookup is a thread of its own, since getaddrinfo can only block, for a minute and more when no name server answers. A
//! lookup that nobody waits for any more goes on.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::threads;

/// The most lookups at once. More wait for one of these to end.
const LOOKUPS_MAX: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct Resolver {
    free: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver { free: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let free = self.free.clone();
        Box::pin(async move {
            let permit = free.acquire_owned().await.map_err(io::Error::other)?;
            let look_up = move || {
                // Held until the thread is done, whether or not somebody still waits.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            };
            threads::call_blocking("cwl-dns", look_up).await?
        })
    }
}
