//! Fault rules, set before the start, by a method or over HTTP.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, TIMEOUT, batch};
use super::{fault, last_record, messages, start};
use crate::{Effect, Local, Options, Outcome, Reject, Rule};

/// Starts an endpoint with this rule, and a client.
fn start_with(rule: Rule) -> (Local, Client) {
    start(Options { faults: vec![rule], ..Options::default() })
}

#[test]
fn an_error_rule_responds_with_its_code_and_status_and_stores_nothing() {
    let effect = Effect::Error { code: "Boom".to_owned(), status: 503, message: "no".to_owned() };
    let (local, mut client) = start_with(Rule::new(effect).count(1));
    let response = client.put(&["m"]).unwrap();
    assert_eq!((response.status, response.json()), (503, json!({"__type": "Boom", "message": "no"})));
    assert_eq!(last_record(&local).outcome, Outcome::Fault { name: "error", code: Some("Boom".to_owned()) });
    assert_eq!(local.counters("PutLogEvents", "g").errors["Boom"], 1);
    assert_eq!(local.total_events(), 0);
    assert_eq!(client.put(&["m"]).unwrap().status, 200, "the rule fired twice");
}

#[test]
fn a_delayed_request_waits_and_is_then_carried_out() {
    let (local, mut client) = start_with(Rule::delay_ms(60));
    let started_at = Instant::now();
    assert_eq!(client.put(&["m"]).unwrap().status, 200);
    assert!(started_at.elapsed() >= Duration::from_millis(60), "{:?}", started_at.elapsed());
    assert_eq!(messages(&local), ["m"]);
}

#[test]
fn a_hanging_request_gets_no_response_and_ends_with_its_client() {
    let (local, mut client) = start_with(Rule::hang().count(1));
    client.send("PutLogEvents", batch("g", &["m"]).to_string().as_bytes()).unwrap();
    assert!(
        local.wait_until(TIMEOUT, |local| local.count("PutLogEvents", "g") == 1),
        "the request was not recorded"
    );
    assert_eq!((local.in_flight(), last_record(&local).outcome), (1, fault("hang")));
    drop(client);
    assert!(local.wait_until(TIMEOUT, |local| local.in_flight() == 0), "the request outlived its client");
    assert_eq!(local.total_events(), 0);
}

#[test]
fn a_stop_ends_hanging_requests() {
    let (local, mut client) = start_with(Rule::hang());
    client.send("PutLogEvents", batch("g", &["m"]).to_string().as_bytes()).unwrap();
    assert!(local.wait_until(TIMEOUT, |local| local.in_flight() == 1));
    local.stop();
    assert_eq!((local.in_flight(), local.connections_open()), (0, 0));
    client.receive().expect_err("the request got a response");
    assert_eq!(
        Client::connect(local.addr()).err().map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_reset_before_stores_nothing_and_a_reset_after_stores_everything() {
    for (rule, name, stored) in
        [(Rule::reset_before(), "reset_before", 0), (Rule::reset_after(), "reset_after", 1)]
    {
        let (local, mut client) = start_with(rule.count(1));
        let error = client.put(&["m"]).expect_err("the request got a response");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}");
        assert_eq!((messages(&local).len(), last_record(&local).taken_events), (stored, stored), "{name}");
        assert_eq!(last_record(&local).outcome, fault(name));
        assert!(
            Client::connect(local.addr()).unwrap().put(&["n"]).is_ok(),
            "another connection was broken too"
        );
    }
}

#[test]
fn a_cut_response_ends_in_the_middle_and_the_event_is_stored() {
    let (local, mut client) = start_with(Rule::cut_response().count(1));
    let error = client.put(&["m"]).expect_err("the response was whole");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!((messages(&local).len(), last_record(&local).outcome), (1, fault("cut_response")));
}

#[test]
fn a_proxy_responds_with_a_page_or_without_a_body() {
    let (local, mut client) = start_with(Rule::html(502).count(1));
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
fn a_forced_rejection_is_a_success_with_fewer_events() {
    let (local, mut client) = start_with(Rule::reject(Reject { too_old: 1, too_new: 1, expired: 0 }));
    let response = client.put(&["a", "b", "c"]).unwrap().json();
    assert_eq!(
        response["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2})
    );
    let record = last_record(&local);
    assert_eq!((record.outcome, record.events, record.taken_events), (Outcome::Ok, 3, 1));
    assert_eq!(messages(&local), ["b"]);
}

#[test]
fn one_group_is_denied_and_the_other_is_not() {
    let (local, mut client) = start_with(Rule::error("AccessDeniedException", 400).group("/denied/*"));
    local.create_stream("/denied/a", "s");
    assert_eq!(
        client.call("PutLogEvents", &batch("/denied/a", &["m"])).unwrap().code(),
        "AccessDeniedException"
    );
    assert_eq!(client.put(&["m"]).unwrap().code(), "Ok");
    assert_eq!(local.faults()[0].fired, 1);
}

#[test]
fn rules_and_counters_are_available_over_http() {
    let (local, mut client) = start(Options::default());
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
