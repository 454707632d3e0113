//! The errors of connections, as the SDK classifies them.

use std::error::Error as StdError;
use std::io;
use std::iter;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use http_body_util::LengthLimitError;
use hyper_util::client::legacy;
use thiserror::Error;

/// Something took longer than its time-out.
#[derive(Clone, Copy, Debug, Error)]
#[error("{what} took longer than {} s", limit.as_secs_f64())]
pub(super) struct TimedOut {
    pub what: &'static str,
    pub limit: Duration,
}

/// No connection could be opened. The cause is the source.
#[derive(Debug, Error)]
#[error("{to}{}", hint(source.as_ref()))]
pub(super) struct NotConnected {
    /// The host and port, or the proxy.
    pub to: String,
    pub source: BoxError,
}

/// A hint for the operator about a connection that could not be opened.
fn hint(source: &(dyn StdError + 'static)) -> &'static str {
    let tls = chain(source).find_map(|error| error.downcast_ref());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => {
            " (its certificate is not trusted; the option ca_bundle names the certificates to trust)"
        }
        _ => "",
    }
}

/// Returns whether an error only wraps another and says nothing of its own.
pub fn is_wrapper(error: &(dyn StdError + 'static)) -> bool {
    error.is::<ConnectorError>() || error.is::<legacy::Error>()
}

/// The answer is larger than any of CloudWatch Logs, so it comes from something else.
#[derive(Clone, Copy, Debug, Error)]
#[error("the answer is too large to come from CloudWatch Logs")]
pub(super) struct AnswerTooLarge;

/// The error of an answer whose body could not be read to its end.
pub(super) fn body_error(error: BoxError) -> BoxError {
    if error.is::<LengthLimitError>() { AnswerTooLarge.into() } else { error }
}

/// The error and what caused it, from the outermost to the innermost.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        // The source of an I/O error is that of the error inside it, which would be passed over.
        Some(outer) => outer.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// Returns whether an error of this type is in the chain.
pub(super) fn is_caused_by<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| error.is::<E>())
}

/// Classifies what became of a request that has no answer.
pub(super) fn connector_error(error: BoxError) -> ConnectorError {
    let http = chain(error.as_ref()).find_map(|error| error.downcast_ref::<hyper::Error>());
    if is_caused_by::<TimedOut>(error.as_ref()) || http.is_some_and(hyper::Error::is_timeout) {
        return ConnectorError::timeout(error);
    }
    if http.is_some_and(hyper::Error::is_user) {
        return ConnectorError::user(error);
    }
    let is_closed =
        http.is_some_and(|http| http.is_closed() || http.is_canceled() || http.is_incomplete_message());
    let is_connect =
        chain(error.as_ref()).filter_map(|error| error.downcast_ref()).any(legacy::Error::is_connect);
    if is_closed || is_connect || is_caused_by::<io::Error>(error.as_ref()) {
        return ConnectorError::io(error);
    }
    ConnectorError::other(error, None)
}
