//! The health of a target.

/// The health of a target as its last requests show it. It decides how much memory the target may take, and when it may
/// send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The service took a batch of the target, and its last batch did not fail.
    Healthy,
    /// No batch of the target was taken or refused yet.
    Unknown,
    /// The last batch of the target failed.
    Failing,
}
