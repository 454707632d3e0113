//! An error response of the service: an HTTP status, the name of an exception and a message.

use std::borrow::Cow;

/// An error of the service, which the client gets in place of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// Exception name, for the member `__type` of the response.
    pub code: Cow<'static, str>,
    /// Text for people.
    pub message: String,
}

impl ServiceError {
    /// Makes an error with any status and name.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// A parameter breaks one of the service's rules.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterException", message)
    }

    /// A parameter breaks a constraint of the API model. The message has the words of the service's validator.
    pub fn constraint(member: &str, value: &str, constraint: &str) -> Self {
        let beginning: String = value.chars().take(64).collect();
        let dots = if beginning.len() < value.len() { "..." } else { "" };
        Self::invalid_parameter(format!(
            "1 validation error detected: Value '{beginning}{dots}' at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// A required parameter is missing.
    pub fn missing(member: &str) -> Self {
        Self::invalid_parameter(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        ))
    }

    /// The body is not the JSON that the operation takes.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    /// The request has too many bytes.
    pub fn too_large() -> Self {
        Self::new(413, "RequestEntityTooLargeException", "Request is too large.")
    }

    /// The operation does not exist.
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

    /// The resource that the call would create exists.
    pub fn already_exists(resource: &str) -> Self {
        Self::new(400, "ResourceAlreadyExistsException", format!("The specified {resource} already exists"))
    }
}
