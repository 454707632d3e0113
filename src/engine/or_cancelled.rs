//! The end of a request whose attempt is cancelled.

use super::permit::Permit;
use crate::service::{ApiError, Failure};

/// Waits for the answer, or for the end of the permit if that comes first.
pub(super) async fn or_cancelled<T>(
    permit: &Permit,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = permit.cancelled() => Err(ApiError {
            failure: Failure::TimedOut,
            code: None,
            status: None,
            message: "cancelled, since too many requests were slow at once".into(),
        }),
    }
}
