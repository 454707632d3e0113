//! The time and the region of a call.

/// The circumstances of a call that are not among its parameters.
pub(crate) struct CallContext<'a> {
    /// Time of the endpoint's clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The region that the request was signed for.
    pub region: &'a str,
}
