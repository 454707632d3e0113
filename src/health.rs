//! The health of a target.

/// The health of a target as its last requests show it. It decides how much memory the target may take, and when it may
/// send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The service took a batch of the target, and its last batch did not fail.
    Healthy,
    /// The service has not taken a batch of the target yet, and its last batch did not fail. A batch that is refused for
    /// good counts as neither.
    Unknown,
    /// The last batch of the target failed.
    Failing,
}
