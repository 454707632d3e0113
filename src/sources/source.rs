//! The offset of a source: everything below it is final, so that a host that reads a file or a queue may forget it.
//!
//! Each event carries the range of its source that it covers. Batches become final in any order. The offset of a source
//! passes a range only when the range is final: delivered, rejected or dropped. Abandoned events are to be read again
//! after a restart, so they hold the offset back. So does a range that no event covered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::sync::lock;

/// A source of events, such as a file.
#[derive(Debug)]
pub struct Source {
    name: Box<str>,
    /// Guards the progress. Nothing awaits while holding it.
    progress: Mutex<Progress>,
    /// Notified when the offset has advanced.
    advanced: Arc<Notify>,
}

#[derive(Debug)]
struct Progress {
    /// Everything below is final. `None` before the first event of a source without a saved offset.
    final_below: Option<u64>,
    /// Final ranges beyond, from begin to end. They neither touch nor overlap.
    beyond: BTreeMap<u64, u64>,
    /// The last saved value of `final_below`.
    saved: Option<u64>,
}

impl Source {
    /// A source whose events are final below `offset`. Without an offset, it begins where its first event does.
    pub fn new(name: &str, offset: Option<u64>, advanced: Arc<Notify>) -> Self {
        let progress = Progress { final_below: offset, beyond: BTreeMap::new(), saved: offset };
        Source { name: name.into(), progress: Mutex::new(progress), advanced }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The offset below which everything is final. `None` before the first event of a source without a saved offset.
    pub fn offset(&self) -> Option<u64> {
        self.lock().final_below
    }

    /// Begins a source without a saved offset at `begin`, where its first accepted event begins.
    pub fn begin_at(&self, begin: u64) {
        self.lock().final_below.get_or_insert(begin);
    }

    /// A range is final.
    fn finalize(&self, begin: u64, end: u64) {
        let mut progress = self.lock();
        let Some(below) = progress.final_below else { return };
        let (mut begin, mut end) = (begin.max(below), end);
        if begin >= end {
            return;
        }
        let beyond = &mut progress.beyond;
        // Ranges that it touches or overlaps are merged into it.
        while let Some((&other, &other_end)) = beyond.range(..=end).next_back().filter(|(_, e)| **e >= begin)
        {
            beyond.remove(&other);
            (begin, end) = (begin.min(other), end.max(other_end));
        }
        if begin == below {
            progress.final_below = Some(end);
            drop(progress);
            self.advanced.notify_one();
        } else {
            beyond.insert(begin, end);
        }
    }

    /// The offset, if it has advanced since it was last saved.
    pub fn unsaved(&self) -> Option<u64> {
        let progress = self.lock();
        progress.final_below.filter(|offset| progress.saved != Some(*offset))
    }

    /// Notes that the offset was saved.
    pub fn mark_saved(&self, offset: u64) {
        self.lock().saved = Some(offset);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }
}

/// The range of its source that an event covers.
#[derive(Clone, Debug)]
pub struct SourceRange {
    /// The source.
    pub source: Arc<Source>,
    /// The first offset covered.
    pub begin: u64,
    /// The first offset after it.
    pub end: u64,
}

impl SourceRange {
    /// The range of a source from `begin` up to `end`.
    pub fn new((source, begin, end): (&Arc<Source>, u64, u64)) -> Self {
        SourceRange { source: source.clone(), begin, end }
    }

    /// Returns whether `next` begins where this range ends, in the same source.
    pub fn joins(&self, next: &SourceRange) -> bool {
        self.end == next.begin && Arc::ptr_eq(&self.source, &next.source)
    }

    /// Notes that the range is final.
    pub fn finalize(self) {
        self.source.finalize(self.begin, self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_offset_passes_a_range_only_when_everything_below_is_final() {
        let source = Source::new("s", Some(10), Arc::default());
        source.finalize(20, 30);
        source.finalize(40, 50);
        assert_eq!(source.offset(), Some(10));
        source.finalize(10, 20);
        assert_eq!(source.offset(), Some(30));
        source.finalize(25, 45);
        assert_eq!(source.offset(), Some(50));
    }

    #[test]
    fn a_source_without_a_state_begins_where_its_first_event_does() {
        let source = Source::new("s", None, Arc::default());
        assert_eq!(source.offset(), None);
        source.begin_at(500);
        source.begin_at(600);
        assert_eq!(source.offset(), Some(500));
        source.finalize(500, 600);
        assert_eq!((source.offset(), source.unsaved()), (Some(600), Some(600)));
        source.mark_saved(600);
        assert_eq!(source.unsaved(), None);
    }

    proptest! {
        /// The model: a set of final offsets, and the first one that is not in it.
        #[test]
        fn any_order_of_ranges_comes_to_the_first_offset_that_is_not_final(
            ranges in proptest::collection::vec((0u64..60, 0u64..12), 0..40)
        ) {
            let source = Source::new("s", Some(0), Arc::default());
            let mut model = [false; 80];
            for (begin, length) in ranges {
                source.finalize(begin, begin + length);
                (begin..begin + length).for_each(|offset| model[offset as usize] = true);
                let first = model.iter().position(|done| !done).unwrap_or(model.len());
                prop_assert_eq!(source.offset(), Some(first as u64));
            }
        }
    }
}
