//! Bad input: the right status, a text that names the wrong argument, and no effect on other events.

use std::ffi::CString;
use std::ptr::{null, null_mut};

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;

use crate::host::*;

/// Makes calls that must be refused for an argument. Each error text must contain the text behind the arrow.
macro_rules! refused {
    ($($call:expr => $text:expr),+ $(,)?) => {
        $({
            // SAFETY: every pointer is NULL or valid for its parameter, or a handle of another type.
            let status = unsafe { $call };
            assert_eq!(status, CWL_ERR_INVALID_ARGUMENT, "{}", stringify!($call));
            assert!(last_error().contains($text), "{}: {}", stringify!($call), last_error());
        })+
    };
}

#[test]
fn null_is_refused_wherever_a_pointer_is_needed() {
    let local = local();
    let host = Host::open(&local, &[]);
    let sink = host.sink;
    let config = cwl_config_new();
    let mut target = null_mut();
    let text = c"g".as_ptr();
    let valid = event(b"m");
    let mut accepted = 0;
    refused! {
        cwl_config_set(null_mut(), text, text) => "cwl_config is NULL",
        cwl_config_set(config, null(), text) => "key is NULL",
        cwl_config_set(config, c"region".as_ptr(), null()) => "\"region\" is NULL",
        cwl_sink_open(config, null_mut()) => "sink",
        cwl_push_event(null_mut(), &valid) => "cwl_sink is NULL",
        cwl_push_event(sink, null()) => "event is NULL",
        cwl_push_events(null_mut(), &valid, 1, &mut accepted) => "cwl_sink is NULL",
        cwl_push_events(sink, null(), 1, &mut accepted) => "event is NULL",
        cwl_target_open(null_mut(), text, text, &mut target) => "cwl_sink is NULL",
        cwl_target_open(sink, text, text, null_mut()) => "target",
        cwl_target_open(sink, null(), text, &mut target) => "log_group",
        cwl_target_push(null_mut(), &valid) => "cwl_target is NULL",
        cwl_flush(null_mut(), 0) => "cwl_sink is NULL",
        cwl_shutdown(null_mut(), 0) => "cwl_sink is NULL",
        cwl_stats(null_mut(), null_mut()) => "cwl_sink is NULL",
        cwl_stats(sink, null_mut()) => "stats",
        cwl_stats_json(null_mut(), null_mut()) => "json",
        cwl_stats_json(sink, null_mut()) => "json",
    }
    // SAFETY: all these functions allow NULL.
    unsafe {
        cwl_config_free(config);
        cwl_config_free(null_mut());
        cwl_target_free(null_mut());
        cwl_sink_free(null_mut());
        cwl_string_free(null_mut());
        assert_eq!(cwl_push_events(sink, null(), 0, null_mut()), CWL_OK, "an empty array is not an error");
    }
    host.must_push("g", "s", "still alive");
    host.must_flush();
    assert_eq!(host.stats().accepted_events, 1);
}

#[test]
fn a_handle_of_another_type_is_refused_and_not_freed() {
    let local = local();
    let host = Host::open(&local, &[]);
    let target = Target::open(&host, Some(c"g"), Some(c"s")).expect("a target");
    refused! {
        cwl_flush(target.as_ptr().cast(), 0) => "cwl_sink",
        cwl_target_push(host.sink.cast(), &event(b"m")) => "cwl_target",
        cwl_sink_open(target.as_ptr().cast(), &mut null_mut()) => "cwl_config",
    }
    // SAFETY: a live handle of another type, which the function leaves alone.
    unsafe { cwl_sink_free(target.as_ptr().cast()) };
    assert_eq!(target.push("m"), CWL_OK);
    host.must_flush();
    assert_eq!(local.event_count("g"), 1);
}

#[test]
fn a_wrong_option_is_refused_and_the_text_names_it() {
    let endpoint = "http://127.0.0.1:1";
    for (options, text_part) in [
        (&[("log_gruop", "g")][..], "did you mean \"log_group\""),
        (&[("concurrency", "0")], "concurrency: \"0\""),
        (&[("buffer_max_bytes", "1k")], "buffer_max_bytes: \"1k\""),
        (&[("log_group", "a:b")], "option log_group: log group \"a:b\" holds ':'; allowed are"),
        (&[("endpoint_url", "127.0.0.1:80")], "endpoint_url: \"127.0.0.1:80\""),
        (&[("retention_days", "8")], "retention_days: \"8\""),
        (&[("profile", "p")], "profile and access_key_id"),
        (&[("concurrency", "2"), ("target_concurrency", "4")], "target_concurrency=4"),
    ] {
        let (status, text) = Host::try_open(endpoint, options).err().expect("refused");
        assert_eq!(status, CWL_ERR_CONFIG, "{options:?}");
        assert!(text.contains(text_part), "{options:?}: {text}");
    }
}

#[test]
fn a_name_that_cloudwatch_logs_does_not_allow_is_refused_at_the_push() {
    let local = local();
    let host = Host::open(&local, &[]);
    let long = "g".repeat(513);
    for (group, stream, text_part) in [
        ("a:b", "s", "log group \"a:b\""),
        ("g", "a:b", "log stream \"a:b\""),
        ("g", "a*b", "log stream \"a*b\""),
        ("", "s", "log group is empty"),
        ("g", "", "log stream is empty"),
        (&long, "s", "513"),
        ("g g", "s", "' '"),
    ] {
        assert_eq!(host.push(group, stream, "m"), CWL_ERR_INVALID_ARGUMENT, "{group:?} {stream:?}");
        assert!(last_error().contains(text_part), "{group:?} {stream:?}: {}", last_error());
    }
    let event = cwl_event { log_group: c"\xFF".as_ptr(), ..event(b"m") };
    refused! { cwl_push_event(host.sink, &event) => "log_group is not UTF-8" }
    assert_eq!(host.stats().targets, 0, "a refused name makes no target");
}

#[test]
fn an_event_without_a_target_goes_to_the_target_of_the_options_or_is_refused() {
    let local = local();
    let without = Host::open(&local, &[("log_group", "g")]);
    refused! { cwl_push_event(without.sink, &event(b"m")) => "log_stream" }
    let with = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let only_stream = CString::new("other").expect("no NUL");
    let event_to_other = cwl_event { log_stream: only_stream.as_ptr(), ..event(b"m2") };
    // SAFETY: a live sink and whole events.
    unsafe {
        assert_eq!(cwl_push_event(with.sink, &event(b"m1")), CWL_OK);
        assert_eq!(cwl_push_event(with.sink, &event_to_other), CWL_OK);
    }
    with.must_flush();
    assert_eq!(
        (arrived(&local, "g", "s"), arrived(&local, "g", "other")),
        (vec!["m1".into()], vec!["m2".into()])
    );
}

#[test]
fn a_struct_size_that_was_never_set_is_refused_before_anything_is_written() {
    let local = local();
    let host = Host::open(&local, &[]);
    for struct_size in [0, 7, 64 * size_of::<cwl_stats_snapshot>() + 8, usize::MAX - 7] {
        let mut stats = cwl_stats_snapshot { struct_size, ..Default::default() };
        refused! { cwl_stats(host.sink, &mut stats) => "struct_size of stats" }
    }
    for struct_size in [0, 8, 64 * size_of::<cwl_ack>() + 8, usize::MAX - 7] {
        let mut ack = cwl_ack {
            struct_size,
            token: 0,
            outcome: cwl_outcome::CWL_DELIVERED,
            reason: cwl_reason::CWL_REASON_NONE,
            error_code: null(),
            error_message: null(),
        };
        // SAFETY: a live sink, and room for one ack.
        let result = unsafe { cwl_poll_acks(host.sink, &mut ack, 1, 0) };
        assert_eq!(result, -(CWL_ERR_INVALID_ARGUMENT as i64), "{struct_size}");
        assert!(last_error().contains("struct_size of acks[0]"), "{}", last_error());
    }
}

#[test]
fn a_secret_that_is_not_utf8_is_refused_and_the_text_names_the_option_but_not_the_value() {
    let config = cwl_config_new();
    refused! { cwl_config_set(config, c"secret_access_key".as_ptr(), c"hunter2\xFF".as_ptr()) => "secret_access_key" }
    assert!(last_error().contains("not UTF-8") && !last_error().contains("hunter2"), "{}", last_error());
    // SAFETY: a live configuration that nobody uses any more.
    unsafe { cwl_config_free(config) };
}

#[test]
fn an_empty_message_and_impossible_sizes_are_refused() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let with_message =
        |message: *const std::ffi::c_char, message_len| cwl_event { message, message_len, ..event(b"m") };
    let with_size = |struct_size| cwl_event { struct_size, ..event(b"m") };
    refused! {
        cwl_push_event(host.sink, &with_message(c"m".as_ptr(), 0)) => "empty",
        cwl_push_event(host.sink, &with_message(null(), 0)) => "empty",
        cwl_push_event(host.sink, &with_message(null(), 5)) => "message is NULL",
        cwl_push_event(host.sink, &with_message(c"m".as_ptr(), usize::MAX)) => "message_len",
        cwl_push_event(host.sink, &with_size(0)) => "struct_size is 0",
        cwl_push_event(host.sink, &with_size(8)) => "struct_size is 8",
        cwl_push_event(host.sink, &with_size(usize::MAX)) => "struct_size",
    }
    assert_eq!(host.stats().accepted_events, 0);
}

#[test]
fn a_timestamp_of_zero_means_none_and_a_negative_timestamp_is_refused() {
    let local = local();
    let host = Host::open(&local, &[]);
    assert_eq!(host.push_at("g", "s", -1, "m"), CWL_ERR_INVALID_ARGUMENT);
    assert!(last_error().contains("timestamp_ms is -1"), "{}", last_error());
    assert_eq!(host.push_at("g", "s", i64::MIN, "m"), CWL_ERR_INVALID_ARGUMENT);
    assert_eq!(host.push_at("g", "s", i64::MAX, "m"), CWL_ERR_TOO_NEW);
    let before = now_ms();
    assert_eq!(host.push_at("g", "s", 0, "now"), CWL_OK);
    let given = before - 30_000;
    assert_eq!(host.push_at("g", "s", given, "given"), CWL_OK);
    assert_eq!(host.push_at("g", "s", 0, "as the last one"), CWL_OK);
    assert_eq!(host.push_at("g", "other", 0, "another target"), CWL_OK);
    host.must_flush();
    let timestamps: Vec<_> =
        local.events("g", "s").into_iter().map(|e| (e.message, e.timestamp_ms)).collect();
    assert_eq!(timestamps[0], ("given".into(), given));
    assert_eq!(timestamps[1], ("as the last one".into(), given), "it gets the last timestamp of the target");
    assert!(
        (before..=now_ms()).contains(&timestamps[2].1),
        "without an earlier timestamp it gets the current time"
    );
    assert!((before..=now_ms()).contains(&local.events("g", "other")[0].timestamp_ms));
}

#[test]
fn an_array_of_events_is_accepted_up_to_the_first_event_that_is_refused() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let events = [event(b"0"), event(b"1"), event(b""), event(b"3")];
    let mut accepted = 99;
    refused! { cwl_push_events(host.sink, events.as_ptr(), 4, &mut accepted) => "empty" }
    assert_eq!(accepted, 2);
    // SAFETY: a live sink and the rest of the array.
    unsafe { assert_eq!(cwl_push_events(host.sink, &events[3], 1, &mut accepted), CWL_OK) };
    host.must_flush();
    assert_eq!((accepted, arrived(&local, "g", "s")), (1, vec!["0".into(), "1".into(), "3".into()]));
}

#[test]
fn after_the_shutdown_every_push_and_every_new_target_is_refused() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let target = Target::open(&host, None, None).expect("a target");
    assert_eq!(target.push("before"), CWL_OK);
    assert_eq!(host.shutdown(10_000), CWL_OK);
    // SAFETY: a live sink and a whole event.
    unsafe { assert_eq!(cwl_push_event(host.sink, &event(b"m")), CWL_ERR_CLOSED) };
    assert_eq!(target.push("m"), CWL_ERR_CLOSED);
    assert_eq!(host.push("new", "target", "m"), CWL_ERR_CLOSED);
    assert_eq!(Target::open(&host, Some(c"new"), Some(c"s")).err(), Some(CWL_ERR_CLOSED), "a new target");
    assert_eq!(Target::open(&host, None, None).err(), Some(CWL_ERR_CLOSED), "a known target");
    assert_eq!(host.flush(0), CWL_OK, "nothing is left to flush");
    drop(host);
    assert_eq!(target.push("m"), CWL_ERR_CLOSED, "a target outlives its sink");
    assert_eq!(arrived(&local, "g", "s"), ["before"]);
}

#[test]
fn an_event_of_another_size_is_refused_before_it_is_read() {
    let local = local();
    let host = Host::open(&local, &[]);
    let (group, stream) = (c"g", c"s");
    let valid = cwl_event { log_group: group.as_ptr(), log_stream: stream.as_ptr(), ..event(b"m") };
    let size = size_of::<cwl_event>();
    // The array has two events. What follows is not the library's to read.
    let events = [valid, cwl_event { struct_size: 2 * size, ..valid }, cwl_event { token: 7, ..valid }];
    let mut accepted = 9;
    // SAFETY: the first two events are the array.
    let status = unsafe { cwl_push_events(host.sink, events.as_ptr(), 2, &mut accepted) };
    assert_eq!((status, accepted), (CWL_ERR_INVALID_ARGUMENT, 1));
    assert_eq!(last_error(), format!("event 1: struct_size is {}, the first has {size}", 2 * size));
    let smaller = [valid, cwl_event { struct_size: size - 8, ..valid }];
    // SAFETY: an array of two events.
    let status = unsafe { cwl_push_events(host.sink, smaller.as_ptr(), 2, &mut accepted) };
    assert_eq!((status, accepted), (CWL_ERR_INVALID_ARGUMENT, 1));
    host.must_flush();
    assert_eq!(local.event_count("g"), 2);
}
