//! A refusal as the service words it: an HTTP status, an exception's name, a message.

use std::borrow::Cow;

/// What the client is told instead of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// Exception name as it stands in `__type`.
    pub code: Cow<'static, str>,
    /// Text for people.
    pub message: String,
}

impl ServiceError {
    /// An error of any status and name.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// A parameter breaks one of the service's rules.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterException", message)
    }

    /// A parameter breaks a constraint of the API model; worded as the service's validator words it.
    pub fn constraint(member: &str, value: &str, constraint: &str) -> Self {
        let shown: String = value.chars().take(64).collect();
        let dots = if shown.len() < value.len() { "..." } else { "" };
        Self::invalid_parameter(format!(
            "1 validation error detected: Value '{shown}{dots}' at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// A required parameter is missing.
    pub fn missing(member: &str) -> Self {
        Self::invalid_parameter(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        ))
    }

    /// The body is not what the operation takes.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    /// There is no such operation.
    pub fn unknown_operation(message: impl Into<String>) -> Self {
        Self::new(400, "UnknownOperationException", message)
    }

    /// The log group does not exist.
    pub fn no_group() -> Self {
        Self::new(400, "ResourceNotFoundException", "The specified log group does not exist.")
    }

    /// The log stream does not exist.
    pub fn no_stream() -> Self {
        Self::new(400, "ResourceNotFoundException", "The specified log stream does not exist.")
    }

    /// What was to be created is there.
    pub fn already_exists(what: &str) -> Self {
        Self::new(400, "ResourceAlreadyExistsException", format!("The specified {what} already exists"))
    }
}
