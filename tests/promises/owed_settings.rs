//! Owed settings: the retention of a group that the library created is tried until it is set, and no event waits for it.

use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::{Local, Rule};

use crate::host::*;

const OPTIONS: [(&str, &str); 2] = [("retention_days", "7"), ("flush_interval_ms", "10")];

fn wait_for_retention(local: &Local, host: &Host) {
    assert!(local.wait_until(SOON, |local| local.group_retention("g") == Some(7)), "{}", host.json());
    assert!(eventually(|| host.stats().settings_owed == 0), "{}", host.json());
}

#[test]
fn a_retention_that_could_not_be_set_is_tried_again_while_events_are_delivered() {
    for rule in [
        Rule::error("OperationAbortedException", 400),
        Rule::error("ThrottlingException", 400),
        Rule::reset_before(),
    ] {
        let name = format!("{rule:?}");
        let local = local();
        local.add_fault(rule.operation("PutRetentionPolicy").count(1));
        let host = Host::open(&local, &OPTIONS);
        host.must_push("g", "s", "m");
        host.must_flush();
        assert_eq!(local.event_count("g"), 1, "{name}");
        assert_eq!((host.stats().settings_owed, host.stats().batches_retried), (1, 0), "{name}");
        wait_for_retention(&local, &host);
        assert_eq!(local.count("PutRetentionPolicy", "g"), 2, "{name}");
    }
}

#[test]
fn events_do_not_wait_for_a_retention_that_is_never_answered() {
    let local = local();
    local.add_fault(Rule::hang().operation("PutRetentionPolicy"));
    let host = Host::open(&local, &OPTIONS);
    let begin = Instant::now();
    host.must_push("g", "s", "m");
    host.must_flush();
    host.must_push("g", "s", "m");
    host.must_flush();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(host.stats().settings_owed, 1);
    let begin = Instant::now();
    assert_eq!(host.shutdown(500), CWL_OK, "the events are delivered");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_shutdown_tries_an_owed_retention_once_more_and_waits_for_that_try_only() {
    for is_denied_for_ever in [false, true] {
        let local = local();
        let denied = local.add_fault(denied("g").operation("PutRetentionPolicy"));
        let host = Host::open(&local, &OPTIONS);
        host.must_push("g", "s", "m");
        host.must_flush();
        // After six tries the next one is a minute away.
        assert!(local.wait_until(SOON, |local| local.count("PutRetentionPolicy", "g") == 6));
        if !is_denied_for_ever {
            local.remove_fault(denied);
        }
        let begin = Instant::now();
        assert_eq!(host.shutdown(60_000), CWL_OK);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(local.count("PutRetentionPolicy", "g"), 7, "one more try");
        assert_eq!(local.group_retention("g"), (!is_denied_for_ever).then_some(7));
        assert_eq!(host.stats().settings_owed, u64::from(is_denied_for_ever));
    }
}

#[test]
fn a_group_that_is_created_at_the_shutdown_gets_its_retention() {
    let local = local();
    local.add_fault(Rule::delay_ms(300).operation("PutRetentionPolicy"));
    let host = Host::open(&local, &[("retention_days", "7"), ("flush_interval_ms", "60000")]);
    host.must_push("g", "s", "the only line of a process that logs once and exits");
    assert_eq!(host.shutdown(10_000), CWL_OK);
    assert_eq!((local.event_count("g"), local.group_retention("g")), (1, Some(7)));
}

#[test]
fn a_group_whose_creation_had_no_answer_gets_its_retention() {
    for rule in [Rule::reset_after(), Rule::cut_response()] {
        let name = format!("{rule:?}");
        let local = local();
        local.add_fault(rule.operation("CreateLogGroup").count(1));
        let host = Host::open(&local, &OPTIONS);
        host.must_push("g", "s", "m");
        host.must_flush();
        assert_eq!(local.event_count("g"), 1, "{name}");
        wait_for_retention(&local, &host);
    }
}

#[test]
fn a_group_that_another_process_created_keeps_its_own_retention() {
    // The group appears between the CreateLogStream that does not find it and the CreateLogGroup.
    let local = local();
    local.add_fault(Rule::delay_ms(300).operation("CreateLogGroup"));
    let host = Host::open(&local, &OPTIONS);
    host.must_push("g", "s", "m");
    assert!(local.wait_until(SOON, |local| local.count("CreateLogStream", "g") == 1));
    local.create_group("g");
    host.must_flush();
    assert_eq!(local.count("CreateLogGroup", "g"), 1, "the sink tried to create the group");
    thread::sleep(Duration::from_millis(500));
    assert_eq!((local.count("PutRetentionPolicy", "g"), local.group_retention("g")), (0, None));
    assert_eq!(host.stats().settings_owed, 0);
}
