//! The retry heap: the queues whose breaker is open, by due time.
//!
//! Invariants: a push into an open heap always succeeds at once; the heap holds one entry for each opening of a breaker;
//! the due time of an earlier opening is ignored by the breaker.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::lock;
use crate::target::Queue;
use crate::target::breaker::Generation;

/// The queues whose breaker is open, by due time. Unbounded, since a queue that fails must always get in. The memory that
/// the batches of the queues hold is bounded.
#[derive(Debug)]
pub struct RetryHeap {
    /// Guards the heap. Nothing awaits while holding it.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Orders entries with the same due time: the queue that failed first comes first.
    number: u64,
    queue: Arc<Queue>,
    generation: Generation,
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

/// The heap is closed: the batches of the queue have to be finalized instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapClosed;

/// The next step of the task that takes due queues from the heap.
#[derive(Debug)]
pub enum NextRetry {
    /// This queue is due.
    Due(Arc<Queue>, Generation),
    /// No queue is due before then.
    At(Instant),
    /// The heap is empty.
    Empty,
    /// The heap is closed.
    Closed,
}

impl RetryHeap {
    /// An empty heap.
    pub fn new() -> Self {
        RetryHeap { state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a queue that is due at `due`.
    pub fn push(&self, due: Instant, queue: Arc<Queue>, generation: Generation) -> Result<(), HeapClosed> {
        let mut state = self.lock();
        if state.closed {
            return Err(HeapClosed);
        }
        state.pushed += 1;
        let number = state.pushed;
        let first = state.heap.peek().is_none_or(|Reverse(first)| due < first.due);
        state.heap.push(Reverse(Entry { due, number, queue, generation }));
        drop(state);
        if first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The number of queues whose breaker is open.
    pub fn len(&self) -> usize {
        self.lock().heap.len()
    }

    /// Returns whether no breaker is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the heap and forgets its entries.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.heap.clear();
        drop(state);
        self.changed.notify_one();
    }

    /// Takes a queue that is due at `now`, or says when to come back.
    pub fn next(&self, now: Instant) -> NextRetry {
        let mut state = self.lock();
        match state.heap.peek() {
            _ if state.closed => NextRetry::Closed,
            None => NextRetry::Empty,
            Some(Reverse(first)) if first.due > now => NextRetry::At(first.due),
            Some(_) => state
                .heap
                .pop()
                .map_or(NextRetry::Empty, |Reverse(entry)| NextRetry::Due(entry.queue, entry.generation)),
        }
    }

    /// Waits until the heap has an earlier entry than before, or is closed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Default for RetryHeap {
    fn default() -> Self {
        Self::new()
    }
}
