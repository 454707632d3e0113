//! The poison pill: groups that the service denies, beside one that it allows. AWS's own agent stopped delivering in
//! this situation, because its two workers were in back-off for ten denied groups.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Local;

use crate::host::*;

/// Events per second for the allowed group.
const EVENTS_PER_SECOND: u32 = 2000;

/// The counts of events of the allowed group in one run.
struct Run {
    pushed: u64,
    /// Delivered by the end of the pushes and half a second more.
    delivered_in_time: u64,
    /// Delivered in the end.
    delivered: u64,
}

/// Pushes to "/allowed" at the steady rate for `duration`, and counts the events.
fn push_allowed(local: &Local, host: &Host, duration: Duration) -> Run {
    let begin = Instant::now();
    let mut pushed = 0;
    while begin.elapsed() < duration {
        let due = u64::from(EVENTS_PER_SECOND) * begin.elapsed().as_millis() as u64 / 1000;
        while pushed < due {
            host.must_push("/allowed", "s", format!("event {pushed} of the allowed group"));
            pushed += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    local.wait_until(Duration::from_millis(500), |local| local.event_count("/allowed") as u64 == pushed);
    let delivered_in_time = local.event_count("/allowed") as u64;
    local.wait_until(SOON, |local| local.event_count("/allowed") as u64 == pushed);
    Run { pushed, delivered_in_time, delivered: local.event_count("/allowed") as u64 }
}

/// Pushes to every denied group in turn until `stop` is set, and returns the number of accepted events. A push without
/// room is refused, which costs only the denied groups.
fn push_denied(host: &Host, groups: &[String], stop: &AtomicBool) -> u64 {
    let mut accepted = 0;
    while !stop.load(Ordering::Relaxed) {
        for group in groups {
            accepted +=
                u64::from(host.push(group, "s", "an event that is denied, over and over again") == CWL_OK);
        }
        thread::sleep(Duration::from_millis(20));
    }
    accepted
}

fn assert_denied_groups_cost_nothing(denied_groups: usize, options: &[(&str, &str)]) {
    let options = [&[("concurrency", "2"), ("flush_interval_ms", "200")], options].concat();
    let duration = Duration::from_secs(10);

    let quiet = local();
    let alone = {
        let host = Host::open(&quiet, &options);
        push_allowed(&quiet, &host, duration / 2)
    };
    assert_eq!(alone.delivered, alone.pushed, "without denied groups every event is delivered");
    let alone_rate = alone.delivered_in_time as f64 / alone.pushed as f64;

    let local = local();
    local.add_fault(denied("/denied/*"));
    let host = Host::open(&local, &options);
    let groups: Vec<String> = (0..denied_groups).map(|n| format!("/denied/{n}")).collect();
    let stop = AtomicBool::new(false);
    let (run, accepted) = thread::scope(|scope| {
        let denied = scope.spawn(|| push_denied(&host, &groups, &stop));
        let stops = StopAtEnd(&stop);
        let run = push_allowed(&local, &host, duration);
        drop(stops);
        (run, denied.join().expect("no panic"))
    });

    assert_eq!(run.delivered, run.pushed, "every event of the allowed group is delivered: {}", host.json());
    let rate = run.delivered_in_time as f64 / run.pushed as f64 / alone_rate;
    assert!(rate >= 0.9, "{} of {} in time, {rate:.3} of the rate alone", run.delivered_in_time, run.pushed);
    for group in &groups {
        let attempts = puts(&local, group).len();
        assert!(attempts >= 2, "{group} had {attempts} attempts");
    }

    let begin = Instant::now();
    assert_eq!(host.shutdown(2000), CWL_ERR_ABANDONED);
    assert!(begin.elapsed() < Duration::from_millis(2500), "shutdown took {:?}", begin.elapsed());
    let stats = host.stats();
    assert_eq!(
        (stats.abandoned_events, stats.pending_events),
        (accepted, 0),
        "every accepted event of the denied groups is abandoned"
    );
    assert_eq!(stats.delivered_events, run.pushed);
    println!("{denied_groups} denied groups: {rate:.3} of the rate alone, {} requests", stats.requests);
}

/// Stops the other thread, also after a panic: the scope waits for that thread.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_denied_groups_cost_an_allowed_group_nothing() {
    assert_denied_groups_cost_nothing(10, &[]);
}

#[test]
fn a_thousand_denied_groups_cost_an_allowed_group_nothing() {
    assert_denied_groups_cost_nothing(1000, &[]);
}

#[test]
fn denied_groups_that_fill_their_memory_leave_room_for_an_allowed_group() {
    assert_denied_groups_cost_nothing(10, &[("buffer_max_bytes", "262144")]);
}
