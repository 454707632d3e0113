//! Bad input: the right code, a message that names what is wrong, and nothing lost.

use std::ffi::CString;
use std::ptr::{null, null_mut};

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;

use crate::host::*;

/// Calls that must be refused for an argument, each with a text that says which.
macro_rules! refused {
    ($($call:expr => $names:expr),+ $(,)?) => {
        $({
            // SAFETY: every pointer is NULL or good for what it is passed as.
            let status = unsafe { $call };
            assert_eq!(status, CWL_ERR_INVALID_ARGUMENT, "{}", stringify!($call));
            assert!(last_error().contains($names), "{}: {}", stringify!($call), last_error());
        })+
    };
}

#[test]
fn null_everywhere_is_refused_and_never_a_crash() {
    let local = local();
    let host = Host::open(&local, &[]);
    let sink = host.sink;
    let config = cwl_config_new();
    let mut target = null_mut();
    let text = c"g".as_ptr();
    let good = event(b"m");
    let mut taken = 0;
    refused! {
        cwl_config_set(null_mut(), text, text) => "cwl_config is NULL",
        cwl_config_set(config, null(), text) => "key is NULL",
        cwl_config_set(config, c"region".as_ptr(), null()) => "\"region\" is NULL",
        cwl_sink_open(config, null_mut()) => "sink",
        cwl_push_event(null_mut(), &good) => "cwl_sink is NULL",
        cwl_push_event(sink, null()) => "event is NULL",
        cwl_push_events(null_mut(), &good, 1, &mut taken) => "cwl_sink is NULL",
        cwl_push_events(sink, null(), 1, &mut taken) => "event is NULL",
        cwl_target_open(null_mut(), text, text, &mut target) => "cwl_sink is NULL",
        cwl_target_open(sink, text, text, null_mut()) => "target",
        cwl_target_open(sink, null(), text, &mut target) => "log_group",
        cwl_target_push(null_mut(), &good) => "cwl_target is NULL",
        cwl_flush(null_mut(), 0) => "cwl_sink is NULL",
        cwl_shutdown(null_mut(), 0) => "cwl_sink is NULL",
        cwl_stats(null_mut(), null_mut()) => "cwl_sink is NULL",
        cwl_stats(sink, null_mut()) => "stats",
        cwl_stats_json(null_mut(), null_mut()) => "json",
        cwl_stats_json(sink, null_mut()) => "json",
    }
    // SAFETY: NULL is allowed in all of them.
    unsafe {
        cwl_config_free(config);
        cwl_config_free(null_mut());
        cwl_target_free(null_mut());
        cwl_sink_free(null_mut());
        cwl_string_free(null_mut());
        assert_eq!(cwl_push_events(sink, null(), 0, null_mut()), CWL_OK, "no events are no error");
    }
    host.must_push("g", "s", "still alive");
    host.must_flush();
    assert_eq!(host.stats().accepted_events, 1);
}

#[test]
fn wrong_handles_are_told_from_right_ones() {
    let local = local();
    let host = Host::open(&local, &[]);
    let mut target = null_mut();
    // SAFETY: a live sink, C strings and room for the target.
    unsafe { assert_eq!(cwl_target_open(host.sink, c"g".as_ptr(), c"s".as_ptr(), &mut target), CWL_OK) };
    refused! {
        cwl_flush(target.cast(), 0) => "cwl_sink",
        cwl_target_push(host.sink.cast(), &event(b"m")) => "cwl_target",
        cwl_sink_open(target.cast(), &mut null_mut()) => "cwl_config",
    }
    // SAFETY: freed by the function of another kind, which leaves them alone; then by their own.
    unsafe {
        cwl_sink_free(target.cast());
        assert_eq!(cwl_target_push(target, &event(b"m")), CWL_OK);
        cwl_target_free(target);
    }
    host.must_flush();
    assert_eq!(local.event_count("g"), 1);
}

#[test]
fn wrong_options_are_refused_with_a_text_that_names_them() {
    let endpoint = "http://127.0.0.1:1";
    for (options, names) in [
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
        assert!(text.contains(names), "{options:?}: {text}");
    }
}

#[test]
fn names_that_cloudwatch_does_not_allow_are_refused_at_push() {
    let local = local();
    let host = Host::open(&local, &[]);
    let long = "g".repeat(513);
    for (group, stream, names) in [
        ("a:b", "s", "log group \"a:b\""),
        ("g", "a:b", "log stream \"a:b\""),
        ("g", "a*b", "log stream \"a*b\""),
        ("", "s", "log group is empty"),
        ("g", "", "log stream is empty"),
        (&long, "s", "513"),
        ("g g", "s", "' '"),
    ] {
        assert_eq!(host.push(group, stream, "m"), CWL_ERR_INVALID_ARGUMENT, "{group:?} {stream:?}");
        assert!(last_error().contains(names), "{group:?} {stream:?}: {}", last_error());
    }
    let event = cwl_event { log_group: c"\xFF".as_ptr(), ..event(b"m") };
    refused! { cwl_push_event(host.sink, &event) => "log_group is not UTF-8" }
    assert_eq!(host.stats().targets, 0, "nothing is left of a name that is refused");
}

#[test]
fn an_event_without_a_target_is_refused_unless_the_options_name_one() {
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
fn sizes_of_structs_that_were_never_set_are_refused_before_anything_is_written() {
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
        let taken = unsafe { cwl_poll_acks(host.sink, &mut ack, 1, 0) };
        assert_eq!(taken, -(CWL_ERR_INVALID_ARGUMENT as i64), "{struct_size}");
        assert!(last_error().contains("struct_size of acks[0]"), "{}", last_error());
    }
}

#[test]
fn a_value_that_is_not_utf8_is_refused_by_its_options_name_and_not_shown() {
    let config = cwl_config_new();
    refused! { cwl_config_set(config, c"secret_access_key".as_ptr(), c"hunter2\xFF".as_ptr()) => "secret_access_key" }
    assert!(last_error().contains("not UTF-8") && !last_error().contains("hunter2"), "{}", last_error());
    // SAFETY: a live configuration, not used any more.
    unsafe { cwl_config_free(config) };
}

#[test]
fn an_empty_message_and_impossible_sizes_are_refused() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let sized =
        |message: *const std::ffi::c_char, message_len| cwl_event { message, message_len, ..event(b"m") };
    let shaped = |struct_size| cwl_event { struct_size, ..event(b"m") };
    refused! {
        cwl_push_event(host.sink, &sized(c"m".as_ptr(), 0)) => "empty",
        cwl_push_event(host.sink, &sized(null(), 0)) => "empty",
        cwl_push_event(host.sink, &sized(null(), 5)) => "message is NULL",
        cwl_push_event(host.sink, &sized(c"m".as_ptr(), usize::MAX)) => "message_len",
        cwl_push_event(host.sink, &shaped(0)) => "struct_size is 0",
        cwl_push_event(host.sink, &shaped(8)) => "struct_size is 8",
        cwl_push_event(host.sink, &shaped(usize::MAX)) => "struct_size",
    }
    assert_eq!(host.stats().accepted_events, 0);
}

#[test]
fn a_timestamp_of_zero_is_none_and_a_negative_one_is_refused() {
    let local = local();
    let host = Host::open(&local, &[]);
    assert_eq!(host.push_at("g", "s", -1, "m"), CWL_ERR_INVALID_ARGUMENT);
    assert!(last_error().contains("timestamp_ms is -1"), "{}", last_error());
    assert_eq!(host.push_at("g", "s", i64::MIN, "m"), CWL_ERR_INVALID_ARGUMENT);
    assert_eq!(host.push_at("g", "s", i64::MAX, "m"), CWL_ERR_TOO_NEW);
    let before = now_ms();
    assert_eq!(host.push_at("g", "s", 0, "now"), CWL_OK);
    let given = before - 60_000;
    assert_eq!(host.push_at("g", "s", given, "given"), CWL_OK);
    assert_eq!(host.push_at("g", "s", 0, "as the last one"), CWL_OK);
    assert_eq!(host.push_at("g", "other", 0, "another target"), CWL_OK);
    host.must_flush();
    let stamps: Vec<_> = local.events("g", "s").into_iter().map(|e| (e.message, e.timestamp_ms)).collect();
    assert_eq!(stamps[0], ("given".into(), given));
    assert_eq!(stamps[1], ("as the last one".into(), given), "it takes the target's last timestamp");
    assert!((before..=now_ms()).contains(&stamps[2].1), "without an earlier one it is now");
    assert!((before..=now_ms()).contains(&local.events("g", "other")[0].timestamp_ms));
}

#[test]
fn an_array_of_events_is_taken_up_to_the_first_that_is_refused() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let events = [event(b"0"), event(b"1"), event(b""), event(b"3")];
    let mut taken = 99;
    refused! { cwl_push_events(host.sink, events.as_ptr(), 4, &mut taken) => "empty" }
    assert_eq!(taken, 2);
    // SAFETY: a live sink and the rest of the array.
    unsafe { assert_eq!(cwl_push_events(host.sink, &events[3], 1, &mut taken), CWL_OK) };
    host.must_flush();
    assert_eq!((taken, arrived(&local, "g", "s")), (1, vec!["0".into(), "1".into(), "3".into()]));
}

#[test]
fn after_the_shutdown_every_way_in_is_closed() {
    let local = local();
    let host = Host::open(&local, &[("log_group", "g"), ("log_stream", "s")]);
    let mut target = null_mut();
    // SAFETY: live handles, C strings, whole events.
    unsafe {
        assert_eq!(cwl_target_open(host.sink, null(), null(), &mut target), CWL_OK);
        assert_eq!(cwl_target_push(target, &event(b"before")), CWL_OK);
        assert_eq!(host.shutdown(10_000), CWL_OK);
        assert_eq!(cwl_push_event(host.sink, &event(b"m")), CWL_ERR_CLOSED);
        assert_eq!(cwl_target_push(target, &event(b"m")), CWL_ERR_CLOSED);
        assert_eq!(host.push("new", "target", "m"), CWL_ERR_CLOSED);
        let mut late = null_mut();
        assert_eq!(cwl_target_open(host.sink, c"new".as_ptr(), c"s".as_ptr(), &mut late), CWL_ERR_CLOSED);
        assert!(late.is_null());
        assert_eq!(cwl_target_open(host.sink, null(), null(), &mut late), CWL_ERR_CLOSED, "nor a known one");
        assert!(late.is_null());
        assert_eq!(host.flush(0), CWL_OK, "nothing is left to flush");
        drop(host);
        assert_eq!(cwl_target_push(target, &event(b"m")), CWL_ERR_CLOSED, "a target outlives its sink");
        cwl_target_free(target);
    }
    assert_eq!(arrived(&local, "g", "s"), ["before"]);
}
