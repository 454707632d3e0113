//! The poison pill: groups that are refused, beside one that is not. AWS's own agent stopped here, its two workers
//! in back-off for ten denied groups.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Local;

use crate::host::*;

/// Events a second that the allowed group is given.
const RATE: u32 = 2000;

struct Run {
    pushed: u64,
    delivered_in_time: u64,
    delivered: u64,
}

/// Pushes to "/allowed" for so long at the steady rate, as one thread; says what was delivered by the end of that
/// time and a flush interval, and what in the end.
fn allowed_for(local: &Local, host: &Host, duration: Duration) -> Run {
    let begin = Instant::now();
    let mut pushed = 0;
    while begin.elapsed() < duration {
        let due = u64::from(RATE) * begin.elapsed().as_millis() as u64 / 1000;
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

/// Pushes to every denied group in turn until told to stop. What there is no room for is refused, which is the
/// denied groups' own loss.
fn denied_until(host: &Host, groups: &[String], stop: &AtomicBool) -> u64 {
    let mut taken = 0;
    while !stop.load(Ordering::Relaxed) {
        for group in groups {
            taken +=
                u64::from(host.push(group, "s", "an event that is denied, over and over again") == CWL_OK);
        }
        thread::sleep(Duration::from_millis(20));
    }
    taken
}

fn denied_groups_cost_an_allowed_one_nothing(denied_groups: usize, options: &[(&str, &str)]) {
    let options = [&[("concurrency", "2"), ("flush_interval_ms", "200")], options].concat();
    let duration = Duration::from_secs(10);

    let quiet = local();
    let alone = {
        let host = Host::open(&quiet, &options);
        allowed_for(&quiet, &host, duration / 2)
    };
    assert_eq!(alone.delivered, alone.pushed, "alone, everything is delivered");
    let alone_rate = alone.delivered_in_time as f64 / alone.pushed as f64;

    let local = local();
    local.add_fault(denied("/denied/*"));
    let host = Host::open(&local, &options);
    let groups: Vec<String> = (0..denied_groups).map(|n| format!("/denied/{n}")).collect();
    let stop = AtomicBool::new(false);
    let (run, taken) = thread::scope(|scope| {
        let denied = scope.spawn(|| denied_until(&host, &groups, &stop));
        let run = allowed_for(&local, &host, duration);
        stop.store(true, Ordering::Relaxed);
        (run, denied.join().expect("the denied host's thread"))
    });

    assert_eq!(run.delivered, run.pushed, "everything of the allowed group is delivered: {}", host.json());
    let rate = run.delivered_in_time as f64 / run.pushed as f64 / alone_rate;
    assert!(rate >= 0.9, "{} of {} in time, {rate:.3} of the rate alone", run.delivered_in_time, run.pushed);
    for group in &groups {
        let tries = puts(&local, group).len();
        assert!(tries >= 2, "{group} was tried {tries} times");
    }

    let begin = Instant::now();
    assert_eq!(host.shutdown(2000), CWL_ERR_ABANDONED);
    assert!(begin.elapsed() < Duration::from_millis(2500), "shutdown took {:?}", begin.elapsed());
    let stats = host.stats();
    assert_eq!(
        (stats.abandoned_events, stats.pending_events),
        (taken, 0),
        "what was denied is accounted for"
    );
    assert_eq!(stats.delivered_events, run.pushed);
    println!("{denied_groups} denied groups: {rate:.3} of the rate alone, {} requests", stats.requests);
}

#[test]
fn poison_pill_of_ten_denied_groups_costs_an_allowed_group_nothing() {
    denied_groups_cost_an_allowed_one_nothing(10, &[]);
}

#[test]
fn poison_pill_of_a_thousand_denied_groups_costs_an_allowed_group_nothing() {
    denied_groups_cost_an_allowed_one_nothing(1000, &[]);
}

#[test]
fn poison_pill_of_denied_groups_that_fill_their_memory_leaves_room_for_an_allowed_group() {
    denied_groups_cost_an_allowed_one_nothing(10, &[("buffer_max_bytes", "262144")]);
}
