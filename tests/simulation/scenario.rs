//! A scenario: the configuration of a run, the events, and everything that may go wrong. A seed determines it before
//! the run begins.

use std::time::Duration;

use cwl_sink::config::{Config, Emf, Oversize, WhenFull};
use fastrand::Rng;

/// The way in which the host asks for acks and fetches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// The host never asks for acks.
    Never,
    /// The host fetches acks at every step.
    Prompt,
    /// The host fetches all acks at the end.
    Late,
    /// The host fetches some acks now and then.
    Bursts,
    /// The host asks for acks in the middle of the run, and from then on fetches them at every step.
    Midway,
}

impl AckMode {
    /// Returns true if every event of the run is owed an ack.
    pub fn is_asked_from_start(self) -> bool {
        !matches!(self, AckMode::Never | AckMode::Midway)
    }
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// All faults end and everything must be delivered. Then the host shuts down.
    Healed,
    /// The host shuts down while faults go on, with this time-out. `None`: it waits as long as it likes.
    Closed(Option<Duration>),
    /// The host stops the engine while faults go on.
    Stopped,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub config: Config,
    pub targets: usize,
    pub groups: usize,
    /// The number of targets that never have a fault of their own. They are the first ones.
    pub healthy: usize,
    pub acks: AckMode,
    pub steps: u32,
    pub step_max: Duration,
    pub burst_max: usize,
    pub bytes_max: usize,
    /// Some messages are longer than the service takes.
    pub oversize: bool,
    /// Some messages are larger than a target may ever hold.
    pub too_large: bool,
    pub emf_percent: u32,
    /// The part of the events that are pushed without a timestamp.
    pub unstamped_percent: u32,
    /// The part of the timestamps that are not the time of the push.
    pub odd_stamp_percent: u32,
    pub sources: usize,
    /// The part of the steps at which the faults change.
    pub fault_percent: u32,
    /// Some faults meet all targets.
    pub endpoint_faults: bool,
    /// Some requests panic.
    pub panics: bool,
    /// The clock of the host is stepped.
    pub clock_steps: bool,
    /// Some groups and streams are missing.
    pub missing: bool,
    /// A target that fails at the start fails to the end.
    pub stubborn: bool,
    pub latency_max_ms: u64,
    /// The part of the events of some targets that the service refuses for ever, with every request that holds one.
    pub poison_percent: u32,
    /// The largest request body that passes, in bytes.
    pub wire_max_bytes: Option<usize>,
    pub end: RunEnd,
    /// The index of a fault that the run meets at its start.
    pub first_fault: usize,
}

impl Scenario {
    /// The scenario of a seed. `faults` is the number of faults to choose from.
    pub fn of(seed: u64, faults: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5ce7_a210);
        let rng = &mut rng;
        let oversize = rng.u32(..100) < 5;
        let long = !oversize && rng.u32(..100) < 3;
        let config = config(rng, oversize);
        let targets = targets(rng, long, oversize);
        let small = config.buffer_max_bytes < 1 << 20;
        let acks = acks(rng);
        let end = run_end(rng);
        let steps = if oversize { 25 } else { rng.u32(30..160) };
        let step_max = match long {
            true => Duration::from_secs(15 * 86_400 * 2) / steps,
            false => Duration::from_millis(*pick(rng, &[20, 200, 2000, 2000, 20_000, 20_000, 120_000])),
        };
        Scenario {
            seed,
            targets,
            groups: rng.usize(1..=targets),
            healthy: if rng.u32(..3) > 0 { targets / 3 } else { 0 },
            acks,
            steps,
            step_max,
            burst_max: *pick(rng, &[2, 5, 20]),
            bytes_max: if small { *pick(rng, &[50, 500, 5000]) } else { *pick(rng, &[50, 500]) },
            oversize,
            too_large: small && !config.gzip && rng.bool(),
            emf_percent: *pick(rng, &[0, 0, 10, 50]),
            unstamped_percent: *pick(rng, &[0, 10, 50]),
            odd_stamp_percent: *pick(rng, &[0, 5, 30]),
            sources: (*pick(rng, &[0, 1, 3])).max(usize::from(oversize)),
            fault_percent: *pick(rng, &[0, 5, 20, 40]),
            endpoint_faults: rng.bool(),
            panics: rng.u32(..3) == 0,
            clock_steps: rng.u32(..3) == 0,
            missing: rng.bool(),
            stubborn: long || rng.u32(..5) == 0,
            latency_max_ms: *pick(rng, &[1, 20, 500]),
            end,
            first_fault: seed as usize % faults,
            poison_percent: *pick(rng, &[0, 0, 0, 2, 10, 50, 90]),
            wire_max_bytes: *pick(rng, &[None, None, None, None, None, Some(300), Some(4000), Some(100_000)]),
            config,
        }
    }
}

fn config(rng: &mut Rng, oversize: bool) -> Config {
    let mut config = Config::default();
    config.gzip = rng.u32(..100) < 10;
    config.compression_min_bytes = 0;
    config.concurrency = *pick(rng, &[1, 2, 4, 8, 16]);
    config.target_concurrency = if rng.u32(..4) == 0 { config.concurrency.min(rng.usize(1..=4)) } else { 1 };
    config.flush_interval = Duration::from_millis(*pick(rng, &[1, 100, 1000, 5000, 60_000]));
    config.request_timeout = Duration::from_millis(rng.u64(500..=30_000));
    config.slow_after = Duration::from_millis(*pick(rng, &[600, 1000, 10_000]));
    if rng.bool() {
        config.target_idle = Duration::from_millis(rng.u64(1000..60_000));
    }
    config.when_full = *pick(rng, &[WhenFull::Reject, WhenFull::DropOldest, WhenFull::Block]);
    (config.buffer_max_bytes, config.target_buffer_max_bytes) = match rng.u32(..4) {
        0 => (64 << 20, 16 << 20),
        1 => (256 << 10, 64 << 10),
        2 => (512 << 10, rng.usize(64 << 10..512 << 10)),
        _ => (rng.usize(32 << 10..128 << 10), rng.usize(8 << 10..32 << 10)),
    };
    config.retry_max_age = match rng.u32(..5) {
        0 => Duration::from_secs(rng.u64(0..600)),
        1 => Duration::from_secs(rng.u64(600..7200)),
        _ => config.retry_max_age,
    };
    config.create_log_stream = rng.u32(..8) > 0;
    config.create_log_group = config.create_log_stream && rng.u32(..4) > 0;
    config.retention_days = (config.create_log_group && rng.bool()).then(|| *pick(rng, &[1, 3, 7, 14]));
    config.emf = *pick(rng, &[Emf::Auto, Emf::Auto, Emf::Auto, Emf::Never, Emf::Always]);
    config.oversize = *pick(rng, &[Oversize::Truncate, Oversize::Split, Oversize::Split, Oversize::Reject]);
    if oversize {
        (config.buffer_max_bytes, config.target_buffer_max_bytes) = (64 << 20, 16 << 20);
    }
    config
}

fn targets(rng: &mut Rng, long: bool, oversize: bool) -> usize {
    match rng.u32(..4) {
        _ if long => rng.usize(1..=2),
        _ if oversize => rng.usize(1..=3),
        0 => rng.usize(1..=2),
        1 => rng.usize(1..=40),
        _ => rng.usize(1..=12),
    }
}

fn acks(rng: &mut Rng) -> AckMode {
    use AckMode::{Bursts, Late, Midway, Never, Prompt};
    *pick(rng, &[Never, Prompt, Prompt, Prompt, Late, Bursts, Bursts, Midway])
}

fn run_end(rng: &mut Rng) -> RunEnd {
    match rng.u32(..10) {
        0..5 => RunEnd::Healed,
        5..8 => {
            let timeout_ms = *pick(rng, &[0, 50, 1000, 10_000, 100_000]);
            RunEnd::Closed(Some(Duration::from_millis(timeout_ms)))
        }
        8 => RunEnd::Closed(None),
        _ => RunEnd::Stopped,
    }
}

/// One of the choices.
pub fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(..choices.len())]
}
