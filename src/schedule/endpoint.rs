//! The endpoint as all targets share it: a circuit breaker, a limit on requests in flight, and a rate limiter.
//!
//! Some failures are not the fault of one target. When the network is down, or credentials have expired, every request
//! fails, to whatever target. If each target found that out for itself and backed off for itself, a thousand targets would
//! send thousands of requests for nothing, and each would come back only when its own back-off is over. So such a failure
//! pauses all targets at once, and one request at a time, the probe, finds out when the endpoint is back.
//!
//! ```text
//!          a failure that meets all targets           due
//!   Up ──────────────────────────────────▶ Paused ───────────▶ Probing
//!    ▲                                       ▲  it failed        │ one request goes out: the probe
//!    │                                       └───────────────────┤
//!    └───────────────────────────────────────────────────────────┘ a request is answered
//! ```
//!
//! Credentials and the clock are everybody's. A connection that fails, a request that times out, and an answer such as 503
//! can be the fault of one target. They are the fault of the endpoint when several targets meet them one after the other and
//! no request is answered in between, or when there is no other target that was served. Targets that fail while others are
//! answered do not count, and neither does a request that the sink cut short itself.
//!
//! The endpoint is a state machine without a lock, a clock or a task of its own; [`Pool`](super::pool::Pool) holds it.
//!
//! Invariants:
//!
//! * While the endpoint is paused, one probe at a time goes out, whatever the number of targets. A probe is waited for only
//!   for `slow_after_ms`, and then longer and longer, before the next one may go.
//! * Where the targets may be at fault, the first probes follow each other at once, each to another target. So the pause is
//!   over in a moment if only some targets are at fault. That was a false alarm: the limit is as before, and for a while more
//!   targets must fail before the next alarm.
//! * The limit is halved at most once for requests that were in flight together. It grows by one after as many answers as
//!   it allows requests, and stays between 1 and `concurrency`.
//! * A throttled request slows all targets, except when batches of other targets are taken and this target alone is
//!   throttled, again and again.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::rate_limiter::RateLimiter;
use crate::target::queue::Service;

/// Targets that fail one after the other, without an answer in between, before the endpoint is considered down.
const SUSPECTS_MAX: usize = 3;
/// The same after a false alarm: then some targets fail and others do not.
const SUSPECTS_MAX_AFTER_ALARM: usize = 30;
/// Failures that are further apart than this do not follow one another: the longest back-off of a target is shorter, while
/// few fail.
const SUSPICION_REMEMBERED: Duration = Duration::from_secs(10);
/// Time for which a false alarm is remembered.
const ALARM_REMEMBERED: Duration = Duration::from_secs(30);
/// Probes that follow each other at once: one for this number of targets, within the two bounds. If a third of the targets are not at
/// fault, one of 16 probes shows that in nearly every case.
const TARGETS_PER_QUICK_PROBE: usize = 4;
const QUICK_PROBES_MIN: usize = 3;
const QUICK_PROBES_MAX: usize = 16;
/// Targets are counted up to this number. More of them make no difference.
pub const TARGETS_COUNTED_MAX: usize = TARGETS_PER_QUICK_PROBE * QUICK_PROBES_MAX;

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    state: State,
    cause: PauseCause,
    paused_at: Option<Instant>,
    /// Pauses since the endpoint was last up, without the probes that follow each other at once.
    failures: u32,
    quick_probes: usize,
    quick_probes_max: usize,
    probes: u64,
    slow_after: Duration,
    /// The most requests in flight, and the bound of its growth.
    limit: usize,
    limit_max: usize,
    limit_before_pause: usize,
    /// Answers since the limit last changed.
    answers_at_limit: usize,
    /// The time at which the limit was last halved. A request sent before says nothing about the limit since.
    halved_at: Option<Instant>,
    rate_limiter: RateLimiter,
    last_answer: Option<Instant>,
    /// Batches that the service has taken so far.
    delivered_batches: u64,
    /// The targets that failed since a request was last answered.
    suspects: HashSet<TargetId>,
    suspected_at: Option<Instant>,
    /// The target that failed last had not failed before, since a request was answered.
    is_new_suspect: bool,
    false_alarm_at: Option<Instant>,
}

/// Identifies a target as long as it exists.
pub type TargetId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Paused {
        until: Instant,
    },
    /// The probe with this number is out. After `until` the next one may go.
    Probing {
        probe: u64,
        until: Instant,
    },
}

/// The cause of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// Several targets had no connection, no answer, or an answer such as 503.
    Unavailable,
    /// The service does not accept the credentials or the time of the request, or a request could not be made.
    Credentials,
}

/// The answer to the question whether a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The request may go out.
    Send,
    /// The request may go out as the probe.
    Probe,
    /// No request may go out before then.
    NotBefore(Instant),
}

/// A request that was not served, and what is known of the targets.
#[derive(Clone, Copy, Debug)]
pub struct UnavailableRequest {
    /// The target.
    pub target: TargetId,
    /// The request of the target before. A target that fails all the time, while others are answered, shows nothing about the
    /// endpoint.
    pub before: Service,
    /// The number of other targets whose last request was served, counted up to [`TARGETS_COUNTED_MAX`].
    pub others_served: usize,
}

/// A failure that meets all targets.
#[derive(Clone, Copy, Debug)]
pub struct EndpointFailure {
    /// The cause.
    pub cause: PauseCause,
    /// The time to wait before the next probe.
    pub wait: Duration,
    /// The number of the probe, if the request was one.
    pub probe: Option<u64>,
}

/// The effect of a failure that meets all targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The time at which the next probe may go.
    pub until: Instant,
    /// This failure paused the endpoint. Otherwise it was paused already.
    pub is_new: bool,
}

impl Endpoint {
    /// An endpoint that is up, with a limit of `concurrency` requests in flight.
    pub fn new(concurrency: usize, slow_after: Duration) -> Self {
        Endpoint {
            state: State::Up,
            cause: PauseCause::Unavailable,
            paused_at: None,
            failures: 0,
            quick_probes: 0,
            quick_probes_max: QUICK_PROBES_MIN,
            probes: 0,
            slow_after,
            limit: concurrency,
            limit_max: concurrency,
            limit_before_pause: concurrency,
            answers_at_limit: 0,
            halved_at: None,
            rate_limiter: RateLimiter::default(),
            last_answer: None,
            delivered_batches: 0,
            suspects: HashSet::new(),
            suspected_at: None,
            is_new_suspect: false,
            false_alarm_at: None,
        }
    }

    /// Returns whether the endpoint is up.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// The cause of the pause, or of the last one.
    pub fn cause(&self) -> PauseCause {
        self.cause
    }

    /// The most requests in flight at present.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The number of pauses since the endpoint was last up, without the probes that follow each other at once.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The number of batches that the service has taken so far.
    pub fn delivered_batches(&self) -> u64 {
        self.delivered_batches
    }

    /// The service took a batch.
    pub fn on_delivered(&mut self) {
        self.delivered_batches += 1;
    }

    /// Returns whether the target failed since a request was last answered.
    pub fn is_suspect(&self, target: TargetId) -> bool {
        self.suspects.contains(&target)
    }

    /// Returns whether a request may go out now, as far as the limit does not decide that.
    pub fn admission(&self, now: Instant) -> Admission {
        match self.state {
            State::Paused { until } | State::Probing { until, .. } if until > now => {
                Admission::NotBefore(until)
            }
            State::Paused { .. } | State::Probing { .. } => Admission::Probe,
            State::Up => self.rate_limiter.next(now).map_or(Admission::Send, Admission::NotBefore),
        }
    }

    /// A request goes out. Returns its number if it is a probe.
    pub fn on_sent(&mut self, now: Instant, probe: bool) -> Option<u64> {
        let probe = probe.then(|| {
            self.probes += 1;
            let mut until = now + self.slow_after;
            if matches!(self.state, State::Probing { .. }) {
                // The probe before hangs, which is as good as a failure.
                self.failures = self.failures.saturating_add(1);
                until = until.max(now + Backoff::Endpoint.base(self.failures, 0));
            }
            self.state = State::Probing { probe: self.probes, until };
            self.probes
        });
        self.rate_limiter.on_sent(now);
        probe
    }

    /// A request was answered, and was not throttled. Returns whether that brought the endpoint up.
    pub fn on_answer(&mut self, now: Instant, sent_at: Instant) -> bool {
        self.rate_limiter.on_answer();
        self.answers_at_limit += 1;
        if self.answers_at_limit >= self.limit && self.limit < self.limit_max {
            self.limit += 1;
            self.answers_at_limit = 0;
        }
        self.on_sign_of_life(now, sent_at)
    }

    /// A request was throttled: the account sends fewer requests at once, and slower. Returns whether that brought the
    /// endpoint up, since it does answer.
    pub fn on_throttled(&mut self, now: Instant, sent_at: Instant) -> bool {
        let halved_since = self.halved_at.is_some_and(|halved_at| sent_at < halved_at);
        if !halved_since {
            self.halve(now);
            self.rate_limiter.on_throttled(now);
        }
        self.on_sign_of_life(now, sent_at)
    }

    /// A request had an answer that says only that the endpoint is there. Returns whether that brought the endpoint up.
    pub fn on_sign_of_life(&mut self, now: Instant, sent_at: Instant) -> bool {
        self.suspects.clear();
        self.last_answer = Some(now);
        // A request with the old credentials may have gone out before they expired.
        let shows_more = self.paused_at.is_none_or(|paused_at| sent_at >= paused_at);
        let ends_pause = shows_more || self.cause == PauseCause::Unavailable;
        ends_pause && self.come_up(now)
    }

    /// A request had no connection, no answer, or an answer such as 503. Returns whether that is the fault of the endpoint
    /// rather than of the target.
    pub fn on_unavailable(&mut self, now: Instant, request: UnavailableRequest) -> bool {
        let UnavailableRequest { target, before, others_served } = request;
        if self.suspected_at.replace(now).is_some_and(|at| now - at > SUSPICION_REMEMBERED) {
            self.suspects.clear();
        }
        let is_evidence = match before {
            Service::None => false,
            Service::Served => true,
            Service::UnavailableAt(at) => self.last_answer.is_none_or(|answer| answer <= at),
        };
        if is_evidence || others_served == 0 || !self.is_up() {
            self.is_new_suspect = self.suspects.insert(target);
        }
        if self.is_up() {
            let quick_probes_max = others_served / TARGETS_PER_QUICK_PROBE;
            self.quick_probes_max = quick_probes_max.clamp(QUICK_PROBES_MIN, QUICK_PROBES_MAX);
        }
        let is_alarmed = self.false_alarm_at.is_some_and(|at| now - at < ALARM_REMEMBERED);
        let suspects_max = if is_alarmed { SUSPECTS_MAX_AFTER_ALARM } else { SUSPECTS_MAX };
        !self.is_up() || others_served == 0 || self.suspects.len() >= suspects_max
    }

    /// A failure that meets all targets: pauses the endpoint, unless another failure has done so already.
    pub fn on_failure(&mut self, now: Instant, failure: EndpointFailure) -> Pause {
        let EndpointFailure { cause, wait, probe } = failure;
        match self.state {
            State::Paused { until } => return Pause { until, is_new: false },
            // The last probe is out and will show when the endpoint is back: perhaps at once.
            State::Probing { probe: last, .. } if probe != Some(last) => {
                return Pause { until: now, is_new: false };
            }
            State::Probing { .. } => {}
            State::Up => self.limit_before_pause = self.limit,
        }
        // A second failure of the same target shows nothing more.
        let quick = cause == PauseCause::Unavailable
            && self.is_new_suspect
            && self.quick_probes < self.quick_probes_max;
        let until = if quick { now } else { now + wait };
        match quick {
            true => self.quick_probes += 1,
            false => self.failures = self.failures.saturating_add(1),
        }
        (self.state, self.cause, self.paused_at) = (State::Paused { until }, cause, Some(now));
        (self.limit, self.answers_at_limit, self.halved_at) = (1, 0, Some(now));
        Pause { until, is_new: true }
    }

    /// A probe ended without a result, such as one that found no batch: the next one may go.
    pub fn on_probe_lost(&mut self, now: Instant, lost: u64) {
        if matches!(self.state, State::Probing { probe, .. } if probe == lost) {
            self.state = State::Paused { until: now };
        }
    }

    /// Lets the next probe go at once, also beside one that is out. Returns whether the endpoint is paused.
    pub fn make_due(&mut self, now: Instant) -> bool {
        if !self.is_up() {
            self.state = State::Paused { until: now };
        }
        !self.is_up()
    }

    fn come_up(&mut self, now: Instant) -> bool {
        if self.is_up() {
            return false;
        }
        if self.cause == PauseCause::Unavailable && self.failures == 0 {
            self.false_alarm_at = Some(now);
            self.limit = self.limit_before_pause;
        }
        (self.failures, self.quick_probes, self.state) = (0, 0, State::Up);
        true
    }

    fn halve(&mut self, now: Instant) {
        self.limit = (self.limit / 2).max(1);
        self.answers_at_limit = 0;
        self.halved_at = Some(now);
    }
}

#[cfg(test)]
mod tests;
