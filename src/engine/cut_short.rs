//! The end of a request that is not taken, such as one that is cut short to make room for others.

use super::permit::Permit;
use crate::service::ApiError;

/// The end of a request without success.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The request failed.
    Failed(ApiError),
    /// The request was cut short, to make room for others.
    CutShort,
    /// There was no memory to make the request.
    NoMemory,
}

/// Waits for the answer, or for the moment when the attempt is cut short, if that comes first.
pub(super) async fn unless_cut_short<T>(
    permit: &Permit,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, NotTaken> {
    tokio::select! {
        biased;
        answer = answer => answer.map_err(NotTaken::Failed),
        () = permit.cut_short() => Err(NotTaken::CutShort),
    }
}
