//! Helpers for locks and waiting threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks a mutex, and takes a poisoned one as it is: a panic of one thread must not take the host down with it.
///
/// A batch has one owner at any moment. So after a panic under a lock a batch is where it was, or it was dropped, and its
/// events end as abandoned, unless an attempt had it. It is never in two places, so it is not sent twice. Numbers beside it, such as the places that
/// are taken, may be wrong by that one batch.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable while `condition` holds, until `deadline` at the latest (`None`: without limit).
///
/// Returns the guard. The caller looks at the data again to learn whether the condition or the deadline ended the wait.
pub fn wait_while_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    condition: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&guard) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        guard = match left {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => break,
            Some(left) => condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
    guard
}
