//! Log messages of the library, on their way to the host.

use std::ffi::{c_char, c_void};
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::boundary::ffi_call;
use super::error::FfiError;
use super::status::cwl_status;
use super::text::c_string;
use crate::sync::lock;
use crate::threads;
use crate::wait_group::{WaitGroup, WaitGuard};

/// The severity of a log message of the library.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum cwl_log_level {
    /// The library had an internal error.
    CWL_LOG_ERROR = 1,
    /// An operator should know this: a target fails, events are given up.
    CWL_LOG_WARN = 2,
    /// This happens once in a while: a group is created, a target works again.
    CWL_LOG_INFO = 3,
    /// Every request.
    CWL_LOG_DEBUG = 4,
    /// Everything.
    CWL_LOG_TRACE = 5,
}

/// Receives one log message: its level (a `cwl_log_level`), a sentence in UTF-8 that ends in NUL, and the `user`
/// pointer that was given with the callback. The message is valid during the call only.
///
/// Called from the library's threads and from the host's threads, several at the same time, never while the
/// library holds a lock. It must not throw. A call that does not return in time may outlive `cwl_shutdown`.
///
/// It may push events; these pushes make no log messages. Calls that wait for the library (`cwl_flush`,
/// `cwl_shutdown`, `cwl_sink_open`, `cwl_poll_acks` with a time-out) and `cwl_set_log_callback` return
/// `CWL_ERR_IN_CALLBACK` there.
pub type cwl_log_callback =
    Option<unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void)>;

/// The callback that a host registered.
#[derive(Clone)]
struct Host {
    callback: unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void),
    user: *mut c_void,
    /// The calls that are running.
    calls: Arc<WaitGroup>,
}

// SAFETY: the host promises that its callback and `user` may be used from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// Guards the registered callback. Never held during a call: a change counts the calls of the old callback instead, and waits
/// for them.
static HOST: Mutex<Option<Host>> = Mutex::new(None);

/// The least severe level that is delivered; 0 means none.
static MAX_LEVEL: AtomicU8 = AtomicU8::new(0);

/// Registers a callback for the log messages of all sinks of the process. It receives messages of `level` (a
/// `cwl_log_level`) and more severe ones. NULL ends the messages. Without a callback the library says nothing: it
/// never writes to stdout or stderr.
///
/// Blocks, without a time-out, until every running call of the old callback has returned; then the old `user` may
/// be freed. Any thread, but not inside a callback.
///
/// Returns one of these errors:
/// - `CWL_ERR_INVALID_ARGUMENT`: `level` is not 1 to 5, and `callback` is not NULL.
/// - `CWL_ERR_IN_CALLBACK`: the call was made inside a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_set_log_callback(
    level: i32,
    callback: cwl_log_callback,
    user: *mut c_void,
) -> cwl_status {
    ffi_call(|| {
        let max_level = match u8::try_from(level) {
            Ok(level @ 1..=5) => level,
            _ if callback.is_none() => 0,
            _ => {
                return Err(FfiError::argument(format!(
                    "level is {level}; allowed are 1 (error) to 5 (trace)"
                )));
            }
        };
        if threads::is_in_callback() {
            return Err(FfiError::new(
                cwl_status::CWL_ERR_IN_CALLBACK,
                "the log callback cannot be changed inside a callback",
            ));
        }
        static SUBSCRIBED: OnceCell<()> = OnceCell::new();
        SUBSCRIBED.get_or_init(|| {
            // In a shared object there is no other subscriber. In a Rust program the host's own subscriber stays.
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(HostLayer));
        });
        let new = callback.map(|callback| Host { callback, user, calls: Arc::default() });
        let mut host = lock(&HOST);
        MAX_LEVEL.store(if new.is_some() { max_level } else { 0 }, Ordering::Relaxed);
        let old = std::mem::replace(&mut *host, new);
        drop(host);
        if let Some(old) = old {
            old.calls.wait(None);
        }
        Ok(())
    })
}

/// Passes log messages of this crate to the host. Messages of other crates are dropped.
struct HostLayer;

impl HostLayer {
    fn is_of_this_crate(metadata: &Metadata<'_>) -> bool {
        metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME")) && metadata.is_event()
    }
}

/// The number of a level in C, as in `cwl_log_level`.
fn level_number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl<S: Subscriber> Layer<S> for HostLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::is_of_this_crate(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_number(metadata.level()) <= MAX_LEVEL.load(Ordering::Relaxed)
            && Self::is_of_this_crate(metadata)
            && !threads::is_in_callback()
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = level_number(event.metadata().level());
        let mut text = Text(String::new());
        event.record(&mut text);
        let message = c_string(&text.0);
        threads::call_back(|| {
            let Some((host, _call)) = begin_call() else { return };
            // SAFETY: the host registered the callback for this; the message lives until it returns.
            unsafe { (host.callback)(i32::from(level), message.as_ptr(), host.user) };
        });
    }
}

/// The registered callback, and the guard of a call that begins now.
fn begin_call() -> Option<(Host, WaitGuard)> {
    let registered = lock(&HOST);
    let host = registered.as_ref()?;
    // Counted under the lock: a change that comes later waits for the call.
    Some((host.clone(), host.calls.guard()))
}

/// The text of a log message: the message, then its fields.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
