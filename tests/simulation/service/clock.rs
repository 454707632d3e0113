//! The time of a signature, and the dates of answers.

use cwl_sink::service::{ApiError, CLOCK_ERRORS, Failure};
use cwl_sink::service_clock::{Signature, SignedAt};

use crate::models::{ShownDate, Signed};
use crate::world::{World, errors_of, signing_error_ms};

/// The service refuses a signature whose time is wrong by more than this.
const SIGNATURE_SKEW_MAX_MS: i64 = 15 * 60_000;

/// The signature of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestSignature {
    at: SignedAt,
    signed: Signed,
}

impl World {
    /// A request is signed now.
    pub fn sign(&mut self) -> RequestSignature {
        let signed = self.clock_model.sign(signing_error_ms(&self.clock));
        RequestSignature { at: self.clock.signed_now(), signed }
    }

    /// The index of the fault of a request that is signed now, if the service does not accept the time. Only runs with faults
    /// of the endpoint have a service that looks at signatures.
    pub fn clock_fault(&self) -> Option<usize> {
        let is_refused = signing_error_ms(&self.clock).abs() > SIGNATURE_SKEW_MAX_MS;
        let mut errors = self.faults.errors.iter();
        errors
            .position(|error| error.is(CLOCK_ERRORS[0]))
            .filter(|_| is_refused && self.scenario.endpoint_faults)
    }

    /// The answer to a request arrives. If it is an answer of the service, it has a date, which a proxy may have replaced.
    pub fn show_date<T>(&mut self, signature: RequestSignature, answer: &Result<T, ApiError>) {
        let shown = match answer {
            Err(error) if error.failure != Failure::Answered || error.code.is_none() => return,
            Err(error) if CLOCK_ERRORS.iter().any(|code| error.is(code)) => ShownDate::Refused,
            _ if self.scenario.clock_steps && !self.last_date_was_foreign && self.rng.u32(..20) == 0 => {
                ShownDate::Foreign
            }
            _ => ShownDate::Accepted,
        };
        self.last_date_was_foreign = shown == ShownDate::Foreign;
        let true_ms = self.true_ms();
        let date_ms = match shown {
            ShownDate::Foreign => true_ms + self.random_date_error_ms(),
            ShownDate::Accepted | ShownDate::Refused => true_ms,
        };
        let verdict = if shown == ShownDate::Refused { Signature::Refused } else { Signature::Accepted };
        self.clock.on_answer(signature.at, verdict, date_ms.div_euclid(1000) * 1000);
        let errors = errors_of(&self.clock);
        let kept = self.clock_model.check_after_answer(signature.signed, shown, errors);
        self.report_if_broken(kept);
    }

    fn random_date_error_ms(&mut self) -> i64 {
        let error_ms = match self.rng.bool() {
            true => self.rng.i64(6 * 60_000..14 * 60_000),
            false => self.rng.i64(3_600_000..20 * 86_400_000),
        };
        if self.rng.bool() { error_ms } else { -error_ms }
    }
}
