//! Promises that only a real connection can break: faults, pauses, encodings, TLS, records and waits.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::wire_client::{Client, PATIENCE, batch};
use crate::{Effect, Local, Options, Outcome, Reject, RequestRecord, Rule};

/// An endpoint with group `g` and stream `s`, and a client of it.
fn world(options: Options) -> (Local, Client) {
    let local = Local::start(options).unwrap();
    local.create_stream("g", "s");
    let client = Client::connect(local.addr()).unwrap();
    (local, client)
}

fn faulty(rule: Rule) -> (Local, Client) {
    world(Options { faults: vec![rule], ..Options::default() })
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
fn what_is_put_is_kept_and_recorded() {
    let (local, mut client) = world(Options::default());
    let answer = client.put(&["one", "zwöi"]).unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    for header in ["x-amzn-requestid", "date"] {
        assert!(answer.headers.contains_key(header), "no {header} in {answer:?}");
    }
    assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
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
fn gzip_is_taken_for_put_log_events_and_the_signature_covers_what_was_sent() {
    let (local, mut client) = world(Options::default());
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
fn a_wrong_secret_is_refused_and_takes_nothing() {
    let (local, mut client) = world(Options::default());
    client.secret_key = "other";
    let answer = client.put(&["m"]).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidSignatureException"));
    assert_eq!(answer.headers["x-amzn-errortype"], "InvalidSignatureException");
    assert_eq!(local.total_events(), 0);
}

#[test]
fn a_clock_16_minutes_off_refuses_every_signature_and_says_so_in_its_date() {
    let (local, mut client) = world(Options { clock_offset_ms: 16 * 60_000, ..Options::default() });
    let answer = client.put(&["m"]).unwrap();
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Signature expired: "), "{answer:?}");
    local.set_clock_offset_ms(-16 * 60_000);
    let answer = client.put(&["m"]).unwrap();
    assert!(
        answer.json()["message"].as_str().unwrap().starts_with("Signature not yet current: "),
        "{answer:?}"
    );
    let date = httpdate::parse_http_date(answer.headers["date"].to_str().unwrap()).unwrap();
    let behind = std::time::SystemTime::now().duration_since(date).unwrap();
    assert!((950..=970).contains(&behind.as_secs()), "the date header is {behind:?} behind");
}

#[test]
fn unknown_operations_and_content_types_are_refused() {
    let (_local, mut client) = world(Options::default());
    assert_eq!(client.call("StartQuery", &json!({})).unwrap().code(), "UnknownOperationException");
    client.headers = vec![("content-type", "application/json")];
    assert_eq!(client.put(&["m"]).unwrap().code(), "UnknownOperationException");
}

#[test]
fn the_whole_life_of_a_group_goes_over_the_wire() {
    let (local, mut client) = world(Options::default());
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
fn an_error_rule_answers_by_name_and_status_and_takes_nothing() {
    let effect = Effect::Error { code: "Boom".to_owned(), status: 503, message: "no".to_owned() };
    let (local, mut client) = faulty(Rule::new(effect).count(1));
    let answer = client.put(&["m"]).unwrap();
    assert_eq!((answer.status, answer.json()), (503, json!({"__type": "Boom", "message": "no"})));
    assert_eq!(last_record(&local).outcome, Outcome::Fault { name: "error", code: Some("Boom".to_owned()) });
    assert_eq!(local.counters("PutLogEvents", "g").errors["Boom"], 1);
    assert_eq!(local.total_events(), 0);
    assert_eq!(client.put(&["m"]).unwrap().status, 200, "the rule fired twice");
}

#[test]
fn a_delay_waits_and_then_carries_on() {
    let (local, mut client) = faulty(Rule::delay_ms(60));
    let begun = Instant::now();
    assert_eq!(client.put(&["m"]).unwrap().status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
    assert_eq!(messages(&local), ["m"]);
}

#[test]
fn a_hanging_request_is_never_answered_and_ends_with_its_client() {
    let (local, mut client) = faulty(Rule::hang().count(1));
    client.send("PutLogEvents", batch("g", &["m"]).to_string().as_bytes()).unwrap();
    assert!(local.wait_until(PATIENCE, |local| local.count("PutLogEvents", "g") == 1), "it was not recorded");
    assert_eq!((local.in_flight(), last_record(&local).outcome), (1, fault("hang")));
    drop(client);
    assert!(local.wait_until(PATIENCE, |local| local.in_flight() == 0), "it outlived its client");
    assert_eq!(local.total_events(), 0);
}

#[test]
fn a_stop_lets_hanging_requests_go() {
    let (local, mut client) = faulty(Rule::hang());
    client.send("PutLogEvents", batch("g", &["m"]).to_string().as_bytes()).unwrap();
    assert!(local.wait_until(PATIENCE, |local| local.in_flight() == 1));
    local.stop();
    assert_eq!((local.in_flight(), local.connections_open()), (0, 0));
    client.receive().expect_err("it was answered");
    assert_eq!(
        Client::connect(local.addr()).err().map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_reset_before_takes_nothing_and_a_reset_after_takes_everything() {
    for (rule, name, taken) in
        [(Rule::reset_before(), "reset_before", 0), (Rule::reset_after(), "reset_after", 1)]
    {
        let (local, mut client) = faulty(rule.count(1));
        let error = client.put(&["m"]).expect_err("it was answered");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}");
        assert_eq!((messages(&local).len(), last_record(&local).taken_events), (taken, taken), "{name}");
        assert_eq!(last_record(&local).outcome, fault(name));
        assert!(Client::connect(local.addr()).unwrap().put(&["n"]).is_ok(), "other connections go on");
    }
}

#[test]
fn a_cut_answer_stops_in_its_middle_after_the_data_was_taken() {
    let (local, mut client) = faulty(Rule::cut_response().count(1));
    let error = client.put(&["m"]).expect_err("the answer was whole");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!((messages(&local).len(), last_record(&local).outcome), (1, fault("cut_response")));
}

#[test]
fn a_proxy_answers_with_a_page_or_with_nothing() {
    let (local, mut client) = faulty(Rule::html(502).count(1));
    let page = client.put(&["m"]).unwrap();
    assert_eq!((page.status, &page.headers["content-type"]), (502, &"text/html".parse().unwrap()));
    assert!(page.body.starts_with(b"<html>"));
    local.set_faults(vec![Rule::empty(503).count(1)]);
    let nothing = client.put(&["m"]).unwrap();
    assert_eq!((nothing.status, nothing.body.len()), (503, 0));
    assert_eq!(local.total_events(), 0);
    let outcomes: Vec<_> = local.requests().into_iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [fault("html"), fault("empty")]);
}

#[test]
fn a_forced_rejection_is_a_success_that_took_less() {
    let (local, mut client) = faulty(Rule::reject(Reject { too_old: 1, too_new: 1, expired: 0 }));
    let answer = client.put(&["a", "b", "c"]).unwrap().json();
    assert_eq!(
        answer["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2})
    );
    let record = last_record(&local);
    assert_eq!((record.outcome, record.events, record.taken_events), (Outcome::Ok, 3, 1));
    assert_eq!(messages(&local), ["b"]);
}

#[test]
fn one_group_is_denied_and_the_other_is_not() {
    let (local, mut client) = faulty(Rule::error("AccessDeniedException", 400).group("/denied/*"));
    local.create_stream("/denied/a", "s");
    assert_eq!(
        client.call("PutLogEvents", &batch("/denied/a", &["m"])).unwrap().code(),
        "AccessDeniedException"
    );
    assert_eq!(client.put(&["m"]).unwrap().code(), "Ok");
    assert_eq!(local.faults()[0].fired, 1);
}

#[test]
fn a_paused_endpoint_refuses_connections_and_comes_back_on_its_port() {
    let (local, mut client) = world(Options::default());
    client.put(&["before"]).unwrap();
    local.pause();
    assert_eq!(local.connections_open(), 0);
    client.put(&["lost"]).expect_err("the connection was left open");
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

/// An endpoint that serves HTTPS, with group `g` and stream `s`.
fn secure(faults: Vec<Rule>) -> Local {
    let local = Local::start(Options { tls: true, faults, ..Options::default() }).unwrap();
    local.create_stream("g", "s");
    local
}

fn trusting(local: &Local) -> Client {
    Client::connect_tls(local.addr(), local.certificate_pem().unwrap()).unwrap()
}

#[test]
fn who_trusts_the_certificate_is_answered_over_tls() {
    let local = secure(Vec::new());
    assert_eq!(local.endpoint(), format!("https://{}", local.addr()));
    let mut client = trusting(&local);
    assert_eq!(client.put(&["m"]).unwrap().code(), "Ok");
    assert_eq!(messages(&local), ["m"]);
    assert_eq!(client.control("GET", "/_local/stats", "").unwrap().status, 200);
    assert!(Local::start(Options::default()).unwrap().certificate_pem().is_none());
}

#[test]
fn the_certificate_is_good_for_the_address_listened_on() {
    for listen in ["[::1]:0", "127.0.0.2:0"] {
        let options = Options { tls: true, listen: listen.parse().unwrap(), ..Options::default() };
        let local = Local::start(options).unwrap();
        assert_eq!(trusting(&local).control("GET", "/_local/stats", "").unwrap().status, 200, "{listen}");
    }
}

#[test]
fn a_client_that_does_not_trust_speak_tls_or_speak_at_all_costs_the_others_nothing() {
    let local = secure(Vec::new());
    let silent = TcpStream::connect(local.addr()).unwrap();
    let stranger = secure(Vec::new());
    let error = Client::connect_tls(local.addr(), stranger.certificate_pem().unwrap()).err();
    let error = error.expect("it trusts a certificate that it does not know").to_string();
    assert!(error.contains("certificate"), "{error}");
    Client::connect(local.addr()).unwrap().put(&["plain"]).expect_err("it answers without TLS");
    assert_eq!(trusting(&local).put(&["m"]).unwrap().code(), "Ok");
    assert!(local.wait_until(PATIENCE, |local| local.connections_open() == 1), "only the silent one is left");
    assert_eq!((local.connections_accepted(), local.requests().len()), (4, 1));
    drop(silent);
    assert!(local.wait_until(PATIENCE, |local| local.connections_open() == 0), "it outlived its client");
}

#[test]
fn a_pause_and_a_stop_do_not_wait_for_a_handshake() {
    let local = secure(Vec::new());
    let _silent = TcpStream::connect(local.addr()).unwrap();
    assert!(local.wait_until(PATIENCE, |local| local.connections_open() == 1));
    local.pause();
    assert_eq!(local.connections_open(), 0);
    local.resume().unwrap();
    assert_eq!(trusting(&local).put(&["m"]).unwrap().code(), "Ok");
    local.stop();
}

#[test]
fn resets_and_cut_answers_break_a_tls_connection_as_they_break_a_plain_one() {
    for (rule, name, kind, taken) in [
        (Rule::reset_before(), "reset_before", ErrorKind::ConnectionReset, 0),
        (Rule::reset_after(), "reset_after", ErrorKind::ConnectionReset, 1),
        (Rule::cut_response(), "cut_response", ErrorKind::UnexpectedEof, 1),
    ] {
        let local = secure(vec![rule.count(1)]);
        let error = trusting(&local).put(&["m"]).expect_err("it was answered");
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!((messages(&local).len(), last_record(&local).outcome), (taken, fault(name)));
        assert!(trusting(&local).put(&["n"]).is_ok(), "other connections go on");
    }
}

#[test]
fn a_discarding_endpoint_counts_and_keeps_nothing() {
    let (local, mut client) = world(Options { discard: true, ..Options::default() });
    client.put(&["m", "n"]).unwrap();
    assert_eq!((local.event_count("g"), local.stream_event_count("g", "s"), local.total_events()), (2, 2, 2));
    assert!(local.events("g", "s").is_empty() && local.requests().is_empty());
    assert_eq!(local.counters("PutLogEvents", "g").counted_bytes, 2 * 27);
}

#[test]
fn rules_and_counters_are_reached_over_http() {
    let (local, mut client) = world(Options::default());
    let rule = r#"{"group":"g","error":{"code":"Boom"},"count":1}"#;
    assert_eq!(
        client.control("PUT", "/_local/faults", &format!("[{rule}]")).unwrap().json(),
        json!({"ids": [1]})
    );
    assert_eq!(
        client.control("POST", "/_local/faults", r#"{"hang":true,"group":"h"}"#).unwrap().json(),
        json!({"ids": [2]})
    );
    let wrong = client.control("PUT", "/_local/faults", r#"[{"hang":1}]"#).unwrap();
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().starts_with("rule 1: "), "{wrong:?}");
    client.put(&["m"]).unwrap();
    client.put(&["m"]).unwrap();
    let rules = client.control("GET", "/_local/faults", "").unwrap().json();
    assert_eq!(
        (&rules[0]["fired"], &rules[1]["fired"], &rules[1]["rule"]["hang"]),
        (&json!(1), &json!(0), &json!(true))
    );
    let stats = client.control("GET", "/_local/stats", "").unwrap().json();
    let put = &stats["operations"]["PutLogEvents"];
    assert_eq!(
        (&put["requests"], &put["successes"], &put["errors"]["Boom"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(stats["groups"]["g"]["events"], 1);
    assert_eq!(client.control("DELETE", "/_local/faults/2", "").unwrap().status, 200);
    assert_eq!(client.control("DELETE", "/_local/faults", "").unwrap().status, 200);
    assert!(local.faults().is_empty());
    assert_eq!(client.control("GET", "/_local/else", "").unwrap().status, 404);
}

#[test]
fn a_wait_ends_with_its_condition_or_its_time() {
    let (local, mut client) = world(Options::default());
    assert!(!local.wait_until(Duration::from_millis(20), |local| local.event_count("g") == 1));
    let addr = std::thread::spawn(move || client.put(&["m"]).unwrap().status);
    assert!(local.wait_until(PATIENCE, |local| local.event_count("g") == 1 && local.requests().len() == 1));
    assert_eq!(addr.join().unwrap(), 200);
}

#[test]
fn an_endpoint_listens_on_loopback_only() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let error = Local::start(options).err().expect("it listens for everybody");
    assert_eq!(
        error.to_string(),
        "listen address is 0.0.0.0:0; allowed is a loopback address, such as 127.0.0.1:0"
    );
}
