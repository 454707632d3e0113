//! Races: pushes, a flush and a shutdown at the same time, and several sinks at the same time.

use std::sync::Barrier;
use std::thread;

use ::cwl_sink::ffi::cwl_status::*;

use crate::host::*;

#[test]
fn pushes_a_flush_and_a_shutdown_that_race_lose_no_accepted_event_in_200_runs() {
    let local = local();
    for run in 0..200 {
        let group = format!("run-{run}");
        let host = Host::open(&local, &[("flush_interval_ms", "1")]);
        let start = Barrier::new(10);
        let accepted: usize = thread::scope(|scope| {
            let pushers: Vec<_> = (0..8)
                .map(|pusher| {
                    let (host, start, group) = (&host, &start, &group);
                    scope.spawn(move || {
                        start.wait();
                        // The shutdown ends the pushes. The bound ends them when it does not.
                        (0..200_000)
                            .take_while(|number| {
                                match host.push(
                                    group,
                                    &format!("s{}", pusher % 3),
                                    format!("{pusher}-{number}"),
                                ) {
                                    CWL_OK => true,
                                    CWL_ERR_CLOSED => false,
                                    other => panic!("{other:?}: {}", last_error()),
                                }
                            })
                            .count()
                    })
                })
                .collect();
            let flusher = scope.spawn(|| {
                start.wait();
                host.flush(SOON.as_millis() as i64)
            });
            let closer = scope.spawn(|| {
                start.wait();
                host.shutdown(SOON.as_millis() as i64)
            });
            let accepted = pushers.into_iter().map(|pusher| pusher.join().expect("no panic")).sum();
            assert_eq!(flusher.join().expect("no panic"), CWL_OK, "run {run}: {}", host.json());
            assert_eq!(closer.join().expect("no panic"), CWL_OK, "run {run}: {}", host.json());
            accepted
        });
        let stats = host.stats();
        assert_eq!(stats.accepted_events as usize, accepted, "run {run}");
        assert_eq!(stats.delivered_events as usize, accepted, "run {run}: {}", host.json());
        assert_eq!(local.event_count(&group), accepted, "run {run}: every accepted event has arrived");
    }
}

#[test]
fn several_sinks_in_one_process_are_independent() {
    let local = local();
    let hosts: Vec<_> = (0..4).map(|_| Host::open(&local, &[])).collect();
    for (number, host) in hosts.iter().enumerate() {
        host.must_push("g", &format!("s{number}"), "m");
    }
    assert_eq!(hosts[0].shutdown(SOON.as_millis() as i64), CWL_OK);
    for host in &hosts[1..] {
        host.must_push("g", "after", "m");
        host.must_flush();
    }
    assert_eq!(local.event_count("g"), 7);
}
