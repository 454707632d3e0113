//! The text of an error is short and one line, whatever a server sends, and it takes no memory to speak of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::host::*;

/// The most characters of an error text.
const ERROR_TEXT_CHARS_MAX: usize = 500;

/// A server that answers each request with the same bytes.
struct Proxy {
    addr: SocketAddr,
}

impl Proxy {
    /// Starts a server that answers with this head and this body. It runs until the process ends.
    fn start(head: &str, body: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its port");
        let answer: Arc<str> = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let answer = answer.clone();
                thread::spawn(move || serve(connection, answer.as_bytes()));
            }
        });
        Proxy { addr }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// Answers the requests of a connection until it ends.
fn serve(mut connection: TcpStream, answer: &[u8]) {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while let Ok(read @ 1..) = connection.read(&mut part) {
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if request.len() >= head.len() + 4 + length {
            request.clear();
            if connection.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// The memory of this process that is in use, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number");
    pages * 4096
}

/// Pushes to `targets` targets until each has failed. Returns the messages of their errors.
fn errors_of(proxy: &Proxy, targets: usize) -> (Host, Vec<String>) {
    let host = Host::open_at(&proxy.endpoint(), &[("flush_interval_ms", "1"), ("concurrency", "32")]);
    for target in 0..targets {
        host.must_push("g", &format!("s{target}"), "m");
    }
    let key = "\"message\":\"";
    let messages = |json: &str| -> Vec<String> {
        json.split(key)
            .skip(1)
            .map(|rest| rest.split("\",\"status\"").next().unwrap_or(rest).into())
            .collect()
    };
    assert!(eventually(|| messages(&host.json()).len() == targets), "{}", host.json());
    let found = messages(&host.json());
    (host, found)
}

#[test]
fn an_error_page_of_a_megabyte_leaves_no_trace_in_memory() {
    let page = format!("{{\"message\":\"{}\"}}", "<html>\\n<p>Bad Gateway</p>\\n".repeat(1 << 15));
    assert!(page.len() > 800_000);
    let before = resident_bytes();
    let targets = 300;
    // 403: the fault of each target, so that each of them is asked.
    let proxy = Proxy::start("HTTP/1.1 403 Forbidden\r\ncontent-type: application/json", &page);
    let (host, messages) = errors_of(&proxy, targets);
    for message in &messages {
        assert!(message.chars().count() <= ERROR_TEXT_CHARS_MAX, "{} characters", message.chars().count());
        assert!(!message.contains("\\n"), "{message}");
    }
    let json = host.json();
    assert!(json.len() < 2000 * targets, "a statistics JSON of {} bytes", json.len());
    let grown = resident_bytes().saturating_sub(before);
    println!("{targets} targets: {grown} bytes more are resident, and the JSON has {} bytes", json.len());
    assert!(grown < 128 << 20, "{grown} bytes more are resident");
}

#[test]
fn an_error_of_the_service_has_500_characters_and_one_line() {
    let long = "not allowed\\nfor \u{1F600}\\u0000".repeat(2000);
    let body = format!("{{\"__type\":\"{}Exception\",\"message\":\"{long}\"}}", "X".repeat(2000));
    let proxy = Proxy::start("HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1", &body);
    let (host, messages) = errors_of(&proxy, 3);
    for message in &messages {
        assert_eq!(message.chars().count(), ERROR_TEXT_CHARS_MAX, "{message}");
        assert!(message.starts_with("not allowed for \u{1F600} not"), "{message}");
        assert!(message.ends_with('…'), "{message}");
    }
    assert!(host.json().len() < 10_000, "{}", host.json());
}

#[test]
fn an_answer_larger_than_any_of_the_service_is_not_taken_for_one() {
    let body = format!("{{{}}}", " ".repeat(1 << 20));
    let proxy = Proxy::start("HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1", &body);
    let (host, messages) = errors_of(&proxy, 1);
    assert!(messages[0].contains("too large to come from CloudWatch Logs"), "{messages:?}");
    assert_eq!((host.stats().delivered_events, host.stats().pending_events), (0, 1));
}

#[test]
fn a_failed_request_is_told_without_the_fields_of_a_struct() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = Proxy { addr: listener.local_addr().expect("its port") };
    drop(listener);
    let (_host, messages) = errors_of(&proxy, 1);
    assert!(!messages[0].contains(" {") && !messages[0].contains("\\n"), "{messages:?}");
}
