//! The control paths over HTTP, for clients that are not Rust: `/_local/faults` and `/_local/stats`.
//!
//! They need no signature and meet no fault rule. They promise to change all or nothing.

use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};

use crate::faults::{Rule, RuleId, parse_rules};
use crate::response::{self, Body};
use crate::server::Server;

/// Answers a request to a path that begins with `/_local/`.
pub(crate) fn answer(server: &Server, head: &Parts, body: &[u8]) -> Response<Body> {
    let (status, json) = match (&head.method, head.uri.path()) {
        (&Method::GET, "/_local/faults") => (200, json!(server.faults().status())),
        (&Method::PUT, "/_local/faults") => set(server, body, true),
        (&Method::POST, "/_local/faults") => set(server, body, false),
        (&Method::DELETE, "/_local/faults") => {
            server.faults().clear();
            (200, json!([]))
        }
        (&Method::DELETE, path) if path.starts_with("/_local/faults/") => remove(server, path),
        (&Method::GET, "/_local/stats") => (200, stats(server)),
        (method, path) => {
            let allowed =
                "GET, PUT, POST or DELETE /_local/faults, DELETE /_local/faults/ID, GET /_local/stats";
            (404, json!({"error": format!("no {method} {path}; there is {allowed}")}))
        }
    };
    response::control(status, &json, server.now())
}

/// Takes one rule or an array of rules and answers with their ids.
fn set(server: &Server, body: &[u8], replace: bool) -> (u16, Value) {
    let text = String::from_utf8_lossy(body);
    let array = if text.trim_start().starts_with('{') { format!("[{text}]") } else { text.into_owned() };
    let result = parse_rules(&array).and_then(|rules| {
        let mut faults = server.faults();
        let now = Instant::now();
        if replace {
            return faults.replace(rules, now);
        }
        rules.into_iter().map(|rule: Rule| faults.add(rule, now)).collect()
    });
    match result {
        Ok(ids) => (200, json!({"ids": ids})),
        Err(error) => (400, json!({"error": error.to_string()})),
    }
}

fn remove(server: &Server, path: &str) -> (u16, Value) {
    let id = path.rsplit('/').next().and_then(|id| id.parse().ok()).map(RuleId);
    match id.filter(|id| server.faults().remove(*id)) {
        Some(id) => (200, json!({"ids": [id]})),
        None => (404, json!({"error": format!("no rule {path}")})),
    }
}

fn stats(server: &Server) -> Value {
    let (operations, groups) = {
        let state = server.state();
        (state.ledger.by_operation(), state.ledger.by_group())
    };
    json!({
        "operations": operations,
        "groups": groups,
        "connections": {
            "accepted": server.connections_accepted.load(Ordering::Relaxed),
            "open": server.connections_open.load(Ordering::Relaxed),
        },
        "in_flight": {
            "now": server.in_flight.load(Ordering::Relaxed),
            "peak": server.in_flight_peak.load(Ordering::Relaxed),
        },
    })
}
