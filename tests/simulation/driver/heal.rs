//! The end of a run in which all faults end: everything must be delivered, and nothing is stuck.

use std::time::Duration;

use cwl_sink::target::breaker::BreakerState;
use tokio::time::{Instant, sleep};

use super::Driver;
use crate::models::SLACK;

/// The longest wait for a probe: the longest back-off of a target, and a second.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(11);
/// Longer than several pauses of the endpoint and of a target one after the other.
const PAUSES_MAX: Duration = Duration::from_secs(125);
/// The longest time, on average, that one batch or one event of a backlog takes to be delivered.
const DELIVERY_MAX: Duration = Duration::from_millis(10);
/// The most requests that one event takes, on average, in a run in which batches are halved again and again.
const REQUESTS_WITH_HALVES_MAX: usize = 10;
/// The number of checks during a wait.
const CHECKS: u32 = 50;

impl Driver {
    /// Ends all faults. Everything that is pending must be final within the longest back-off: poisonous events dropped,
    /// and all others delivered.
    pub(super) async fn heal_and_close(&mut self) -> Result<(), String> {
        let max = self.heal();
        self.set_clock_error(0);
        if !self.wait_with_help(max).await? {
            // What waits for memory blocks its target.
            self.service.world().shutdown.is_blocked = true;
            return self.close(Some(Duration::from_secs(1))).await.map(drop);
        }
        // A breaker whose failed batch was dropped to make room is half open by then.
        sleep(PROBE_WAIT_MAX).await;
        self.check_nothing_is_stuck()?;
        for target in 0..self.scenario.targets {
            self.fetch_acks(usize::MAX)?;
            self.push_last_event(2 * target)?;
        }
        let latencies = DELIVERY_MAX * self.scenario.targets as u32;
        let max = self.scenario.config.flush_interval + latencies + SLACK;
        if !self.wait_until_delivered(max).await? {
            return Err(self.describe_pending(max));
        }
        if !self.close(Some(Duration::from_secs(1))).await? {
            return Err("the shutdown of an engine with nothing to send was not done at once".into());
        }
        Ok(())
    }

    /// Ends all faults. Returns the longest time until everything is final.
    fn heal(&self) -> Duration {
        let mut world = self.service.world();
        world.tick();
        world.heal();
        let batches: usize = world.record.queues.iter().map(|queue| queue.unfinished.len()).sum();
        let mut requests_max = batches + world.record.events.len();
        if self.scenario.poison_percent > 0 || self.scenario.wire_max_bytes.is_some() {
            requests_max *= REQUESTS_WITH_HALVES_MAX;
        }
        let config = &self.scenario.config;
        // A request that hangs, a batch that was just opened, the pauses, and the backlog.
        config.request_timeout + config.flush_interval + PAUSES_MAX + DELIVERY_MAX * requests_max as u32
    }

    /// Waits until nothing is pending, at most `max`. Meanwhile pushes an event to each target that drops a refused event
    /// only after another one was delivered. Returns false if events are pending for lack of memory: a batch cannot be
    /// halved, or no event can be pushed.
    async fn wait_with_help(&mut self, max: Duration) -> Result<bool, String> {
        let deadline = Instant::now() + max;
        let mut has_room = true;
        while !self.wait_until_delivered(max / CHECKS).await? {
            if Instant::now() > deadline {
                let lacks_memory = !has_room || self.service.world().may_wait_for_memory();
                return if lacks_memory { Ok(false) } else { Err(self.describe_pending(max)) };
            }
            // Acks that were not fetched hold memory.
            self.fetch_acks(usize::MAX)?;
            has_room = self.push_awaited_events()?;
        }
        Ok(true)
    }

    /// Waits until nothing is pending, at most `max`. Returns true if nothing is.
    async fn wait_until_delivered(&mut self, max: Duration) -> Result<bool, String> {
        let deadline = Instant::now() + max;
        while self.engine.snapshot().pending_events > 0 {
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep((max / CHECKS).max(Duration::from_millis(1))).await;
            self.fetch_some_acks()?;
            self.check()?;
        }
        Ok(true)
    }

    fn describe_pending(&self, max: Duration) -> String {
        let pending = self.engine.snapshot().pending_events;
        let mut targets = self.engine.target_snapshots().into_iter();
        let stuck = targets.find(|target| target.waiting_batches + target.in_flight > 0);
        format!(
            "{pending} events are still pending {max:?} after all faults ended, such as those of {stuck:?}"
        )
    }

    fn check_nothing_is_stuck(&self) -> Result<(), String> {
        for queue in &self.service.world().record.queues {
            let Some(engine_queue) = queue.engine_queue.upgrade() else { continue };
            let snapshot = engine_queue.snapshot(false);
            let is_stuck = match snapshot.breaker {
                BreakerState::Closed | BreakerState::HalfOpen(None) => {
                    snapshot.in_flight + snapshot.waiting_batches > 0
                }
                BreakerState::Open(_) | BreakerState::HalfOpen(Some(_)) => true,
            };
            if is_stuck {
                return Err(format!("{} is stuck after all faults ended: {snapshot:?}", queue.name()));
            }
        }
        Ok(())
    }
}
