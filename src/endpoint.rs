//! How much may be sent at once, to anybody: the breaker of the endpoint, the limit on requests in flight, and the
//! pace that a throttled account can keep.
//!
//! ```text
//!           a failure that is everybody's              due
//!   Open ───────────────────────────────────▶ Closed ───────▶ Probing
//!     ▲                                         ▲  nothing heard  │ one request goes out: the probe
//!     │                                         └─────────────────┤
//!     └───────────────────────────────────────────────────────────┘ it was answered
//! ```
//!
//! It is a state machine without a lock, a clock or a task of its own; [`Pool`](crate::pool::Pool) holds it. Invariants:
//!
//! * while it is closed nothing goes out but one probe at a time, whatever the number of targets. A probe that takes
//!   `slow_after`, and then longer and longer, is not waited for: the next may go;
//! * where it closed since nobody is answered, some probes follow each other at once, each of another target, for a part
//!   of those that got through: if it was the targets' own fault after all, that shows soon;
//! * the limit is halved at most once for the requests that were out together, grows by one after as many answers as
//!   it lets out, and stays between 1 and `concurrency`;
//! * blame falls where it belongs: a request without an answer counts for the endpoint only while nobody gets through
//!   ([`Endpoint::blamed_for`]), a throttled one unless the others get through and this target never does.

use std::time::Duration;

use tokio::time::Instant;

use crate::pace::Pace;
use crate::retry::Backoff;

/// Targets that got through and now, one after the other, hear nothing: so many, and the endpoint is down.
const SUSPICIONS: u32 = 3;

/// So many after a false alarm, and for how long: then some targets fail, and the others do not.
const SUSPICIONS_AFTER_ALARM: u32 = 30;
const ALARM_REMEMBERED: Duration = Duration::from_secs(30);

/// A part of the targets that get through is enough to tell an endpoint that is down from targets that are: so many
/// probes follow each other at once, and never fewer or more than those numbers.
const QUICK_PROBES_PART: usize = 3;
const QUICK_PROBES_MIN: u32 = 5;
const QUICK_PROBES_MAX: u32 = 32;

/// Beyond so many targets that get through, it does not matter how many more there are.
pub const WELL_COUNTED_MAX: usize = QUICK_PROBES_PART * QUICK_PROBES_MAX as usize;

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    position: Position,
    /// How often it closed since it was last open, without the probes that follow each other at once.
    failures: u32,
    quick_probes: u32,
    quick_probes_max: u32,
    probes: u64,
    slow_after: Duration,
    /// Most requests in flight, and where that may not grow beyond.
    limit: usize,
    limit_max: usize,
    /// Answers since the limit last changed.
    answers_at_limit: usize,
    /// When the limit was last halved: what was sent before says nothing about the limit since.
    halved_at: Option<Instant>,
    pace: Pace,
    last_answer: Option<Instant>,
    /// Batches that were taken so far.
    taken: u64,
    suspicions: u32,
    false_alarm: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Open,
    Closed {
        until: Instant,
    },
    /// The probe of that number is out. Then the next may go.
    Probing {
        probe: u64,
        until: Instant,
    },
}

/// Whether a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It may.
    Send,
    /// It may, and it is the probe.
    Probe,
    /// Not before then.
    At(Instant),
}

/// What is known of a target whose request got no answer.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered {
    /// When its request was sent.
    pub sent: Instant,
    /// It got through until now.
    pub was_well: bool,
    /// When it last failed before this request, if it fails already.
    pub failed_before: Option<Instant>,
    /// How many other targets get through, counted up to [`WELL_COUNTED_MAX`].
    pub others_well: usize,
}

impl Endpoint {
    /// An open one, with room for so many requests at once.
    pub fn new(concurrency: usize, slow_after: Duration) -> Self {
        Endpoint {
            position: Position::Open,
            failures: 0,
            quick_probes: 0,
            quick_probes_max: QUICK_PROBES_MIN,
            probes: 0,
            slow_after,
            limit: concurrency,
            limit_max: concurrency,
            answers_at_limit: 0,
            halved_at: None,
            pace: Pace::default(),
            last_answer: None,
            taken: 0,
            suspicions: 0,
            false_alarm: None,
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.position == Position::Open
    }

    /// Most requests in flight at present.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How often it closed since it was last open.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Batches that were taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Another batch was taken.
    pub fn took(&mut self) {
        self.taken += 1;
    }

    /// Whether a request may go out, as far as it is not a matter of the limit.
    pub fn may_send(&self, now: Instant) -> May {
        match self.position {
            Position::Closed { until } | Position::Probing { until, .. } if until > now => May::At(until),
            Position::Closed { .. } | Position::Probing { .. } => May::Probe,
            Position::Open => self.pace.next(now).map_or(May::Send, May::At),
        }
    }

    /// A request goes out. Its number, if it is a probe.
    pub fn sent(&mut self, now: Instant, probe: bool) -> Option<u64> {
        let probe = probe.then(|| {
            self.probes += 1;
            let mut until = now + self.slow_after;
            if matches!(self.position, Position::Probing { .. }) {
                // The one before hangs: as good as a failure.
                self.failures = self.failures.saturating_add(1);
                until = until.max(now + Backoff::Endpoint.longest(self.failures));
            }
            self.position = Position::Probing { probe: self.probes, until };
            self.probes
        });
        self.pace.sent(now);
        probe
    }

    /// A request was answered, by whatever but "throttled". True when that opened the endpoint.
    pub fn answered(&mut self, now: Instant, probe: bool) -> bool {
        self.suspicions = 0;
        self.last_answer = Some(now);
        self.pace.answered();
        self.answers_at_limit += 1;
        if self.answers_at_limit >= self.limit && self.limit < self.limit_max {
            self.limit += 1;
            self.answers_at_limit = 0;
        }
        if probe && self.quick_probes > 0 && self.failures == 0 {
            self.false_alarm = Some(now);
        }
        probe && self.opened()
    }

    /// A request was throttled: fewer at once, and slower. True when that opened the endpoint: it does answer.
    pub fn throttled(&mut self, now: Instant, sent: Instant, probe: bool) -> bool {
        let at_once = self.halved_at.is_some_and(|halved| sent < halved);
        if !at_once {
            self.halve(now);
            self.pace.throttled(now);
        }
        self.heard(now, probe)
    }

    /// There was an answer, of which nothing follows but that the endpoint is there. True when that opened it.
    pub fn heard(&mut self, now: Instant, probe: bool) -> bool {
        self.suspicions = 0;
        self.last_answer = Some(now);
        probe && self.opened()
    }

    /// A request got no answer: whether that is the endpoint's fault rather than its target's.
    pub fn blamed_for(&mut self, now: Instant, request: Unanswered) -> bool {
        let Some(last_answer) = self.last_answer else { return true };
        // A target that got through proves something with its silence. One that fails already does when nobody was
        // answered in all the time since it last failed, and one that was never heard of when there is nobody else.
        let silent_since = match request.failed_before {
            _ if request.was_well => request.sent,
            Some(failed) => failed,
            None if request.others_well > 0 => return false,
            None => request.sent,
        };
        if last_answer >= silent_since {
            return false;
        }
        self.suspicions += 1;
        let alarmed = self.false_alarm.is_some_and(|alarm| now - alarm < ALARM_REMEMBERED);
        let enough = if alarmed { SUSPICIONS_AFTER_ALARM } else { SUSPICIONS };
        let most = u32::try_from(request.others_well / QUICK_PROBES_PART).unwrap_or(QUICK_PROBES_MAX);
        self.quick_probes_max = most.clamp(QUICK_PROBES_MIN, QUICK_PROBES_MAX);
        self.suspicions >= enough || (request.was_well && request.others_well == 0)
    }

    /// A failure that is everybody's: closed for so long, unless another failure said so already. Until when it is,
    /// and whether this closed it. `unanswered`: it may still be the target's own, and another probe goes at once.
    pub fn failed(
        &mut self,
        now: Instant,
        wait: Duration,
        probe: Option<u64>,
        unanswered: bool,
    ) -> (Instant, bool) {
        match self.position {
            Position::Closed { until } => return (until, false),
            // The last probe is out, and will say when it goes on: at once, for all that is known.
            Position::Probing { probe: last, .. } if probe != Some(last) => return (now, false),
            Position::Open | Position::Probing { .. } => {}
        }
        let quick = unanswered && self.quick_probes < self.quick_probes_max;
        let until = if quick { now } else { now + wait };
        match quick {
            true => self.quick_probes += 1,
            false => self.failures = self.failures.saturating_add(1),
        }
        self.position = Position::Closed { until };
        self.limit = 1;
        self.answers_at_limit = 0;
        self.halved_at = Some(now);
        (until, true)
    }

    /// The probe came to nothing, such as one without a batch: the next may go.
    pub fn probe_lost(&mut self, now: Instant, lost: u64) {
        if matches!(self.position, Position::Probing { probe, .. } if probe == lost) {
            self.position = Position::Closed { until: now };
        }
    }

    /// Lets the next probe go at once.
    pub fn due_now(&mut self, now: Instant) {
        if let Position::Closed { until } = &mut self.position {
            *until = now;
        }
    }

    fn opened(&mut self) -> bool {
        (self.failures, self.quick_probes) = (0, 0);
        std::mem::replace(&mut self.position, Position::Open) != Position::Open
    }

    fn halve(&mut self, now: Instant) {
        self.limit = (self.limit / 2).max(1);
        self.answers_at_limit = 0;
        self.halved_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_AFTER: Duration = Duration::from_secs(1);

    fn well(sent: Instant) -> Unanswered {
        Unanswered { sent, was_well: true, failed_before: None, others_well: 20 }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_limit_is_halved_once_for_requests_that_were_out_together_and_grows_by_one_a_round() {
        let mut endpoint = Endpoint::new(8, SLOW_AFTER);
        let start = Instant::now();
        for _ in 0..8 {
            endpoint.throttled(start + ms(10), start, false);
        }
        assert_eq!(endpoint.limit(), 4);
        endpoint.throttled(start + ms(30), start + ms(20), false);
        assert_eq!(endpoint.limit(), 2);
        for _ in 0..2 {
            endpoint.answered(start + ms(40), false);
        }
        assert_eq!(endpoint.limit(), 3);
        (0..100).for_each(|_| assert!(!endpoint.answered(start + ms(50), false), "it was open"));
        assert_eq!(endpoint.limit(), 8, "never above concurrency");
        for round in 0..9u32 {
            let at = start + ms(100) * (round + 1);
            endpoint.throttled(at + ms(1), at, false);
        }
        assert_eq!(endpoint.limit(), 1, "never below 1");
    }

    #[test]
    fn a_probe_that_came_to_nothing_lets_the_next_go_at_once() {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        let (until, closed) = endpoint.failed(start, ms(500), None, false);
        assert!(closed && endpoint.may_send(start) == May::At(until));
        let probe = endpoint.sent(until, true).expect("a probe's number");
        assert_eq!(endpoint.may_send(until), May::At(until + SLOW_AFTER), "one at a time");
        endpoint.probe_lost(until, probe + 1);
        assert_eq!(endpoint.may_send(until), May::At(until + SLOW_AFTER), "another's end says nothing");
        endpoint.probe_lost(until, probe);
        assert_eq!(endpoint.may_send(until), May::Probe);
    }

    #[test]
    fn a_failure_while_a_probe_is_out_does_not_say_when_the_endpoint_comes_back() {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        let (until, _) = endpoint.failed(start, ms(500), None, false);
        let probe = endpoint.sent(until, true);
        assert_eq!(endpoint.failed(until, ms(9000), None, false), (until, false), "the probe will say");
        assert!(endpoint.answered(until + ms(1), probe.is_some()), "and it opens");
    }

    #[test]
    fn a_lost_answer_is_its_targets_own_while_others_are_answered() {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        endpoint.answered(start, false);
        for number in 0..100 {
            let sent = start + ms(10) * number;
            assert!(!endpoint.blamed_for(sent + ms(5), well(sent + ms(1))), "{number}");
            endpoint.answered(sent + ms(6), false);
        }
        let failed = Some(start + ms(500));
        let failing = Unanswered { was_well: false, failed_before: failed, ..well(start + ms(2000)) };
        assert!(
            !endpoint.blamed_for(start + ms(2001), failing),
            "others were answered since it failed before"
        );
    }

    #[test]
    fn the_endpoint_is_to_blame_when_targets_that_got_through_hear_nothing_one_after_the_other() {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        assert!(endpoint.blamed_for(start, well(start)), "nobody was ever answered");
        endpoint.answered(start, false);
        let blamed: Vec<_> =
            (1..4).map(|n| endpoint.blamed_for(start + ms(n + 1), well(start + ms(n)))).collect();
        assert_eq!(blamed, [false, false, true]);
        let alone = Unanswered { others_well: 0, ..well(start + ms(20)) };
        endpoint.answered(start + ms(10), false);
        assert!(endpoint.blamed_for(start + ms(21), alone), "nobody else could show that it is not");
    }

    #[test]
    fn while_it_is_closed_one_probe_goes_at_a_time_and_one_that_hangs_is_not_waited_for() {
        let mut endpoint = Endpoint::new(8, SLOW_AFTER);
        let start = Instant::now();
        let (until, closed) = endpoint.failed(start, ms(150), None, false);
        assert_eq!((until, closed), (start + ms(150), true));
        assert_eq!(endpoint.may_send(start + ms(149)), May::At(until));
        assert_eq!(endpoint.may_send(until), May::Probe);
        let first = endpoint.sent(until, true);
        assert_eq!(endpoint.may_send(until), May::At(until + SLOW_AFTER));
        assert_eq!(endpoint.may_send(until + SLOW_AFTER), May::Probe);
        let second = endpoint.sent(until + SLOW_AFTER, true);
        let late = until + SLOW_AFTER + ms(1);
        assert!(!endpoint.failed(late, ms(300), first, false).1, "the first has nothing to say any more");
        assert!(endpoint.failed(late, ms(300), second, false).1);
        assert_eq!(endpoint.limit(), 1);
        endpoint.sent(late + ms(300), true);
        assert!(endpoint.answered(late + ms(310), true));
        assert_eq!(endpoint.may_send(late + ms(310)), May::Send);
    }

    #[test]
    fn a_few_probes_follow_each_other_at_once_where_the_targets_may_be_to_blame() {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        let mut probe = None;
        for _ in 0..QUICK_PROBES_MIN {
            assert_eq!(endpoint.failed(start, ms(150), probe, true).0, start);
            probe = endpoint.sent(start, true);
        }
        assert_eq!(endpoint.failed(start, ms(150), probe, true).0, start + ms(150));
        endpoint.sent(start + ms(150), true);
        assert!(endpoint.answered(start + ms(150), true));
        assert_eq!(endpoint.failures(), 0);
    }

    #[test]
    fn the_more_targets_got_through_the_more_of_them_are_asked_at_once() {
        for (others_well, expected) in [(0, 5), (20, 6), (70, 23), (10_000, 32)] {
            let mut endpoint = Endpoint::new(2, SLOW_AFTER);
            let start = Instant::now();
            endpoint.answered(start, false);
            while !endpoint.blamed_for(start + ms(1), Unanswered { others_well, ..well(start + ms(1)) }) {}
            endpoint.failed(start, ms(150), None, true);
            let quick = (0..100).take_while(|_| {
                let at_once = endpoint.may_send(start) == May::Probe;
                let probe = endpoint.sent(start, true);
                endpoint.failed(start, ms(150), probe, true);
                at_once
            });
            assert_eq!(quick.count(), expected, "of {others_well}");
        }
    }

    /// Sends as fast as it may for so long to an account with that quota; how many were taken and how many throttled.
    fn throttled_account(endpoint: &mut Endpoint, quota: f64, begin: Instant, seconds: u64) -> (u32, u32) {
        let (mut now, end) = (begin, begin + Duration::from_secs(seconds));
        let (mut tokens, mut taken, mut throttled) = (quota, 0, 0);
        while now < end {
            match endpoint.may_send(now) {
                May::Send => {
                    endpoint.sent(now, false);
                    let sent = now;
                    now += ms(2);
                    tokens = (tokens + 0.002 * quota).min(quota);
                    if tokens >= 1.0 {
                        (tokens, taken) = (tokens - 1.0, taken + 1);
                        endpoint.answered(now, false);
                    } else {
                        throttled += 1;
                        endpoint.throttled(now, sent, false);
                    }
                }
                May::At(at) => {
                    tokens = (tokens + (at - now).as_secs_f64() * quota).min(quota);
                    now = at;
                }
                May::Probe => unreachable!("it is not closed"),
            }
        }
        (taken, throttled)
    }

    #[test]
    fn a_throttled_account_is_used_to_the_full_with_few_requests_too_many() {
        for quota in [2.0, 10.0, 100.0] {
            let mut endpoint = Endpoint::new(8, SLOW_AFTER);
            let start = Instant::now();
            throttled_account(&mut endpoint, quota, start, 5);
            let (taken, throttled) =
                throttled_account(&mut endpoint, quota, start + Duration::from_secs(5), 60);
            assert!(f64::from(taken) > 0.9 * 60.0 * quota, "{taken} of {} in a minute", 60.0 * quota);
            assert!(throttled * 5 < taken + throttled, "{throttled} of {}", taken + throttled);
        }
    }

    #[test]
    fn an_account_that_is_throttled_all_the_time_is_asked_every_two_seconds() {
        let mut endpoint = Endpoint::new(8, SLOW_AFTER);
        let start = Instant::now();
        throttled_account(&mut endpoint, 0.0, start, 20);
        let (taken, throttled) = throttled_account(&mut endpoint, 0.0, start + Duration::from_secs(20), 60);
        assert_eq!(taken, 0);
        assert!((25..=32).contains(&throttled), "{throttled} requests in a minute");
    }

    #[test]
    fn the_pace_is_forgotten_when_nobody_is_throttled_any_more() {
        let mut endpoint = Endpoint::new(8, SLOW_AFTER);
        let start = Instant::now();
        throttled_account(&mut endpoint, 10.0, start, 5);
        assert!(endpoint.pace.is_limited());
        throttled_account(&mut endpoint, 1e9, start + Duration::from_secs(5), 40);
        assert!(!endpoint.pace.is_limited());
    }
}
