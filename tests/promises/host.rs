//! A host of the library: what a C program does, with the C ABI's own functions, in a few words of Rust.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::cwl_sink::ffi::*;
use cwl_local::{Local, Options, RequestRecord, Rule};

/// Long enough for anything that happens at all.
pub const SOON: Duration = Duration::from_secs(60);

/// An endpoint without faults.
pub fn local() -> Local {
    Local::start(Options::default()).expect("the endpoint starts")
}

/// A rule: these groups are refused with AccessDeniedException, whatever is asked of them.
pub fn denied(groups: &str) -> Rule {
    Rule::error("AccessDeniedException", 400).group(groups)
}

/// The time of day in milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Whether that comes true soon. For what shows on the host's side; what shows at the endpoint is waited for there.
pub fn eventually(comes_true: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !comes_true() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The text of the calling thread's last error.
pub fn last_error() -> String {
    // SAFETY: never NULL, and ends in NUL.
    unsafe { CStr::from_ptr(cwl_last_error()) }.to_str().expect("UTF-8").to_owned()
}

/// A host with one sink. Dropped without a shutdown, it frees the sink all the same.
pub struct Host {
    pub sink: *mut cwl_sink,
}

// SAFETY: the ABI says that a sink may be used by any thread, several at the same time.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Opens a sink that sends to the endpoint, with these options besides.
    pub fn open(local: &Local, options: &[(&str, &str)]) -> Host {
        Self::open_at(&local.endpoint(), options)
    }

    /// Opens a sink that sends to this URL.
    pub fn open_at(endpoint: &str, options: &[(&str, &str)]) -> Host {
        Self::try_open(endpoint, options).unwrap_or_else(|(status, text)| panic!("{status:?}: {text}"))
    }

    /// The same, with the code and the text when it is refused.
    pub fn try_open(endpoint: &str, options: &[(&str, &str)]) -> Result<Host, (cwl_status, String)> {
        let basics = [
            ("endpoint_url", endpoint),
            ("region", "eu-central-1"),
            ("access_key_id", "test"),
            ("secret_access_key", "test"),
        ];
        let config = cwl_config_new();
        let mut sink = null_mut();
        let mut status = cwl_status::CWL_OK;
        for (key, value) in basics.iter().chain(options) {
            status = set(config, key, value);
            if status != cwl_status::CWL_OK {
                break;
            }
        }
        if status == cwl_status::CWL_OK {
            // SAFETY: a live configuration and room for the sink.
            status = unsafe { cwl_sink_open(config, &mut sink) };
        }
        // SAFETY: made above.
        unsafe { cwl_config_free(config) };
        if status == cwl_status::CWL_OK { Ok(Host { sink }) } else { Err((status, last_error())) }
    }

    /// Pushes one event; a timestamp of 0 is none.
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

    /// Pushes one event that must be taken.
    #[track_caller]
    pub fn must_push(&self, group: &str, stream: &str, message: impl AsRef<[u8]>) {
        let status = self.push(group, stream, message);
        assert_eq!(status, cwl_status::CWL_OK, "{}", last_error());
    }

    pub fn flush(&self, timeout_ms: i64) -> cwl_status {
        // SAFETY: a live sink.
        unsafe { cwl_flush(self.sink, timeout_ms) }
    }

    /// Flushes and must get through.
    #[track_caller]
    pub fn must_flush(&self) {
        let status = self.flush(SOON.as_millis() as i64);
        assert_eq!(status, cwl_status::CWL_OK, "{}: {}", last_error(), self.json());
    }

    pub fn shutdown(&self, timeout_ms: i64) -> cwl_status {
        // SAFETY: a live sink.
        unsafe { cwl_shutdown(self.sink, timeout_ms) }
    }

    pub fn stats(&self) -> cwl_stats_snapshot {
        let mut stats =
            cwl_stats_snapshot { struct_size: size_of::<cwl_stats_snapshot>(), ..Default::default() };
        // SAFETY: a live sink and room for the struct.
        let status = unsafe { cwl_stats(self.sink, &mut stats) };
        assert_eq!(status, cwl_status::CWL_OK);
        stats
    }

    pub fn json(&self) -> String {
        let mut json: *mut c_char = null_mut();
        // SAFETY: a live sink and room for the pointer, which is then a C string to be freed.
        unsafe {
            assert_eq!(cwl_stats_json(self.sink, &mut json), cwl_status::CWL_OK);
            let text = CStr::from_ptr(json).to_str().expect("UTF-8").to_owned();
            cwl_string_free(json);
            text
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: a live sink that nobody uses any more.
        unsafe { cwl_sink_free(self.sink) };
    }
}

/// An event with nothing but a message.
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

/// The `PutLogEvents` that reached the endpoint for a group, in their order.
pub fn puts(local: &Local, group: &str) -> Vec<RequestRecord> {
    local.requests_where(|request| request.operation == "PutLogEvents" && request.group == group)
}

/// The `PutLogEvents` of a group that were taken.
pub fn taken(local: &Local, group: &str) -> Vec<RequestRecord> {
    puts(local, group).into_iter().filter(|request| request.outcome.is_ok()).collect()
}

/// The messages of a stream, in the order in which they were taken.
pub fn arrived(local: &Local, group: &str, stream: &str) -> Vec<String> {
    local.arrival(group, stream).into_iter().map(|event| event.message).collect()
}

/// The numbers 0 to n - 1 as messages.
pub fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|number| number.to_string()).collect()
}
