use super::*;

const SLOW_AFTER: Duration = Duration::from_secs(1);

fn healthy(sent_at: Instant) -> UnansweredRequest {
    UnansweredRequest { sent_at, was_healthy: true, failed_before: None, healthy_others: 20 }
}

fn failure(wait: Duration, probe: Option<u64>, unanswered: bool) -> EndpointFailure {
    EndpointFailure { wait, probe, unanswered }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_limit_is_halved_once_for_requests_that_were_out_together_and_grows_by_one_a_round() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    for _ in 0..8 {
        endpoint.on_throttled(start + ms(10), start, false);
    }
    assert_eq!(endpoint.limit(), 4);
    endpoint.on_throttled(start + ms(30), start + ms(20), false);
    assert_eq!(endpoint.limit(), 2);
    for _ in 0..2 {
        endpoint.on_answer(start + ms(40), false);
    }
    assert_eq!(endpoint.limit(), 3);
    (0..100).for_each(|_| assert!(!endpoint.on_answer(start + ms(50), false), "it was open"));
    assert_eq!(endpoint.limit(), 8, "never above concurrency");
    for round in 0..9u32 {
        let at = start + ms(100) * (round + 1);
        endpoint.on_throttled(at + ms(1), at, false);
    }
    assert_eq!(endpoint.limit(), 1, "never below 1");
}

#[test]
fn a_probe_that_came_to_nothing_lets_the_next_go_at_once() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    let Pause { until, is_new } = endpoint.on_failure(start, failure(ms(500), None, false));
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
    let Pause { until, .. } = endpoint.on_failure(start, failure(ms(500), None, false));
    let probe = endpoint.on_sent(until, true);
    assert_eq!(
        endpoint.on_failure(until, failure(ms(9000), None, false)),
        Pause { until, is_new: false },
        "the probe will show it"
    );
    assert!(endpoint.on_answer(until + ms(1), probe.is_some()), "and it opens");
}

#[test]
fn a_lost_answer_is_its_targets_own_while_others_are_answered() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    endpoint.on_answer(start, false);
    for number in 0..100 {
        let sent = start + ms(10) * number;
        assert!(!endpoint.on_unanswered(sent + ms(5), healthy(sent + ms(1))), "{number}");
        endpoint.on_answer(sent + ms(6), false);
    }
    let failed = Some(start + ms(500));
    let failing =
        UnansweredRequest { was_healthy: false, failed_before: failed, ..healthy(start + ms(2000)) };
    assert!(
        !endpoint.on_unanswered(start + ms(2001), failing),
        "others were answered since it failed before"
    );
}

#[test]
fn the_endpoint_is_to_blame_when_targets_that_got_through_hear_nothing_one_after_the_other() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    assert!(endpoint.on_unanswered(start, healthy(start)), "nobody was ever answered");
    endpoint.on_answer(start, false);
    let blamed: Vec<_> =
        (1..4).map(|n| endpoint.on_unanswered(start + ms(n + 1), healthy(start + ms(n)))).collect();
    assert_eq!(blamed, [false, false, true]);
    let alone = UnansweredRequest { healthy_others: 0, ..healthy(start + ms(20)) };
    endpoint.on_answer(start + ms(10), false);
    assert!(endpoint.on_unanswered(start + ms(21), alone), "nobody else could show that it is not");
}

#[test]
fn while_it_is_closed_one_probe_goes_at_a_time_and_one_that_hangs_is_not_waited_for() {
    let mut endpoint = Endpoint::new(8, SLOW_AFTER);
    let start = Instant::now();
    let Pause { until, is_new } = endpoint.on_failure(start, failure(ms(150), None, false));
    assert_eq!((until, is_new), (start + ms(150), true));
    assert_eq!(endpoint.admission(start + ms(149)), Admission::NotBefore(until));
    assert_eq!(endpoint.admission(until), Admission::Probe);
    let first = endpoint.on_sent(until, true);
    assert_eq!(endpoint.admission(until), Admission::NotBefore(until + SLOW_AFTER));
    assert_eq!(endpoint.admission(until + SLOW_AFTER), Admission::Probe);
    let second = endpoint.on_sent(until + SLOW_AFTER, true);
    let late = until + SLOW_AFTER + ms(1);
    assert!(
        !endpoint.on_failure(late, failure(ms(300), first, false)).is_new,
        "the first has nothing to say any more"
    );
    assert!(endpoint.on_failure(late, failure(ms(300), second, false)).is_new);
    assert_eq!(endpoint.limit(), 1);
    endpoint.on_sent(late + ms(300), true);
    assert!(endpoint.on_answer(late + ms(310), true));
    assert_eq!(endpoint.admission(late + ms(310)), Admission::Send);
}

#[test]
fn a_few_probes_follow_each_other_at_once_where_the_targets_may_be_to_blame() {
    let mut endpoint = Endpoint::new(2, SLOW_AFTER);
    let start = Instant::now();
    let mut probe = None;
    for _ in 0..QUICK_PROBES_MIN {
        assert_eq!(endpoint.on_failure(start, failure(ms(150), probe, true)).until, start);
        probe = endpoint.on_sent(start, true);
    }
    assert_eq!(endpoint.on_failure(start, failure(ms(150), probe, true)).until, start + ms(150));
    endpoint.on_sent(start + ms(150), true);
    assert!(endpoint.on_answer(start + ms(150), true));
    assert_eq!(endpoint.failures(), 0);
}

#[test]
fn the_more_targets_got_through_the_more_of_them_are_asked_at_once() {
    for (healthy_others, expected) in [(0, 5), (20, 6), (70, 23), (10_000, 32)] {
        let mut endpoint = Endpoint::new(2, SLOW_AFTER);
        let start = Instant::now();
        endpoint.on_answer(start, false);
        while !endpoint
            .on_unanswered(start + ms(1), UnansweredRequest { healthy_others, ..healthy(start + ms(1)) })
        {
        }
        endpoint.on_failure(start, failure(ms(150), None, true));
        let quick = (0..100).take_while(|_| {
            let at_once = endpoint.admission(start) == Admission::Probe;
            let probe = endpoint.on_sent(start, true);
            endpoint.on_failure(start, failure(ms(150), probe, true));
            at_once
        });
        assert_eq!(quick.count(), expected, "of {healthy_others}");
    }
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
                    endpoint.on_answer(now, false);
                } else {
                    throttled += 1;
                    endpoint.on_throttled(now, sent, false);
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
