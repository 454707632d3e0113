//! The network between the client and the endpoint: idle connections that are closed, and a thin line.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::SockRef;

use super::client::{Client, TIMEOUT, batch};
use super::{messages, start};
use crate::{Local, Options, Rule};

const IDLE: Duration = Duration::from_millis(300);

/// The longest time that a loaded machine may need to close a connection after its idle time.
const LATE: Duration = Duration::from_millis(200);

fn closing_when_idle() -> Options {
    Options { idle_close_ms: NonZeroU64::new(300), ..Options::default() }
}

/// Reads until the connection ends, and returns the time that it took and the error.
fn wait_for_end(client: &mut Client, since: Instant) -> (Duration, ErrorKind) {
    let error = client.receive().expect_err("a response came without a request");
    (since.elapsed(), error.kind())
}

#[test]
fn an_idle_connection_is_closed_in_order_when_its_time_is_over() {
    let (local, mut client) = start(closing_when_idle());
    thread::sleep(IDLE / 2);
    assert_eq!(client.put(&["m"]).unwrap().status, 200);
    let answered_at = Instant::now();
    let (took, kind) = wait_for_end(&mut client, answered_at);
    assert_eq!(kind, ErrorKind::UnexpectedEof, "the close was not orderly");
    let earliest = IDLE.checked_sub(Duration::from_millis(5)).unwrap();
    assert!((earliest..IDLE + LATE).contains(&took), "closed {took:?} after the answer");
    assert!(local.wait_until(TIMEOUT, |local| local.connections_open() == 0));
    let stats = Client::connect(local.addr()).unwrap().control("GET", "/_local/stats", "").unwrap().json();
    assert_eq!(stats["connections"], json!({"accepted": 2, "open": 1, "closed_idle": 1}));
}

#[test]
fn a_connection_that_never_had_a_request_is_closed_too() {
    let (_local, mut client) = start(closing_when_idle());
    let (took, kind) = wait_for_end(&mut client, Instant::now());
    assert_eq!(kind, ErrorKind::UnexpectedEof);
    assert!(took < IDLE + LATE, "closed after {took:?}");
}

#[test]
fn every_answer_begins_the_idle_time_anew() {
    let (local, mut client) = start(closing_when_idle());
    for _ in 0..4 {
        assert_eq!(client.put(&["m"]).unwrap().status, 200);
        thread::sleep(IDLE / 2);
    }
    assert_eq!((messages(&local).len(), local.connections_open()), (4, 1));
}

#[test]
fn a_connection_with_a_request_is_not_idle() {
    let (local, mut client) = start(Options { faults: vec![Rule::delay_ms(600)], ..closing_when_idle() });
    assert_eq!(client.put(&["late"]).unwrap().status, 200);
    let (took, _) = wait_for_end(&mut client, Instant::now());
    assert!(took > IDLE / 2, "closed {took:?} after the answer");
    assert_eq!(messages(&local), ["late"]);
}

#[test]
fn a_request_on_a_connection_that_was_closed_meets_a_reset_and_is_not_carried_out() {
    let (local, mut client) = start(closing_when_idle());
    assert_eq!(client.put(&["m"]).unwrap().status, 200);
    assert!(local.wait_until(TIMEOUT, |local| local.connections_open() == 0));
    let body = batch("g", &["n"]).to_string();
    // The first write is accepted by the kernel and answered with an RST.
    client.send("PutLogEvents", body.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(20));
    let error = client.send("PutLogEvents", body.as_bytes()).expect_err("the connection is still open");
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    assert_eq!((messages(&local).len(), local.count("PutLogEvents", "g")), (1, 1));
}

#[test]
fn an_idle_close_ends_a_tls_session_in_order() {
    let local = Local::start(Options { tls: true, ..closing_when_idle() }).unwrap();
    local.create_stream("g", "s");
    let mut client = Client::connect_tls(local.addr(), local.certificate_pem().unwrap()).unwrap();
    assert_eq!(client.put(&["m"]).unwrap().status, 200);
    // rustls reports a connection that ends without close_notify as an error with a text of its own.
    let error = client.receive().expect_err("a response came without a request");
    assert!(!error.to_string().contains("close_notify"), "{error}");
}

const LINE_BYTES_PER_S: u64 = 1_000_000;

fn thin_line() -> Options {
    Options { uplink_bytes_per_s: NonZeroU64::new(LINE_BYTES_PER_S), ..Options::default() }
}

/// Uploads one message of this size, and returns the time from `since` to the answer.
fn upload(mut client: Client, bytes: usize, since: Instant) -> Duration {
    assert_eq!(client.put(&[&"x".repeat(bytes)]).unwrap().status, 200);
    since.elapsed()
}

fn assert_near(took: Duration, expected: Duration) {
    assert!(
        (expected.mul_f64(0.9)..expected.mul_f64(1.5)).contains(&took),
        "{took:?}, expected {expected:?}"
    );
}

#[test]
fn an_upload_takes_as_long_as_the_line_needs_for_it() {
    let (local, client) = start(thin_line());
    assert_near(upload(client, 300_000, Instant::now()), Duration::from_millis(300));
    assert_eq!(local.total_events(), 1);
}

#[test]
fn connections_share_the_line_equally_and_a_small_upload_does_not_wait_for_a_large_one() {
    let (local, first) = start(thin_line());
    let (second, small) = (Client::connect(local.addr()).unwrap(), Client::connect(local.addr()).unwrap());
    let since = Instant::now();
    let uploads = [(first, 300_000), (second, 300_000), (small, 30_000)]
        .map(|(client, bytes)| thread::spawn(move || upload(client, bytes, since)));
    let [first, second, small] = uploads.map(|upload| upload.join().unwrap());
    // Three share the line until the small one is done; the others then share what is left. One after the other they would take
    // 300 ms, 600 ms and 630 ms.
    let (earlier, later) = (first.min(second), first.max(second));
    assert_near(later, Duration::from_millis(630));
    assert!(earlier > later.mul_f64(0.75), "the large uploads took {first:?} and {second:?}");
    assert!(small < earlier / 3, "the small upload took {small:?}, the large ones {first:?} and {second:?}");
}

/// Connects and sends the head of an unsigned request with a body of this size.
fn begin_upload(local: &Local, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(local.addr()).unwrap();
    // As small as the system allows, so that a write waits until the endpoint reads.
    SockRef::from(&stream).set_send_buffer_size(1).unwrap();
    stream.write_all(format!("POST / HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_feels_the_thin_line_while_it_writes() {
    let (local, _) = start(thin_line());
    let since = Instant::now();
    begin_upload(&local, 300_000).write_all(&[b'x'; 300_000]).unwrap();
    assert!(since.elapsed() > Duration::from_millis(240), "the body was written in {:?}", since.elapsed());
}

#[test]
fn the_bytes_of_a_request_that_was_broken_off_are_counted() {
    let (local, client) = start(thin_line());
    begin_upload(&local, 300_000).write_all(&[b'x'; 100_000]).unwrap();
    drop(client);
    assert!(local.wait_until(TIMEOUT, |local| local.connections_open() == 0));
    let mut client = Client::connect(local.addr()).unwrap();
    let stats = client.control("GET", "/_local/stats", "").unwrap().json();
    assert_eq!(stats["body_bytes_read"], 100_000);
    assert!(local.requests().is_empty());
}
