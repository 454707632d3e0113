//! The present credentials, and when to look for new ones.
//!
//! Credentials stay until new ones are there: a lookup that fails takes nothing away. Some minutes before they expire, new
//! ones are looked up in the background. Requests wait only while there are none, or after they expired. All who wait share
//! one lookup. A lookup is a task of its own, so it goes on when the request that began it is cut short.
//!
//! A lifetime is measured with the monotonic clock from the moment of the lookup, so a step of the wall clock does not
//! matter.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, Result as ProviderResult};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use crate::sync::lock;

/// The time before the end of a lifetime at which new credentials are looked up. Those of an instance are there 5 minutes
/// before the old ones expire. Source: "Use IAM roles with Amazon EC2" in the manual of EC2.
const REFRESH_BEFORE_END: Duration = Duration::from_secs(300);
/// The wait after a lookup in the background that failed.
const REFRESH_RETRY: Duration = Duration::from_secs(30);
/// The shortest lifetime. Credentials may seem to be expired because the clock of this machine is wrong. The service knows
/// better, so they are tried.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The shortest time between two warnings that the present credentials stay in use.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The result of a lookup. The error is a sentence for an operator.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>>;

/// A source of credentials. It ends by itself after a time-out.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Looks the credentials up.
    fn look_up(&self) -> Found<'_>;
}

/// See the module.
#[derive(Debug)]
pub struct CredentialsCache {
    source: Box<dyn Source>,
    /// Guards what is known, and the lookup under way. Nothing awaits while holding it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    lookup: Option<Lookup>,
    warned_at: Option<Instant>,
}

/// The result of a lookup, once it ended. A lookup whose sender is gone is over.
type Lookup = watch::Receiver<Option<Result<(), Arc<str>>>>;

#[derive(Debug)]
struct Held {
    credentials: Credentials,
    /// `None`: never.
    refresh_at: Option<Instant>,
    /// `None`: never.
    expires_at: Option<Instant>,
}

impl Held {
    fn new(credentials: Credentials) -> Self {
        let lifetime = credentials
            .expiry()
            .map(|expiry| expiry.duration_since(SystemTime::now()).unwrap_or_default().max(LIFETIME_MIN));
        let refresh_after = lifetime.map(|lifetime| lifetime - REFRESH_BEFORE_END.min(lifetime / 4));
        let after = |time: Option<Duration>| time.and_then(|time| Instant::now().checked_add(time));
        Held { credentials, refresh_at: after(refresh_after), expires_at: after(lifetime) }
    }

    fn is_valid(&self) -> bool {
        self.expires_at.is_none_or(|at| Instant::now() < at)
    }

    fn is_due(&self) -> bool {
        self.refresh_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl State {
    fn has_valid(&self) -> bool {
        self.held.as_ref().is_some_and(Held::is_valid)
    }
}

impl CredentialsCache {
    /// A cache without credentials yet.
    pub fn new(source: impl Source) -> Arc<Self> {
        Arc::new(CredentialsCache { source: Box::new(source), state: Mutex::default() })
    }

    /// Waits until there are credentials to sign a request with. That takes no time while the present ones are valid.
    pub async fn ready(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let lookup = {
            let mut state = lock(&self.state);
            if state.has_valid() {
                if state.held.as_ref().is_some_and(Held::is_due) {
                    self.begin_lookup(&mut state);
                }
                return Ok(());
            }
            self.begin_lookup(&mut state)
        };
        end_of(lookup).await
    }

    /// Looks the credentials up again, for instance because the service refuses the present ones. Those stay when the lookup
    /// fails. Fails if there are no valid credentials after it.
    pub async fn renew(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let lookup = self.begin_lookup(&mut lock(&self.state));
        let ended = end_of(lookup).await;
        if lock(&self.state).has_valid() { Ok(()) } else { ended }
    }

    /// The lookup under way. Begins one if there is none.
    fn begin_lookup(self: &Arc<Self>, state: &mut State) -> Lookup {
        // Only a lookup whose sender is gone has nothing to report any more.
        if let Some(lookup) = state.lookup.as_ref().filter(|lookup| lookup.has_changed().is_ok()) {
            return lookup.clone();
        }
        let (ended, lookup) = watch::channel(None);
        state.lookup = Some(lookup.clone());
        let cache = self.clone();
        tokio::spawn(async move {
            let found = cache.source.look_up().await;
            let concluded = cache.conclude(found);
            let _ = ended.send(Some(concluded));
        });
        lookup
    }

    fn conclude(&self, found: Result<Credentials, String>) -> Result<(), Arc<str>> {
        let mut state = lock(&self.state);
        let why = match found {
            Ok(credentials) => {
                state.held = Some(Held::new(credentials));
                return Ok(());
            }
            Err(why) => why,
        };
        let now = Instant::now();
        let was_warned = state.warned_at.is_some_and(|at| now - at < WARNING_INTERVAL);
        if let Some(held) = state.held.as_mut().filter(|held| held.is_valid()) {
            held.refresh_at = held.refresh_at.map(|at| at.max(now + REFRESH_RETRY));
            if !was_warned {
                state.warned_at = Some(now);
                drop(state);
                warn!(
                    "credentials could not be renewed: {why}; the present ones stay in use until they expire"
                );
            }
        }
        Err(why.into())
    }
}

async fn end_of(mut lookup: Lookup) -> Result<(), Arc<str>> {
    match lookup.wait_for(Option::is_some).await {
        Ok(ended) => ended.clone().unwrap_or(Ok(())),
        Err(_) => Err("internal error in cwl-sink: the lookup of credentials did not end".into()),
    }
}

/// Signs the requests of the SDK: provides the present credentials at once.
#[derive(Debug)]
pub struct PresentCredentials(pub Arc<CredentialsCache>);

impl ProvideCredentials for PresentCredentials {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        let present = lock(&self.0.state).held.as_ref().map(|held| held.credentials.clone());
        let present: ProviderResult = present.ok_or_else(CredentialsError::not_loaded_no_source);
        Provided::ready(present)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
