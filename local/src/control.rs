//! The control paths over HTTP, for clients that are not written in Rust: `/_local/faults` and `/_local/stats`.
//!
//! They need no signature, and no fault rule applies to them. A request with a wrong rule changes nothing.

use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};

use crate::faults::{FaultTable, Rule, RuleError, RuleId, parse_rules};
use crate::response::{self, Body};
use crate::server::Server;

/// The status and the JSON body of a response.
struct Reply {
    status: u16,
    json: Value,
}

impl Reply {
    fn ok(json: Value) -> Self {
        Self { status: 200, json }
    }

    fn error(status: u16, message: &str) -> Self {
        Self { status, json: json!({"error": message}) }
    }
}

/// Handles a request to a path that begins with `/_local/`.
pub(crate) fn handle(server: &Server, head: &Parts, body: &[u8]) -> Response<Body> {
    let reply = match (&head.method, head.uri.path()) {
        (&Method::GET, "/_local/faults") => Reply::ok(json!(server.faults().status())),
        (&Method::PUT, "/_local/faults") => {
            change_rules(server, body, |faults, rules| faults.replace(rules, Instant::now()))
        }
        (&Method::POST, "/_local/faults") => change_rules(server, body, |faults, rules| {
            let now = Instant::now();
            rules.into_iter().map(|rule| faults.add(rule, now)).collect()
        }),
        (&Method::DELETE, "/_local/faults") => {
            server.faults().clear();
            Reply::ok(json!([]))
        }
        (&Method::DELETE, path) if path.starts_with("/_local/faults/") => remove_rule(server, path),
        (&Method::GET, "/_local/stats") => Reply::ok(stats(server)),
        (method, path) => {
            let allowed =
                "GET, PUT, POST or DELETE /_local/faults, DELETE /_local/faults/ID, GET /_local/stats";
            Reply::error(404, &format!("the request is {method} {path}; allowed is {allowed}"))
        }
    };
    response::control(reply.status, &reply.json, server.now())
}

/// Changes the fault rules with the rule or the array of rules in the body. The reply has the ids of the new rules.
fn change_rules(
    server: &Server,
    body: &[u8],
    change: impl FnOnce(&mut FaultTable, Vec<Rule>) -> Result<Vec<RuleId>, RuleError>,
) -> Reply {
    let text = String::from_utf8_lossy(body);
    let array = if text.trim_start().starts_with('{') { format!("[{text}]") } else { text.into_owned() };
    match parse_rules(&array).and_then(|rules| change(&mut server.faults(), rules)) {
        Ok(ids) => Reply::ok(json!({"ids": ids})),
        Err(error) => Reply::error(400, &error.to_string()),
    }
}

fn remove_rule(server: &Server, path: &str) -> Reply {
    let id = path.rsplit('/').next().and_then(|id| id.parse().ok()).map(RuleId);
    match id.filter(|id| server.faults().remove(*id)) {
        Some(id) => Reply::ok(json!({"ids": [id]})),
        None => Reply::error(404, &format!("the rule {path} does not exist")),
    }
}

fn stats(server: &Server) -> Value {
    let (operations, groups) = {
        let state = server.state();
        (state.request_log.by_operation(), state.request_log.by_group())
    };
    json!({
        "operations": operations,
        "groups": groups,
        "connections": {
            "accepted": server.connections_accepted.load(Ordering::Relaxed),
            "open": server.connections_open.load(Ordering::Relaxed),
            "closed_idle": server.connections_closed_idle.load(Ordering::Relaxed),
        },
        "body_bytes_read": server.body_bytes_read.load(Ordering::Relaxed),
        "in_flight": {
            "now": server.in_flight.load(Ordering::Relaxed),
            "peak": server.in_flight_peak.load(Ordering::Relaxed),
        },
    })
}
