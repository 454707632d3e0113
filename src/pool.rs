//! The workers and the line in which targets wait for one.
//!
//! A target that has a batch to send, and may, stands in the ready line once. A worker takes the first of the
//! line, gives its next batch one attempt, and turns to the next target: one batch a turn, whatever a
//! target's backlog. A worker never waits for anything but the answer to its request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tracing::error;

use crate::endpoint::Gate;
use crate::engine::Engine;
use crate::in_flight::InFlight;
use crate::queue::Queue;
use crate::sender;

/// The targets that may send, in turn.
#[derive(Debug)]
pub struct ReadyLine {
    /// Guards the line. Nothing awaits while holding it.
    line: Mutex<VecDeque<Arc<Queue>>>,
    /// One permit for each that stands in it.
    standing: Semaphore,
}

impl ReadyLine {
    /// An empty line.
    pub fn new() -> Self {
        ReadyLine { line: Mutex::default(), standing: Semaphore::new(0) }
    }

    /// Puts a queue at the end.
    pub fn push(&self, queue: Arc<Queue>) {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).push_back(queue);
        self.standing.add_permits(1);
    }

    /// Waits for the first of the line. None when the line is closed.
    async fn next(&self) -> Option<Arc<Queue>> {
        self.standing.acquire().await.ok()?.forget();
        self.line.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether nobody stands in it.
    pub fn is_empty(&self) -> bool {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Sends the workers home.
    pub fn close(&self) {
        self.standing.close();
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Default for ReadyLine {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker: until the line is closed.
pub async fn work(engine: Arc<Engine>) {
    while let Some(queue) = engine.ready.next().await {
        let pass = Gate::pass(&engine).await;
        let (batch, effects) = queue.take();
        engine.apply(&queue, effects);
        let Some(batch) = batch else { continue };
        let flight = InFlight::new(engine.clone(), queue.clone(), batch);
        // A task of its own, so that a panic ends the attempt and not the worker. Its batch is then dropped,
        // which ends it as abandoned.
        let attempt = tokio::spawn(sender::attempt(engine.clone(), pass, flight));
        if let Err(failed) = attempt.await
            && failed.is_panic()
        {
            error!(
                "{}: a defect in the sink: an attempt to send panicked; its events are given up",
                queue.name()
            );
        }
    }
}
