//! A host of the library, which calls the C ABI as a C program does, and helpers for the endpoint.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::cwl_sink::ffi::*;
use cwl_local::{Local, Options, RequestRecord, Rule};

/// The longest wait for anything that happens at all.
pub const SOON: Duration = Duration::from_secs(60);

/// Starts an endpoint without faults.
pub fn local() -> Local {
    Local::start(Options::default()).expect("the endpoint starts")
}

/// A rule that refuses every request for these groups with AccessDeniedException.
pub fn denied(groups: &str) -> Rule {
    Rule::error("AccessDeniedException", 400).group(groups)
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Waits for a condition on the host's side; returns false when it stays false for [`SOON`]. Conditions at the endpoint
/// are waited for with `Local::wait_until`.
pub fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Returns the text of the calling thread's last error.
pub fn last_error() -> String {
    // SAFETY: the text is never NULL and ends in NUL.
    unsafe { CStr::from_ptr(cwl_last_error()) }.to_str().expect("UTF-8").to_owned()
}

/// A host with one sink. Dropping it frees the sink, with or without a shutdown before.
pub struct Host {
    pub sink: *mut cwl_sink,
}

// SAFETY: the header allows any thread to use a sink, several at the same time.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Opens a sink that sends to the endpoint, with these options.
    pub fn open(local: &Local, options: &[(&str, &str)]) -> Host {
        Self::open_at(&local.endpoint(), options)
    }

    /// Opens a sink that sends to this URL, with these options.
    pub fn open_at(endpoint: &str, options: &[(&str, &str)]) -> Host {
        Self::try_open(endpoint, options).unwrap_or_else(|(status, text)| panic!("{status:?}: {text}"))
    }

    /// Opens a sink that sends to this URL. Returns the status and the text when the library refuses.
    pub fn try_open(endpoint: &str, options: &[(&str, &str)]) -> Result<Host, (cwl_status, String)> {
        let required = [
            ("endpoint_url", endpoint),
            ("region", "eu-central-1"),
            ("access_key_id", "test"),
            ("secret_access_key", "test"),
        ];
        let config = cwl_config_new();
        let mut sink = null_mut();
        let mut status = cwl_status::CWL_OK;
        for (key, value) in required.iter().chain(options) {
            status = set(config, key, value);
            if status != cwl_status::CWL_OK {
                break;
            }
        }
        if status == cwl_status::CWL_OK {
            // SAFETY: a live configuration and room for the sink.
            status = unsafe { cwl_sink_open(config, &mut sink) };
        }
        // SAFETY: the configuration was made above.
        unsafe { cwl_config_free(config) };
        if status == cwl_status::CWL_OK { Ok(Host { sink }) } else { Err((status, last_error())) }
    }

    /// Pushes one event. A timestamp of 0 means none.
    pub fn push_at(
        &self,
        group: &str,
        stream: &str,
        timestamp_ms: i64,
        message: impl AsRef<[u8]>,
    ) -> cwl_status {
        let (group, stream) = (CString::new(group).expect("no NUL"), CString::new(stream).expect("no NUL"));
        let event = cwl_event {
            log_group: group.as_ptr(),
            log_stream: stream.as_ptr(),
            timestamp_ms,
            ..event(message.as_ref())
        };
        // SAFETY: a live sink and a whole event.
        unsafe { cwl_push_event(self.sink, &event) }
    }

    /// Pushes one event without a timestamp.
    pub fn push(&self, group: &str, stream: &str, message: impl AsRef<[u8]>) -> cwl_status {
        self.push_at(group, stream, 0, message)
    }

    /// Pushes one event, which must be accepted.
    #[track_caller]
    pub fn must_push(&self, group: &str, stream: &str, message: impl AsRef<[u8]>) {
        let status = self.push(group, stream, message);
        assert_eq!(status, cwl_status::CWL_OK, "{}", last_error());
    }

    /// Calls `cwl_flush`.
    pub fn flush(&self, timeout_ms: i64) -> cwl_status {
        // SAFETY: a live sink.
        unsafe { cwl_flush(self.sink, timeout_ms) }
    }

    /// Flushes, which must succeed.
    #[track_caller]
    pub fn must_flush(&self) {
        let status = self.flush(SOON.as_millis() as i64);
        assert_eq!(status, cwl_status::CWL_OK, "{}: {}", last_error(), self.json());
    }

    /// Calls `cwl_shutdown`.
    pub fn shutdown(&self, timeout_ms: i64) -> cwl_status {
        // SAFETY: a live sink.
        unsafe { cwl_shutdown(self.sink, timeout_ms) }
    }

    /// Reads the statistics.
    pub fn stats(&self) -> cwl_stats_snapshot {
        let mut stats =
            cwl_stats_snapshot { struct_size: size_of::<cwl_stats_snapshot>(), ..Default::default() };
        // SAFETY: a live sink and room for the struct.
        let status = unsafe { cwl_stats(self.sink, &mut stats) };
        assert_eq!(status, cwl_status::CWL_OK);
        stats
    }

    /// Reads the statistics as JSON.
    pub fn json(&self) -> String {
        let mut json: *mut c_char = null_mut();
        // SAFETY: a live sink and room for the pointer; the text is a C string that the caller frees.
        unsafe {
            assert_eq!(cwl_stats_json(self.sink, &mut json), cwl_status::CWL_OK);
            let text = CStr::from_ptr(json).to_str().expect("UTF-8").to_owned();
            cwl_string_free(json);
            text
        }
    }

    /// Waits until the group at the endpoint has exactly `count` events.
    #[track_caller]
    pub fn wait_for_events(&self, local: &Local, group: &str, count: usize) {
        let arrived = local.wait_until(SOON, |local| local.event_count(group) == count);
        assert!(arrived, "{group} has {} events, not {count}: {}", local.event_count(group), self.json());
    }

    /// Waits until at least `min` `PutLogEvents` for the group reached the endpoint.
    #[track_caller]
    pub fn wait_for_attempts(&self, local: &Local, group: &str, min: usize) {
        let reached = local.wait_until(SOON, |local| puts(local, group).len() >= min);
        assert!(reached, "{} of {min} attempts for {group}: {}", puts(local, group).len(), self.json());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: a live sink that nobody uses any more.
        unsafe { cwl_sink_free(self.sink) };
    }
}

/// A target of a host. Dropping it frees the handle.
pub struct Target(*mut cwl_target);

impl Target {
    /// Opens a target. A missing name is the option's. Returns the status when the library refuses.
    pub fn open(host: &Host, group: Option<&CStr>, stream: Option<&CStr>) -> Result<Target, cwl_status> {
        let name = |name: Option<&CStr>| name.map_or(null(), CStr::as_ptr);
        let mut target = null_mut();
        // SAFETY: a live sink, C strings or NULL, and room for the target.
        match unsafe { cwl_target_open(host.sink, name(group), name(stream), &mut target) } {
            cwl_status::CWL_OK => Ok(Target(target)),
            status => {
                assert!(target.is_null(), "a target that is refused must be NULL");
                Err(status)
            }
        }
    }

    /// The handle, for calls that the helpers do not make.
    pub fn as_ptr(&self) -> *mut cwl_target {
        self.0
    }

    /// Pushes one event without a timestamp.
    pub fn push(&self, message: impl AsRef<[u8]>) -> cwl_status {
        // SAFETY: a live target and a whole event.
        unsafe { cwl_target_push(self.0, &event(message.as_ref())) }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: a live target that nobody uses any more.
        unsafe { cwl_target_free(self.0) };
    }
}

/// An event that has only a message. Without names it goes to the target of the options.
pub fn event(message: &[u8]) -> cwl_event {
    cwl_event {
        struct_size: size_of::<cwl_event>(),
        log_group: null(),
        log_stream: null(),
        timestamp_ms: 0,
        message: message.as_ptr().cast(),
        message_len: message.len(),
        token: 0,
        source: null_mut(),
        offset_begin: 0,
        offset_end: 0,
    }
}

/// Sets an option.
pub fn set(config: *mut cwl_config, key: &str, value: &str) -> cwl_status {
    let (key, value) = (CString::new(key).expect("no NUL"), CString::new(value).expect("no NUL"));
    // SAFETY: a live configuration and two C strings.
    unsafe { cwl_config_set(config, key.as_ptr(), value.as_ptr()) }
}

/// The `PutLogEvents` for a group that reached the endpoint, in their order.
pub fn puts(local: &Local, group: &str) -> Vec<RequestRecord> {
    local.requests_where(|request| request.operation == "PutLogEvents" && request.group == group)
}

/// The `PutLogEvents` for a group that the endpoint accepted.
pub fn accepted_puts(local: &Local, group: &str) -> Vec<RequestRecord> {
    puts(local, group).into_iter().filter(|request| request.outcome.is_ok()).collect()
}

/// The messages of a stream, in the order in which the endpoint accepted them.
pub fn arrived(local: &Local, group: &str, stream: &str) -> Vec<String> {
    local.arrival(group, stream).into_iter().map(|event| event.message).collect()
}

/// The numbers 0 to n - 1 as messages.
pub fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|number| number.to_string()).collect()
}

/// Creates `count` groups below `name`, each with a stream "s".
pub fn create_groups(local: &Local, name: &str, count: usize) -> Vec<String> {
    let groups: Vec<_> = (0..count).map(|number| format!("{name}/{number}")).collect();
    groups.iter().for_each(|group| local.create_stream(group, "s"));
    groups
}
