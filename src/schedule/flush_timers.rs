//! The flush timers of all targets: no event waits longer than `flush_interval_ms` for others.
//!
//! One task serves all targets with one [`DelayQueue`], and each target has at most one timer.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::time::DelayQueue;

use crate::target::Queue;

/// Requests to the task of the flush timers.
#[derive(Debug)]
pub struct FlushTimers {
    requests: UnboundedSender<Request>,
    /// A `FlushAll` is on its way: one is enough.
    flushing_all: AtomicBool,
}

#[derive(Debug)]
enum Request {
    /// Start the timer of a queue whose open batch was opened then.
    Arm(Arc<Queue>, Instant),
    /// Make every open batch due now: there is no memory left, and open batches hold some.
    FlushAll,
}

/// The timers themselves, owned by their task.
#[derive(Debug)]
pub struct TimerQueue {
    interval: Duration,
    requests: UnboundedReceiver<Request>,
    timers: DelayQueue<Arc<Queue>>,
}

/// An event for the task of the flush timers.
#[derive(Debug)]
pub enum TimerEvent {
    /// The timer of this queue expired, for a batch that was opened by `opened_by`.
    Expired {
        /// The queue.
        queue: Arc<Queue>,
        /// A batch that was opened later is not due yet.
        opened_by: Option<Instant>,
    },
    /// Every open batch is to be made due.
    FlushAll,
}

impl FlushTimers {
    /// The two ends: one requests timers, the other is for the task.
    pub fn new(interval: Duration) -> (Self, TimerQueue) {
        let (sender, receiver) = unbounded_channel();
        let timers = FlushTimers { requests: sender, flushing_all: AtomicBool::new(false) };
        (timers, TimerQueue { interval, requests: receiver, timers: DelayQueue::new() })
    }

    /// Starts the timer of a queue whose open batch was opened at `opened_at`.
    pub fn arm(&self, queue: &Arc<Queue>, opened_at: Instant) {
        // Fails only once the task is gone, and then nothing is sent any more.
        let _ = self.requests.send(Request::Arm(queue.clone(), opened_at));
    }

    /// Requests that every open batch is made due.
    pub fn flush_all(&self) {
        if !self.flushing_all.swap(true, Ordering::Relaxed) {
            let _ = self.requests.send(Request::FlushAll);
        }
    }

    /// The task is about to make every open batch due: the next request is a new one.
    pub fn on_flush_all(&self) {
        self.flushing_all.store(false, Ordering::Relaxed);
    }
}

impl TimerQueue {
    /// Starts a timer for a batch that was opened at `opened_at`.
    pub fn arm(&mut self, queue: Arc<Queue>, opened_at: Instant) {
        self.timers.insert_at(queue, opened_at + self.interval);
    }

    /// Waits for the next event. `None` when the sink is gone.
    pub async fn next(&mut self) -> Option<TimerEvent> {
        loop {
            let Self { requests, timers, .. } = self;
            let next = poll_fn(|context| {
                if let Poll::Ready(Some(expired)) = timers.poll_expired(context) {
                    return Poll::Ready(Some(Err(expired.into_inner())));
                }
                requests.poll_recv(context).map(|request| request.map(Ok))
            })
            .await;
            match next? {
                Ok(Request::Arm(queue, opened_at)) => self.arm(queue, opened_at),
                Ok(Request::FlushAll) => return Some(TimerEvent::FlushAll),
                Err(queue) => {
                    let opened_by = Instant::now().checked_sub(self.interval);
                    return Some(TimerEvent::Expired { queue, opened_by });
                }
            }
        }
    }
}
