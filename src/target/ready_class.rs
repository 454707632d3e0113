//! The classes of targets that are ready to send, and how a target comes from one into another.

use std::time::Duration;

/// The class in which a target waits for a permit: what became of its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadyClass {
    /// The request was answered within `slow_after_ms`.
    Answering,
    /// There was none, or it was never waited for long.
    Untested,
    /// The request was answered, but not within `slow_after_ms`.
    Late,
    /// The request was waited for in vain.
    Silent,
}

impl ReadyClass {
    /// All classes, the most likely to be answered first.
    pub const ALL: [ReadyClass; 4] =
        [ReadyClass::Answering, ReadyClass::Untested, ReadyClass::Late, ReadyClass::Silent];

    /// The place of the class in [`ReadyClass::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Returns whether the target is on probation: its last request was not answered in time.
    pub fn is_probation(self) -> bool {
        self != ReadyClass::Answering
    }
}

/// A request that was answered, or was waited for in vain, shows that the next one may take this many times as long.
const PATIENCE_TIMES: u32 = 4;

/// The ready class of a target, and the time for which its next request is waited for while others need its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The ready class.
    pub class: ReadyClass,
    /// The time for which a request is waited for in any case. `None`: until the usual one of its class is over.
    waited: Option<Duration>,
}

impl Default for Standing {
    fn default() -> Self {
        Standing { class: ReadyClass::Untested, waited: None }
    }
}

impl Standing {
    /// The standing after an answer that took this long.
    pub fn answered(latency: Duration, slow_after: Duration) -> Self {
        match latency < slow_after {
            true => Standing { class: ReadyClass::Answering, waited: None },
            false => Standing { class: ReadyClass::Late, waited: Some(latency) },
        }
    }

    /// The standing after a request that was waited for this long, in vain. A short wait shows nothing.
    pub fn unanswered(self, waited: Duration, slow_after: Duration) -> Self {
        match waited < slow_after {
            true => self,
            false => Standing { class: ReadyClass::Silent, waited: Some(waited) },
        }
    }

    /// The time for which the next request is waited for, even if others need its place.
    pub fn patience(self, slow_after: Duration) -> Duration {
        match (self.class, self.waited) {
            (_, Some(waited)) => waited * PATIENCE_TIMES,
            (ReadyClass::Answering, None) => slow_after * PATIENCE_TIMES,
            (_, None) => slow_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_AFTER: Duration = Duration::from_secs(1);

    #[test]
    fn a_target_that_is_answered_after_5_s_is_waited_for_long_enough_at_the_third_attempt() {
        let mut standing = Standing::default();
        let mut attempts = 1;
        while standing.patience(SLOW_AFTER) < Duration::from_secs(5) {
            standing = standing.unanswered(standing.patience(SLOW_AFTER), SLOW_AFTER);
            assert_eq!(standing.class, ReadyClass::Silent);
            attempts += 1;
        }
        assert_eq!(attempts, 3);
        let late = Standing::answered(Duration::from_secs(5), SLOW_AFTER);
        assert_eq!((late.class, late.patience(SLOW_AFTER)), (ReadyClass::Late, Duration::from_secs(20)));
    }

    #[test]
    fn a_prompt_answer_ends_probation_and_a_prompt_failure_changes_nothing() {
        let silent = Standing::default().unanswered(Duration::from_secs(30), SLOW_AFTER);
        let answering = Standing::answered(Duration::from_millis(20), SLOW_AFTER);
        assert!(silent.class.is_probation() && !answering.class.is_probation());
        for standing in [silent, answering, Standing::default()] {
            assert_eq!(standing.unanswered(Duration::from_millis(3), SLOW_AFTER), standing);
        }
    }
}
