use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The time of day at uptime 0.
const START_MS: i64 = 1_800_000_000_000;

/// A machine whose clock and uptime the test sets.
#[derive(Debug, Default)]
struct Machine {
    uptime_ms: AtomicI64,
    error_ms: AtomicI64,
}

impl Clock for Machine {
    fn now_ms(&self) -> i64 {
        START_MS + self.uptime_ms() + self.error_ms.load(Ordering::Relaxed)
    }
    fn uptime_ms(&self) -> i64 {
        self.uptime_ms.load(Ordering::Relaxed)
    }
}

fn machine_with_error(error_ms: i64) -> ServiceClock<Machine> {
    ServiceClock::new(Machine { error_ms: error_ms.into(), ..Machine::default() })
}

impl ServiceClock<Machine> {
    fn wait(&self, ms: i64) {
        self.machine.uptime_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn true_ms(&self) -> i64 {
        START_MS + self.uptime_ms()
    }

    /// An answer after 200 ms whose date is `date_error_ms` ahead of the true time.
    fn answer(&self, signature: Signature, date_error_ms: i64) -> Option<ClockChange> {
        self.wait(1000);
        let signed_at = self.signed_now();
        self.wait(100);
        let date_ms = (self.true_ms() + date_error_ms).div_euclid(1000) * 1000;
        self.wait(100);
        self.on_answer(signed_at, signature, date_ms)
    }

    /// The error of the clock now.
    fn error_ms(&self) -> i64 {
        self.now_ms() - self.true_ms()
    }

    #[track_caller]
    fn assert_right(&self) {
        assert!(self.error_ms().abs() <= HALF_SECOND_MS, "{} ms ahead", self.error_ms());
        assert_eq!(self.coarse_now_ms(), self.now_ms());
    }
}

#[test]
fn a_signature_that_is_refused_for_its_time_corrects_the_clock_at_once() {
    for error_ms in [-20 * DAY_MS, -HOUR_MS, -6 * MINUTE_MS, 6 * MINUTE_MS, 3 * HOUR_MS, 20 * DAY_MS] {
        let clock = machine_with_error(error_ms);
        let change = clock.answer(Signature::Refused, 0);
        let Some(ClockChange::Corrected { machine_ahead_ms }) = change else { panic!("{change:?}") };
        assert!((machine_ahead_ms - error_ms).abs() <= HALF_SECOND_MS, "{machine_ahead_ms}, not {error_ms}");
        clock.assert_right();
        assert_eq!(clock.answer(Signature::Accepted, 0), None, "the correction is confirmed");
        clock.assert_right();
    }
}

#[test]
fn a_signature_that_is_refused_for_another_reason_does_not_move_the_clock() {
    let clock = machine_with_error(2 * MINUTE_MS);
    for _ in 0..3 {
        assert_eq!(clock.answer(Signature::Refused, 0), None);
        assert_eq!(clock.error_ms(), 2 * MINUTE_MS);
    }
}

#[test]
fn two_answers_in_a_row_that_agree_correct_the_clock() {
    let clock = machine_with_error(10 * MINUTE_MS);
    assert_eq!(clock.answer(Signature::Accepted, 0), None);
    assert_eq!(clock.error_ms(), 10 * MINUTE_MS, "one answer is not enough");
    assert_eq!(clock.answer(Signature::Accepted, 3 * MINUTE_MS), None);
    assert_eq!(clock.error_ms(), 10 * MINUTE_MS, "two answers that do not agree are not enough");
    clock.answer(Signature::Accepted, 0);
    assert!(clock.answer(Signature::Accepted, 0).is_some());
    clock.assert_right();
}

#[test]
fn a_few_minutes_are_not_corrected() {
    for error_ms in [-4 * MINUTE_MS, 0, 4 * MINUTE_MS] {
        let clock = machine_with_error(error_ms);
        for _ in 0..3 {
            assert_eq!(clock.answer(Signature::Accepted, 0), None);
        }
        assert_eq!(clock.error_ms(), error_ms);
    }
}

#[test]
fn a_date_that_contradicts_an_accepted_signature_does_not_count() {
    let clock = machine_with_error(0);
    for date_error_ms in [-20 * DAY_MS, -3 * HOUR_MS, 16 * MINUTE_MS, 3 * HOUR_MS] {
        for _ in 0..3 {
            assert_eq!(clock.answer(Signature::Accepted, date_error_ms), None);
        }
        assert_eq!(clock.error_ms(), 0, "a date {date_error_ms} ms ahead");
    }
}

#[test]
fn the_correction_ends_when_the_clock_of_the_machine_is_right_again() {
    let clock = machine_with_error(3 * HOUR_MS);
    clock.answer(Signature::Refused, 0);
    clock.machine.error_ms.store(4 * MINUTE_MS, Ordering::Relaxed);
    clock.assert_right();
    assert_eq!(clock.answer(Signature::Accepted, 0), None, "a clock at the limit does not go back and forth");
    clock.machine.error_ms.store(0, Ordering::Relaxed);
    clock.assert_right();
    assert_eq!(clock.answer(Signature::Accepted, 0), Some(ClockChange::Uncorrected));
    assert_eq!(clock.error_ms(), 0);
}

#[test]
fn a_correction_that_is_wrong_later_is_replaced() {
    let clock = machine_with_error(3 * HOUR_MS);
    clock.answer(Signature::Refused, 0);
    // The uptime does not count the time for which the machine was frozen.
    for (frozen_ms, answers) in [(10 * MINUTE_MS, 2), (DAY_MS, 1)] {
        let signature = if answers == 1 { Signature::Refused } else { Signature::Accepted };
        for _ in 0..answers {
            clock.answer(signature, frozen_ms);
        }
        assert!((clock.error_ms() - frozen_ms).abs() <= HALF_SECOND_MS, "{} ms ahead", clock.error_ms());
        clock.answer(Signature::Refused, 0);
    }
}

#[test]
fn a_wrong_secret_does_not_hide_that_the_clock_is_wrong() {
    let clock = machine_with_error(3 * HOUR_MS);
    for _ in 0..5 {
        clock.answer(Signature::Refused, 0);
        clock.assert_right();
    }
    // The secret is right now. The service refuses the time of the machine, and accepts its own.
    if (clock.signing_now_ms() - clock.true_ms()).abs() > HOUR_MS {
        clock.answer(Signature::Refused, 0);
    }
    assert!((clock.signing_now_ms() - clock.true_ms()).abs() <= HALF_SECOND_MS);
    assert_eq!(clock.answer(Signature::Accepted, 0), None);
    clock.assert_right();
}

#[test]
fn a_correction_ends_when_the_service_accepts_the_time_of_the_machine() {
    // The secret is wrong, and a proxy with a wrong clock writes the dates.
    let clock = machine_with_error(0);
    assert!(clock.answer(Signature::Refused, 3 * HOUR_MS).is_some());
    assert_eq!(clock.answer(Signature::Refused, 3 * HOUR_MS), None);
    assert_eq!(clock.signing_now_ms(), clock.true_ms(), "the next request has the time of the machine");
    // The secret is right now.
    assert_eq!(clock.answer(Signature::Accepted, 3 * HOUR_MS), Some(ClockChange::Uncorrected));
    assert_eq!(clock.error_ms(), 0);
    assert_eq!(clock.answer(Signature::Accepted, 3 * HOUR_MS), None);
    assert_eq!(clock.error_ms(), 0);
}

#[test]
fn the_date_of_an_answer_that_took_long_does_not_count() {
    let clock = machine_with_error(3 * HOUR_MS);
    let signed_at = clock.signed_now();
    clock.wait(ANSWER_TIME_MAX_MS + 1);
    assert_eq!(clock.on_answer(signed_at, Signature::Refused, clock.true_ms()), None);
    assert_eq!(clock.error_ms(), 3 * HOUR_MS);
}

#[test]
fn an_answer_to_a_request_from_before_a_correction_does_not_undo_it() {
    for (error_ms, signature) in [(3 * HOUR_MS, Signature::Refused), (10 * MINUTE_MS, Signature::Accepted)] {
        let clock = machine_with_error(error_ms);
        let signed_at = clock.signed_now();
        for _ in 0..2 {
            clock.answer(signature, 0);
        }
        clock.on_answer(signed_at, signature, clock.true_ms());
        clock.assert_right();
    }
}
