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
//!    ▲                                       ▲  no answer        │ one request goes out: the probe
//!    │                                       └───────────────────┤
//!    └───────────────────────────────────────────────────────────┘ the probe is answered
//! ```
//!
//! The difficulty is a request without an answer: it can be the fault of its target alone. It is the fault of the endpoint
//! only while no target is answered at all. [`Endpoint::on_unanswered`] decides that.
//!
//! The endpoint is a state machine without a lock, a clock or a task of its own; [`Pool`](super::pool::Pool) holds it.
//!
//! Invariants:
//!
//! * While the endpoint is paused, one probe at a time goes out, whatever the number of targets. A probe is waited for only
//!   for `slow_after_ms`, and then longer and longer, before the next one may go.
//! * After a pause because of missing answers, some probes follow each other at once, each of another target. Their number
//!   is a third of the number of healthy targets, between 5 and 32. If only some targets are at fault, that shows soon.
//! * The limit is halved at most once for requests that were in flight together. It grows by one after as many answers as
//!   it allows requests, and stays between 1 and `concurrency`.
//! * A throttled request slows all targets, except when batches of other targets are taken and this target alone is
//!   throttled, again and again.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::rate_limiter::RateLimiter;

/// Unanswered requests in a row, without an answer to any target in between, before the endpoint is considered down.
const SUSPICIONS_MAX: u32 = 3;
/// The same after a false alarm: then some targets fail and others do not.
const SUSPICIONS_MAX_AFTER_ALARM: u32 = 30;
/// Time for which a false alarm is remembered.
const ALARM_REMEMBERED: Duration = Duration::from_secs(30);
/// One in this many healthy targets is enough to tell an endpoint that is down from targets that are. As many probes follow
/// each other at once, within the two bounds.
const QUICK_PROBES_PART: usize = 3;
const QUICK_PROBES_MIN: u32 = 5;
const QUICK_PROBES_MAX: u32 = 32;
/// Healthy targets are counted up to this number. More of them make no difference.
pub const HEALTHY_COUNTED_MAX: usize = QUICK_PROBES_PART * QUICK_PROBES_MAX as usize;

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    state: State,
    /// Pauses since the endpoint was last up, without the probes that follow each other at once.
    failures: u32,
    quick_probes: u32,
    quick_probes_max: u32,
    probes: u64,
    slow_after: Duration,
    /// The most requests in flight, and the bound of its growth.
    limit: usize,
    limit_max: usize,
    /// Answers since the limit last changed.
    answers_at_limit: usize,
    /// The time at which the limit was last halved. A request sent before says nothing about the limit since.
    halved_at: Option<Instant>,
    rate_limiter: RateLimiter,
    last_answer: Option<Instant>,
    /// Batches that the service has taken so far.
    delivered_batches: u64,
    suspicions: u32,
    false_alarm_at: Option<Instant>,
}

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

/// A request without an answer, and what is known of its target.
#[derive(Clone, Copy, Debug)]
pub struct UnansweredRequest {
    /// The time at which the request was sent.
    pub sent_at: Instant,
    /// The target was healthy until now.
    pub was_healthy: bool,
    /// The time of the last failure of the target before this request, if the target fails already.
    pub failed_before: Option<Instant>,
    /// The number of other healthy targets, counted up to [`HEALTHY_COUNTED_MAX`].
    pub healthy_others: usize,
}

/// A failure that meets all targets.
#[derive(Clone, Copy, Debug)]
pub struct EndpointFailure {
    /// The time to wait before the next probe.
    pub wait: Duration,
    /// The number of the probe, if the request was one.
    pub probe: Option<u64>,
    /// The request got no answer. It may still be the fault of its target, so another probe goes at once.
    pub unanswered: bool,
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
            failures: 0,
            quick_probes: 0,
            quick_probes_max: QUICK_PROBES_MIN,
            probes: 0,
            slow_after,
            limit: concurrency,
            limit_max: concurrency,
            answers_at_limit: 0,
            halved_at: None,
            rate_limiter: RateLimiter::default(),
            last_answer: None,
            delivered_batches: 0,
            suspicions: 0,
            false_alarm_at: None,
        }
    }

    /// Returns whether the endpoint is up.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// The most requests in flight at present.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The number of pauses since the endpoint was last up.
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
                until = until.max(now + Backoff::Endpoint.base(self.failures));
            }
            self.state = State::Probing { probe: self.probes, until };
            self.probes
        });
        self.rate_limiter.on_sent(now);
        probe
    }

    /// A request was answered, and was not throttled. Returns whether that brought the endpoint up.
    pub fn on_answer(&mut self, now: Instant, probe: bool) -> bool {
        self.suspicions = 0;
        self.last_answer = Some(now);
        self.rate_limiter.on_answer();
        self.answers_at_limit += 1;
        if self.answers_at_limit >= self.limit && self.limit < self.limit_max {
            self.limit += 1;
            self.answers_at_limit = 0;
        }
        if probe && self.quick_probes > 0 && self.failures == 0 {
            self.false_alarm_at = Some(now);
        }
        probe && self.come_up()
    }

    /// A request was throttled: the account sends fewer requests at once, and slower. Returns whether that brought the
    /// endpoint up, since it does answer.
    pub fn on_throttled(&mut self, now: Instant, sent_at: Instant, probe: bool) -> bool {
        let halved_since = self.halved_at.is_some_and(|halved_at| sent_at < halved_at);
        if !halved_since {
            self.halve(now);
            self.rate_limiter.on_throttled(now);
        }
        self.on_sign_of_life(now, probe)
    }

    /// A request had an answer that says only that the endpoint is there. Returns whether that brought the endpoint up.
    pub fn on_sign_of_life(&mut self, now: Instant, probe: bool) -> bool {
        self.suspicions = 0;
        self.last_answer = Some(now);
        probe && self.come_up()
    }

    /// A request got no answer. Returns whether that is the fault of the endpoint rather than of the target.
    pub fn on_unanswered(&mut self, now: Instant, request: UnansweredRequest) -> bool {
        let Some(last_answer) = self.last_answer else { return true };
        // The silence of a healthy target counts from its request on. The silence of a failing target counts when no
        // target was answered since its last failure. The silence of an unknown target counts when there is no other.
        let silent_since = match request.failed_before {
            _ if request.was_healthy => request.sent_at,
            Some(failed_at) => failed_at,
            None if request.healthy_others > 0 => return false,
            None => request.sent_at,
        };
        if last_answer >= silent_since {
            return false;
        }
        self.suspicions += 1;
        let alarmed = self.false_alarm_at.is_some_and(|at| now - at < ALARM_REMEMBERED);
        let suspicions_max = if alarmed { SUSPICIONS_MAX_AFTER_ALARM } else { SUSPICIONS_MAX };
        let part = u32::try_from(request.healthy_others / QUICK_PROBES_PART).unwrap_or(QUICK_PROBES_MAX);
        self.quick_probes_max = part.clamp(QUICK_PROBES_MIN, QUICK_PROBES_MAX);
        self.suspicions >= suspicions_max || (request.was_healthy && request.healthy_others == 0)
    }

    /// A failure that meets all targets: pauses the endpoint, unless another failure has done so already.
    pub fn on_failure(&mut self, now: Instant, failure: EndpointFailure) -> Pause {
        let EndpointFailure { wait, probe, unanswered } = failure;
        match self.state {
            State::Paused { until } => return Pause { until, is_new: false },
            // The last probe is out and will show when the endpoint is back: perhaps at once.
            State::Probing { probe: last, .. } if probe != Some(last) => {
                return Pause { until: now, is_new: false };
            }
            State::Up | State::Probing { .. } => {}
        }
        let quick = unanswered && self.quick_probes < self.quick_probes_max;
        let until = if quick { now } else { now + wait };
        match quick {
            true => self.quick_probes += 1,
            false => self.failures = self.failures.saturating_add(1),
        }
        self.state = State::Paused { until };
        self.limit = 1;
        self.answers_at_limit = 0;
        self.halved_at = Some(now);
        Pause { until, is_new: true }
    }

    /// A probe ended without a result, such as one that found no batch: the next one may go.
    pub fn on_probe_lost(&mut self, now: Instant, lost: u64) {
        if matches!(self.state, State::Probing { probe, .. } if probe == lost) {
            self.state = State::Paused { until: now };
        }
    }

    /// Lets the next probe go at once.
    pub fn make_due(&mut self, now: Instant) {
        if let State::Paused { until } = &mut self.state {
            *until = now;
        }
    }

    fn come_up(&mut self) -> bool {
        (self.failures, self.quick_probes) = (0, 0);
        std::mem::replace(&mut self.state, State::Up) != State::Up
    }

    fn halve(&mut self, now: Instant) {
        self.limit = (self.limit / 2).max(1);
        self.answers_at_limit = 0;
        self.halved_at = Some(now);
    }
}

#[cfg(test)]
mod tests;
