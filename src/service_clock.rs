//! The time of day by the clock of the service.
//!
//! The clock of the machine may be hours or days wrong. Events that are stamped with it get wrong times, or the service
//! refuses them for their age. Each answer of the service has a date. So [`ServiceClock`] follows the clock of the machine
//! until answers show that it is wrong, and from then on the clock of the service.
//!
//! One date proves little, since a proxy may have written it. Two kinds of proof move the clock:
//!
//! - The service refuses a signature, and the date of its answer is far from the time of the signature.
//! - The dates of two answers in a row agree. When the service accepted the signature, a date that is far from the time of
//!   the signature is not the date of the service, and does not count.
//!
//! A signature may be refused for another reason, and the date may be wrong all the same. So when the service refuses a
//! signature that agrees with the date, the next request is signed with the clock of the machine. If the service accepts that
//! one, the correction is wrong and ends.
//!
//! A clock is kept as its offset: its difference to the uptime of the machine, in milliseconds. An offset is the same at
//! all times, so a correction stays right when the clock of the machine is set meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Clock;
use crate::sync::lock;

const MINUTE_MS: i64 = 60_000;

/// The error of the clock of the machine that is not corrected. A request must reach AWS within five minutes of its time
/// stamp in most cases. Source: AWS IAM user guide, "AWS Signature Version 4 for API requests".
const SKEW_TOLERATED_MS: i64 = 5 * MINUTE_MS;

/// The greatest difference between the time of a signature and the clock of the service that any service of AWS accepts.
/// Source: AWS General Reference, "Signature Version 4 signing process".
const SIGNATURE_SKEW_MAX_MS: i64 = 15 * MINUTE_MS;

/// The longest time between a request and an answer whose date counts. The service read its clock somewhere in between.
const ANSWER_TIME_MAX_MS: i64 = MINUTE_MS;

/// The greatest difference of two dates that agree: each may be wrong by half of [`ANSWER_TIME_MAX_MS`].
const AGREEMENT_MS: i64 = ANSWER_TIME_MAX_MS;

/// Half of the resolution of a date, which has whole seconds.
const HALF_SECOND_MS: i64 = 500;

/// The offset of a clock that is not corrected.
const NONE: i64 = i64::MIN;

/// The judgement of the service about the signature of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The service accepted the signature, whatever else it answered.
    Accepted,
    /// The service refused the signature. The clock may be the reason.
    Refused,
}

/// The moment at which a request was signed.
#[derive(Clone, Copy, Debug)]
pub struct SignedAt {
    uptime_ms: i64,
    offset_ms: i64,
}

/// A change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockChange {
    /// The clock of the machine is wrong, and the clock of the service is followed.
    Corrected {
        /// Milliseconds by which the clock of the machine is ahead of the service (negative: behind).
        machine_ahead_ms: i64,
    },
    /// The clock of the machine is followed again.
    Uncorrected,
}

/// See the module. `C` is the clock of the machine.
#[derive(Debug)]
pub struct ServiceClock<C> {
    machine: C,
    /// The offset that is followed, or [`NONE`].
    offset_ms: AtomicI64,
    /// The same for signatures.
    signing_offset_ms: AtomicI64,
    /// Guards the conclusions from answers. No other lock is taken and nothing awaits while holding it.
    correction: Mutex<Correction>,
}

/// The conclusions from the answers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Correction {
    /// The offset of the service, if the machine is wrong.
    offset_ms: Option<i64>,
    /// The offset that the last answer showed. One more answer that agrees confirms it.
    candidate_ms: Option<i64>,
    /// The corrected time did not help the last signature, so the next one has the time of the machine.
    signs_as_machine: bool,
}

/// The offsets that an answer shows.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    /// The clock that signed the request.
    signed_ms: i64,
    /// The clock of the machine now.
    machine_ms: i64,
    /// The date of the answer.
    date_ms: i64,
}

impl<C: Clock> ServiceClock<C> {
    /// A clock that follows the clock of the machine until answers show that it is wrong.
    pub fn new(machine: C) -> Self {
        let [offset_ms, signing_offset_ms] = [AtomicI64::new(NONE), AtomicI64::new(NONE)];
        ServiceClock { machine, offset_ms, signing_offset_ms, correction: Mutex::default() }
    }

    /// The clock of the machine.
    pub fn machine(&self) -> &C {
        &self.machine
    }

    /// The time for a signature, in milliseconds since the Unix epoch.
    pub fn signing_now_ms(&self) -> i64 {
        self.read(&self.signing_offset_ms).unwrap_or_else(|| self.machine.now_ms())
    }

    /// The moment of a request that is signed now.
    pub fn signed_now(&self) -> SignedAt {
        let uptime_ms = self.uptime_ms();
        SignedAt { uptime_ms, offset_ms: self.signing_now_ms() - uptime_ms }
    }

    /// Takes the date of an answer of the service that arrived now. Returns the change of the clock, if there is one.
    pub fn on_answer(&self, signed_at: SignedAt, signature: Signature, date_ms: i64) -> Option<ClockChange> {
        let uptime_ms = self.uptime_ms();
        let answer_time_ms = uptime_ms - signed_at.uptime_ms;
        if answer_time_ms > ANSWER_TIME_MAX_MS {
            return None;
        }
        let read_at_ms = signed_at.uptime_ms + answer_time_ms / 2;
        let offsets = Offsets {
            signed_ms: signed_at.offset_ms,
            machine_ms: self.machine.now_ms() - uptime_ms,
            date_ms: date_ms + HALF_SECOND_MS - read_at_ms,
        };
        let mut correction = lock(&self.correction);
        let before = correction.offset_ms;
        correction.on_answer(signature, offsets);
        let after = correction.offset_ms;
        let signing = after.filter(|_| !correction.signs_as_machine);
        self.offset_ms.store(after.unwrap_or(NONE), Ordering::Relaxed);
        self.signing_offset_ms.store(signing.unwrap_or(NONE), Ordering::Relaxed);
        (after != before).then(|| match after {
            Some(offset_ms) => ClockChange::Corrected { machine_ahead_ms: offsets.machine_ms - offset_ms },
            None => ClockChange::Uncorrected,
        })
    }

    fn read(&self, offset_ms: &AtomicI64) -> Option<i64> {
        let offset_ms = offset_ms.load(Ordering::Relaxed);
        (offset_ms != NONE).then(|| self.uptime_ms() + offset_ms)
    }
}

impl<C: Clock> Clock for ServiceClock<C> {
    fn now_ms(&self) -> i64 {
        self.read(&self.offset_ms).unwrap_or_else(|| self.machine.now_ms())
    }

    fn coarse_now_ms(&self) -> i64 {
        self.read(&self.offset_ms).unwrap_or_else(|| self.machine.coarse_now_ms())
    }

    fn uptime_ms(&self) -> i64 {
        self.machine.uptime_ms()
    }
}

impl Correction {
    fn on_answer(&mut self, signature: Signature, offsets: Offsets) {
        let Offsets { signed_ms, machine_ms, date_ms } = offsets;
        let is_machine_right = is_near(date_ms, machine_ms, SKEW_TOLERATED_MS);
        let is_expected = match self.offset_ms {
            Some(offset_ms) => is_near(date_ms, offset_ms, AGREEMENT_MS),
            None => is_machine_right,
        };
        let signature_skew_max_ms = match signature {
            Signature::Accepted => SIGNATURE_SKEW_MAX_MS,
            Signature::Refused => SKEW_TOLERATED_MS,
        };
        let is_other_time_accepted =
            self.offset_ms.is_some_and(|offset_ms| !is_near(offset_ms, signed_ms, SIGNATURE_SKEW_MAX_MS));
        match (signature, is_near(date_ms, signed_ms, signature_skew_max_ms)) {
            (Signature::Refused, true) if is_machine_right => *self = Correction::default(),
            (Signature::Refused, true) => self.signs_as_machine = true,
            (Signature::Refused, false) if is_expected => self.signs_as_machine = false,
            (Signature::Refused, false) => self.follow(date_ms, is_machine_right),
            (Signature::Accepted, false) if is_other_time_accepted => *self = Correction::default(),
            (Signature::Accepted, false) => {}
            (Signature::Accepted, true) if is_expected => {
                (self.candidate_ms, self.signs_as_machine) = (None, false);
                // The limit is lower than for a correction, so that a clock at the limit does not go back and forth.
                if is_near(date_ms, machine_ms, SKEW_TOLERATED_MS / 2) {
                    self.offset_ms = None;
                }
            }
            (Signature::Accepted, true) => {
                match self.candidate_ms.is_some_and(|candidate| is_near(date_ms, candidate, AGREEMENT_MS)) {
                    true => self.follow(date_ms, is_machine_right),
                    false => self.candidate_ms = Some(date_ms),
                }
            }
        }
    }

    /// Follows the date, by the clock of the machine if that is right.
    fn follow(&mut self, date_ms: i64, is_machine_right: bool) {
        *self = Correction {
            offset_ms: (!is_machine_right).then_some(date_ms),
            candidate_ms: None,
            signs_as_machine: false,
        };
    }
}

fn is_near(a_ms: i64, b_ms: i64, max_ms: i64) -> bool {
    a_ms.abs_diff(b_ms) <= max_ms.unsigned_abs()
}

#[cfg(test)]
mod tests;
