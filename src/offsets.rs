//! How far a source is final: a host that reads a file, or a queue, may forget what lies below that.
//!
//! Events carry the range of their source that they cover. Whatever order their batches end in, the offset of a
//! source only passes a range when that range is final: delivered, rejected or dropped, but not abandoned, which is
//! to be read again after a restart. What no event ever covered holds the offset up too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A source of events, such as a file.
#[derive(Debug)]
pub struct Source {
    name: Box<str>,
    /// Guards the progress. Nothing awaits while holding it.
    progress: Mutex<Progress>,
    /// Told when the offset moved on.
    moved: Arc<Notify>,
}

#[derive(Debug)]
struct Progress {
    /// Everything below is final. None before the first event of a source that had no state.
    final_below: Option<u64>,
    /// Final ranges beyond that, by their begin; they neither touch nor overlap.
    beyond: BTreeMap<u64, u64>,
    /// `final_below` as it was last saved.
    saved: Option<u64>,
}

impl Source {
    /// A source whose events are final below `offset`; none: it begins where its first event does.
    pub fn new(name: &str, offset: Option<u64>, moved: Arc<Notify>) -> Self {
        let progress = Progress { final_below: offset, beyond: BTreeMap::new(), saved: offset };
        Source { name: name.into(), progress: Mutex::new(progress), moved }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The offset below which everything is final. None before the first event of a source without a state.
    pub fn offset(&self) -> Option<u64> {
        self.lock().final_below
    }

    /// An event was accepted: a source without a state begins there.
    pub fn accepted(&self, begin: u64) {
        self.lock().final_below.get_or_insert(begin);
    }

    /// A range is final.
    fn finalized(&self, begin: u64, end: u64) {
        let mut progress = self.lock();
        let Some(below) = progress.final_below else { return };
        let (mut begin, mut end) = (begin.max(below), end);
        if begin >= end {
            return;
        }
        let beyond = &mut progress.beyond;
        // What it touches or overlaps becomes one with it.
        while let Some((&other, &other_end)) = beyond.range(..=end).next_back().filter(|(_, e)| **e >= begin)
        {
            beyond.remove(&other);
            (begin, end) = (begin.min(other), end.max(other_end));
        }
        if begin == below {
            progress.final_below = Some(end);
            drop(progress);
            self.moved.notify_one();
        } else {
            beyond.insert(begin, end);
        }
    }

    /// The offset, if it changed since it was last saved.
    pub fn unsaved(&self) -> Option<u64> {
        let progress = self.lock();
        progress.final_below.filter(|offset| progress.saved != Some(*offset))
    }

    /// The offset was saved.
    pub fn saved(&self, offset: u64) {
        self.lock().saved = Some(offset);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event covers of its source.
#[derive(Clone, Debug)]
pub struct SourceRange {
    /// The source.
    pub source: Arc<Source>,
    /// The first offset covered.
    pub begin: u64,
    /// The first offset behind.
    pub end: u64,
}

impl SourceRange {
    /// From where to where a source is covered.
    pub fn new((source, begin, end): (&Arc<Source>, u64, u64)) -> Self {
        SourceRange { source: source.clone(), begin, end }
    }

    /// Whether the other follows on this one.
    pub fn joins(&self, next: &SourceRange) -> bool {
        self.end == next.begin && Arc::ptr_eq(&self.source, &next.source)
    }

    /// The range is final.
    pub fn finalize(self) {
        self.source.finalized(self.begin, self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_offset_passes_a_range_only_when_everything_below_is_final() {
        let source = Source::new("s", Some(10), Arc::default());
        source.finalized(20, 30);
        source.finalized(40, 50);
        assert_eq!(source.offset(), Some(10));
        source.finalized(10, 20);
        assert_eq!(source.offset(), Some(30));
        source.finalized(25, 45);
        assert_eq!(source.offset(), Some(50));
    }

    #[test]
    fn a_source_without_a_state_begins_where_its_first_event_does() {
        let source = Source::new("s", None, Arc::default());
        assert_eq!(source.offset(), None);
        source.accepted(500);
        source.accepted(600);
        assert_eq!(source.offset(), Some(500));
        source.finalized(500, 600);
        assert_eq!((source.offset(), source.unsaved()), (Some(600), Some(600)));
        source.saved(600);
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
                source.finalized(begin, begin + length);
                (begin..begin + length).for_each(|offset| model[offset as usize] = true);
                let first = model.iter().position(|done| !done).unwrap_or(model.len());
                prop_assert_eq!(source.offset(), Some(first as u64));
            }
        }
    }
}
