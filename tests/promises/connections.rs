//! Connections: what a connection meets is the fault of one request, and a connection that may be dead is not used again.

use std::time::Duration;

use cwl_local::Rule;

use crate::host::*;

#[test]
fn an_answer_that_is_not_http_is_the_fault_of_its_target_alone() {
    let local = local();
    for group in ["garbled", "healthy"] {
        local.create_stream(group, "s");
    }
    local.add_fault(Rule::garbled().group("garbled"));
    let host = Host::open(&local, &[("flush_interval_ms", "10")]);
    // Nothing was ever answered when the first garbled answer comes.
    host.must_push("garbled", "s", "kept");
    host.wait_for_attempts(&local, "garbled", 1);
    for (sent, number) in numbers(50).into_iter().enumerate() {
        host.must_push("healthy", "s", number);
        host.wait_for_events(&local, "healthy", sent + 1);
        assert_eq!(host.stats().endpoint_paused, 0, "{}", host.json());
    }
    local.clear_faults();
    host.must_flush();
    assert_eq!(arrived(&local, "garbled", "s"), ["kept"]);
}

#[test]
fn a_connection_is_used_again_at_once_and_not_after_it_was_idle_for_seconds() {
    let local = local();
    local.create_stream("g", "s");
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    let send = |count: usize| {
        host.must_push("g", "s", "m");
        host.must_flush();
        puts(&local, "g")[count - 1].connection
    };
    let (first, second) = (send(1), send(2));
    assert_eq!(first, second, "a fresh connection is used again");
    // The time that passes is what is tested. The service closes an idle connection after about 6 s.
    std::thread::sleep(Duration::from_secs(5));
    assert_ne!(send(3), first, "the connection was idle for 5 s");
}
