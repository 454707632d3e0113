//! What an operator is told of targets: that one fails, why, and that it gets through again; once each, in a sentence
//! to act on, and not too often.
//!
//! A target that goes on failing for the same reason is not told of again. Where thousands fail at once, the first few
//! are told, and with the next one later how many more; all of them stand in `cwl_stats_json`.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::engine::Engine;
use crate::logs_api::{ApiError, Failure};
use crate::queue::Queue;

/// So many transitions are told in one window.
const TOLD_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Most characters of a service's message that are told.
const MESSAGE_CHARS_MAX: usize = 300;

/// See the module.
#[derive(Debug, Default)]
pub struct Transitions {
    /// Guards the window. Nothing awaits while holding it.
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    told: u32,
    untold: u32,
}

impl Transitions {
    /// The target fails, for a reason that is new of it; it will be tried again then.
    pub fn failing(&self, engine: &Engine, queue: &Queue, why: &ApiError, next_try: Duration) {
        if self.may_tell() {
            let (others, failing) = engine.other_targets(queue);
            warn!("{}", Failing { queue, why, held: queue.buffered_bytes(), next_try, others, failing });
        } else {
            debug!("{}: {why}", queue.name());
        }
    }

    /// The target gets through again.
    pub fn recovered(&self, queue: &Queue) {
        if self.may_tell() {
            info!(
                "{}: gets through again; {} of it are still to be sent",
                queue.name(),
                Bytes(queue.buffered_bytes())
            );
        } else {
            debug!("{}: gets through again", queue.name());
        }
    }

    fn may_tell(&self) -> bool {
        let now = Instant::now();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut untold = 0;
        if window.begun.is_none_or(|begun| now - begun >= WINDOW) {
            untold = window.untold;
            *window = Window { begun: Some(now), told: 0, untold: 0 };
        }
        let may = window.told < TOLD_MAX;
        window.told += u32::from(may);
        window.untold += u32::from(!may);
        drop(window);
        if untold > 0 {
            warn!(
                "{untold} more targets began to fail or got through again meanwhile; cwl_stats_json shows each"
            );
        }
        may
    }
}

/// The sentence about a target that fails.
struct Failing<'a> {
    queue: &'a Queue,
    why: &'a ApiError,
    held: usize,
    next_try: Duration,
    others: usize,
    failing: usize,
}

impl fmt::Display for Failing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, why, seconds) = (self.queue.name(), Why(self.why), Seconds(self.next_try));
        write!(f, "{name}: {why}; holding {}, next try in {seconds}", Bytes(self.held))?;
        let well = self.others - self.failing;
        match (well, self.failing) {
            (0, 0) => Ok(()),
            (1, 0) => f.write_str("; the other target is not affected"),
            (well, 0) => write!(f, "; {well} other targets are not affected"),
            (well, failing) => write!(f, "; {well} other targets are not affected, {failing} fail as well"),
        }
    }
}

/// What went wrong, in words, and what the service said.
struct Why<'a>(&'a ApiError);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { code, status, failure, message } = self.0;
        let words = match (code.as_deref(), status, failure) {
            (Some(code), ..) if code.starts_with("AccessDenied") => "access denied by CloudWatch Logs",
            (Some("ResourceNotFoundException"), ..) => {
                "its log group or stream is missing and could not be created"
            }
            (Some("LimitExceededException"), ..) => "a quota of the account is used up",
            (Some(code), ..) if code.contains("Throttl") => "throttled by CloudWatch Logs",
            (_, Some(500..), _) => "CloudWatch Logs cannot serve it at present",
            (Some(_), ..) => "refused by CloudWatch Logs",
            (None, _, Failure::TimedOut) => "no answer from CloudWatch Logs",
            (None, _, Failure::Connection) => "no connection to CloudWatch Logs",
            (None, ..) => "no proper answer from CloudWatch Logs",
        };
        let said = message.chars().take(MESSAGE_CHARS_MAX).collect::<String>();
        match (code, status) {
            (Some(code), _) if said.is_empty() => write!(f, "{words} ({code})"),
            (Some(code), _) => write!(f, "{words} ({code}: {said})"),
            (None, Some(status)) => write!(f, "{words} (HTTP {status}: {said})"),
            (None, None) => write!(f, "{words} ({said})"),
        }
    }
}

struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 {
            bytes if bytes < 1000.0 => write!(f, "{bytes} bytes"),
            bytes if bytes < 999_950.0 => write!(f, "{:.1} KB", bytes / 1e3),
            bytes => write!(f, "{:.1} MB", bytes / 1e6),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds < 9.95 => write!(f, "{seconds:.1} s"),
            seconds => write!(f, "{seconds:.0} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ack::Ledger;
    use crate::memory::Budget;

    fn error(failure: Failure, code: Option<&str>, status: Option<u16>, message: &str) -> ApiError {
        ApiError { failure, code: code.map(str::to_owned), status, message: message.to_owned() }
    }

    #[test]
    fn a_failing_target_is_told_of_in_a_sentence_to_act_on() {
        let budget = Arc::new(Budget::new(1 << 20, 1 << 20, 0));
        let ledger = Arc::<Ledger>::default();
        let queue = Queue::new("/aws/app/denied", "web-1", 1, Duration::from_secs(1), &budget, &ledger);
        let denied =
            error(Failure::Answered, Some("AccessDeniedException"), Some(400), "no logs:PutLogEvents");
        let (held, next_try) = (4_100_000, Duration::from_millis(36_900));
        let told =
            Failing { queue: &queue, why: &denied, held, next_try, others: 12, failing: 0 }.to_string();
        assert_eq!(
            told,
            "/aws/app/denied/web-1: access denied by CloudWatch Logs (AccessDeniedException: no logs:PutLogEvents); \
             holding 4.1 MB, next try in 37 s; 12 other targets are not affected"
        );
    }

    #[test]
    fn whatever_went_wrong_is_said_in_words() {
        for (error, words) in [
            (
                error(Failure::Answered, None, Some(503), "x"),
                "CloudWatch Logs cannot serve it at present (HTTP 503: x)",
            ),
            (
                error(Failure::TimedOut, None, None, "after 30 s"),
                "no answer from CloudWatch Logs (after 30 s)",
            ),
            (error(Failure::Connection, None, None, "reset"), "no connection to CloudWatch Logs (reset)"),
            (
                error(Failure::Answered, Some("OddException"), Some(400), ""),
                "refused by CloudWatch Logs (OddException)",
            ),
        ] {
            assert_eq!(Why(&error).to_string(), words);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_transitions_at_once_are_told_in_part_and_the_next_window_begins_anew() {
        let transitions = Transitions::default();
        assert_eq!((0..1000).filter(|_| transitions.may_tell()).count(), TOLD_MAX as usize);
        tokio::time::advance(WINDOW).await;
        assert!(transitions.may_tell());
    }
}
