//! Sources and their offsets: a restarted host reads again what is not final, and nothing else.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::ptr::null_mut;
use std::thread;
use std::time::Duration;

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;

use crate::host::*;

/// A handle to a source, freed when it is dropped.
struct Source(*mut cwl_source);

impl Source {
    fn try_open(host: &Host, name: &str) -> Result<Source, (cwl_status, String)> {
        let (name, mut source) = (CString::new(name).expect("no NUL"), null_mut());
        // SAFETY: a live sink, a C string and room for the source.
        match unsafe { cwl_source_open(host.sink, name.as_ptr(), &mut source) } {
            CWL_OK => Ok(Source(source)),
            status => Err((status, last_error())),
        }
    }

    fn open(host: &Host, name: &str) -> Source {
        Self::try_open(host, name).unwrap_or_else(|(status, text)| panic!("{status:?}: {text}"))
    }

    fn offset(&self) -> u64 {
        let mut offset = u64::MAX;
        // SAFETY: a live source and room for the offset.
        unsafe { assert_eq!(cwl_source_offset(self.0, &mut offset), CWL_OK) };
        offset
    }

    /// Pushes an event that covers the source from `begin` to `end`.
    fn push(&self, host: &Host, group: &str, begin: u64, end: u64) -> cwl_status {
        self.push_message(host, group, begin, end, b"m")
    }

    fn push_message(&self, host: &Host, group: &str, begin: u64, end: u64, message: &[u8]) -> cwl_status {
        let group = CString::new(group).expect("no NUL");
        let event = cwl_event {
            log_group: group.as_ptr(),
            log_stream: c"s".as_ptr(),
            source: self.0,
            offset_begin: begin,
            offset_end: end,
            ..event(message)
        };
        // SAFETY: a live sink and a whole event.
        unsafe { cwl_push_event(host.sink, &event) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: a live source.
        unsafe { cwl_source_free(self.0) };
    }
}

/// Opens a sink with `state_dir`. Returns the status and the text when the library refuses.
fn try_open(local: &cwl_local::Local, state: &Path) -> Result<Host, (cwl_status, String)> {
    let state = state.to_str().expect("UTF-8");
    Host::try_open(&local.endpoint(), &[("state_dir", state), ("flush_interval_ms", "5")])
}

/// Opens a sink with `state_dir`.
fn open(local: &cwl_local::Local, state: &Path) -> Host {
    try_open(local, state).unwrap_or_else(|(status, text)| panic!("{status:?}: {text}"))
}

#[test]
fn the_offset_passes_an_event_only_when_all_earlier_events_are_final_whatever_their_order() {
    let local = local();
    local.add_fault(denied("slow"));
    let host = Host::open(&local, &[("flush_interval_ms", "5")]);
    let source = Source::open(&host, "file");
    assert_eq!(source.push(&host, "fast", 0, 10), CWL_OK);
    assert_eq!(source.push(&host, "slow", 10, 20), CWL_OK);
    assert_eq!(source.push(&host, "fast", 20, 30), CWL_OK);
    host.wait_for_events(&local, "fast", 2);
    assert_eq!(host.flush(100), CWL_ERR_TIMEOUT);
    assert_eq!(source.offset(), 10);
    local.clear_faults();
    host.must_flush();
    assert_eq!(source.offset(), 30);
}

#[test]
fn a_source_begins_at_the_first_event_that_was_accepted() {
    let local = local();
    let bounds = [("buffer_max_bytes", "4194304"), ("flush_interval_ms", "3600000"), ("oversize", "split")];
    let host = Host::open(&local, &bounds);
    let source = Source::open(&host, "file");
    local.add_fault(denied("hog*"));
    for hog in ["hog-1", "hog-2"] {
        host.must_push(hog, "s", "x".repeat(1_000_000));
    }
    let whole = "y".repeat(1_200_000);
    assert_eq!(source.push_message(&host, "g", 1000, 2000, whole.as_bytes()), CWL_ERR_FULL);
    local.clear_faults();
    host.must_flush();
    assert_eq!(source.push(&host, "g", 5000, 5001), CWL_OK);
    host.must_flush();
    assert_eq!(source.offset(), 5001);
    assert_eq!(source.push_message(&host, "g", 5001, 6000, whole.as_bytes()), CWL_OK);
    host.must_flush();
    assert_eq!(source.offset(), 6000);
}

#[test]
fn an_offset_is_kept_over_a_restart_and_abandoned_events_are_read_again() {
    let local = local();
    let state = tempfile::tempdir().expect("a folder");
    {
        let host = open(&local, state.path());
        let source = Source::open(&host, "/var/log/app.log");
        assert_eq!(source.offset(), 0);
        assert_eq!(source.push(&host, "g", 0, 100), CWL_OK);
        host.must_flush();
        local.add_fault(denied("g"));
        assert_eq!(source.push(&host, "g", 100, 200), CWL_OK);
        assert_eq!(host.shutdown(300), CWL_ERR_ABANDONED);
        assert_eq!(source.offset(), 100, "abandoned events hold the offset back");
    }
    local.clear_faults();
    let host = open(&local, state.path());
    let source = Source::open(&host, "/var/log/app.log");
    assert_eq!(source.offset(), 100);
    assert_eq!(Source::open(&host, "/var/log/other.log").offset(), 0);
    assert_eq!(source.push(&host, "g", 100, 200), CWL_OK);
    host.must_flush();
    assert_eq!(source.offset(), 200);
    assert_eq!(host.shutdown(10_000), CWL_OK);
    drop((source, host));
    let host = open(&local, state.path());
    assert_eq!(Source::open(&host, "/var/log/app.log").offset(), 200);
}

#[test]
fn an_offset_advances_past_rejected_and_dropped_events_too() {
    let local = local();
    local.create_stream("g", "s");
    let reject = cwl_local::Reject { too_old: 1, ..Default::default() };
    local.add_fault(cwl_local::Rule::reject(reject).operation("PutLogEvents").count(1));
    let host = Host::open(&local, &[]);
    let source = Source::open(&host, "file");
    assert_eq!(source.push(&host, "g", 0, 10), CWL_OK);
    host.must_flush();
    assert_eq!((source.offset(), host.stats().rejected_events), (10, 1));
    local.add_fault(cwl_local::Rule::error("InvalidParameterException", 400).operation("PutLogEvents"));
    assert_eq!(source.push(&host, "g", 10, 20), CWL_OK);
    host.must_flush();
    assert_eq!((source.offset(), host.stats().dropped_events), (20, 1));
}

#[test]
fn an_offset_comes_to_the_disk_by_itself_and_survives_a_kill() {
    let local = local();
    let state = tempfile::tempdir().expect("a folder");
    let host = open(&local, state.path());
    let source = Source::open(&host, "file");
    assert_eq!(source.push(&host, "g", 0, 77), CWL_OK);
    host.must_flush();
    // A copy of the folder has the state that a new process would find if this process were killed now.
    let on_disk = || {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(state.path()).expect("readable") {
            let entry = entry.expect("readable");
            let _ = fs::copy(entry.path(), copy.path().join(entry.file_name()));
        }
        let host = open(&local, copy.path());
        Source::open(&host, "file").offset()
    };
    let deadline = std::time::Instant::now() + SOON;
    while on_disk() != 77 {
        assert!(std::time::Instant::now() < deadline, "the offset is not on the disk");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn after_the_shutdown_another_sink_may_use_the_folder_even_if_source_handles_are_left() {
    let local = local();
    let state = tempfile::tempdir().expect("a folder");
    let host = open(&local, state.path());
    let source = Source::open(&host, "file");
    assert_eq!(source.push(&host, "g", 0, 77), CWL_OK);
    assert!(try_open(&local, state.path()).is_err(), "the folder is in use before the shutdown");
    assert_eq!(host.shutdown(10_000), CWL_OK);
    drop(host);
    let next = open(&local, state.path());
    assert_eq!((Source::open(&next, "file").offset(), source.offset()), (77, 77));
}

#[test]
fn a_damaged_state_file_is_refused_and_never_read_as_zero() {
    let local = local();
    let state = tempfile::tempdir().expect("a folder");
    {
        let host = open(&local, state.path());
        let source = Source::open(&host, "file");
        assert_eq!(source.push(&host, "g", 0, 50), CWL_OK);
        assert_eq!(host.shutdown(10_000), CWL_OK);
    }
    let files = fs::read_dir(state.path()).expect("readable").map(|entry| entry.expect("readable").path());
    let file =
        files.into_iter().find(|path| path.extension().is_some_and(|e| e == "offset")).expect("a state");
    let good = fs::read_to_string(&file).expect("text");
    for damaged in [String::new(), good[..good.len() / 2].to_owned(), good.replace("offset 1", "offset 9")] {
        fs::write(&file, damaged).expect("written");
        let host = open(&local, state.path());
        let (status, text) = Source::try_open(&host, "file").err().expect("refused");
        assert_eq!(status, CWL_ERR_STATE);
        assert!(text.contains(file.to_str().expect("UTF-8")), "{text}");
        Source::open(&host, "another is not affected");
    }
}

#[test]
fn a_state_dir_that_cannot_be_used_is_refused_at_open() {
    let local = local();
    let state = tempfile::tempdir().expect("a folder");
    let _first = open(&local, state.path());
    let (status, text) = try_open(&local, state.path()).err().expect("a second sink with the same folder");
    assert!(status == CWL_ERR_STATE && text.contains("in use"), "{status:?}: {text}");
    let file = state.path().join("file");
    fs::write(&file, "not a folder").expect("written");
    let (status, text) = try_open(&local, &file).err().expect("not a folder");
    assert!(status == CWL_ERR_STATE && text.contains("state_dir"), "{status:?}: {text}");
}

#[test]
fn wrong_offsets_and_a_source_of_another_sink_are_refused() {
    let local = local();
    let (host, other) = (Host::open(&local, &[]), Host::open(&local, &[]));
    let source = Source::open(&host, "file");
    for (begin, end, text_part) in [(10, 10, "greater"), (10, 9, "from 10 to 9")] {
        assert_eq!(source.push(&host, "g", begin, end), CWL_ERR_INVALID_ARGUMENT);
        assert!(last_error().contains(text_part), "{}", last_error());
    }
    assert_eq!(source.push(&other, "g", 0, 1), CWL_ERR_INVALID_ARGUMENT);
    assert!(last_error().contains("another sink"), "{}", last_error());
    let without_source =
        cwl_event { offset_end: 5, log_group: c"g".as_ptr(), log_stream: c"s".as_ptr(), ..event(b"m") };
    // SAFETY: a live sink and a whole event; NULL is refused or allowed.
    unsafe {
        assert_eq!(cwl_push_event(host.sink, &without_source), CWL_ERR_INVALID_ARGUMENT);
        assert_eq!(cwl_source_open(host.sink, std::ptr::null(), &mut null_mut()), CWL_ERR_INVALID_ARGUMENT);
        assert_eq!(cwl_source_offset(null_mut(), &mut 0), CWL_ERR_INVALID_ARGUMENT);
        cwl_source_free(null_mut());
    }
}
