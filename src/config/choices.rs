//! The values that options with a choice can have, and secrets.

use std::fmt;

/// The behaviour of a push when there is no room for its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room, at most [`Config::block_timeout`](super::Config::block_timeout).
    Block,
    /// Refuse the event at once.
    #[default]
    Reject,
    /// Drop the oldest events to make room.
    DropOldest,
}

/// The treatment of a message that is longer than the service accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// The message is cut, and ends in `[Truncated...]`.
    #[default]
    Truncate,
    /// The message goes out in several events.
    Split,
    /// The push is refused.
    Reject,
}

/// The messages that are sent as embedded metric format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emf {
    /// JSON objects with `_aws` at their root that holds `CloudWatchMetrics`.
    #[default]
    Auto,
    /// All messages.
    Always,
    /// No message.
    Never,
}

/// The compression of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Bodies are sent as they are.
    None,
    /// Bodies are compressed with gzip unless they are small.
    Gzip {
        /// The gzip level, 1 to 9.
        level: u32,
        /// The size of the smallest body that is compressed, in bytes.
        min_bytes: usize,
    },
}

/// A value that must not be shown. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: String) -> Self {
        Secret(value)
    }

    /// The value itself, for the one place that signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Stands for the value of a secret in messages.
pub const HIDDEN: &str = "(hidden)";
