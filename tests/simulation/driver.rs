//! The host: pushes, flushes, fetches acks, turns its clock, and shuts down; all as the seed has it. Between any
//! two steps it checks what must hold at any time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use cwl_sink::batch::Event as Pushed;
use cwl_sink::config::{Emf, Oversize, WhenFull};
use cwl_sink::engine::{Dependencies, Engine, PushError};
use cwl_sink::limits;
use cwl_sink::sources::Source;
use cwl_sink::sources::Sources;
use cwl_sink::target::breaker::BreakerState;
use cwl_sink::wait_group::WaitGroup;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::books::{Event, Lane, Piece, Wish, message};
use crate::models::SLACK;
use crate::scenario::{Acks, Ending, Scenario};
use crate::service::Service;
use crate::world::{HostClock, World};

/// See the module.
pub struct Driver {
    pub service: Service,
    pub engine: Arc<Engine>,
    scenario: Scenario,
    clock: Arc<HostClock>,
    rng: fastrand::Rng,
    sources: Vec<Arc<Source>>,
    /// What was refused for want of room, one lane a source and one for the rest.
    lanes: Vec<Lane>,
    flushes: Vec<(Arc<WaitGroup>, usize)>,
    acks_asked: bool,
}

impl Driver {
    /// Starts an engine in a new world, on the runtime that this is called in.
    pub fn start(scenario: &Scenario) -> Result<Self, String> {
        let service = Service(Arc::new(Mutex::new(World::new(scenario.clone()))));
        let clock = HostClock::new();
        let sources = Sources::default();
        let open = |index: usize| sources.open(&format!("source{index}")).map_err(|error| error.to_string());
        let opened = (0..scenario.sources).map(open).collect::<Result<Vec<_>, _>>()?;
        let dependencies = Dependencies {
            api: Arc::new(service.clone()),
            clock: clock.clone(),
            sources,
            seed: scenario.seed,
        };
        let engine = Arc::new(Engine::start(scenario.config.clone(), dependencies, &Handle::current()));
        service.world().engine = Arc::downgrade(&engine);
        let mut driver = Driver {
            service,
            engine,
            clock,
            rng: fastrand::Rng::with_seed(scenario.seed ^ 0xd21_4e2),
            sources: opened,
            lanes: vec![Lane::new(); scenario.sources + 1],
            flushes: Vec::new(),
            acks_asked: false,
            scenario: scenario.clone(),
        };
        if !matches!(driver.scenario.acks, Acks::Never | Acks::Midway) {
            driver.ask();
        }
        Ok(driver)
    }

    fn ask(&mut self) {
        self.engine.acks().enable();
        self.acks_asked = true;
    }

    /// The whole run, up to where the runtime may go.
    pub async fn run(&mut self) -> Result<(), String> {
        for step in 0..self.scenario.steps {
            if self.scenario.acks == Acks::Midway && step == self.scenario.steps / 2 {
                self.ask();
            }
            self.step()?;
            let at_most = self.scenario.step_max.as_millis() as u64;
            sleep(Duration::from_millis(self.rng.u64(0..=at_most))).await;
            self.fetch_acks()?;
            self.check()?;
        }
        match self.scenario.ending {
            Ending::Healed => self.heal_and_close().await,
            Ending::Closed(timeout) => self.close(timeout).await.map(drop),
            Ending::Stopped => Ok(()),
        }?;
        self.service.world().tick();
        self.service.world().stopped = true;
        self.engine.stop();
        self.check()
    }

    fn step(&mut self) -> Result<(), String> {
        let dice = self.rng.u32(..100);
        if dice < self.scenario.fault_percent {
            let mut world = self.service.world();
            world.tick();
            match self.rng.u32(..10) {
                0 if self.scenario.endpoint_faults => world.lose_credentials(self.scenario.step_max * 10),
                1 if self.scenario.endpoint_faults => world.go_down(self.scenario.step_max * 10),
                2 if self.scenario.missing => {
                    let target = self.rng.usize(self.scenario.healthy..self.scenario.targets);
                    let line = &world.books.lines[2 * target];
                    let stream = (line.group.clone(), line.stream.clone());
                    world.streams.remove(&stream);
                }
                _ => world.change_mood(),
            }
        }
        if self.scenario.clock_steps && self.rng.u32(..15) == 0 {
            let wrong_by_ms = match self.rng.u32(..4) {
                0 => 0,
                1 => self.rng.i64(-180_000..180_000),
                _ => self.rng.i64(-10..10) * 3_600_000 / 2,
            };
            self.clock.wrong_by_ms.store(wrong_by_ms, Ordering::Relaxed);
        }
        if self.rng.u32(..12) == 0 {
            let flush = self.engine.flush();
            self.flushes.push((flush, self.service.world().books.events.len()));
        }
        self.push_waiting()?;
        for _ in 0..self.rng.usize(0..=self.scenario.burst_max) {
            self.push_some()?;
        }
        Ok(())
    }

    /// Pushes again what was refused, lane by lane, as far as it goes in.
    fn push_waiting(&mut self) -> Result<(), String> {
        for lane in 0..self.lanes.len() {
            while let Some(wish) = self.lanes[lane].front().cloned() {
                if !self.push(lane, &wish)? {
                    break;
                }
                self.lanes[lane].pop_front();
            }
        }
        Ok(())
    }

    fn push_some(&mut self) -> Result<(), String> {
        use cwl_sink::clock::Clock;
        let now_ms = self.clock.now_ms();
        let rng = &mut self.rng;
        let (past, ahead) = (limits::EVENT_AGE_MAX_MS, limits::EVENT_AHEAD_MAX_MS);
        let timestamp_ms = if rng.u32(..100) < self.scenario.unstamped_percent {
            None
        } else if rng.u32(..100) < self.scenario.odd_stamp_percent {
            Some(match rng.u32(..6) {
                0 => now_ms - past + rng.i64(-2..=2000),
                1 => now_ms + ahead - rng.i64(-2..=2000),
                2 => now_ms - rng.i64(0..past),
                3 => now_ms + rng.i64(0..ahead),
                _ => now_ms - rng.i64(0..10_000),
            })
        } else {
            Some(now_ms)
        };
        let bytes = if self.scenario.oversize && rng.u32(..4) == 0 {
            rng.usize(limits::MESSAGE_BYTES_MAX - 2..2 * limits::MESSAGE_BYTES_MAX - 100)
        } else if self.scenario.too_large && rng.u32(..100) == 0 {
            self.scenario.config.target_buffer_max_bytes
        } else {
            rng.usize(1..=self.scenario.bytes_max)
        };
        let emf = rng.u32(..100) < self.scenario.emf_percent && bytes < 500_000;
        let lane = rng.usize(..self.lanes.len());
        let range = (lane < self.sources.len()).then(|| {
            let source = &mut self.service.world().books.sources[lane];
            let begin = source.next + if rng.u32(..200) == 0 { 3 } else { 0 };
            source.next = begin + rng.u64(1..2000);
            (begin, source.next)
        });
        let wish = Wish { target: rng.usize(..self.scenario.targets), timestamp_ms, bytes, emf, range };
        if self.lanes[lane].is_empty() && self.push(lane, &wish)? {
            return Ok(());
        }
        // What is refused is the host's loss, unless it reads it again or waits for room.
        if range.is_some() || self.scenario.config.when_full == WhenFull::Block {
            self.lanes[lane].push_back(wish);
        }
        Ok(())
    }

    /// Pushes one event. False when there was no room.
    fn push(&mut self, lane: usize, wish: &Wish) -> Result<bool, String> {
        use cwl_sink::clock::Clock;
        let mut world = self.service.world();
        world.tick();
        let token = world.books.events.len();
        let text = message(token, wish.bytes, wish.emf);
        let emf = match self.scenario.config.emf {
            Emf::Auto => wish.emf,
            Emf::Always => true,
            Emf::Never => false,
        };
        let line = 2 * wish.target + usize::from(emf);
        let (group, stream) = (world.books.lines[line].group.clone(), world.books.lines[line].stream.clone());
        drop(world);
        let now_ms = self.clock.now_ms();
        let timely = |stamp: &i64| (now_ms - 14 * 86_400_000..=now_ms + 7_200_000).contains(stamp);
        self.service.world().forgets_if_gone(line)?;
        let queue = match self.engine.target(Some(&group), Some(&stream)) {
            Ok(queue) => queue,
            Err(PushError::Closed) => return Ok(true),
            Err(error) => return Err(format!("{group}/{stream}: {error}")),
        };
        let range = wish.range.map(|(begin, end)| (&self.sources[lane], begin, end));
        let event = Pushed { timestamp_ms: wish.timestamp_ms, message: &text, token: token as u64, range };
        let dropped = self.engine.snapshot().dropped_events;
        let pushed = self.engine.push(&queue, &event).map_err(|error| *error);
        let dropped = self.engine.snapshot().dropped_events - dropped;
        let mut world = self.service.world();
        world.note("push", &[line as u64, text.len() as u64, u64::from(pushed.is_ok())]);
        if let (Err(error), 1..) = (&pushed, dropped) {
            return Err(format!(
                "a push to {group}/{stream} was refused ({error}), and cost {dropped} events all the same"
            ));
        }
        let lossy_bytes = String::from_utf8_lossy(&text).len();
        let too_long = lossy_bytes > limits::MESSAGE_BYTES_MAX;
        let untimely = wish.timestamp_ms.is_some_and(|stamp| !timely(&stamp));
        match &pushed {
            Ok(()) => {}
            Err(PushError::Full { .. }) if !untimely && self.engine.snapshot().buffered_bytes > 0 => {
                world.check_memory();
                return Ok(false);
            }
            Err(PushError::TooOld { .. } | PushError::TooNew { .. }) if untimely => return Ok(true),
            // A body may take twice its JSON, and JSON up to six times the message.
            Err(PushError::NeverFits { limit, .. }) if 12 * text.len() + 2000 > *limit => return Ok(true),
            Err(PushError::TooLarge { .. })
                if too_long && self.scenario.config.oversize == Oversize::Reject =>
            {
                return Ok(true);
            }
            Err(PushError::Closed) if world.closed_at.is_some() => return Ok(true),
            Err(error) => return Err(format!("event {token} to {group}/{stream} was refused: {error}")),
        }
        if untimely || world.closed_at.is_some() {
            return Err(format!(
                "event {token} to {group}/{stream} was accepted: untimely, or after the close"
            ));
        }
        let sizes = match self.scenario.config.oversize {
            Oversize::Truncate if too_long => {
                let whole = String::from_utf8_lossy(&text);
                vec![whole.floor_char_boundary(limits::MESSAGE_BYTES_MAX - 14) + 14]
            }
            Oversize::Split if too_long => {
                vec![limits::MESSAGE_BYTES_MAX, lossy_bytes - limits::MESSAGE_BYTES_MAX]
            }
            _ => vec![lossy_bytes],
        };
        let now = world.tick().at;
        let World { books, scenario, .. } = &mut *world;
        let known = &mut books.lines[line];
        known.queue = if emf {
            queue.emf_queue().map_or_else(Weak::new, Arc::downgrade)
        } else {
            Arc::downgrade(&queue)
        };
        known.last_push = Some(now);
        let inherited = known.last_timestamp_ms.filter(timely).unwrap_or(now_ms);
        known.last_timestamp_ms = wish.timestamp_ms.or(known.last_timestamp_ms);
        let first = books.pieces.len();
        for (index, text_bytes) in sizes.iter().enumerate() {
            known.pieces.push(first + index);
            books.pieces.push(Piece {
                event: token,
                queue: line,
                number: known.pieces.len() as u64 - 1,
                timestamp_ms: wish.timestamp_ms.unwrap_or(inherited),
                text_bytes: *text_bytes,
                held: 0,
                lost: 0,
                refused: None,
                confirmed: false,
                batch: None,
                second: index > 0,
            });
        }
        let text_bytes = sizes.iter().sum();
        books.events.push(Event {
            pieces: first..books.pieces.len(),
            bytes: wish.bytes,
            text_bytes,
            emf: wish.emf,
            ack_owed: self.acks_asked,
            accepted_at: now,
            excused: known.excused,
            ack: None,
            acked_at: None,
        });
        if self.acks_asked {
            books.acks_owed += 1;
            books.unacked_bytes += text_bytes;
        }
        if let Some((begin, end)) = wish.range {
            books.sources[lane].accepted.push((begin, end, token));
        }
        debug_assert_eq!(scenario.seed, self.scenario.seed);
        world.check_memory();
        Ok(true)
    }

    fn fetch_acks(&mut self) -> Result<(), String> {
        let most = match self.scenario.acks {
            Acks::Prompt | Acks::Midway => usize::MAX,
            Acks::Bursts if self.rng.u32(..8) == 0 => self.rng.usize(1..300),
            _ => return Ok(()),
        };
        self.fetch(most)
    }

    /// Fetches so many acks, without waiting for any.
    pub fn fetch(&mut self, most: usize) -> Result<(), String> {
        // The wait for acks is over at once: this is in the past when it is looked at.
        let acks = self.engine.acks().take(most, Some(std::time::Instant::now()));
        let mut world = self.service.world();
        let at = world.tick().at;
        for ack in acks {
            world.note("ack", &[ack.token, ack.resolution.reason as u64]);
            let code = ack.resolution.error.as_ref().and_then(|error| error.code.clone());
            world.books.acked(ack.token, ack.resolution.reason, code, at)?;
        }
        Ok(())
    }

    /// What must hold at any time.
    pub fn check(&mut self) -> Result<(), String> {
        let mut world = self.service.world();
        world.check_memory();
        if let Some(broken) = &world.broken {
            return Err(broken.clone());
        }
        let books = &mut world.books;
        let snapshot = self.engine.snapshot();
        let ended = [
            snapshot.delivered_events,
            snapshot.rejected_events,
            snapshot.dropped_events,
            snapshot.abandoned_events,
        ];
        let ends: u64 = ended.iter().sum();
        let accepted = books.pieces.len() as u64;
        if snapshot.accepted_events != accepted || accepted != ends + snapshot.pending_events {
            return Err(format!("{accepted} events were accepted, and the counters say {snapshot:?}"));
        }
        if ended[..2] != [books.delivered, books.rejected] {
            return Err(format!(
                "the service took {} events and refused {}, and the counters say {ended:?}",
                books.delivered, books.rejected
            ));
        }
        let asked_from_the_start = !matches!(self.scenario.acks, Acks::Never | Acks::Midway);
        let exact = self.engine.acks().is_empty() && asked_from_the_start;
        if exact && !self.scenario.oversize && books.acked != ended {
            return Err(format!("the acks say {:?}, and the counters {ended:?}", books.acked));
        }
        // The pieces of a long message give their memory back one by one.
        if exact
            && !self.scenario.config.gzip
            && !self.scenario.oversize
            && (snapshot.buffered_bytes as usize) < books.unacked_bytes
        {
            return Err(format!(
                "{} bytes are counted as held, and messages of {} bytes are",
                snapshot.buffered_bytes, books.unacked_bytes
            ));
        }
        let least = 8 * books.acks_owed;
        if asked_from_the_start && !self.scenario.oversize && snapshot.buffered_bytes < least {
            return Err(format!(
                "{} bytes are counted as held, and {} events without an ack yet hold 8 each",
                snapshot.buffered_bytes, books.acks_owed
            ));
        }
        for (index, source) in self.sources.iter().enumerate().filter(|_| exact) {
            let (offset, expected) = (source.offset(), books.offset(index));
            if offset != expected {
                return Err(format!("source {index} is at {offset:?}, and by the outcomes at {expected:?}"));
            }
        }
        let mut kept = Ok(());
        self.flushes.retain(|(flush, upto)| {
            let done = flush.is_done();
            let open = books.events[..*upto].iter().position(|event| event.ack.is_none());
            let fault = match open {
                Some(event) if done && exact => {
                    format!("a flush is done, and event {event} before it not final")
                }
                None if !done && exact => "a flush is not done, and all before it is final".into(),
                _ if done && ends < *upto as u64 => "a flush is done before enough is final".into(),
                _ if !done && snapshot.pending_events == 0 => {
                    "a flush is not done, and nothing is pending".into()
                }
                _ => return !done,
            };
            kept = Err(fault);
            false
        });
        kept
    }

    /// Everything works again: whatever is pending must be delivered within the longest back-off.
    async fn heal_and_close(&mut self) -> Result<(), String> {
        let bound = {
            let mut world = self.service.world();
            world.tick();
            world.heal();
            let batches: usize = world.books.lines.iter().map(|line| line.unfinished.len()).sum();
            let config = &self.scenario.config;
            // A request that hangs, the longest pause of the endpoint and then of the target, and the backlog.
            config.request_timeout
                + config.flush_interval
                + Duration::from_secs(125)
                + Duration::from_millis(10) * (batches + world.books.events.len()) as u32
        };
        self.clock.wrong_by_ms.store(0, Ordering::Relaxed);
        self.settle(bound).await?;
        // A breaker whose batch had to make room opens for its next probe by then.
        sleep(Duration::from_secs(61)).await;
        for line in &self.service.world().books.lines {
            let Some(queue) = line.queue.upgrade() else { continue };
            let state = queue.snapshot();
            let stuck = match state.breaker {
                BreakerState::Closed | BreakerState::HalfOpen(None) => {
                    state.in_flight + state.waiting_batches > 0
                }
                BreakerState::Open(_) | BreakerState::HalfOpen(Some(_)) => true,
            };
            if stuck {
                return Err(format!("{} is stuck after all faults ended: {state:?}", line.name()));
            }
        }
        for target in 0..self.scenario.targets {
            use cwl_sink::clock::Clock;
            let timestamp_ms = Some(self.clock.now_ms());
            self.fetch(usize::MAX)?;
            let wish = Wish { target, timestamp_ms, bytes: 20, emf: false, range: None };
            self.push(self.sources.len(), &wish)?;
        }
        let latencies = Duration::from_millis(10) * self.scenario.targets as u32;
        self.settle(self.scenario.config.flush_interval + latencies + SLACK).await?;
        if !self.close(Some(Duration::from_secs(1))).await? {
            return Err("the shutdown of an engine with nothing to send was not done at once".into());
        }
        Ok(())
    }

    /// Waits until nothing is pending, at most so long.
    async fn settle(&mut self, bound: Duration) -> Result<(), String> {
        let deadline = Instant::now() + bound;
        while self.engine.snapshot().pending_events > 0 {
            if Instant::now() > deadline {
                let pending = self.engine.snapshot().pending_events;
                let stuck =
                    self.engine.target_snapshots().into_iter().find(|t| t.waiting_batches + t.in_flight > 0);
                return Err(format!(
                    "{pending} events are still pending {bound:?} after all faults ended, such as of {stuck:?}"
                ));
            }
            sleep(bound / 50).await;
            self.fetch_acks()?;
            self.check()?;
        }
        Ok(())
    }

    /// Closes, waits for the end or the time-out, and pushes on meanwhile. Whether it came to the end.
    async fn close(&mut self, timeout: Option<Duration>) -> Result<bool, String> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.service.world().closes();
        let closed = self.engine.close(deadline);
        self.flushes.push((closed.clone(), self.service.world().books.events.len()));
        let patience = timeout.unwrap_or(Duration::from_millis(self.rng.u64(0..600_000)));
        let until = Instant::now() + patience;
        while !closed.is_done() && Instant::now() < until {
            self.push_some()?;
            let left = until - Instant::now();
            sleep((patience / 20).max(Duration::from_millis(1)).min(left)).await;
            self.fetch_acks()?;
            self.check()?;
        }
        self.push_some()?;
        self.service.world().closed_in_time = closed.is_done();
        Ok(closed.is_done())
    }
}
