//! The host: it pushes, flushes, fetches acks, steps its clock and shuts down, all as the seed has it. Between any
//! two steps it checks what must hold at any time.

mod checks;
mod heal;
mod push;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cwl_sink::engine::{Dependencies, Engine};
use cwl_sink::sources::{Source, Sources};
use cwl_sink::wait_group::WaitGroup;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::record::AckRecord;
use crate::scenario::{AckMode, RunEnd, Scenario};
use crate::service::SimulatedService;
use crate::world::{EngineClock, World};

use push::Backlog;

/// See the module.
pub struct Driver {
    pub service: SimulatedService,
    pub engine: Arc<Engine>,
    scenario: Scenario,
    clock: Arc<EngineClock>,
    rng: fastrand::Rng,
    sources: Vec<Arc<Source>>,
    /// The events that were refused for lack of room: one backlog for each source, and one for events without a
    /// source.
    backlogs: Vec<Backlog>,
    flushes: Vec<AwaitedFlush>,
    acks_enabled: bool,
}

/// A flush or a shutdown that the host waits for.
struct AwaitedFlush {
    group: Arc<WaitGroup>,
    /// The number of events that were accepted before it.
    events_before: usize,
}

impl Driver {
    /// Starts an engine in a new world, on the runtime that this is called in.
    pub fn start(scenario: &Scenario) -> Result<Self, String> {
        let service = SimulatedService(Arc::new(Mutex::new(World::new(scenario.clone()))));
        let clock = service.world().clock.clone();
        let sources = Sources::default();
        let open = |index: usize| sources.open(&format!("source{index}")).map_err(|error| error.to_string());
        let opened = (0..scenario.sources).map(open).collect::<Result<Vec<_>, _>>()?;
        let dependencies = Dependencies {
            api: Arc::new(service.clone()),
            clock: clock.clone(),
            sources,
            seed: scenario.seed,
        };
        let engine = Arc::new(Engine::start(scenario.config.clone(), dependencies, &[Handle::current()]));
        service.world().engine = Arc::downgrade(&engine);
        let mut driver = Driver {
            service,
            engine,
            clock,
            rng: fastrand::Rng::with_seed(scenario.seed ^ 0xd21_4e2),
            sources: opened,
            backlogs: vec![Backlog::new(); scenario.sources + 1],
            flushes: Vec::new(),
            acks_enabled: false,
            scenario: scenario.clone(),
        };
        if driver.scenario.acks.is_asked_from_start() {
            driver.enable_acks();
        }
        Ok(driver)
    }

    fn enable_acks(&mut self) {
        self.engine.acks().enable();
        self.acks_enabled = true;
    }

    /// Does the whole run, up to the point where the runtime may end.
    pub async fn run(&mut self) -> Result<(), String> {
        for step in 0..self.scenario.steps {
            if self.scenario.acks == AckMode::Midway && step == self.scenario.steps / 2 {
                self.enable_acks();
            }
            self.step()?;
            let max_ms = self.scenario.step_max.as_millis() as u64;
            sleep(Duration::from_millis(self.rng.u64(0..=max_ms))).await;
            self.fetch_some_acks()?;
            self.check()?;
        }
        match self.scenario.end {
            RunEnd::Healed => self.heal_and_close().await,
            RunEnd::Closed(timeout) => self.close(timeout).await.map(drop),
            RunEnd::Stopped => Ok(()),
        }?;
        self.service.world().tick();
        self.service.world().shutdown.is_stopped = true;
        self.engine.stop();
        self.check()
    }

    fn step(&mut self) -> Result<(), String> {
        if self.rng.u32(..100) < self.scenario.fault_percent {
            self.change_faults();
        }
        if self.scenario.clock_steps && self.rng.u32(..15) == 0 {
            let error_ms = match self.rng.u32(..6) {
                0 => 0,
                1 => self.rng.i64(-180_000..180_000),
                2 => self.rng.i64(360_000..840_000),
                3 => -self.rng.i64(360_000..840_000),
                _ => self.rng.i64(-10..10) * 3_600_000 / 2,
            };
            self.set_clock_error(error_ms);
        }
        if self.rng.u32(..12) == 0 {
            let group = self.engine.flush();
            let events_before = self.service.world().record.events.len();
            self.flushes.push(AwaitedFlush { group, events_before });
        }
        self.push_backlogs()?;
        for _ in 0..self.rng.usize(0..=self.scenario.burst_max) {
            self.push_new_event()?;
        }
        Ok(())
    }

    fn set_clock_error(&self, error_ms: i64) {
        self.clock.machine().set_error_ms(error_ms);
        self.service.world().clock_model.on_step(error_ms);
    }

    fn change_faults(&mut self) {
        let mut world = self.service.world();
        world.tick();
        match self.rng.u32(..10) {
            0 if self.scenario.endpoint_faults => world.lose_credentials(self.scenario.step_max * 10),
            1 if self.scenario.endpoint_faults => world.begin_outage(self.scenario.step_max * 10),
            2 if self.scenario.missing => {
                let target = self.rng.usize(self.scenario.healthy..self.scenario.targets);
                let queue = &world.record.queues[2 * target];
                let stream = (queue.group.clone(), queue.stream.clone());
                world.resources.streams.remove(&stream);
            }
            _ => world.change_fault_mode(),
        }
    }

    fn fetch_some_acks(&mut self) -> Result<(), String> {
        let max = match self.scenario.acks {
            AckMode::Prompt | AckMode::Midway => usize::MAX,
            AckMode::Bursts if self.rng.u32(..8) == 0 => self.rng.usize(1..300),
            _ => return Ok(()),
        };
        self.fetch_acks(max)
    }

    /// Fetches at most `max` acks, without waiting for any.
    pub fn fetch_acks(&mut self, max: usize) -> Result<(), String> {
        // The deadline has passed by the time that the queue compares it with the clock, so the call does not wait.
        let acks = self.engine.acks().take(max, Some(std::time::Instant::now()));
        let mut world = self.service.world();
        let fetched_at = world.tick().at;
        for ack in acks {
            let reason = ack.resolution.reason;
            world.note("ack", &[ack.token, reason as u64]);
            let code =
                ack.resolution.error.as_ref().and_then(|error| error.code.as_deref()).map(str::to_owned);
            world.record.add_ack(ack.token, AckRecord { reason, code, fetched_at })?;
        }
        Ok(())
    }

    /// Shuts down, waits until everything is final or the time-out is over, and continues to push meanwhile. Returns
    /// true if everything is final.
    async fn close(&mut self, timeout: Option<Duration>) -> Result<bool, String> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.service.world().begin_shutdown();
        let closed = self.engine.close(deadline);
        let events_before = self.service.world().record.events.len();
        self.flushes.push(AwaitedFlush { group: closed.clone(), events_before });
        let max_wait = timeout.unwrap_or(Duration::from_millis(self.rng.u64(0..600_000)));
        let wait_deadline = Instant::now() + max_wait;
        while !closed.is_done() && Instant::now() < wait_deadline {
            self.push_new_event()?;
            let left = wait_deadline - Instant::now();
            sleep((max_wait / 20).max(Duration::from_millis(1)).min(left)).await;
            self.fetch_some_acks()?;
            self.check()?;
        }
        self.push_new_event()?;
        self.service.world().shutdown.is_in_time = closed.is_done();
        Ok(closed.is_done())
    }
}
