//! An event as it is pushed, and on its way into a batch.

use std::sync::Arc;

use super::message::Message;
use crate::outcome::SplitEvent;
use crate::sources::{Source, SourceRange};

/// An event as it is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Milliseconds since the Unix epoch. `None`: the last timestamp that an event of the same target had if that is near the
    /// present, else now.
    pub timestamp_ms: Option<i64>,
    /// The message: any bytes, at least one. Bytes that are not UTF-8 become U+FFFD.
    pub message: &'a [u8],
    /// Comes back in the ack of the event.
    pub token: u64,
    /// The source that the event covers a part of, the begin and the end of the part.
    pub range: Option<(&'a Arc<Source>, u64, u64)>,
}

/// An event, or a piece of one, on its way into a batch.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// The message, measured.
    pub message: Message<'a>,
    /// Comes back in the ack of the event.
    pub token: u64,
    /// The range of its source that the event covers.
    pub range: Option<SourceRange>,
    /// The split event that this is a piece of. Its range is there.
    pub split: Option<Arc<SplitEvent>>,
}

impl<'a> NewEvent<'a> {
    /// An event in one piece.
    #[inline]
    pub fn whole(message: Message<'a>, event: &Event<'a>) -> Self {
        NewEvent { message, token: event.token, range: event.range.map(SourceRange::new), split: None }
    }

    /// The range of its source that the event covers, or that the split event covers of which this is a piece.
    pub fn source_range(&self) -> Option<&SourceRange> {
        self.range.as_ref().or_else(|| self.split.as_ref().and_then(|split| split.range()))
    }
}
