//! Forks: the child of a host that uses the library goes on with it, and the parent notices nothing.

use std::ffi::CString;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;
use cwl_local::Local;

use crate::host::*;

/// The exit code of a child whose body failed.
const FAILED: i32 = 101;

/// A child process. Dropping it kills it, if it still runs.
struct Child(libc::pid_t);

impl Child {
    /// Forks. The child runs `body` and exits without returning from it: with 0, or with [`FAILED`] after a panic.
    fn fork(body: impl FnOnce()) -> Child {
        // SAFETY: the child uses memory, and what the library promises to work.
        match unsafe { libc::fork() } {
            0 => {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                // SAFETY: always safe. The test harness must not run in the child.
                unsafe { libc::_exit(if result.is_ok() { 0 } else { FAILED }) }
            }
            -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
            pid => Child(pid),
        }
    }

    /// Waits until the child has exited, which must be soon, and returns its exit code.
    fn exit_code(self) -> i32 {
        let deadline = Instant::now() + SOON;
        loop {
            let mut status = 0;
            // SAFETY: a child of this process and room for its status.
            match unsafe { libc::waitpid(self.0, &mut status, libc::WNOHANG) } {
                0 if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                0 => panic!("the child hangs"),
                _ => {
                    std::mem::forget(self);
                    assert!(libc::WIFEXITED(status), "the child was ended by signal {}", status & 127);
                    return libc::WEXITSTATUS(status);
                }
            }
        }
    }

    #[track_caller]
    fn must_succeed(self) {
        assert_eq!(self.exit_code(), 0, "a check failed in the child; its text stands above");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of this process that was not waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, null_mut(), 0);
        }
    }
}

fn acks_of(host: &Host, count: usize) -> Vec<u64> {
    let mut tokens = Vec::new();
    while tokens.len() < count {
        // SAFETY: an ack is `repr(C)`, of numbers and pointers, and zero is one of each.
        let mut acks: Vec<cwl_ack> = (0..64).map(|_| unsafe { zeroed() }).collect();
        acks[0].struct_size = size_of::<cwl_ack>();
        // SAFETY: a live sink and room for the acks.
        let taken =
            unsafe { cwl_poll_acks(host.sink, acks.as_mut_ptr(), acks.len(), SOON.as_millis() as i64) };
        assert!(taken > 0, "{taken}: {} acks of {count}", tokens.len());
        acks.truncate(taken as usize);
        assert!(acks.iter().all(|ack| ack.outcome == cwl_outcome::CWL_DELIVERED));
        tokens.extend(acks.iter().map(|ack| ack.token));
    }
    tokens.sort_unstable();
    tokens
}

/// Pushes an event with a token to the target of the options.
#[track_caller]
fn push(host: &Host, token: u64) {
    let message = token.to_string();
    // SAFETY: a live sink and a whole event.
    let status = unsafe { cwl_push_event(host.sink, &cwl_event { token, ..event(message.as_bytes()) }) };
    assert_eq!(status, CWL_OK, "{}", last_error());
}

fn open(local: &Local, group: &str, options: &[(&str, &str)]) -> Host {
    Host::open(local, &[&[("log_group", group), ("log_stream", "s")], options].concat())
}

/// The numbers that arrived in a group, sorted.
fn sorted(local: &Local, group: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        arrived(local, group, "s").iter().map(|message| message.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

const SEAL_ON_FLUSH: (&str, &str) = ("flush_interval_ms", "3600000");

#[test]
fn parent_and_child_each_deliver_what_they_accepted_once_and_get_the_acks_of_that() {
    let local = local();
    local.create_stream("g", "s");
    let host = open(&local, "g", &[SEAL_ON_FLUSH]);
    // SAFETY: a live sink.
    assert_eq!(unsafe { cwl_poll_acks(host.sink, null_mut(), 0, 0) }, 0);
    (0..100).for_each(|token| push(&host, token));
    let child = Child::fork(|| {
        (1000..1100).for_each(|token| push(&host, token));
        host.must_flush();
        assert_eq!(acks_of(&host, 100), (1000..1100).collect::<Vec<_>>());
        let stats = host.stats();
        assert_eq!((stats.accepted_events, stats.delivered_events), (100, 100));
        assert_eq!(host.shutdown(10_000), CWL_OK);
    });
    (100..200).for_each(|token| push(&host, token));
    child.must_succeed();
    assert_eq!(sorted(&local, "g"), (1000..1100).collect::<Vec<_>>(), "the parent has sent nothing yet");
    host.must_flush();
    assert_eq!(acks_of(&host, 200), (0..200).collect::<Vec<_>>());
    assert_eq!(sorted(&local, "g"), (0..200).chain(1000..1100).collect::<Vec<_>>());
    assert_eq!(host.shutdown(10_000), CWL_OK);
}

#[test]
fn handles_of_the_parent_work_in_the_child_and_in_its_child() {
    let local = local();
    create_groups(&local, "/g", 2);
    let host = Host::open(&local, &[SEAL_ON_FLUSH]);
    let target = Target::open(&host, Some(c"/g/0"), Some(c"s")).expect("a target");
    assert_eq!(target.push("1"), CWL_OK);
    Child::fork(|| {
        assert_eq!(target.push("2"), CWL_OK);
        Child::fork(|| {
            assert_eq!(target.push("3"), CWL_OK);
            let another = Target::open(&host, Some(c"/g/1"), Some(c"s")).expect("a target");
            assert_eq!(another.push("4"), CWL_OK);
            host.must_flush();
            drop(another);
        })
        .must_succeed();
        host.must_flush();
    })
    .must_succeed();
    host.must_flush();
    assert_eq!(sorted(&local, "/g/0"), [1, 2, 3]);
    assert_eq!(sorted(&local, "/g/1"), [4]);
}

#[test]
fn a_child_that_pushes_nothing_flushes_shuts_down_and_frees_at_once_and_the_parent_goes_on() {
    let local = local();
    local.create_stream("g", "s");
    let host = open(&local, "g", &[SEAL_ON_FLUSH]);
    push(&host, 1);
    Child::fork(|| {
        let begin = Instant::now();
        assert_eq!(host.flush(10_000), CWL_OK);
        assert_eq!(host.shutdown(10_000), CWL_OK);
        // SAFETY: the child's copy of the handle, which it does not use any more.
        unsafe { cwl_sink_free(host.sink) };
        assert!(begin.elapsed() < Duration::from_millis(200));
    })
    .must_succeed();
    push(&host, 2);
    host.must_flush();
    assert_eq!(sorted(&local, "g"), [1, 2]);
    assert_eq!(host.shutdown(10_000), CWL_OK);
    Child::fork(|| assert_eq!(host.push("g", "s", "3"), CWL_ERR_CLOSED)).must_succeed();
}

#[test]
fn a_host_that_forks_over_and_over_while_it_pushes_loses_nothing_and_hangs_nowhere() {
    const FORKS: u64 = 60;
    const PUSHERS: u64 = 4;
    let local = local();
    local.create_stream("g", "s");
    let host = open(&local, "g", &[("flush_interval_ms", "1")]);
    let is_over = AtomicBool::new(false);
    let pushed: u64 = thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let (host, is_over) = (&host, &is_over);
                scope.spawn(move || {
                    let mut count = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        push(host, pusher << 40 | count);
                        count += 1;
                        thread::sleep(Duration::from_micros(200));
                    }
                    count
                })
            })
            .collect();
        for number in 0..FORKS {
            let child = Child::fork(|| {
                (0..3).for_each(|token| push(&host, (PUSHERS + number) << 40 | token));
                host.must_flush();
                assert_eq!(host.shutdown(10_000), CWL_OK);
            });
            child.must_succeed();
        }
        is_over.store(true, Ordering::Relaxed);
        pushers.into_iter().map(|pusher| pusher.join().expect("no panic")).sum()
    });
    host.must_flush();
    let arrived = sorted(&local, "g");
    assert_eq!(arrived.len() as u64, pushed + 3 * FORKS);
    assert!(arrived.windows(2).all(|two| two[0] != two[1]), "nothing arrives twice");
}

#[test]
fn the_state_of_sources_stays_with_the_parent_which_can_open_it_again_while_a_child_lives() {
    let (local, state) = (local(), tempfile::tempdir().expect("a folder"));
    local.create_stream("g", "s");
    let options = [("state_dir", state.path().to_str().expect("UTF-8")), SEAL_ON_FLUSH];
    let host = open(&local, "g", &options);
    let (name, mut source) = (CString::new("file").expect("no NUL"), null_mut());
    // SAFETY: a live sink, a C string and room for the source.
    assert_eq!(unsafe { cwl_source_open(host.sink, name.as_ptr(), &mut source) }, CWL_OK);
    let push_range = |begin, end| {
        let event = cwl_event { source, offset_begin: begin, offset_end: end, ..event(b"1") };
        // SAFETY: a live sink and a whole event.
        assert_eq!(unsafe { cwl_push_event(host.sink, &event) }, CWL_OK, "{}", last_error());
    };
    push_range(0, 10);
    Child::fork(|| {
        let mut another = null_mut();
        // SAFETY: as above.
        assert_eq!(unsafe { cwl_source_open(host.sink, name.as_ptr(), &mut another) }, CWL_ERR_STATE);
        assert!(last_error().contains("belongs to the parent"), "{}", last_error());
        // The source of the parent works, without a state.
        push_range(500, 510);
        host.must_flush();
    })
    .must_succeed();
    let sleeping = Child::fork(|| thread::sleep(SOON));
    host.must_flush();
    assert_eq!(host.shutdown(10_000), CWL_OK);
    // SAFETY: a live source that nobody uses any more.
    unsafe { cwl_source_free(source) };
    drop(host);
    let host = open(&local, "g", &options);
    let mut offset = 0;
    // SAFETY: a live sink, a C string, room for the source and for the offset.
    unsafe {
        assert_eq!(cwl_source_open(host.sink, name.as_ptr(), &mut source), CWL_OK);
        assert_eq!(cwl_source_offset(source, &mut offset), CWL_OK);
        cwl_source_free(source);
    }
    assert_eq!(offset, 10, "only the parent's event counts");
    drop(sleeping);
}

/// Waits until the descriptor is readable.
fn is_readable_soon(number: i32) -> bool {
    let mut poll = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor.
    unsafe { libc::poll(&mut poll, 1, SOON.as_millis() as i32) == 1 }
}

#[test]
fn the_ack_descriptor_wakes_parent_and_child_each_for_its_own_acks() {
    let local = local();
    local.create_stream("g", "s");
    let host = open(&local, "g", &[("flush_interval_ms", "1")]);
    // SAFETY: a live sink.
    let number = unsafe { cwl_ack_fd(host.sink) };
    assert!(number >= 0);
    Child::fork(|| {
        push(&host, 7);
        assert!(is_readable_soon(number));
        assert_eq!(acks_of(&host, 1), [7]);
        // SAFETY: a live sink.
        assert_eq!(unsafe { cwl_ack_fd(host.sink) }, number);
    })
    .must_succeed();
    let mut poll = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, 0) }, 0, "the child's acks do not wake the parent");
    push(&host, 8);
    assert!(is_readable_soon(number));
    assert_eq!(acks_of(&host, 1), [8]);
}
