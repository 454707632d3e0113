//! An event that was too long for the service and goes out in pieces.

use std::sync::{Arc, Mutex};

use super::resolution::{Reason, Resolution};
use crate::sources::SourceRange;
use crate::sync::lock;

/// An event in pieces, each in a batch of its own. It has one outcome: the worst of its pieces, once all are final.
#[derive(Debug)]
pub struct SplitEvent {
    /// The range of its source that the whole event covers.
    range: Option<SourceRange>,
    /// Guards the progress. Nothing awaits while holding it.
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    pieces_pending: usize,
    worst: Resolution,
}

impl SplitEvent {
    /// An event in `pieces` pieces.
    pub fn new(pieces: usize, range: Option<SourceRange>) -> Arc<Self> {
        let progress = Progress { pieces_pending: pieces, worst: Reason::None.into() };
        Arc::new(SplitEvent { range, progress: Mutex::new(progress) })
    }

    /// The range of its source that the whole event covers.
    pub fn range(&self) -> Option<&SourceRange> {
        self.range.as_ref()
    }

    /// Finalizes one piece. Returns the resolution of the whole event when it was the last piece.
    pub(super) fn finalize_piece(&self, resolution: &Resolution) -> Option<Resolution> {
        let mut progress = lock(&self.progress);
        let Progress { pieces_pending, worst } = &mut *progress;
        if resolution.outcome().index() >= worst.outcome().index() {
            *worst = resolution.clone();
        }
        *pieces_pending = pieces_pending.saturating_sub(1);
        (*pieces_pending == 0).then(|| worst.clone())
    }
}
