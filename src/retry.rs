//! What happens after a failure: which error means what, how long to wait, and the heap of those who wait.
//!
//! Invariants: an error that is not known is retried, never dropped; pushing into the heap always succeeds at
//! once while it is open; a queue stands in the heap once for each time that its breaker opened, and an entry
//! that was overtaken is ignored when it is due.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::breaker::Ticket;
use crate::engine::Engine;
use crate::logs_api::{ApiError, Failure};
use crate::queue::Queue;

/// What a failed `PutLogEvents` means for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The service has the events already.
    Delivered,
    /// The service will never take them.
    Drop,
    /// Try again later.
    Retry(Backoff),
    /// The group or the stream is missing: create it and send again at once.
    Create,
    /// No request would fare better, whatever its target: credentials that are missing, wrong or expired, or a
    /// clock that the service does not believe. Everybody waits until one request gets through.
    Pause,
    /// The account sends more than it may: everybody sends less, and slower. It is no fault of the target's.
    Throttle,
}

/// How long to wait before the next attempt. The numbers are those of AWS's own agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// 200 ms, doubled for each failure in a row; a minute after five.
    Short,
    /// 2 s, doubled for each failure in a row; a minute after two.
    Long,
    /// For the endpoint, where one request speaks for all: 200 ms, doubled; 4 s after five, so that an outage of some
    /// seconds is over for us some seconds later, and 30 s after fifteen.
    Endpoint,
}

/// What an error's code means. A code that is not here is judged by its HTTP status.
pub const BY_CODE: &[(&str, Verdict)] = &[
    ("DataAlreadyAcceptedException", Verdict::Delivered),
    ("InvalidParameterException", Verdict::Drop),
    ("ResourceNotFoundException", Verdict::Create),
    ("UnrecognizedClientException", Verdict::Pause),
    ("InvalidClientTokenId", Verdict::Pause),
    ("ExpiredTokenException", Verdict::Pause),
    ("ExpiredToken", Verdict::Pause),
    ("MissingAuthenticationTokenException", Verdict::Pause),
    ("MissingAuthenticationToken", Verdict::Pause),
    ("IncompleteSignatureException", Verdict::Pause),
    ("InvalidSignatureException", Verdict::Pause),
    ("SignatureDoesNotMatch", Verdict::Pause),
    ("RequestExpired", Verdict::Pause),
    ("RequestTimeTooSkewed", Verdict::Pause),
    ("ThrottlingException", Verdict::Throttle),
    ("Throttling", Verdict::Throttle),
    ("RequestLimitExceeded", Verdict::Throttle),
    ("TooManyRequestsException", Verdict::Throttle),
    ("ServiceUnavailableException", Verdict::Retry(Backoff::Long)),
    ("ServiceUnavailable", Verdict::Retry(Backoff::Long)),
    ("InternalFailure", Verdict::Retry(Backoff::Long)),
    ("InternalServerError", Verdict::Retry(Backoff::Long)),
    ("RequestTimeout", Verdict::Retry(Backoff::Long)),
];

/// Errors that a wrong clock leads to, among other things.
const CLOCK_CODES: [&str; 4] =
    ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"];

/// Whether a wrong clock may be behind an error.
pub fn may_be_the_clock(error: &ApiError) -> bool {
    error.code.as_deref().is_some_and(|code| CLOCK_CODES.contains(&code))
}

/// What an error means.
pub fn classify(error: &ApiError) -> Verdict {
    let by_code = error.code.as_deref().and_then(|code| BY_CODE.iter().find(|(known, _)| *known == code));
    match (by_code, error.status, error.failure) {
        (Some((_, verdict)), ..) => *verdict,
        (None, Some(429), _) => Verdict::Throttle,
        (None, Some(500..=599), _) => Verdict::Retry(Backoff::Long),
        (None, None, Failure::TimedOut | Failure::Connection) => Verdict::Retry(Backoff::Long),
        (None, None, Failure::NotSent) => Verdict::Pause,
        _ => Verdict::Retry(Backoff::Short),
    }
}

impl Backoff {
    const LONGEST: Duration = Duration::from_secs(60);

    /// The wait after `failures` earlier failures in a row, before jitter.
    pub fn longest(self, failures: u32) -> Duration {
        let (first, doublings, then) = match self {
            Backoff::Short => (Duration::from_millis(200), 5, Self::LONGEST),
            Backoff::Long => (Duration::from_secs(2), 2, Self::LONGEST),
            Backoff::Endpoint if failures < 15 => (Duration::from_millis(200), 5, Duration::from_secs(4)),
            Backoff::Endpoint => (Duration::ZERO, 0, Duration::from_secs(30)),
        };
        if failures < doublings { first * 2u32.pow(failures) } else { then }
    }

    /// The wait after `failures` earlier failures in a row: uniform in the upper half of the base, so that
    /// targets that failed together do not come back together.
    pub fn delay(self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let base = self.longest(failures);
        base / 2 + (base / 2).mul_f64(rng.f64())
    }
}

/// The queues whose breaker is open, by when they are due. Unbounded: a queue that fails must always get in,
/// and its batches are bounded by the memory they hold.
#[derive(Debug)]
pub struct RetryHeap {
    /// Guards the heap. Nothing awaits while holding it.
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Who failed first comes first among those due at one instant.
    number: u64,
    queue: Arc<Queue>,
    ticket: Ticket,
}

impl Entry {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The heap is closed: what would have waited there has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapClosed;

impl RetryHeap {
    /// An empty heap.
    pub fn new() -> Self {
        RetryHeap { waiting: Mutex::default(), changed: Notify::new() }
    }

    /// Lets the queue wait until `due`.
    pub fn push(&self, due: Instant, queue: Arc<Queue>, ticket: Ticket) -> Result<(), HeapClosed> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(HeapClosed);
        }
        waiting.pushed += 1;
        let number = waiting.pushed;
        let first = waiting.heap.peek().is_none_or(|Reverse(first)| due < first.due);
        waiting.heap.push(Reverse(Entry { due, number, queue, ticket }));
        drop(waiting);
        if first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Lets nothing in any more and forgets who waited.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.heap.clear();
        drop(waiting);
        self.changed.notify_one();
    }

    /// Who is due by now, else when the next one will be. None when the heap is closed.
    fn next(&self, now: Instant) -> Option<Next> {
        let mut waiting = self.lock();
        match waiting.heap.peek() {
            _ if waiting.closed => None,
            None => Some(Next::Nobody),
            Some(Reverse(first)) if first.due > now => Some(Next::At(first.due)),
            Some(_) => waiting.heap.pop().map(|Reverse(entry)| Next::Due(entry.queue, entry.ticket)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RetryHeap {
    fn default() -> Self {
        Self::new()
    }
}

enum Next {
    Due(Arc<Queue>, Ticket),
    At(Instant),
    Nobody,
}

/// The RetryProcessor: brings each queue back when it is due, until the heap is closed.
pub async fn process_retries(engine: Arc<Engine>) {
    while let Some(next) = engine.retries.next(Instant::now()) {
        match next {
            Next::Due(queue, ticket) => {
                let effects = queue.due(ticket);
                engine.apply(&queue, effects);
            }
            Next::At(due) => drop(timeout_at(due, engine.retries.changed.notified()).await),
            Next::Nobody => engine.retries.changed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(failure: Failure, code: Option<&str>, status: Option<u16>) -> ApiError {
        ApiError { failure, code: code.map(str::to_owned), status, message: String::new() }
    }

    #[test]
    fn an_error_means_what_its_code_says_whatever_its_status() {
        for (code, verdict) in BY_CODE {
            for status in [400, 500] {
                let error = error(Failure::Answered, Some(code), Some(status));
                assert_eq!(classify(&error), *verdict, "{code} {status}");
            }
        }
    }

    #[test]
    fn an_unknown_error_is_retried_and_never_dropped() {
        for (failure, code, status, backoff) in [
            (Failure::Answered, Some("AccessDeniedException"), Some(400), Backoff::Short),
            (Failure::Answered, Some("SomethingNewException"), Some(400), Backoff::Short),
            (Failure::Answered, Some("SomethingNewException"), Some(500), Backoff::Long),
            (Failure::Answered, None, Some(403), Backoff::Short),
            (Failure::Answered, None, Some(500), Backoff::Long),
            (Failure::Answered, None, Some(503), Backoff::Long),
            (Failure::Unreadable, None, Some(200), Backoff::Short),
            (Failure::Unreadable, None, Some(502), Backoff::Long),
            (Failure::TimedOut, None, None, Backoff::Long),
            (Failure::Connection, None, None, Backoff::Long),
        ] {
            let error = error(failure, code, status);
            assert_eq!(classify(&error), Verdict::Retry(backoff), "{error:?}");
        }
    }

    #[test]
    fn too_many_requests_are_everybodys_whatever_names_them() {
        for (code, status) in
            [(Some("ThrottlingException"), 400), (Some("TooManyRequestsException"), 429), (None, 429)]
        {
            assert_eq!(classify(&error(Failure::Answered, code, Some(status))), Verdict::Throttle);
        }
    }

    #[test]
    fn a_request_that_could_not_be_made_pauses_everybody() {
        assert_eq!(classify(&error(Failure::NotSent, None, None)), Verdict::Pause);
    }

    #[test]
    fn the_back_off_doubles_and_then_stays_at_a_minute_with_jitter_in_the_upper_half() {
        let mut rng = fastrand::Rng::with_seed(1);
        let short = [200, 400, 800, 1600, 3200, 60_000, 60_000];
        let long = [2000, 4000, 60_000, 60_000, 60_000, 60_000, 60_000];
        for (backoff, bases) in [(Backoff::Short, short), (Backoff::Long, long)] {
            for (failures, base) in bases.into_iter().enumerate() {
                for _ in 0..100 {
                    let delay = backoff.delay(failures as u32, &mut rng).as_millis();
                    assert!((base / 2..base).contains(&delay), "{backoff:?} {failures}: {delay}");
                }
            }
        }
    }
}
