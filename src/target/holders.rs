//! The targets by the memory that they hold, so that a push without room finds those that hold most at once.
//!
//! A target is listed by the power of two of the bytes that it holds. It gets another place when it has grown. That it has
//! shrunk is found out when its place is looked at. So an event costs nothing here, and a search looks at a few targets,
//! however many there are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::queue::{ListPlace, Queue};
use crate::sync::lock;

/// See the module.
#[derive(Debug, Default)]
pub struct Holders {
    /// Guards the list, and the place that each target knows of itself. Nothing awaits while holding it.
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    /// Each target has one place at most. The largest come first, and of the same size those that were listed first.
    by_place: BTreeMap<Reverse<ListPlace>, Weak<Queue>>,
    /// The number of listings so far.
    listings: u64,
}

impl Holders {
    /// Lists a target that has grown.
    pub fn list(&self, queue: &Arc<Queue>) {
        if queue.has_outgrown_its_place() {
            lock(&self.listed).list(queue);
        }
    }

    /// At most `max` targets, roughly those that hold most. Those of the same size take turns from call to call.
    pub fn largest(&self, max: usize) -> Vec<Arc<Queue>> {
        let mut listed = lock(&self.listed);
        let first: Vec<_> = listed.by_place.values().take(max).cloned().collect();
        let found: Vec<_> = first.iter().filter_map(Weak::upgrade).collect();
        found.into_iter().filter(|queue| listed.list(queue)).collect()
    }

    /// Forgets the targets that are gone.
    pub fn forget_gone(&self) {
        lock(&self.listed).by_place.retain(|_, queue| queue.strong_count() > 0);
    }
}

impl Listed {
    /// Gives a target a new place, behind others of its size. Returns false when it holds nothing, and then has no place.
    fn list(&mut self, queue: &Arc<Queue>) -> bool {
        self.listings += 1;
        let place = ListPlace::new(queue.buffered_bytes(), self.listings);
        if let Some(before) = queue.move_in_list(place) {
            self.by_place.remove(&Reverse(before));
        }
        if let Some(place) = place {
            self.by_place.insert(Reverse(place), Arc::downgrade(queue));
        }
        place.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::batch::{Event, Message, NewEvent, Scratch};
    use crate::clock::SystemClock;
    use crate::memory::Budget;
    use crate::outcome::Ledger;
    use crate::target::Effects;

    /// A target that holds at least this number of bytes.
    fn holder(budget: &Arc<Budget>, number: usize, bytes: usize) -> Arc<Queue> {
        let queue = Queue::new(
            "g",
            &format!("s{number}"),
            1,
            Duration::from_secs(1),
            budget,
            &Arc::<Ledger>::default(),
        );
        let text = vec![b'x'; bytes];
        let event = Event { timestamp_ms: None, message: &text, token: 0, range: None };
        let mut scratch = Scratch::of_thread();
        let event = NewEvent::whole(Message::write(&text, &mut scratch), &event);
        let mut effects = Effects::default();
        queue.push(None, &[event], &SystemClock, true, &mut None, &mut effects).expect("room");
        assert!(effects.has_grown);
        Arc::new(queue)
    }

    #[test]
    fn those_that_hold_most_are_found_first_and_take_turns() {
        let budget = Arc::new(Budget::new(1 << 30, 1 << 30, 0));
        let holders = Holders::default();
        let queues: Vec<_> =
            (0..100).map(|number| holder(&budget, number, if number < 10 { 20_000 } else { 100 })).collect();
        queues.iter().for_each(|queue| holders.list(queue));
        queues.iter().for_each(|queue| holders.list(queue));
        let large =
            |found: &[Arc<Queue>]| found.iter().filter(|queue| queue.buffered_bytes() > 20_000).count();
        let (first, second) = (holders.largest(5), holders.largest(5));
        assert_eq!((large(&first), large(&second)), (5, 5));
        assert!(first.iter().all(|one| !second.iter().any(|other| Arc::ptr_eq(one, other))), "turns");
        assert_eq!(
            (large(&holders.largest(20)), holders.largest(1000).len()),
            (10, 100),
            "each is listed once"
        );
    }

    #[test]
    fn a_target_that_has_shrunk_loses_its_place_and_one_that_is_gone_too() {
        let budget = Arc::new(Budget::new(1 << 30, 1 << 30, 0));
        let holders = Holders::default();
        let mut queues: Vec<_> = (0..3).map(|number| holder(&budget, number, 1000)).collect();
        queues.iter().for_each(|queue| holders.list(queue));
        drop(queues[0].abandon());
        queues.pop();
        let found = holders.largest(10);
        assert!(found.len() == 1 && Arc::ptr_eq(&found[0], &queues[1]), "{} found", found.len());
        assert!(!queues[0].has_outgrown_its_place());
        queues.clear();
        drop(found);
        holders.forget_gone();
        assert!(lock(&holders.listed).by_place.is_empty());
    }
}
