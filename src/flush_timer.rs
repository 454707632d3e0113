//! The flush timers of all targets: no event waits longer than `flush_interval` for others.
//!
//! One task and one [`DelayQueue`] for all of them, and at most one timer a target.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::time::DelayQueue;

use crate::engine::Engine;
use crate::queue::Queue;

/// What the task is asked.
#[derive(Debug)]
pub enum Ask {
    /// Make the queue's batch, opened then, due when it is `flush_interval` old.
    Arm(Arc<Queue>, Instant),
    /// Make every open batch due now: there is no memory, and open batches hold some.
    SealAll,
}

/// Asks the task of the flush timers.
#[derive(Debug)]
pub struct FlushTimers {
    asks: UnboundedSender<Ask>,
    /// A `SealAll` is on its way: one is enough.
    sealing: AtomicBool,
}

impl FlushTimers {
    /// The asking end, and the end that [`run_flush_timers`] listens to.
    pub fn new() -> (Self, UnboundedReceiver<Ask>) {
        let (asks, asked) = unbounded_channel();
        (FlushTimers { asks, sealing: AtomicBool::new(false) }, asked)
    }

    /// Makes the queue's batch, opened at `opened_at`, due when it is `flush_interval` old.
    pub fn arm(&self, queue: &Arc<Queue>, opened_at: Instant) {
        // Fails only once the task is gone, and then nothing is sent any more.
        let _ = self.asks.send(Ask::Arm(queue.clone(), opened_at));
    }

    /// Makes every open batch due soon.
    pub fn seal_all(&self) {
        if !self.sealing.swap(true, Ordering::Relaxed) {
            let _ = self.asks.send(Ask::SealAll);
        }
    }
}

/// The task: until it is cancelled with the runtime.
pub async fn run_flush_timers(engine: Arc<Engine>, mut asked: UnboundedReceiver<Ask>) {
    let interval = engine.config.flush_interval;
    let mut timers: DelayQueue<Arc<Queue>> = DelayQueue::new();
    loop {
        let next = poll_fn(|context| {
            if let std::task::Poll::Ready(Some(expired)) = timers.poll_expired(context) {
                return std::task::Poll::Ready(Some(Err(expired.into_inner())));
            }
            asked.poll_recv(context).map(|ask| ask.map(Ok))
        })
        .await;
        match next {
            None => return,
            Some(Ok(Ask::Arm(queue, opened_at))) => {
                timers.insert_at(queue, opened_at + interval);
            }
            Some(Ok(Ask::SealAll)) => {
                engine.timers.sealing.store(false, Ordering::Relaxed);
                for queue in engine.registry.all() {
                    let (_, effects) = queue.due_open(None);
                    engine.apply(&queue, effects);
                }
            }
            Some(Err(queue)) => {
                let opened_by = Instant::now().checked_sub(interval);
                let (younger, effects) = queue.due_open(opened_by);
                engine.apply(&queue, effects);
                if let Some(opened_at) = younger {
                    timers.insert_at(queue, opened_at + interval);
                }
            }
        }
    }
}
