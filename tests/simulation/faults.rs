//! All errors that a request can meet, and what each must mean.
//!
//! The meanings are written down here a second time, apart from the library's table, so that the two can disagree. A
//! row that is new in the library's table makes every run fail until it is written down here too.

use std::time::Duration;

use cwl_sink::schedule::service_errors::SERVICE_ERRORS;
use cwl_sink::service::{ApiError, Failure};

/// The longest back-off of a target while few targets fail, and that of the endpoint.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The meaning of an answer for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The service has the batch.
    Delivered,
    /// The service refuses the content: the batch is halved, and an event that is refused alone is dropped.
    RefusedContent,
    /// The request is too large on the wire: the batch is halved, and an event that is too large alone is dropped.
    TooLarge,
    /// The service refuses the request for a reason that nobody knows: the batch is halved. An event that is refused
    /// alone is dropped once another batch of its queue was delivered after the first refusal.
    UnknownRefusal,
    /// The batch is tried again after 200 ms, doubled up to 8 s.
    Refused,
    /// The batch is tried again after 2 s, doubled up to 8 s, unless the endpoint is at fault.
    Unavailable,
    /// The group or stream is missing and is created.
    Create,
    /// The group or stream is missing and cannot be created: the batch is tried again after 200 ms, doubled, at most 4 s.
    Missing,
    /// No target sends until one request is answered.
    Pause,
    /// All targets send less. The target waits only if it alone is throttled, again and again.
    Throttle,
}

impl Meaning {
    /// Returns true if the service refuses the request for what it holds.
    pub fn is_refusal(self) -> bool {
        matches!(self, Meaning::RefusedContent | Meaning::TooLarge | Meaning::UnknownRefusal)
    }

    /// The longest wait after `failures` earlier consecutive failures, in milliseconds. The shortest wait is half of
    /// it.
    pub fn wait_ms(self, failures: u32) -> u64 {
        let after = |doubled: &[u64], then| doubled.get(failures as usize).copied().unwrap_or(then);
        match self {
            Meaning::Pause if failures < 30 => after(&[200, 400, 800, 1600], 2000),
            Meaning::Pause => 10_000,
            Meaning::Missing => after(&[200, 400, 800, 1600, 3200], 4000),
            Meaning::Unavailable | Meaning::Throttle => after(&[2000, 4000], 8000),
            _ => after(&[200, 400, 800, 1600, 3200, 6400], 8000),
        }
    }
}

/// The meaning of an error code. `None` for a code that is not written down.
fn by_code(code: &str) -> Option<Meaning> {
    Some(match code {
        "DataAlreadyAcceptedException" => Meaning::Delivered,
        "InvalidParameterException"
        | "InvalidRequestException"
        | "MalformedRequestException"
        | "SerializationException"
        | "ValidationException" => Meaning::RefusedContent,
        "RequestEntityTooLargeException" => Meaning::TooLarge,
        "ResourceNotFoundException" => Meaning::Create,
        "AccessDeniedException" | "AccessDenied" | "LimitExceededException" | "OperationAbortedException" => {
            Meaning::Refused
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "RequestExpired"
        | "RequestTimeTooSkewed" => Meaning::Pause,
        "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            Meaning::Throttle
        }
        "ServiceUnavailableException"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalServerError"
        | "RequestTimeout" => Meaning::Unavailable,
        _ => return None,
    })
}

/// The meaning that an error must have.
pub fn meaning_of(error: &ApiError) -> Meaning {
    if let Some(meaning) = error.code.as_deref().and_then(by_code) {
        return meaning;
    }
    match (error.status, error.failure) {
        (Some(413), _) => Meaning::TooLarge,
        (Some(429), _) => Meaning::Throttle,
        (Some(400), Failure::Answered) if error.code.is_some() => Meaning::UnknownRefusal,
        (Some(500..), _) => Meaning::Unavailable,
        (Some(_), _) => Meaning::Refused,
        (None, Failure::TimedOut | Failure::Connection) => Meaning::Unavailable,
        (None, Failure::NotSent) => Meaning::Pause,
        (None, _) => Meaning::Refused,
    }
}

/// The request is too large on the wire.
pub fn too_large() -> ApiError {
    error(Failure::Answered, None, Some(413))
}

/// Any error.
pub fn error(failure: Failure, code: Option<&str>, status: Option<u16>) -> ApiError {
    ApiError { failure, code: code.map(Into::into), status, message: "simulated".into() }
}

/// There is no answer within the time-out.
pub fn timed_out() -> ApiError {
    error(Failure::TimedOut, None, None)
}

/// There is no connection.
pub fn refused() -> ApiError {
    error(Failure::Connection, None, None)
}

/// A group or a stream is missing.
pub fn not_found() -> ApiError {
    error(Failure::Answered, Some("ResourceNotFoundException"), Some(400))
}

/// A group or a stream exists already.
pub fn exists() -> ApiError {
    error(Failure::Answered, Some("ResourceAlreadyExistsException"), Some(400))
}

/// There are no credentials to sign the request with.
pub fn not_sent() -> ApiError {
    error(Failure::NotSent, None, None)
}

/// One error of each kind: all rows of the library's table, and errors that are judged by their status or transport.
pub fn all() -> Vec<ApiError> {
    let mut all = Vec::new();
    for code in SERVICE_ERRORS.iter().map(|row| row.code) {
        assert!(
            by_code(code).is_some(),
            "{code} is new in the library's table: write its meaning down in faults.rs"
        );
        all.push(error(Failure::Answered, Some(code), Some(400)));
    }
    all.push(error(Failure::Answered, Some("ServiceUnavailableException"), Some(503)));
    for (code, status) in
        [("SomethingNewException", 400), ("SomethingNewException", 403), ("OddException", 500)]
    {
        all.push(error(Failure::Answered, Some(code), Some(status)));
    }
    all.extend(
        [400, 403, 404, 413, 429, 500, 502, 503, 504]
            .map(|status| error(Failure::Answered, None, Some(status))),
    );
    all.extend([200, 502].map(|status| error(Failure::Unreadable, None, Some(status))));
    all.extend(
        [Failure::Unreadable, Failure::TimedOut, Failure::Connection, Failure::NotSent]
            .map(|failure| error(failure, None, None)),
    );
    all
}

/// Returns true if the service may have done what the request asked for, although it failed.
pub fn may_be_done(error: &ApiError) -> bool {
    let is_refusal = error.failure == Failure::Answered && matches!(error.status, Some(400..=499));
    !is_refusal && error.failure != Failure::NotSent
}

/// Errors after which the service may have taken the events.
pub fn answer_lost() -> Vec<ApiError> {
    vec![
        timed_out(),
        error(Failure::Connection, None, None),
        error(Failure::Answered, None, Some(502)),
        error(Failure::Answered, None, Some(504)),
        error(Failure::Unreadable, None, Some(200)),
        error(Failure::Answered, Some("InternalFailure"), Some(500)),
    ]
}
