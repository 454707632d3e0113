//! HTTPS.

use std::io::ErrorKind;
use std::net::TcpStream;

use super::client::{Client, TIMEOUT};
use super::{fault, last_record, messages};
use crate::{Local, Options, Rule};

/// Starts an endpoint that serves HTTPS, with group `g` and stream `s`.
fn start_https(faults: Vec<Rule>) -> Local {
    let local = Local::start(Options { tls: true, faults, ..Options::default() }).unwrap();
    local.create_stream("g", "s");
    local
}

/// Connects a client that trusts the certificate of this endpoint.
fn connect(local: &Local) -> Client {
    Client::connect_tls(local.addr(), local.certificate_pem().unwrap()).unwrap()
}

#[test]
fn a_client_that_trusts_the_certificate_is_served_over_tls() {
    let local = start_https(Vec::new());
    assert_eq!(local.endpoint(), format!("https://{}", local.addr()));
    let mut client = connect(&local);
    assert_eq!(client.put(&["m"]).unwrap().code(), "Ok");
    assert_eq!(messages(&local), ["m"]);
    assert_eq!(client.control("GET", "/_local/stats", "").unwrap().status, 200);
    assert!(Local::start(Options::default()).unwrap().certificate_pem().is_none());
}

#[test]
fn the_certificate_is_valid_for_the_address_of_the_endpoint() {
    for listen in ["[::1]:0", "127.0.0.2:0"] {
        let options = Options { tls: true, listen: listen.parse().unwrap(), ..Options::default() };
        let local = Local::start(options).unwrap();
        assert_eq!(connect(&local).control("GET", "/_local/stats", "").unwrap().status, 200, "{listen}");
    }
}

#[test]
fn a_client_without_trust_without_tls_or_without_a_word_does_not_affect_the_others() {
    let local = start_https(Vec::new());
    let silent = TcpStream::connect(local.addr()).unwrap();
    let stranger = start_https(Vec::new());
    let error = Client::connect_tls(local.addr(), stranger.certificate_pem().unwrap()).err();
    let error = error.expect("the client accepted a certificate that it does not trust").to_string();
    assert!(error.contains("certificate"), "{error}");
    Client::connect(local.addr())
        .unwrap()
        .put(&["plain"])
        .expect_err("the endpoint served a client without TLS");
    assert_eq!(connect(&local).put(&["m"]).unwrap().code(), "Ok");
    assert!(
        local.wait_until(TIMEOUT, |local| local.connections_open() == 1),
        "the silent connection is not the only one left"
    );
    assert_eq!((local.connections_accepted(), local.requests().len()), (4, 1));
    drop(silent);
    assert!(
        local.wait_until(TIMEOUT, |local| local.connections_open() == 0),
        "the connection outlived its client"
    );
}

#[test]
fn a_pause_and_a_stop_do_not_wait_for_a_handshake() {
    let local = start_https(Vec::new());
    let _silent = TcpStream::connect(local.addr()).unwrap();
    assert!(local.wait_until(TIMEOUT, |local| local.connections_open() == 1));
    local.pause();
    assert_eq!(local.connections_open(), 0);
    local.resume().unwrap();
    assert_eq!(connect(&local).put(&["m"]).unwrap().code(), "Ok");
    local.stop();
}

#[test]
fn resets_and_cut_responses_break_a_tls_connection_like_a_plain_one() {
    for (rule, name, kind, stored) in [
        (Rule::reset_before(), "reset_before", ErrorKind::ConnectionReset, 0),
        (Rule::reset_after(), "reset_after", ErrorKind::ConnectionReset, 1),
        (Rule::cut_response(), "cut_response", ErrorKind::UnexpectedEof, 1),
    ] {
        let local = start_https(vec![rule.count(1)]);
        let error = connect(&local).put(&["m"]).expect_err("the request got a response");
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!((messages(&local).len(), last_record(&local).outcome), (stored, fault(name)));
        assert!(connect(&local).put(&["n"]).is_ok(), "another connection was broken too");
    }
}
