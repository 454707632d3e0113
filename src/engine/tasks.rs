//! The background tasks of a sink, one after the other. Each runs until its part is closed or the runtime ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::error;

use super::creation_pace::NextCreation;
use super::in_flight::InFlight;
use super::permit::Permit;
use super::retention::set_owed_settings;
use super::sender;
use super::shared::Shared;
use crate::memory::Buffers;
use crate::schedule::flush_timers::{TimerEvent, TimerQueue};
use crate::schedule::pool::{Grant, NextGrant};
use crate::schedule::retry_heap::NextRetry;
use crate::threads;

/// The shortest time between two writes of the offsets.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// The wait before a task starts again that panicked.
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// Free buffers that no batch took for this long are given back to the system.
const BUFFERS_IDLE: Duration = Duration::from_secs(2);

/// Starts all tasks: those of the sink on the first runtime, attempts on all of them in turn.
pub(super) fn start(shared: &Arc<Shared>, timers: TimerQueue, runtimes: &[Handle]) {
    let first = &runtimes[0];
    let (runtimes, timers) = (Arc::<[Handle]>::from(runtimes), Arc::new(tokio::sync::Mutex::new(timers)));
    supervise(first, shared, move |shared| start_attempts(shared, runtimes.clone()));
    supervise(first, shared, process_retries);
    supervise(first, shared, start_creations);
    supervise(first, shared, set_owed_settings);
    supervise(first, shared, save_offsets);
    supervise(first, shared, |shared| free_idle_buffers(shared.budget.buffers().clone()));
    supervise(first, shared, forget_idle_targets);
    supervise(first, shared, move |shared| run_flush_timers(shared, timers.clone()));
}

/// Runs a task until it ends. After a panic it starts again.
fn supervise<S, F>(runtime: &Handle, shared: &Arc<S>, task: impl Fn(Arc<S>) -> F + Send + 'static)
where
    S: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let shared = shared.clone();
    runtime.spawn(async move {
        while let Err(error) = tokio::spawn(task(shared.clone())).await
            && error.is_panic()
        {
            error!("internal error in cwl-sink: a task panicked; it starts again");
            sleep(RESTART_AFTER).await;
        }
    });
}

/// Starts an attempt for each grant of the pool, until the pool is closed.
async fn start_attempts(shared: Arc<Shared>, runtimes: Arc<[Handle]>) {
    let mut turn = 0;
    loop {
        match shared.pool.next(|max| shared.random_below(max)) {
            NextGrant::Grant(grant) => {
                turn += 1;
                start_attempt(&shared, grant, &runtimes[turn % runtimes.len()]);
            }
            NextGrant::NotBefore(at) => drop(timeout_at(at, shared.pool.changed()).await),
            NextGrant::WaitForChange => shared.pool.changed().await,
            NextGrant::Closed => return,
        }
    }
}

/// Gives the next batch of the granted queue its attempt, if there still is a batch that may go.
fn start_attempt(shared: &Arc<Shared>, grant: Grant, runtime: &Handle) {
    let class = grant.class;
    let permit = Permit::new(shared.clone(), grant);
    let queue = permit.queue().clone();
    let (batch, effects) = queue.take_batch(class);
    shared.apply(&queue, effects);
    let Some(batch) = batch else { return };
    let flight = InFlight::new(shared.clone(), queue, batch);
    // A task of its own, so that a panic ends this attempt and nothing else. Its batch is then dropped, which requeues it.
    // Its permit is dropped too, which frees the slot.
    runtime.spawn(sender::attempt(shared.clone(), permit, flight));
}

/// Brings each queue of the retry heap back when it is due, until the heap is closed.
async fn process_retries(shared: Arc<Shared>) {
    loop {
        match shared.retries.next(Instant::now()) {
            NextRetry::Due(queue, generation) => {
                let effects = queue.on_retry_due(generation);
                shared.apply(&queue, effects);
            }
            NextRetry::At(due) => drop(timeout_at(due, shared.retries.changed()).await),
            NextRetry::Empty => shared.retries.changed().await,
            NextRetry::Closed => return,
        }
    }
}

/// Lets queues go on that wait for the pace of creations, until the sink stops.
async fn start_creations(shared: Arc<Shared>) {
    loop {
        match shared.creation_pace.next(Instant::now()) {
            NextCreation::Queue(queue) => {
                let effects = queue.give_creation_turn();
                shared.apply(&queue, effects);
            }
            NextCreation::NotBefore(at) => drop(timeout_at(at, shared.creation_pace.changed()).await),
            NextCreation::WaitForChange => shared.creation_pace.changed().await,
            NextCreation::Closed => return,
        }
    }
}

/// Saves the offsets of sources that have advanced. Sleeps while none does.
async fn save_offsets(shared: Arc<Shared>) {
    let sources = &shared.sources;
    while sources.are_kept() {
        sources.advanced().notified().await;
        let saving = sources.clone();
        // A disk may hang; the workers must not.
        let saved = threads::call_blocking("cwl-state", move || saving.save()).await;
        if !saved.unwrap_or(false) {
            sources.advanced().notify_one();
        }
        sleep(SAVE_INTERVAL).await;
    }
}

/// Gives free buffers that no batch needs back to the system. Sleeps while there are none.
async fn free_idle_buffers(buffers: Arc<Buffers>) {
    loop {
        buffers.filled().await;
        loop {
            let moves = buffers.moves();
            sleep(BUFFERS_IDLE).await;
            if buffers.moves() == moves {
                break;
            }
        }
        buffers.shrink_to(0);
    }
}

/// Forgets idle targets. Looks four times within the time after which a target is idle.
async fn forget_idle_targets(shared: Arc<Shared>) {
    let idle = shared.config.target_idle;
    loop {
        sleep(idle / 4).await;
        if let Some(used_by) = Instant::now().checked_sub(idle) {
            shared.registry.forget_idle(used_by);
        }
    }
}

/// Makes open batches due when they are `flush_interval_ms` old.
async fn run_flush_timers(shared: Arc<Shared>, timers: Arc<tokio::sync::Mutex<TimerQueue>>) {
    let mut timers = timers.lock().await;
    while let Some(event) = timers.next().await {
        match event {
            TimerEvent::FlushAll => {
                shared.timers.on_flush_all();
                for queue in shared.registry.all() {
                    let effects = queue.make_open_batch_due();
                    shared.apply(&queue, effects);
                }
            }
            TimerEvent::Expired { queue, opened_by } => {
                let expired = queue.expire_flush_timer(opened_by);
                shared.apply(&queue, expired.effects);
                if let Some(opened_at) = expired.younger_opened_at {
                    timers.arm(queue, opened_at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::memory::Buffer;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_starts_again_until_it_ends() {
        let starts = Arc::new(AtomicUsize::new(0));
        supervise(&Handle::current(), &starts, |starts| async move {
            assert!(starts.fetch_add(1, Ordering::Relaxed) == 2, "a simulated panic");
        });
        sleep(Duration::from_secs(60)).await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn free_buffers_are_given_back_when_no_batch_needed_one_for_a_while() {
        let buffers = Buffers::new(1 << 30);
        let use_buffer = || Buffer::new().grow_to(200_000, &buffers).expect("memory");
        let task = tokio::spawn(free_idle_buffers(buffers.clone()));
        for _ in 0..10 {
            use_buffer();
            sleep(BUFFERS_IDLE / 2).await;
            assert_ne!(buffers.kept(), 0, "it is in use");
        }
        sleep(2 * BUFFERS_IDLE).await;
        assert_eq!(buffers.kept(), 0);
        use_buffer();
        sleep(3 * BUFFERS_IDLE).await;
        assert_eq!(buffers.kept(), 0, "once more");
        task.abort();
    }
}
