//! Connections: what a connection meets is the fault of one request, and a connection that may be dead is not used again.

use std::fs;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status;
use cwl_local::{Local, Options, Rule};
use tempfile::NamedTempFile;

use crate::host::*;
use crate::relay::Relay;

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

/// An endpoint that serves HTTPS, a line to it, and the file of the certificate to trust.
fn secure() -> (Local, Relay, NamedTempFile) {
    let local = Local::start(Options { tls: true, ..Options::default() }).expect("the endpoint starts");
    let relay = Relay::start(local.addr());
    let certificate = NamedTempFile::new().expect("a file");
    fs::write(certificate.path(), local.certificate_pem().expect("it serves HTTPS")).expect("written");
    (local, relay, certificate)
}

#[test]
fn a_connection_that_goes_silent_costs_one_request_its_time_out_and_nobody_else_anything() {
    let (local, relay, certificate) = secure();
    let groups = create_groups(&local, "/g", 8);
    let certificate = certificate.path().to_str().expect("UTF-8");
    let url = format!("https://localhost:{}", relay.addr().port());
    let options = [("flush_interval_ms", "1"), ("request_timeout_ms", "2000"), ("ca_bundle", certificate)];
    let host = Host::open_at(&url, &options);
    let send_all = || {
        groups.iter().for_each(|group| host.must_push(group, "s", "m"));
        host.must_flush();
    };
    send_all();
    let before = relay.connections();
    assert!(before > 1, "a connection carries one request at a time");
    let (failed, begin) = (host.stats().requests_failed, Instant::now());
    relay.kill_connections();
    send_all();
    let (took, stats) = (begin.elapsed(), host.stats());
    // The time-out of 2 s, a back-off of 1 to 2 s, and time for a busy machine.
    assert!(took < Duration::from_secs(8), "a time-out of 2 s and a retry took {took:?}");
    assert!(stats.requests_failed - failed <= before as u64, "one for each connection: {}", host.json());
    assert_eq!((stats.targets_failing, stats.endpoint_paused), (0, 0), "{}", host.json());
    let begin = Instant::now();
    send_all();
    assert!(begin.elapsed() < Duration::from_secs(1), "all is well again: {:?}", begin.elapsed());
    for group in &groups {
        assert_eq!(local.event_count(group), 3, "{group}: nothing is lost, and nothing is stored twice");
    }
    for first in relay.first_bytes().iter().filter(|first| !first.is_empty()) {
        let offers = |protocol: &[u8]| first.windows(protocol.len()).any(|bytes| bytes == protocol);
        assert!(offers(b"\x08http/1.1") && !offers(b"\x02h2"), "HTTP/2 shares a connection among requests");
    }
}

#[test]
fn a_ca_bundle_that_appears_or_is_replaced_counts_for_the_next_connections() {
    // Without a refused certificate, the file is read again after a minute.
    const WITHIN_MS: i64 = 30_000;
    let (local, _, certificate) = secure();
    let (_other, _, wrong) = secure();
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = folder.path().join("ca.pem");
    let options = [("flush_interval_ms", "1"), ("ca_bundle", bundle.to_str().expect("UTF-8"))];
    let host = Host::open(&local, &options);
    let waits_because_of = |why: &str| eventually(|| host.json().contains(why));
    host.must_push("g", "s", "first");
    assert!(waits_because_of("cannot be read"), "{}", host.json());
    fs::copy(wrong.path(), &bundle).expect("written");
    assert!(waits_because_of("invalid peer certificate"), "{}", host.json());
    fs::copy(certificate.path(), &bundle).expect("written");
    assert_eq!(host.flush(WITHIN_MS), cwl_status::CWL_OK, "{}", host.json());
    assert_eq!(arrived(&local, "g", "s"), ["first"]);
    // The service begins again with another certificate.
    let listen = local.addr();
    drop(local);
    let local = Local::start(Options { tls: true, listen, ..Options::default() }).expect("it starts");
    host.must_push("g", "s", "second");
    assert!(waits_because_of("invalid peer certificate"), "{}", host.json());
    fs::write(&bundle, local.certificate_pem().expect("it serves HTTPS")).expect("written");
    assert_eq!(host.flush(WITHIN_MS), cwl_status::CWL_OK, "{}", host.json());
    assert_eq!(arrived(&local, "g", "s"), ["second"]);
}

#[test]
fn the_kernel_asks_a_silent_peer_whether_it_is_still_there() {
    let local = local();
    local.create_stream("g", "s");
    local.add_fault(Rule::hang().operation("PutLogEvents"));
    let host = Host::open(&local, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    host.wait_for_attempts(&local, "g", 1);
    // The sockets to the endpoint, by its port in hexadecimal. The number before the last colon group is 02 while the timer of
    // the keep-alive runs. Source: the kernel's documentation of /proc/net/tcp.
    let peer = format!(":{:04X}", local.addr().port());
    let asks = || {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux");
        let mut sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        sockets.any(|fields| fields[2].ends_with(&peer) && fields[5].starts_with("02:"))
    };
    assert!(eventually(asks), "{}", fs::read_to_string("/proc/net/tcp").expect("Linux"));
}

#[test]
fn bodies_that_do_not_pass_in_time_on_a_thin_line_are_halved_until_they_do() {
    let uplink_bytes_per_s = NonZeroU64::new(100_000);
    let local = Local::start(Options { uplink_bytes_per_s, ..Options::default() }).expect("it starts");
    let groups = create_groups(&local, "/g", 2);
    let options = [("flush_interval_ms", "3600000"), ("request_timeout_ms", "1000"), ("compression", "none")];
    let host = Host::open(&local, &options);
    // A quarter of a megabyte for each: 2.5 s of the line, where a request may take 1 s.
    let line = "m".repeat(10_000);
    for _ in 0..25 {
        groups.iter().for_each(|group| host.must_push(group, "s", &line));
    }
    host.must_flush();
    for group in &groups {
        assert_eq!(local.event_count(group), 25, "{group}: nothing is lost, and nothing is stored twice");
    }
    assert!(host.stats().requests_failed <= 12, "{}", host.json());
}
