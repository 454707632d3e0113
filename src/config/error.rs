//! The reasons why a configuration is refused.

use thiserror::Error;

/// The reason why a configuration is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no option with this key.
    #[error("there is no option {key:?}{}", suggestion.map(|s| format!("; did you mean {s:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// The option with the nearest key, if one is near.
        suggestion: Option<&'static str>,
    },
    /// The option does not take the value.
    #[error("option {key}: {value} is not allowed; allowed: {allowed}")]
    BadValue {
        /// The option.
        key: &'static str,
        /// The value in quotes, or "(hidden)" for a secret.
        value: String,
        /// The values that the option takes.
        allowed: String,
    },
    /// The option does not take the text.
    #[error("option {key}: {why}")]
    BadText {
        /// The option.
        key: &'static str,
        /// The fault of the text, and what is allowed.
        why: String,
    },
    /// Two options cannot be combined.
    #[error("{0}")]
    Combination(String),
}
