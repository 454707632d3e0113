//! The rate limiter of a throttled account: requests per second.
//!
//! The service throttles an account that sends more requests than its quota, and never says what the quota is. A limit on
//! requests in flight cannot keep a quota: where an answer takes a millisecond, one request in flight is a thousand
//! requests per second. So the rate is found by trying. A throttled request cuts the rate, and from there it grows until the
//! next request is throttled. The quota is used nearly in full, with few requests beyond it. An account that is throttled
//! all the time is asked every two seconds.

use std::time::Duration;

use tokio::time::Instant;

/// The part of the rate that is left after a throttled request, and the growth from there. The curve is that of CUBIC,
/// which the AWS SDKs use for the same purpose, but in proportion to the rate: back at the old rate after 2 s, slowly around
/// it, then faster and faster.
const KEPT: f64 = 0.7;
const GROWTH: f64 = 0.04;

/// The lowest rate, in requests per second.
const RATE_MIN: f64 = 0.5;

/// A limit of this many times the measured rate delays no request. It is forgotten [`REMEMBERED`] after the last throttled
/// request.
const UNUSED_TIMES: f64 = 4.0;
const REMEMBERED: Duration = Duration::from_secs(10);

/// The time over which the requests per second are measured.
const WINDOW: Duration = Duration::from_millis(500);

/// See the module. Without throttled requests there is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimiter {
    measured: MeasuredRate,
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    per_second: f64,
    /// The rate at the last throttled request, and its time.
    throttled_rate: f64,
    throttled_at: Instant,
    next: Instant,
    /// The rate after the cut.
    cut_to: f64,
    /// A request was answered since the cut. Without one, the growth was too early.
    answered: bool,
}

/// The requests that went out, per second.
#[derive(Clone, Copy, Debug, Default)]
struct MeasuredRate {
    window_begin: Option<Instant>,
    sent: u32,
    per_second: f64,
}

impl RateLimiter {
    /// Returns whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The time at which the next request may go out, if that is after `now`.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.limit.map(|limit| limit.next).filter(|next| *next > now)
    }

    /// A request goes out.
    pub fn on_sent(&mut self, now: Instant) {
        self.measured.on_sent(now);
        let Some(limit) = &mut self.limit else { return };
        limit.grow(now);
        // A pause in the traffic does not allow a burst after it.
        let interval = limit.interval();
        limit.next = limit.next.max(now - interval.min(Duration::from_secs(1))) + interval;
        let unused = limit.per_second > UNUSED_TIMES * self.measured.per_second.max(RATE_MIN);
        if unused && now - limit.throttled_at > REMEMBERED {
            self.limit = None;
        }
    }

    /// A request was answered.
    pub fn on_answer(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.answered = true;
        }
    }

    /// A request was throttled.
    pub fn on_throttled(&mut self, now: Instant) {
        let rate = self.measured.at(now);
        let was = match self.limit {
            Some(limit) if !limit.answered => limit.cut_to,
            Some(limit) => limit.per_second.min(rate),
            None => rate,
        };
        let throttled_rate = was.max(RATE_MIN);
        let cut_to = (throttled_rate * KEPT).max(RATE_MIN);
        let next = now + Duration::from_secs_f64(1.0 / cut_to);
        self.limit = Some(Limit {
            per_second: cut_to,
            throttled_rate,
            throttled_at: now,
            next,
            cut_to,
            answered: false,
        });
    }
}

impl Limit {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    fn grow(&mut self, now: Instant) {
        let back = ((1.0 - KEPT) / GROWTH).cbrt();
        let since = (now - self.throttled_at).as_secs_f64();
        self.per_second = (self.throttled_rate * (1.0 + GROWTH * (since - back).powi(3))).max(RATE_MIN);
    }
}

impl MeasuredRate {
    fn on_sent(&mut self, now: Instant) {
        self.per_second = self.at(now);
        let window = *self.window_begin.get_or_insert(now);
        if now - window >= WINDOW {
            (self.window_begin, self.sent) = (Some(now), 0);
        }
        self.sent += 1;
    }

    /// The requests per second: those of the last full window, or of this window once that says more.
    fn at(&self, now: Instant) -> f64 {
        let Some(window) = self.window_begin else { return 0.0 };
        let passed = (now - window).max(WINDOW).as_secs_f64();
        let here = f64::from(self.sent) / passed;
        if now - window >= WINDOW { here } else { here.max(self.per_second) }
    }
}
