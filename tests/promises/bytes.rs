//! Every byte of a message survives: the service returns the lossy UTF-8 of the bytes that were pushed.

use ::cwl_sink::ffi::cwl_status::*;
use cwl_local::Local;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::host::*;

/// Checks that a stream returns the lossy UTF-8 of these messages.
fn assert_comes_back(local: &Local, host: &Host, stream: &str, messages: &[Vec<u8>]) {
    for message in messages {
        host.must_push("bytes", stream, message);
    }
    host.must_flush();
    let lossy: Vec<_> = messages.iter().map(|m| String::from_utf8_lossy(m).into_owned()).collect();
    let events: Vec<_> = local.events("bytes", stream).into_iter().map(|event| event.message).collect();
    assert_eq!(events, lossy);
}

#[test]
fn bytes_of_every_kind_survive() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let messages: Vec<Vec<u8>> = vec![
        b"plain".into(),
        b"   ".into(),
        b"\t".into(),
        b"\n".into(),
        b"line\r\n".into(),
        b"\"quoted\" and \\back\\slashed\\".into(),
        b"nul \0 inside \0".into(),
        (0..0x20).collect(),
        b"\x7f \x1b[31mred\x1b[0m".into(),
        "ü \u{2028} \u{FEFF} \u{1F600} \u{10FFFF}".into(),
        b"\xff".into(),
        b"cut \xe2\x82".into(),
        b"overlong \xc0\xaf surrogate \xed\xa0\x80 end".into(),
        every_byte,
        br#"{"json":["in",{"side":"\u0000"}]}"#.into(),
        vec![b'x'; 1_000_000],
        b"\\u0041".into(),
    ];
    let local = local();
    for (stream, option) in [("gzip", ("compression_min_bytes", "0")), ("none", ("compression", "none"))] {
        let host = Host::open(&local, &[option]);
        assert_comes_back(&local, &host, stream, &messages);
    }
}

#[test]
fn a_body_is_compressed_from_compression_min_bytes_on() {
    let local = local();
    let request = |group: &str, options: &[(&str, &str)]| {
        let host = Host::open(&local, options);
        // The body has the names, so all groups have names of the same length.
        assert_eq!(host.push_at(group, "s", now_ms(), "x".repeat(10_000)), CWL_OK);
        host.must_flush();
        let [request] = accepted_puts(&local, group).try_into().expect("one request");
        request
    };
    let plain = request("g-0", &[("compression", "none")]);
    assert_eq!(plain.content_encoding, None);
    for (group, min_bytes, encoding) in [
        ("g-1", "0", Some("gzip")),
        ("g-2", &plain.body_bytes.to_string(), Some("gzip")),
        ("g-3", &(plain.body_bytes + 1).to_string(), None),
        ("g-4", "10485760", None),
    ] {
        let sent = request(group, &[("compression_min_bytes", min_bytes)]);
        assert_eq!(sent.content_encoding.as_deref(), encoding, "{min_bytes} of {}", plain.body_bytes);
        assert_eq!(sent.body_bytes < plain.body_bytes / 10, encoding.is_some());
    }
}

#[test]
fn any_bytes_come_back_as_their_lossy_utf_8() {
    let local = local();
    let host = Host::open(&local, &[("compression_min_bytes", "0")]);
    let message = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..200),
        "[\\PC\\x00-\\x1f\"\\\\]{1,80}".prop_map(String::into_bytes),
        proptest::collection::vec(
            prop_oneof![Just(0xE2), Just(0x82), Just(0xAC), Just(b'"'), Just(0)],
            1..20
        ),
    ];
    let case = std::cell::Cell::new(0);
    TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() })
        .run(&proptest::collection::vec(message, 1..20), |messages| {
            case.set(case.get() + 1);
            assert_comes_back(&local, &host, &format!("case-{}", case.get()), &messages);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
