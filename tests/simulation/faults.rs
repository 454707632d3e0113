//! Everything that can go wrong with a request, and what it must mean.
//!
//! The meanings are written down here once more, apart from the library's table, so that the two can disagree. A
//! row that is new in the library's table makes every run fail until it is written down here too.

use cwl_sink::schedule::service_errors::SERVICE_ERRORS;
use cwl_sink::service::{ApiError, Failure};

/// What becomes of a batch after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The service has it.
    Delivered,
    /// Given up.
    Never,
    /// 200 ms doubling five times, then a minute.
    Short,
    /// 2 s doubling twice, then a minute.
    Long,
    /// Something is missing and created.
    Create,
    /// Nobody sends until one gets through.
    Pause,
    /// Everybody sends less; the target waits only when it is always the one.
    Throttle,
}

impl Means {
    /// The longest wait after so many earlier failures in a row, in milliseconds. Half of it is the shortest.
    pub fn wait_ms(self, failures: u32) -> u64 {
        match self {
            Means::Pause if failures < 15 => {
                [200, 400, 800, 1600, 3200].get(failures as usize).copied().unwrap_or(4000)
            }
            Means::Pause => 30_000,
            Means::Long | Means::Throttle => [2000, 4000].get(failures as usize).copied().unwrap_or(60_000),
            _ => [200, 400, 800, 1600, 3200].get(failures as usize).copied().unwrap_or(60_000),
        }
    }
}

/// What the service's name for an error means; none for a name that is not written down.
fn by_code(code: &str) -> Option<Means> {
    Some(match code {
        "DataAlreadyAcceptedException" => Means::Delivered,
        "InvalidParameterException" => Means::Never,
        "ResourceNotFoundException" => Means::Create,
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
        | "RequestTimeTooSkewed" => Means::Pause,
        "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            Means::Throttle
        }
        "ServiceUnavailableException"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalServerError"
        | "RequestTimeout" => Means::Long,
        _ => return None,
    })
}

/// What an error must mean.
pub fn meaning(error: &ApiError) -> Means {
    if let Some(means) = error.code.as_deref().and_then(by_code) {
        return means;
    }
    match (error.status, error.failure) {
        (Some(429), _) => Means::Throttle,
        (Some(500..), _) => Means::Long,
        (Some(_), _) => Means::Short,
        (None, Failure::TimedOut | Failure::Connection) => Means::Long,
        (None, Failure::NotSent) => Means::Pause,
        (None, _) => Means::Short,
    }
}

/// An error.
pub fn error(failure: Failure, code: Option<&str>, status: Option<u16>) -> ApiError {
    ApiError { failure, code: code.map(str::to_owned), status, message: "simulated".into() }
}

/// No answer within the time-out.
pub fn timed_out() -> ApiError {
    error(Failure::TimedOut, None, None)
}

/// No connection.
pub fn refused() -> ApiError {
    error(Failure::Connection, None, None)
}

/// The service's way to say that a group or a stream is missing.
pub fn not_found() -> ApiError {
    error(Failure::Answered, Some("ResourceNotFoundException"), Some(400))
}

/// Somebody else created it.
pub fn exists() -> ApiError {
    error(Failure::Answered, Some("ResourceAlreadyExistsException"), Some(400))
}

/// There are no credentials to sign with.
pub fn not_sent() -> ApiError {
    error(Failure::NotSent, None, None)
}

/// One of each: all rows of the library's table, and what is judged by status or transport.
pub fn all() -> Vec<ApiError> {
    let mut all = Vec::new();
    for code in SERVICE_ERRORS.iter().map(|row| row.code) {
        assert!(by_code(code).is_some(), "{code} is new in the table: say in faults.rs what it must mean");
        all.push(error(Failure::Answered, Some(code), Some(400)));
    }
    all.push(error(Failure::Answered, Some("ServiceUnavailableException"), Some(503)));
    for (code, status) in
        [("AccessDeniedException", 400), ("SomethingNewException", 400), ("OddException", 500)]
    {
        all.push(error(Failure::Answered, Some(code), Some(status)));
    }
    all.extend(
        [400, 403, 404, 413, 429, 500, 502, 503, 504].map(|s| error(Failure::Answered, None, Some(s))),
    );
    all.extend([200, 502].map(|status| error(Failure::Unreadable, None, Some(status))));
    all.extend(
        [Failure::Unreadable, Failure::TimedOut, Failure::Connection, Failure::NotSent]
            .map(|failure| error(failure, None, None)),
    );
    all
}

/// Errors after which the service may have the events all the same.
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
