//! Log messages of the library, on their way to the host.

use std::ffi::{c_char, c_void};
use std::fmt::Write;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::boundary::ffi_call;
use super::error::FfiError;
use super::log_thread::{Host, HostCallback, LogThread};
use super::status::cwl_status;
use super::text::c_string;
use crate::process::{self, PerProcess};
use crate::threads;

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
/// Called from one thread of the library, one call at a time, never while the library holds a lock. Messages wait
/// while it runs; when a thousand wait, further ones are only counted, and a message says how many. It must not throw.
/// It may end its thread (`pthread_exit`): then no more messages come.
///
/// It may push events; these pushes make no log messages. Calls that wait for the library (`cwl_flush`,
/// `cwl_shutdown`, `cwl_sink_open`, `cwl_poll_acks` with a time-out) and `cwl_set_log_callback` return
/// `CWL_ERR_IN_CALLBACK` there.
pub type cwl_log_callback =
    Option<unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void)>;

/// The registered callback and its `user`, for a child of a fork. NULL: there is none. A child that is forked in the middle of
/// a change has none.
static CALLBACK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static USER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// The thread that calls the host.
static THREAD: PerProcess<LogThread> = PerProcess::empty();

/// The least severe level that is delivered; 0 means none.
static MAX_LEVEL: AtomicU8 = AtomicU8::new(0);

/// The longest wait for the callback at a shutdown.
const LAST_MESSAGES: Duration = Duration::from_millis(50);
/// The longest wait for messages that were there before the callback was replaced by NULL.
const MESSAGES_AT_END: Duration = Duration::from_millis(500);

/// Registers a callback for the log messages of all sinks of the process. It receives messages of `level` (a
/// `cwl_log_level`) and more severe ones. NULL ends the messages. Without a callback the library says nothing: it
/// never writes to stdout or stderr.
///
/// Starts one thread, which ends when the callback is replaced by NULL. Replace it by NULL before `dlclose`. The old
/// callback still gets the messages that wait by then, for at most 500 ms.
///
/// Blocks, without a time-out, until a running call of the old callback has returned; then the old `user` may be freed.
/// Any thread, but one at a time, and not inside a callback.
///
/// Returns one of these errors:
/// - `CWL_ERR_INVALID_ARGUMENT`: `level` is not 1 to 5, and `callback` is not NULL.
/// - `CWL_ERR_IN_CALLBACK`: the call was made inside a callback.
/// - `CWL_ERR_OPEN`: the thread could not be started.
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
        let host = callback.map(|callback| Host {
            // SAFETY: the two types differ only in what the host may do to the thread.
            callback: unsafe { std::mem::transmute::<LogCallback, HostCallback>(callback) },
            user,
        });
        set_host(host, max_level)
    })
}

/// The type of a callback that is not NULL.
type LogCallback = unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void);

fn set_host(host: Option<Host>, max_level: u8) -> Result<(), FfiError> {
    let failed = |error: std::io::Error| FfiError::new(cwl_status::CWL_ERR_OPEN, error);
    MAX_LEVEL.store(0, Ordering::Relaxed);
    CALLBACK.store(std::ptr::null_mut(), Ordering::Release);
    let Some(host) = host else {
        if let Some(thread) = THREAD.get() {
            thread.wait_for_messages(Some(Instant::now() + MESSAGES_AT_END));
            thread.end();
        }
        return Ok(());
    };
    process::watch_forks().map_err(failed)?;
    let thread = THREAD.get_or_make(|| Ok::<_, FfiError>(LogThread::default()))?;
    thread.set_host(host).map_err(failed)?;
    USER.store(host.user, Ordering::Relaxed);
    CALLBACK.store(host.callback as *mut (), Ordering::Release);
    MAX_LEVEL.store(max_level, Ordering::Relaxed);
    Ok(())
}

/// The registered callback, in a child of a fork too.
fn registered_host() -> Option<Host> {
    let callback = CALLBACK.load(Ordering::Acquire);
    // SAFETY: NULL, or what `set_host` stored.
    let callback = unsafe { std::mem::transmute::<*mut (), Option<HostCallback>>(callback) }?;
    Some(Host { callback, user: USER.load(Ordering::Relaxed) })
}

/// Waits a moment until the host has got the messages that are there by now.
pub fn wait_for_last_messages() {
    if let Some(thread) = THREAD.get().filter(|_| !threads::is_in_callback()) {
        thread.wait_for_messages(Some(Instant::now() + LAST_MESSAGES));
    }
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
        // A child of a fork starts a thread of its own. Without one the message is lost, and there is nobody to tell.
        let start = || {
            let thread = LogThread::default();
            thread.set_host(registered_host().ok_or(std::io::ErrorKind::NotFound)?)?;
            Ok::<_, std::io::Error>(thread)
        };
        if let Ok(thread) = THREAD.get_or_make(start) {
            thread.push(level, c_string(&text.0));
        }
    }
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
