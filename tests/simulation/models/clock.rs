//! The model of the clock of the engine: which errors it may have, after which answers of the service.

const MINUTE_MS: i64 = 60_000;
/// The error of a clock that was corrected. The date of an answer is from some moment between the request and the answer, at
/// most a minute apart, and has whole seconds.
const CORRECTED_MAX_MS: i64 = 31_000;
/// Errors of the host up to this are never corrected.
const NEVER_MS: i64 = 4 * MINUTE_MS;
/// Errors of the host from this on are always corrected, after the answers that it takes.
const ALWAYS_MS: i64 = 6 * MINUTE_MS;
/// A correction always ends when the error of the host is up to this.
const ENDS_MS: i64 = 2 * MINUTE_MS;
/// The service accepts every signature whose time is wrong by up to this.
const ACCEPTED_MS: i64 = 14 * MINUTE_MS;

/// The errors of the clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ClockErrors {
    /// The error of the host's clock.
    pub host_ms: i64,
    /// The error of the engine's clock.
    pub engine_ms: i64,
}

/// The time of a signature.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// The error of the time.
    pub error_ms: i64,
    /// The number of steps of the host's clock before.
    steps: u32,
}

/// The date of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownDate {
    /// The service accepted the signature.
    Accepted,
    /// The service refused the signature.
    Refused,
    /// The date is not the date of the service.
    Foreign,
}

/// See the module.
#[derive(Debug, Default)]
pub struct ClockModel {
    steps: u32,
    /// The host's clock was wrong by more than the engine never corrects.
    was_wrong: bool,
    /// Answers in a row that show an error that the service accepts.
    tolerated: u32,
}

impl ClockModel {
    /// The host's clock was set.
    pub fn on_step(&mut self, error_ms: i64) {
        self.steps += 1;
        self.tolerated = 0;
        self.was_wrong |= error_ms.abs() > NEVER_MS;
    }

    /// A request is signed with a time that is wrong by `error_ms`.
    pub fn sign(&self, error_ms: i64) -> Signed {
        Signed { error_ms, steps: self.steps }
    }

    /// Checks the clock at any time: it is the host's, or it is right.
    pub fn check(&self, errors: ClockErrors) -> Result<(), String> {
        let is_followed = errors.engine_ms == errors.host_ms;
        if is_followed || (self.was_wrong && is_corrected(errors)) {
            return Ok(());
        }
        Err(format!("the clock of the engine is neither that of the host nor right: {errors:?}"))
    }

    /// Checks the clock after an answer with a date.
    pub fn check_after_answer(
        &mut self,
        signed: Signed,
        date: ShownDate,
        errors: ClockErrors,
    ) -> Result<(), String> {
        let skew_ms = signed.error_ms.abs();
        let is_tolerated = (ALWAYS_MS..ACCEPTED_MS).contains(&skew_ms) && signed.steps == self.steps;
        self.tolerated = match date {
            ShownDate::Accepted if is_tolerated => self.tolerated + 1,
            _ => 0,
        };
        let host_ms = errors.host_ms.abs();
        let is_shown = match date {
            ShownDate::Accepted => self.tolerated >= 2,
            ShownDate::Refused => skew_ms > ALWAYS_MS,
            ShownDate::Foreign => false,
        };
        let may_end = date == ShownDate::Accepted && skew_ms < ACCEPTED_MS;
        if is_shown && host_ms > ALWAYS_MS && !is_corrected(errors) {
            return Err(format!("the clock was shown to be wrong and is not corrected: {errors:?}"));
        }
        if may_end && host_ms < ENDS_MS && errors.engine_ms != errors.host_ms {
            return Err(format!("the clock of the host is right and is not followed: {errors:?}"));
        }
        Ok(())
    }
}

fn is_corrected(errors: ClockErrors) -> bool {
    errors.engine_ms.abs() <= CORRECTED_MAX_MS
}
