//! The pace that a throttled account can keep: requests per second, found out by trying.
//!
//! A request that is throttled cuts the pace; from there it grows until the next one is. So the quota of the account,
//! which nobody tells, is used nearly to the full with few requests too many, and an account that is throttled all the
//! time is asked every two seconds.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the pace when a request is throttled, and how it grows from there: as CUBIC does, which the AWS SDKs
/// use for the same purpose, but in proportion to the pace: back to the old one in 2 s, carefully around it, and then
/// faster and faster.
const KEPT: f64 = 0.7;
const GROWTH: f64 = 0.04;

/// The slowest pace, in requests per second.
const SLOWEST: f64 = 0.5;

/// A pace of this many times what is asked for, so long after the last throttling, holds up nobody and is forgotten.
const SPARE: f64 = 4.0;
const REMEMBERED: Duration = Duration::from_secs(10);

/// Over which time the requests per second are measured.
const WINDOW: Duration = Duration::from_millis(500);

/// See the module. There is none while nobody is throttled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    rate: Rate,
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    per_second: f64,
    /// The pace at which it was throttled last, and when that was.
    throttled_at: f64,
    since: Instant,
    next: Instant,
    /// What it was cut to then, and whether anything was taken since. Otherwise the growth was too early.
    cut_to: f64,
    kept: bool,
}

/// Requests that went out, per second.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    window: Option<Instant>,
    sent: u32,
    per_second: f64,
}

impl Pace {
    /// Whether there is one.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// When the next request may go, if that is not yet.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.limit.map(|limit| limit.next).filter(|next| *next > now)
    }

    /// A request goes out.
    pub fn sent(&mut self, now: Instant) {
        self.rate.sent(now);
        let Some(limit) = &mut self.limit else { return };
        limit.grow(now);
        // A pause in the traffic is no reason for a burst after it.
        let interval = limit.interval();
        limit.next = limit.next.max(now - interval.min(Duration::from_secs(1))) + interval;
        let spare = limit.per_second > SPARE * self.rate.per_second.max(SLOWEST);
        if spare && now - limit.since > REMEMBERED {
            self.limit = None;
        }
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.kept = true;
        }
    }

    /// A request was throttled.
    pub fn throttled(&mut self, now: Instant) {
        let rate = self.rate.now(now);
        let was = match self.limit {
            Some(limit) if !limit.kept => limit.cut_to,
            Some(limit) => limit.per_second.min(rate),
            None => rate,
        };
        let throttled_at = was.max(SLOWEST);
        let cut_to = (throttled_at * KEPT).max(SLOWEST);
        let next = now + Duration::from_secs_f64(1.0 / cut_to);
        self.limit = Some(Limit { per_second: cut_to, throttled_at, since: now, next, cut_to, kept: false });
    }
}

impl Limit {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    fn grow(&mut self, now: Instant) {
        let back = ((1.0 - KEPT) / GROWTH).cbrt();
        let since = (now - self.since).as_secs_f64();
        self.per_second = (self.throttled_at * (1.0 + GROWTH * (since - back).powi(3))).max(SLOWEST);
    }
}

impl Rate {
    fn sent(&mut self, now: Instant) {
        self.per_second = self.now(now);
        let window = *self.window.get_or_insert(now);
        if now - window >= WINDOW {
            (self.window, self.sent) = (Some(now), 0);
        }
        self.sent += 1;
    }

    /// Requests per second, of the last full window or of this one once that says more.
    fn now(&self, now: Instant) -> f64 {
        let Some(window) = self.window else { return 0.0 };
        let passed = (now - window).max(WINDOW).as_secs_f64();
        let here = f64::from(self.sent) / passed;
        if now - window >= WINDOW { here } else { here.max(self.per_second) }
    }
}
