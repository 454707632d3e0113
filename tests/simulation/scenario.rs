//! What a seed decides before a run begins: the configuration, who pushes what, and what may go wrong.

use std::time::Duration;

use cwl_sink::config::{Config, Emf, Oversize, WhenFull};

/// When the host asks for acks, and how it fetches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// It never asks.
    Never,
    /// At every step.
    Prompt,
    /// All at the end.
    Late,
    /// Now and then, some at a time.
    Bursts,
    /// It begins to ask in the middle, and then fetches at every step.
    Midway,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All faults end and everything must be delivered; then an orderly shutdown.
    Healed,
    /// Closed in the midst of it, with so much time; none: as long as the host cares to wait.
    Closed(Option<Duration>),
    /// Stopped in the midst of it.
    Stopped,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub config: Config,
    pub targets: usize,
    pub groups: usize,
    /// The first so many targets never meet a fault of their own.
    pub healthy: usize,
    pub acks: Acks,
    pub steps: u32,
    pub step_max: Duration,
    pub burst_max: usize,
    pub bytes_max: usize,
    /// Some messages are longer than the service takes.
    pub oversize: bool,
    /// Some messages are larger than a target may ever hold.
    pub too_large: bool,
    pub emf_percent: u32,
    pub unstamped_percent: u32,
    pub odd_stamp_percent: u32,
    pub sources: usize,
    /// Percent of the steps that change what targets meet.
    pub fault_percent: u32,
    pub endpoint_faults: bool,
    pub panics: bool,
    pub clock_steps: bool,
    pub missing: bool,
    /// Whether the targets that are broken at the start stay so all the time.
    pub stubborn: bool,
    pub latency_max_ms: u64,
    pub ending: Ending,
    /// Index of the fault that the run meets for certain.
    pub favourite: usize,
}

impl Scenario {
    /// What this seed decides.
    pub fn of(seed: u64, faults: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5ce7_a210);
        let oversize = rng.u32(..100) < 5;
        let long = !oversize && rng.u32(..100) < 3;
        let mut config = Config::default();
        config.gzip = rng.u32(..100) < 10;
        config.compression_min_bytes = 0;
        config.concurrency = *pick(&mut rng, &[1, 2, 4, 8, 16]);
        config.target_concurrency =
            if rng.u32(..4) == 0 { config.concurrency.min(rng.usize(1..=4)) } else { 1 };
        config.flush_interval = Duration::from_millis(*pick(&mut rng, &[1, 100, 1000, 5000, 60_000]));
        config.request_timeout = Duration::from_millis(rng.u64(500..=30_000));
        config.slow_after = Duration::from_millis(*pick(&mut rng, &[600, 1000, 10_000]));
        if rng.bool() {
            config.target_idle = Duration::from_millis(rng.u64(1000..60_000));
        }
        config.when_full = *pick(&mut rng, &[WhenFull::Reject, WhenFull::DropOldest, WhenFull::Block]);
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
        config.retention_days =
            (config.create_log_group && rng.bool()).then(|| *pick(&mut rng, &[1, 3, 7, 14]));
        config.emf = *pick(&mut rng, &[Emf::Auto, Emf::Auto, Emf::Auto, Emf::Never, Emf::Always]);
        config.oversize =
            *pick(&mut rng, &[Oversize::Truncate, Oversize::Split, Oversize::Split, Oversize::Reject]);
        if oversize {
            (config.buffer_max_bytes, config.target_buffer_max_bytes) = (64 << 20, 16 << 20);
        }
        let targets = match rng.u32(..4) {
            _ if long => rng.usize(1..=2),
            _ if oversize => rng.usize(1..=3),
            0 => rng.usize(1..=2),
            1 => rng.usize(1..=40),
            _ => rng.usize(1..=12),
        };
        let small = config.buffer_max_bytes < 1 << 20;
        let acks = *pick(
            &mut rng,
            &[
                Acks::Never,
                Acks::Prompt,
                Acks::Prompt,
                Acks::Prompt,
                Acks::Late,
                Acks::Bursts,
                Acks::Bursts,
                Acks::Midway,
            ],
        );
        let ending = match rng.u32(..10) {
            0..5 => Ending::Healed,
            5..8 => {
                Ending::Closed(Some(Duration::from_millis(*pick(&mut rng, &[0, 50, 1000, 10_000, 100_000]))))
            }
            8 => Ending::Closed(None),
            _ => Ending::Stopped,
        };
        let steps = if oversize { 25 } else { rng.u32(30..160) };
        let step_max = match long {
            true => Duration::from_secs(15 * 86_400 * 2) / steps,
            false => Duration::from_millis(*pick(&mut rng, &[20, 200, 2000, 2000, 20_000, 20_000, 120_000])),
        };
        Scenario {
            seed,
            targets,
            groups: rng.usize(1..=targets),
            healthy: if rng.u32(..3) > 0 { targets / 3 } else { 0 },
            acks,
            steps,
            step_max,
            burst_max: *pick(&mut rng, &[2, 5, 20]),
            bytes_max: if small { *pick(&mut rng, &[50, 500, 5000]) } else { *pick(&mut rng, &[50, 500]) },
            oversize,
            too_large: small && !config.gzip && rng.bool(),
            emf_percent: *pick(&mut rng, &[0, 0, 10, 50]),
            unstamped_percent: *pick(&mut rng, &[0, 10, 50]),
            odd_stamp_percent: *pick(&mut rng, &[0, 5, 30]),
            sources: (*pick(&mut rng, &[0, 1, 3])).max(usize::from(oversize)),
            fault_percent: *pick(&mut rng, &[0, 5, 20, 40]),
            endpoint_faults: rng.bool(),
            panics: rng.u32(..3) == 0,
            clock_steps: rng.u32(..3) == 0,
            missing: rng.bool(),
            stubborn: long || rng.u32(..5) == 0,
            latency_max_ms: *pick(&mut rng, &[1, 20, 500]),
            ending,
            favourite: seed as usize % faults,
            config,
        }
    }
}

/// One of these.
pub fn pick<'a, T>(rng: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}
