//! Secrets stay secret: no text shows one, and nothing is sent in the clear to an https endpoint.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use std::sync::Mutex;

use ::cwl_sink::ffi::cwl_status::*;
use ::cwl_sink::ffi::*;

use crate::host::*;

/// The log messages of the library.
static LOG: Mutex<String> = Mutex::new(String::new());

unsafe extern "C" fn append_to_log(level: i32, message: *const c_char, _user: *mut c_void) {
    // SAFETY: the header says that it is a C string.
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    *LOG.lock().expect("no panic") += &format!("{level} {message}\n");
}

#[test]
fn a_secret_never_appears_in_a_log_message_the_statistics_or_an_error() {
    const SECRET: &str = "hunter2hunter2hunter2";
    const TOKEN: &str = "t0kent0kent0ken";
    // SAFETY: the callback lives as long as the program.
    unsafe { assert_eq!(cwl_set_log_callback(5, Some(append_to_log), null_mut()), CWL_OK) };
    let local = local();
    let options = [("secret_access_key", SECRET), ("session_token", TOKEN), ("flush_interval_ms", "1")];
    let host = Host::open(&local, &options);
    host.must_push("g", "s", "m");
    // The endpoint knows another secret, so it refuses the signature, and the library logs that.
    assert!(local.wait_until(SOON, |local| local.count("PutLogEvents", "*") >= 2));
    let json = host.json();
    host.shutdown(0);
    // SAFETY: NULL ends the log messages.
    unsafe { assert_eq!(cwl_set_log_callback(0, None, null_mut()), CWL_OK) };
    let log = LOG.lock().expect("no panic").clone();
    assert!(log.contains("InvalidSignatureException"), "the log has no refusal: {log}");
    assert!(json.contains("InvalidSignatureException"), "the JSON has no refusal: {json}");
    for text in [&log, &json, &last_error()] {
        assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{text}");
    }
}

#[test]
fn an_https_endpoint_that_does_not_speak_tls_gets_nothing() {
    let local = local();
    let endpoint = local.endpoint().replace("http://", "https://");
    let host = Host::open_at(&endpoint, &[("flush_interval_ms", "1")]);
    host.must_push("g", "s", "m");
    assert_eq!(host.flush(1000), CWL_ERR_TIMEOUT);
    assert_eq!(local.requests().len(), 0, "requests in the clear");
    assert_eq!(host.stats().pending_events, 1);
}
