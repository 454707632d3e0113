//! The text of an error and of what caused it.

use std::error::Error as StdError;
use std::iter;

use super::http_client::is_wrapper;

/// The error and its sources, from the outermost to the innermost.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// The texts of the error and of its sources, except those that say nothing of their own.
pub(super) fn texts(error: &(dyn StdError + 'static)) -> String {
    joined(chain(error).filter(|error| !is_wrapper(*error)))
}

/// The texts of these errors.
pub(super) fn joined<'a>(errors: impl Iterator<Item = &'a (dyn StdError + 'static)>) -> String {
    let mut texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// The text on one line.
pub(super) fn on_one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
