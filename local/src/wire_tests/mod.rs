//! Tests over a real connection: encodings, signatures, records, pauses and waits.
//!
//! `client.rs` is the client of these tests. `faults.rs` has the tests of the fault rules, `network.rs` those of idle
//! connections and of the thin line, and `tls.rs` those of HTTPS.

mod client;
mod faults;
mod network;
mod tls;

use std::io::{ErrorKind, Write};
use std::time::Duration;

use serde_json::json;

use crate::{Local, Options, Outcome, RequestRecord};
use client::{Client, TIMEOUT, batch};

/// Starts an endpoint with group `g` and stream `s`, and a client of it.
fn start(options: Options) -> (Local, Client) {
    let local = Local::start(options).unwrap();
    local.create_stream("g", "s");
    let client = Client::connect(local.addr()).unwrap();
    (local, client)
}

fn messages(local: &Local) -> Vec<String> {
    local.events("g", "s").into_iter().map(|event| event.message).collect()
}

fn last_record(local: &Local) -> RequestRecord {
    local.requests().pop().expect("no request was recorded")
}

fn fault(name: &'static str) -> Outcome {
    Outcome::Fault { name, code: None }
}

#[test]
fn an_accepted_event_is_kept_and_recorded() {
    let (local, mut client) = start(Options::default());
    let response = client.put(&["one", "zwöi"]).unwrap();
    assert_eq!((response.status, response.json()), (200, json!({})));
    for header in ["x-amzn-requestid", "date"] {
        assert!(response.headers.contains_key(header), "no {header} in {response:?}");
    }
    assert_eq!(response.headers["content-type"], "application/x-amz-json-1.1");
    assert_eq!(messages(&local), ["one", "zwöi"]);
    let record = last_record(&local);
    assert_eq!(
        (record.operation.as_str(), record.group.as_str(), record.stream.as_str()),
        ("PutLogEvents", "g", "s")
    );
    assert_eq!((record.events, record.taken_events, record.counted_bytes), (2, 2, 3 + 5 + 2 * 26));
    assert_eq!((record.outcome, record.connection, record.emf), (Outcome::Ok, 1, false));
    assert_eq!(
        (local.count("PutLogEvents", "g"), local.successes("*", "*"), local.total_events()),
        (1, 1, 2)
    );
}

#[test]
fn put_log_events_accepts_gzip_and_the_signature_covers_the_compressed_body() {
    let (local, mut client) = start(Options::default());
    client.headers = vec![("content-encoding", "gzip"), ("x-amzn-logs-format", "json/emf")];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(batch("g", &["squeezed"]).to_string().as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    assert_eq!(client.call_bytes("PutLogEvents", &body).unwrap().status, 200);
    assert_eq!(messages(&local), ["squeezed"]);
    let record = last_record(&local);
    assert_eq!(
        (record.content_encoding.as_deref(), record.emf, record.body_bytes),
        (Some("gzip"), true, body.len())
    );
    let broken = client.call_bytes("PutLogEvents", &body[..body.len() - 9]).unwrap();
    assert_eq!(broken.code(), "SerializationException");
}

#[test]
fn a_request_with_a_wrong_secret_is_refused_and_stores_nothing() {
    let (local, mut client) = start(Options::default());
    client.secret_key = "other";
    let response = client.put(&["m"]).unwrap();
    assert_eq!((response.status, response.code().as_str()), (400, "InvalidSignatureException"));
    assert_eq!(response.headers["x-amzn-errortype"], "InvalidSignatureException");
    assert_eq!(local.total_events(), 0);
}

#[test]
fn a_clock_16_minutes_off_refuses_every_signature_and_shows_in_the_date_header() {
    let (local, mut client) = start(Options { clock_offset_ms: 16 * 60_000, ..Options::default() });
    let response = client.put(&["m"]).unwrap();
    assert!(response.json()["message"].as_str().unwrap().starts_with("Signature expired: "), "{response:?}");
    local.set_clock_offset_ms(-16 * 60_000);
    let response = client.put(&["m"]).unwrap();
    assert!(
        response.json()["message"].as_str().unwrap().starts_with("Signature not yet current: "),
        "{response:?}"
    );
    let date = httpdate::parse_http_date(response.headers["date"].to_str().unwrap()).unwrap();
    let behind = std::time::SystemTime::now().duration_since(date).unwrap();
    assert!((950..=970).contains(&behind.as_secs()), "the date header is {behind:?} behind");
}

#[test]
fn unknown_operations_and_content_types_are_refused() {
    let (_local, mut client) = start(Options::default());
    assert_eq!(client.call("StartQuery", &json!({})).unwrap().code(), "UnknownOperationException");
    client.headers = vec![("content-type", "application/json")];
    assert_eq!(client.put(&["m"]).unwrap().code(), "UnknownOperationException");
}

#[test]
fn every_operation_works_over_the_wire() {
    let (local, mut client) = start(Options::default());
    let group = json!({"logGroupName": "h"});
    let stream = json!({"logGroupName": "h", "logStreamName": "s"});
    assert_eq!(client.call("CreateLogGroup", &group).unwrap().code(), "Ok");
    assert_eq!(client.call("CreateLogGroup", &group).unwrap().code(), "ResourceAlreadyExistsException");
    assert_eq!(client.call("CreateLogStream", &stream).unwrap().code(), "Ok");
    let retention = json!({"logGroupName": "h", "retentionInDays": 7});
    assert_eq!(client.call("PutRetentionPolicy", &retention).unwrap().code(), "Ok");
    assert_eq!(local.group_retention("h"), Some(7));
    assert_eq!(client.call("PutLogEvents", &batch("h", &["m"])).unwrap().code(), "Ok");
    let page = client.call("GetLogEvents", &stream).unwrap().json();
    assert_eq!(page["events"][0]["message"], "m");
    let described = client.call("DescribeLogStreams", &group).unwrap().json();
    assert_eq!(described["logStreams"][0]["logStreamName"], "s");
    assert_eq!(
        client.call("DescribeLogGroups", &json!({})).unwrap().json()["logGroups"][1]["retentionInDays"],
        7
    );
    assert_eq!(client.call("DeleteLogStream", &stream).unwrap().code(), "Ok");
    assert_eq!(client.call("DeleteLogGroup", &group).unwrap().code(), "Ok");
    assert_eq!(client.call("PutLogEvents", &batch("h", &["m"])).unwrap().code(), "ResourceNotFoundException");
}

#[test]
fn a_paused_endpoint_refuses_connections_and_resumes_on_its_port() {
    let (local, mut client) = start(Options::default());
    client.put(&["before"]).unwrap();
    local.pause();
    assert_eq!(local.connections_open(), 0);
    client.put(&["lost"]).expect_err("the connection stayed open");
    assert_eq!(
        Client::connect(local.addr()).err().map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
    local.pause();
    local.resume().unwrap();
    local.resume().unwrap();
    Client::connect(local.addr()).unwrap().put(&["after"]).unwrap();
    assert_eq!(messages(&local), ["before", "after"]);
}

#[test]
fn an_endpoint_that_discards_counts_and_keeps_nothing() {
    let (local, mut client) = start(Options { discard: true, ..Options::default() });
    client.put(&["m", "n"]).unwrap();
    assert_eq!((local.event_count("g"), local.stream_event_count("g", "s"), local.total_events()), (2, 2, 2));
    assert!(local.events("g", "s").is_empty() && local.requests().is_empty());
    assert_eq!(local.counters("PutLogEvents", "g").counted_bytes, 2 * 27);
}

#[test]
fn a_wait_ends_with_its_condition_or_its_timeout() {
    let (local, mut client) = start(Options::default());
    assert!(!local.wait_until(Duration::from_millis(20), |local| local.event_count("g") == 1));
    let request = std::thread::spawn(move || client.put(&["m"]).unwrap().status);
    assert!(local.wait_until(TIMEOUT, |local| local.event_count("g") == 1 && local.requests().len() == 1));
    assert_eq!(request.join().unwrap(), 200);
}

#[test]
fn an_endpoint_listens_on_loopback_only() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let error =
        Local::start(options).err().expect("the endpoint listens on an address that others can reach");
    assert_eq!(
        error.to_string(),
        "listen address is 0.0.0.0:0; allowed is a loopback address, such as 127.0.0.1:0"
    );
}
