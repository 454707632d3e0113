use super::*;

const SLOW_AFTER: Duration = Duration::from_secs(1);

fn failure(wait: Duration, probe: Option<u64>) -> EndpointFailure {
    EndpointFailure { cause: PauseCause::Credentials, wait, probe }
}

/// A target that was served before is not served, beside this number of targets that are.
fn request(target: TargetId, others_served: usize) -> UnavailableRequest {
    UnavailableRequest { target, before: Service::Served, others_served }
}

/// Lets targets fail one after the other until that is the fault of the endpoint. Returns how many.
fn fail_until_at_fault(endpoint: &mut Endpoint, now: Instant, targets: usize) -> usize {
    let is_at_fault = |target: &usize| endpoint.on_unavailable(now, request(*target, targets - *target));
    (1..=targets).find(is_at_fault).expect("the endpoint is at fault")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_limit_is_halved_once_for_requests_that_were_out_together_and_grows_by_one_a_round() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    for _ in 0..8 {
        endpoint.on_throttled(start + ms(10), start);
    }
    assert_eq!(endpoint.limit(), 4);
    endpoint.on_throttled(start + ms(30), start + ms(20));
    assert_eq!(endpoint.limit(), 2);
    for _ in 0..2 {
        endpoint.on_answer(start + ms(40), start);
    }
    assert_eq!(endpoint.limit(), 3);
    (0..100).for_each(|_| assert!(!endpoint.on_answer(start + ms(50), start), "it was open"));
    assert_eq!(endpoint.limit(), 8, "never above concurrency");
    for round in 0..9u32 {
        let at = start + ms(100) * (round + 1);
        endpoint.on_throttled(at + ms(1), at);
    }
    assert_eq!(endpoint.limit(), 1, "never below 1");
}

#[test]
fn a_probe_that_came_to_nothing_lets_the_next_go_at_once() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    let Pause { until, is_new } = endpoint.on_failure(start, failure(ms(500), None));
    assert!(is_new && endpoint.admission(start) == Admission::NotBefore(until));
    let probe = endpoint.on_sent(until, true).expect("a probe's number");
    assert_eq!(endpoint.admission(until), Admission::NotBefore(until + SLOW_AFTER), "one at a time");
    endpoint.on_probe_lost(until, probe + 1);
    assert_eq!(
        endpoint.admission(until),
        Admission::NotBefore(until + SLOW_AFTER),
        "another's end says nothing"
    );
    endpoint.on_probe_lost(until, probe);
    assert_eq!(endpoint.admission(until), Admission::Probe);
}

#[test]
fn a_failure_while_a_probe_is_out_does_not_say_when_the_endpoint_comes_back() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    let Pause { until, .. } = endpoint.on_failure(start, failure(ms(500), None));
    endpoint.on_sent(until, true);
    assert_eq!(
        endpoint.on_failure(until, failure(ms(9000), None)),
        Pause { until, is_new: false },
        "the probe will show it"
    );
    assert!(endpoint.on_answer(until + ms(1), until), "and it opens");
}

#[test]
fn a_target_is_at_fault_itself_while_others_are_answered() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    for number in 0..100 {
        assert!(!endpoint.on_unavailable(start, request(number, 99)), "{number}");
        assert!(!endpoint.on_unavailable(start, request(number + 1, 98)), "{number}");
        endpoint.on_answer(start, start);
    }
    assert!((0..100).all(|_| !endpoint.on_unavailable(start, request(7, 99))), "one target shows nothing");
    for target in 8..100 {
        for before in [Service::None, Service::UnavailableAt(start - ms(1))] {
            let failing = UnavailableRequest { before, ..request(target, 1) };
            assert!(!endpoint.on_unavailable(start, failing), "targets that always fail show nothing");
        }
    }
    let before = Service::UnavailableAt(start);
    let in_outage = [8, 9].map(|target| UnavailableRequest { before, ..request(target, 1) });
    let at_fault = in_outage.map(|request| endpoint.on_unavailable(start + ms(1), request));
    assert_eq!(at_fault, [false, true], "nobody was answered since they failed before");
}

#[test]
fn the_endpoint_is_at_fault_when_several_targets_fail_one_after_the_other_or_all_there_are() {
    let start = Instant::now();
    for (targets, failed) in [(1, 1), (2, 2), (3, 3), (1000, 3)] {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        assert_eq!(fail_until_at_fault(&mut endpoint, start, targets), failed, "of {targets}");
    }
}

#[test]
fn a_false_alarm_ends_at_once_leaves_the_limit_and_makes_the_next_alarm_rarer() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    assert_eq!(fail_until_at_fault(&mut endpoint, start, 100), 3);
    assert_eq!(endpoint.on_failure(start, unavailable(None)).until, start, "a probe goes at once");
    assert_eq!(endpoint.limit(), 1);
    endpoint.on_sent(start, true);
    assert!(endpoint.on_answer(start + ms(5), start));
    assert_eq!(endpoint.limit(), 8);
    assert_eq!(fail_until_at_fault(&mut endpoint, start + ms(10), 100), 30);
    endpoint.on_answer(start + ms(10), start);
    assert_eq!(fail_until_at_fault(&mut endpoint, start + ALARM_REMEMBERED + ms(5), 100), 3);
}

#[test]
fn an_answer_to_a_request_of_before_the_pause_ends_it_unless_credentials_are_the_cause() {
    for (cause, ends) in [(PauseCause::Unavailable, true), (PauseCause::Credentials, false)] {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        endpoint.on_failure(start + ms(5), EndpointFailure { cause, wait: ms(150), probe: None });
        assert_eq!(endpoint.on_answer(start + ms(6), start), ends, "{cause:?}");
        assert_eq!(endpoint.is_up(), ends);
    }
}

#[test]
fn while_it_is_closed_one_probe_goes_at_a_time_and_one_that_hangs_is_not_waited_for() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    let Pause { until, is_new } = endpoint.on_failure(start, failure(ms(150), None));
    assert_eq!((until, is_new), (start + ms(150), true));
    assert_eq!(endpoint.admission(start + ms(149)), Admission::NotBefore(until));
    assert_eq!(endpoint.admission(until), Admission::Probe);
    let first = endpoint.on_sent(until, true);
    assert_eq!(endpoint.admission(until), Admission::NotBefore(until + SLOW_AFTER));
    assert_eq!(endpoint.admission(until + SLOW_AFTER), Admission::Probe);
    let second = endpoint.on_sent(until + SLOW_AFTER, true);
    let late = until + SLOW_AFTER + ms(1);
    assert!(
        !endpoint.on_failure(late, failure(ms(300), first)).is_new,
        "the first has nothing to say any more"
    );
    assert!(endpoint.on_failure(late, failure(ms(300), second)).is_new);
    assert_eq!(endpoint.limit(), 1);
    endpoint.on_sent(late + ms(300), true);
    assert!(endpoint.on_answer(late + ms(310), late));
    assert_eq!(endpoint.admission(late + ms(310)), Admission::Send);
}

fn unavailable(probe: Option<u64>) -> EndpointFailure {
    EndpointFailure { cause: PauseCause::Unavailable, wait: ms(150), probe }
}

/// Counts the probes that may follow each other at once while each fails. `target` gives the target of a probe.
fn count_quick_probes(endpoint: &mut Endpoint, targets: usize, target: impl Fn(usize) -> usize) -> usize {
    let start = Instant::now();
    fail_until_at_fault(endpoint, start, targets);
    let mut probe = None;
    for number in 0..1000 {
        if endpoint.on_failure(start, unavailable(probe)).until > start {
            return number;
        }
        probe = endpoint.on_sent(start, true);
        endpoint.on_unavailable(start, request(target(number), targets));
    }
    1000
}

#[test]
fn the_more_targets_there_are_the_more_of_them_are_asked_at_once() {
    for (targets, expected) in [(1, 3), (23, 5), (67, 16), (10_000, 16)] {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let quick = count_quick_probes(&mut endpoint, targets, |number| 10_000 + number);
        assert_eq!(quick, expected, "of {targets}");
        let later = Instant::now() + ms(150);
        endpoint.on_sent(later, true);
        assert!(endpoint.on_answer(later, later));
        assert_eq!((endpoint.failures(), endpoint.limit()), (0, 2), "no false alarm: the limit grows from 1");
    }
}

#[test]
fn a_target_is_not_asked_twice_at_once() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    assert_eq!(count_quick_probes(&mut endpoint, 64, |_| 10_000), 2);
}

/// Sends as fast as it may for so long to an account with that quota; how many were taken and how many throttled.
fn throttled_account(endpoint: &mut Endpoint, quota: f64, begin: Instant, seconds: u64) -> (u32, u32) {
    let (mut now, end) = (begin, begin + Duration::from_secs(seconds));
    let (mut tokens, mut taken, mut throttled) = (quota, 0, 0);
    while now < end {
        match endpoint.admission(now) {
            Admission::Send => {
                endpoint.on_sent(now, false);
                let sent = now;
                now += ms(2);
                tokens = (tokens + 0.002 * quota).min(quota);
                if tokens >= 1.0 {
                    (tokens, taken) = (tokens - 1.0, taken + 1);
                    endpoint.on_answer(now, sent);
                } else {
                    throttled += 1;
                    endpoint.on_throttled(now, sent);
                }
            }
            Admission::NotBefore(at) => {
                tokens = (tokens + (at - now).as_secs_f64() * quota).min(quota);
                now = at;
            }
            Admission::Probe => unreachable!("it is not closed"),
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
        let (taken, throttled) = throttled_account(&mut endpoint, quota, start + Duration::from_secs(5), 60);
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
    assert!(endpoint.rate_limiter.is_limited());
    throttled_account(&mut endpoint, 1e9, start + Duration::from_secs(5), 40);
    assert!(!endpoint.rate_limiter.is_limited());
}

#[test]
fn a_shutdown_lets_a_probe_go_at_once_also_beside_one_that_hangs() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    assert!(!endpoint.make_due(start), "it is up");
    assert_eq!(endpoint.admission(start), Admission::Send);
    endpoint.on_failure(start, failure(ms(10_000), None));
    assert!(endpoint.make_due(start));
    assert_eq!(endpoint.admission(start), Admission::Probe);
    let hanging = endpoint.on_sent(start, true).expect("a probe");
    assert_eq!(endpoint.admission(start + ms(1)), Admission::NotBefore(start + SLOW_AFTER));
    assert!(endpoint.make_due(start + ms(1)));
    assert_eq!(endpoint.admission(start + ms(1)), Admission::Probe);
    let failures = endpoint.failures();
    endpoint.on_sent(start + ms(1), true).expect("a fresh probe");
    assert_eq!(endpoint.failures(), failures, "the one before did not fail");
    endpoint.on_probe_lost(start + ms(2), hanging);
    assert!(matches!(endpoint.admission(start + ms(2)), Admission::NotBefore(_)), "the fresh probe is out");
}
