//! The errors of the service: what each means for the batch, and the words for an operator.
//!
//! [`SERVICE_ERRORS`] is the one table of them. An error whose code is not there is judged by its HTTP status, and an
//! error without an answer by the kind of its failure. An unknown error is retried, never dropped.

use super::backoff::Backoff;
use crate::service::{ApiError, CLOCK_ERRORS, Failure};

/// The meaning of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The service has the events already.
    Delivered,
    /// The service refuses the content of the batch. The batch is halved until the refused events stand alone, and those are
    /// dropped.
    RefusedContent,
    /// The service refuses the size of the request. The batch is halved until it passes.
    TooLarge,
    /// The service refuses the request with an error that the sink does not know. The batch is halved. An event that stands
    /// alone is dropped once another batch of the target was delivered; until then it is tried again.
    UnknownRefusal,
    /// The batch is tried again later.
    Retry(Backoff),
    /// The group or the stream is missing: it is created, and the batch is sent again at once.
    Create,
    /// No request to any target would fare better: credentials are missing, wrong or expired, or the service does not
    /// accept the clock. All targets wait until one request is answered.
    Pause,
    /// The account sends more than it may: all targets send less, and slower. The target is not at fault.
    Throttle,
}

/// One error code of the service: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ServiceError {
    /// The code, as the service names it.
    pub code: &'static str,
    /// The meaning for the batch.
    pub verdict: Verdict,
    /// The meaning in words for an operator.
    pub words: &'static str,
}

const fn row(code: &'static str, verdict: Verdict, words: &'static str) -> ServiceError {
    ServiceError { code, verdict, words }
}

const THROTTLED: &str = "throttled by CloudWatch Logs";
const UNAVAILABLE: &str = "CloudWatch Logs cannot serve it at present";
const DENIED: &str = "access denied by CloudWatch Logs";
const TOO_LARGE: &str = "too large for CloudWatch Logs";
const REFUSED: &str = "refused by CloudWatch Logs";
const CREDENTIALS: &str = "CloudWatch Logs does not accept the credentials";
const CLOCK: &str = "CloudWatch Logs does not accept the time of the request";

/// The errors that the sink knows.
pub const SERVICE_ERRORS: &[ServiceError] = &[
    row("DataAlreadyAcceptedException", Verdict::Delivered, REFUSED),
    row("InvalidParameterException", Verdict::RefusedContent, REFUSED),
    row("InvalidRequestException", Verdict::RefusedContent, REFUSED),
    row("MalformedRequestException", Verdict::RefusedContent, REFUSED),
    row("SerializationException", Verdict::RefusedContent, REFUSED),
    row("ValidationException", Verdict::RefusedContent, REFUSED),
    row("RequestEntityTooLargeException", Verdict::TooLarge, TOO_LARGE),
    row("OperationAbortedException", Verdict::Retry(Backoff::Refused), REFUSED),
    row(
        "ResourceNotFoundException",
        Verdict::Create,
        "its log group or stream does not exist yet; see create_log_group and create_log_stream",
    ),
    row("AccessDeniedException", Verdict::Retry(Backoff::Refused), DENIED),
    row("AccessDenied", Verdict::Retry(Backoff::Refused), DENIED),
    row("LimitExceededException", Verdict::Retry(Backoff::Refused), "a quota of the account is used up"),
    row("UnrecognizedClientException", Verdict::Pause, CREDENTIALS),
    row("InvalidClientTokenId", Verdict::Pause, CREDENTIALS),
    row("ExpiredTokenException", Verdict::Pause, CREDENTIALS),
    row("ExpiredToken", Verdict::Pause, CREDENTIALS),
    row("MissingAuthenticationTokenException", Verdict::Pause, CREDENTIALS),
    row("MissingAuthenticationToken", Verdict::Pause, CREDENTIALS),
    row("IncompleteSignatureException", Verdict::Pause, CREDENTIALS),
    row("InvalidSignatureException", Verdict::Pause, CREDENTIALS),
    row("SignatureDoesNotMatch", Verdict::Pause, CREDENTIALS),
    row("RequestExpired", Verdict::Pause, CLOCK),
    row("RequestTimeTooSkewed", Verdict::Pause, CLOCK),
    row("ThrottlingException", Verdict::Throttle, THROTTLED),
    row("Throttling", Verdict::Throttle, THROTTLED),
    row("RequestLimitExceeded", Verdict::Throttle, THROTTLED),
    row("TooManyRequestsException", Verdict::Throttle, THROTTLED),
    row("ServiceUnavailableException", Verdict::Retry(Backoff::Unavailable), UNAVAILABLE),
    row("ServiceUnavailable", Verdict::Retry(Backoff::Unavailable), UNAVAILABLE),
    row("InternalFailure", Verdict::Retry(Backoff::Unavailable), UNAVAILABLE),
    row("InternalServerError", Verdict::Retry(Backoff::Unavailable), UNAVAILABLE),
    row("RequestTimeout", Verdict::Retry(Backoff::Unavailable), UNAVAILABLE),
];

fn known(error: &ApiError) -> Option<&'static ServiceError> {
    let code = error.code.as_deref()?;
    SERVICE_ERRORS.iter().find(|row| row.code == code)
}

/// The meaning of an error for its batch.
pub fn classify(error: &ApiError) -> Verdict {
    match (known(error), error.status, error.failure) {
        (Some(row), ..) => row.verdict,
        (None, Some(413), _) => Verdict::TooLarge,
        (None, Some(429), _) => Verdict::Throttle,
        (None, Some(400), Failure::Answered) if error.code.is_some() => Verdict::UnknownRefusal,
        (None, Some(500..=599), _) => Verdict::Retry(Backoff::Unavailable),
        (None, None, Failure::TimedOut | Failure::Connection) => Verdict::Retry(Backoff::Unavailable),
        (None, None, Failure::NotSent) => Verdict::Pause,
        _ => Verdict::Retry(Backoff::Refused),
    }
}

/// The meaning of an error in words for an operator.
pub fn words(error: &ApiError) -> &'static str {
    match (known(error), error.code.as_deref(), error.status, error.failure) {
        (Some(row), ..) => row.words,
        (None, _, Some(413), _) => TOO_LARGE,
        (None, Some(code), ..) if code.starts_with("AccessDenied") => DENIED,
        (None, Some(code), ..) if code.contains("Throttl") => THROTTLED,
        (None, _, Some(429), _) => THROTTLED,
        (None, _, Some(500..), _) => UNAVAILABLE,
        (None, Some(_), ..) => REFUSED,
        (None, None, _, Failure::TimedOut) => "no answer from CloudWatch Logs",
        (None, None, _, Failure::Connection) => "no connection to CloudWatch Logs",
        (None, None, _, Failure::NotSent) => "no request could be made",
        (None, None, _, Failure::Internal) => "internal error in cwl-sink",
        (None, None, ..) => "no proper answer from CloudWatch Logs",
    }
}

/// Returns whether a wrong clock may have caused an error.
pub fn may_be_clock(error: &ApiError) -> bool {
    CLOCK_ERRORS.iter().any(|code| error.is(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(failure: Failure, code: Option<&str>, status: Option<u16>) -> ApiError {
        ApiError { failure, code: code.map(Into::into), status, message: "".into() }
    }

    #[test]
    fn an_error_means_what_its_code_says_whatever_its_status() {
        for row in SERVICE_ERRORS {
            for status in [400, 500] {
                let error = error(Failure::Answered, Some(row.code), Some(status));
                assert_eq!((classify(&error), words(&error)), (row.verdict, row.words), "{row:?} {status}");
            }
        }
    }

    #[test]
    fn a_code_stands_in_the_table_once() {
        for (index, row) in SERVICE_ERRORS.iter().enumerate() {
            assert!(SERVICE_ERRORS[..index].iter().all(|other| other.code != row.code), "{}", row.code);
        }
    }

    #[test]
    fn an_unknown_error_is_retried_and_never_dropped() {
        for (failure, code, status, backoff) in [
            (Failure::Answered, Some("AccessDeniedException"), Some(400), Backoff::Refused),
            (Failure::Answered, None, Some(400), Backoff::Refused),
            (Failure::Answered, Some("SomethingNewException"), Some(403), Backoff::Refused),
            (Failure::Answered, Some("SomethingNewException"), Some(500), Backoff::Unavailable),
            (Failure::Answered, None, Some(403), Backoff::Refused),
            (Failure::Answered, None, Some(500), Backoff::Unavailable),
            (Failure::Answered, None, Some(503), Backoff::Unavailable),
            (Failure::Unreadable, None, Some(200), Backoff::Refused),
            (Failure::Unreadable, None, Some(502), Backoff::Unavailable),
            (Failure::TimedOut, None, None, Backoff::Unavailable),
            (Failure::Connection, None, None, Backoff::Unavailable),
        ] {
            let error = error(failure, code, status);
            assert_eq!(classify(&error), Verdict::Retry(backoff), "{error:?}");
        }
    }

    #[test]
    fn a_refusal_of_content_or_size_halves_the_batch() {
        for (code, status, verdict) in [
            (Some("InvalidParameterException"), 400, Verdict::RefusedContent),
            (Some("SomethingNewException"), 400, Verdict::UnknownRefusal),
            (Some("SomethingNewException"), 413, Verdict::TooLarge),
            (None, 413, Verdict::TooLarge),
        ] {
            assert_eq!(classify(&error(Failure::Answered, code, Some(status))), verdict, "{code:?} {status}");
        }
    }

    #[test]
    fn too_many_requests_throttle_the_account_whatever_names_them() {
        for (code, status) in
            [(Some("ThrottlingException"), 400), (Some("TooManyRequestsException"), 429), (None, 429)]
        {
            let error = error(Failure::Answered, code, Some(status));
            assert_eq!((classify(&error), words(&error)), (Verdict::Throttle, THROTTLED), "{error:?}");
        }
    }

    #[test]
    fn an_operator_learns_that_access_is_denied_or_a_quota_used_up() {
        for (code, expected) in [
            ("AccessDeniedException", "access denied by CloudWatch Logs"),
            ("AccessDeniedByPolicyException", "access denied by CloudWatch Logs"),
            ("ThrottledException", "throttled by CloudWatch Logs"),
            ("LimitExceededException", "a quota of the account is used up"),
        ] {
            assert_eq!(words(&error(Failure::Answered, Some(code), Some(400))), expected);
        }
    }

    #[test]
    fn an_error_that_is_not_in_the_table_has_words_too() {
        for (failure, code, status, expected) in [
            (Failure::Answered, None, Some(503), UNAVAILABLE),
            (Failure::TimedOut, None, None, "no answer from CloudWatch Logs"),
            (Failure::Connection, None, None, "no connection to CloudWatch Logs"),
            (Failure::NotSent, None, None, "no request could be made"),
            (Failure::Answered, Some("OddException"), Some(400), REFUSED),
            (Failure::Unreadable, None, Some(200), "no proper answer from CloudWatch Logs"),
        ] {
            assert_eq!(words(&error(failure, code, status)), expected);
        }
    }

    #[test]
    fn a_request_that_could_not_be_made_pauses_all_targets() {
        assert_eq!(classify(&error(Failure::NotSent, None, None)), Verdict::Pause);
    }
}
