//! Tests of the cache, with a source that gives prepared results and with time that the tests control.

use std::collections::VecDeque;
use std::time::SystemTime;

use tokio::task::yield_now;
use tokio::time::{advance, sleep, timeout};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Each lookup takes the next result. Without one it panics.
#[derive(Debug, Default)]
struct Prepared {
    results: Mutex<VecDeque<(Duration, Result<Credentials, String>)>>,
}

impl Source for Arc<Prepared> {
    fn look_up(&self) -> Found<'_> {
        Box::pin(async {
            let next = lock(&self.results).pop_front();
            let (takes, result) = next.expect("a lookup that the test expects");
            sleep(takes).await;
            result
        })
    }
}

impl Prepared {
    fn then(&self, takes: Duration, result: Result<Credentials, String>) {
        lock(&self.results).push_back((takes, result));
    }

    fn left(&self) -> usize {
        lock(&self.results).len()
    }
}

fn cache() -> (Arc<Prepared>, Arc<CredentialsCache>) {
    let prepared = Arc::new(Prepared::default());
    (prepared.clone(), CredentialsCache::new(prepared))
}

fn valid_for(key: &str, lifetime: Duration) -> Result<Credentials, String> {
    Ok(Credentials::new(key, "secret", None, Some(SystemTime::now() + lifetime), "test"))
}

fn gone() -> Result<Credentials, String> {
    Err("the source is gone".to_owned())
}

/// The key that signs the next request.
async fn present_key(cache: &Arc<CredentialsCache>) -> String {
    let present = PresentCredentials(cache.clone());
    let credentials = present.provide_credentials().await.expect("there are credentials");
    credentials.access_key_id().to_owned()
}

/// Lets the tasks run that have something to do now.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_lookup() {
    let (source, cache) = cache();
    source.then(Duration::from_secs(3), valid_for("first", HOUR));
    let (one, two, renewed) = tokio::join!(cache.ready(), cache.ready(), cache.renew());
    assert_eq!((one, two, renewed), (Ok(()), Ok(()), Ok(())));
    assert_eq!(present_key(&cache).await, "first");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_takes_no_valid_credentials_away() {
    let (source, cache) = cache();
    source.then(Duration::ZERO, valid_for("first", HOUR));
    cache.ready().await.expect("found");
    source.then(Duration::from_secs(1), gone());
    assert_eq!(cache.renew().await, Ok(()));
    assert_eq!(source.left(), 0, "credentials were looked up again");
    assert_eq!(cache.ready().await, Ok(()));
    assert_eq!(present_key(&cache).await, "first");
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_looked_up_while_the_old_ones_are_valid() {
    let (source, cache) = cache();
    source.then(Duration::ZERO, valid_for("first", HOUR));
    cache.ready().await.expect("found");
    advance(HOUR - REFRESH_BEFORE_END - Duration::from_secs(1)).await;
    cache.ready().await.expect("valid, and not looked up again");
    advance(Duration::from_secs(2)).await;
    // A lookup that hangs, and one that fails, hold no request up.
    source.then(Duration::from_secs(5), gone());
    timeout(Duration::ZERO, cache.ready()).await.expect("no wait").expect("valid");
    sleep(Duration::from_secs(6)).await;
    cache.ready().await.expect("valid, and not looked up again at once");
    assert_eq!(present_key(&cache).await, "first");
    advance(REFRESH_RETRY).await;
    source.then(Duration::ZERO, valid_for("second", HOUR));
    cache.ready().await.expect("valid");
    settle().await;
    assert_eq!(present_key(&cache).await, "second");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_after_the_credentials_expired() {
    let (source, cache) = cache();
    source.then(Duration::ZERO, valid_for("first", HOUR));
    cache.ready().await.expect("found");
    advance(HOUR + Duration::from_secs(1)).await;
    source.then(Duration::ZERO, gone());
    assert_eq!(cache.ready().await, Err("the source is gone".into()));
    source.then(Duration::ZERO, gone());
    assert_eq!(cache.renew().await, Err("the source is gone".into()));
    source.then(Duration::from_secs(3), valid_for("second", HOUR));
    cache.ready().await.expect("found again");
    assert_eq!(present_key(&cache).await, "second");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_goes_on_when_the_request_that_began_it_is_cut_short() {
    let (source, cache) = cache();
    source.then(Duration::from_secs(3), valid_for("first", HOUR));
    timeout(Duration::from_secs(1), cache.ready()).await.expect_err("cut short");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(present_key(&cache).await, "first");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_seem_to_be_expired_are_tried() {
    let (source, cache) = cache();
    let expired = SystemTime::now() - HOUR;
    source.then(Duration::ZERO, Ok(Credentials::new("first", "secret", None, Some(expired), "test")));
    cache.ready().await.expect("the clock may be wrong");
    cache.ready().await.expect("and not looked up for each request");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_panics_is_an_error_and_the_next_one_begins_afresh() {
    let (source, cache) = cache();
    let error = cache.ready().await.expect_err("nothing is prepared");
    assert!(error.contains("internal error"), "{error}");
    source.then(Duration::ZERO, valid_for("first", HOUR));
    cache.ready().await.expect("found");
}
