//! The result of a successful call.

/// The result of a successful call.
pub(crate) struct CallOutput {
    /// The body of the response; empty for operations without a result.
    pub body: Vec<u8>,
    /// The events that were accepted. Only `PutLogEvents` accepts events.
    pub accepted: Accepted,
}

/// The accepted events of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Number of accepted events.
    pub events: usize,
    /// Their bytes, as the service counts a batch.
    pub counted_bytes: usize,
}
