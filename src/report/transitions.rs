//! Messages to an operator about targets: a target fails, why, and that it recovered.
//!
//! A target that continues to fail for the same reason is not reported again. When thousands of targets fail at once, the
//! first few are reported, and the next report says how many more there were. `cwl_stats_json` shows all of them.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::service::ApiError;
use crate::sync::lock;
use crate::target::registry::OtherTargets;
use crate::target::{Queue, Registry};

/// Reports in one window.
const REPORTS_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Limits the messages about targets.
#[derive(Debug, Default)]
pub struct Transitions {
    /// Guards the window. Nothing awaits while holding it.
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began_at: Option<Instant>,
    reported: u32,
    suppressed: u32,
}

/// A failure whose reason is new for its target.
#[derive(Clone, Copy, Debug)]
pub struct NewFailure<'a> {
    /// The error.
    pub error: &'a ApiError,
    /// The error in words for an operator.
    pub words: &'a str,
    /// The time until the next attempt.
    pub next_attempt_in: Duration,
}

impl Transitions {
    /// Reports that the target fails, for a reason that is new for it.
    pub fn failing(&self, registry: &Registry, queue: &Queue, failure: &NewFailure<'_>) {
        if self.may_report() {
            let others = registry.others(queue);
            warn!("{}", Failing { queue, failure, held: queue.buffered_bytes(), others });
        } else {
            debug!("{}: {}", queue.name(), failure.error);
        }
    }

    /// Reports that the target recovered.
    pub fn recovered(&self, queue: &Queue) {
        if self.may_report() {
            info!(
                "{}: delivery works again; {} are still to be sent",
                queue.name(),
                Bytes(queue.buffered_bytes())
            );
        } else {
            debug!("{}: delivery works again", queue.name());
        }
    }

    fn may_report(&self) -> bool {
        let now = Instant::now();
        let mut window = lock(&self.window);
        let mut suppressed = 0;
        if window.began_at.is_none_or(|began_at| now - began_at >= WINDOW) {
            suppressed = window.suppressed;
            *window = Window { began_at: Some(now), reported: 0, suppressed: 0 };
        }
        let may_report = window.reported < REPORTS_MAX;
        window.reported += u32::from(may_report);
        window.suppressed += u32::from(!may_report);
        drop(window);
        if suppressed > 0 {
            warn!(
                "{suppressed} more failures and recoveries of targets were not reported; cwl_stats_json shows each target"
            );
        }
        may_report
    }
}

/// The message about a target that fails.
struct Failing<'a> {
    queue: &'a Queue,
    failure: &'a NewFailure<'a>,
    held: usize,
    others: OtherTargets,
}

impl fmt::Display for Failing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewFailure { error, words, next_attempt_in } = *self.failure;
        let (name, why, seconds) = (self.queue.name(), Why { words, error }, Seconds(next_attempt_in));
        write!(f, "{name}: {why}; holding {}, next try in {seconds}", Bytes(self.held))?;
        let OtherTargets { count, failing } = self.others;
        match (count - failing, failing) {
            (0, 0) => Ok(()),
            (1, 0) => f.write_str("; the other target is not affected"),
            (healthy, 0) => write!(f, "; {healthy} other targets are not affected"),
            (healthy, failing) => {
                write!(f, "; {healthy} other targets are not affected, {failing} fail as well")
            }
        }
    }
}

/// The reason of a failure in words, and the message of the service.
struct Why<'a> {
    words: &'a str,
    error: &'a ApiError,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { code, status, message, .. } = self.error;
        let words = self.words;
        match (code, status) {
            (Some(code), _) if message.is_empty() => write!(f, "{words} ({code})"),
            (Some(code), _) => write!(f, "{words} ({code}: {message})"),
            (None, Some(status)) => write!(f, "{words} (HTTP {status}: {message})"),
            (None, None) => write!(f, "{words} ({message})"),
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
    use crate::memory::Budget;
    use crate::outcome::Ledger;
    use crate::service::Failure;

    fn error(failure: Failure, code: Option<&str>, status: Option<u16>, message: &str) -> ApiError {
        ApiError { failure, code: code.map(Into::into), status, message: message.into() }
    }

    #[test]
    fn a_failing_target_is_reported_in_a_sentence_to_act_on() {
        let budget = Arc::new(Budget::new(1 << 20, 1 << 20, 0));
        let ledger = Arc::<Ledger>::default();
        let queue = Queue::new("/aws/app/denied", "web-1", 1, Duration::from_secs(1), &budget, &ledger);
        let denied =
            error(Failure::Answered, Some("AccessDeniedException"), Some(400), "no logs:PutLogEvents");
        let failure = NewFailure {
            error: &denied,
            words: "access denied by CloudWatch Logs",
            next_attempt_in: Duration::from_millis(36_900),
        };
        let others = OtherTargets { count: 12, failing: 0 };
        assert_eq!(
            Failing { queue: &queue, failure: &failure, held: 4_100_000, others }.to_string(),
            "/aws/app/denied/web-1: access denied by CloudWatch Logs (AccessDeniedException: no logs:PutLogEvents); \
             holding 4.1 MB, next try in 37 s; 12 other targets are not affected"
        );
    }

    #[test]
    fn the_code_or_the_status_and_the_message_stand_behind_the_words() {
        for (error, text) in [
            (error(Failure::Answered, None, Some(503), "x"), "words (HTTP 503: x)"),
            (error(Failure::TimedOut, None, None, "after 30 s"), "words (after 30 s)"),
            (error(Failure::Answered, Some("OddException"), Some(400), ""), "words (OddException)"),
            (error(Failure::Answered, Some("OddException"), Some(400), "x"), "words (OddException: x)"),
        ] {
            assert_eq!(Why { words: "words", error: &error }.to_string(), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_transitions_at_once_are_reported_in_part_and_the_next_window_starts_at_zero() {
        let transitions = Transitions::default();
        assert_eq!((0..1000).filter(|_| transitions.may_report()).count(), REPORTS_MAX as usize);
        tokio::time::advance(WINDOW).await;
        assert!(transitions.may_report());
    }
}
