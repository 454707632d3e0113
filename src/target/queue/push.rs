//! The way in of an event: into the open batch of its target, under the lock of the target.

use std::sync::{MutexGuard, TryLockError};

use tokio::time::Instant;

use super::state::State;
use super::{Effects, Queue};
use crate::batch::{
    BATCH_ID_STRIDE, BatchSize, BatchTarget, Event, NewEvent, NotAdded, OpenBatch, TargetState,
};
use crate::clock::Clock;
use crate::health::Health;
use crate::memory::{Charge, NoRoom};

/// The reason why a queue did not accept an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sink is shut down.
    Closed,
    /// There is no room now.
    Full,
    /// The system has no memory now. Dropping events would not help.
    NoMemory,
    /// There will never be room: the event takes more memory than its target may hold.
    NeverFits {
        /// Memory that the event takes, in bytes.
        needs: usize,
        /// The most memory that a target may hold, in bytes.
        limit: usize,
    },
}

impl Queue {
    /// Pushes an event on the fast path: the lock is free, and the open batch has room for the message even if each of
    /// its bytes needs an escape. Returns false, and changes nothing, when that is not so.
    #[inline]
    pub fn try_push_small(&self, event: &Event<'_>, clock: &dyn Clock, effects: &mut Effects) -> bool {
        if event.range.is_some() {
            return false;
        }
        let Ok(mut state) = self.state.try_lock() else { return false };
        let timestamp_ms = state.resolve_timestamp(event.timestamp_ms, clock);
        // A closed queue has no open batch.
        let Some(open) = state.open.as_deref_mut() else { return false };
        if !open.try_add_small(timestamp_ms, event.message, event.token) {
            return false;
        }
        self.contention.on_uncontended();
        if open.is_full() {
            state.seal();
        }
        state.counts.accepted += 1;
        state.counts.accepted_bytes += event.message.len() as u64;
        if event.timestamp_ms.is_some() {
            state.last_timestamp_ms = event.timestamp_ms;
        }
        self.update_readiness(&mut state, effects);
        true
    }

    /// Pushes one event, in as many pieces as it was split into. Without a timestamp the event takes the last one of the
    /// target if that is near the present, else the time of the clock. Takes memory from `spare` first. `may_drop`: when there is
    /// no room, the oldest events of the target make it.
    #[inline]
    pub fn push(
        &self,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
        clock: &dyn Clock,
        may_drop: bool,
        spare: &mut Option<Charge>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let mut state = self.lock_for_push();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let resolved_ms = state.resolve_timestamp(timestamp_ms, clock);
        let pushed = loop {
            let added = match pieces {
                [event] => self.add(&mut state, resolved_ms, event, spare, effects),
                pieces => self.add_split(&mut state, resolved_ms, pieces, spare),
            };
            match added {
                Ok(()) => break Ok(()),
                // The open batch was sealed and the next one is empty, so the loop ends.
                Err(NotAdded::BatchFull) => continue,
                Err(NotAdded::NoMemory) => break Err(Refusal::NoMemory),
                Err(NotAdded::NoRoom) => match self.no_room(pieces) {
                    Refusal::Full if may_drop && self.make_room(&mut state, pieces, spare) => continue,
                    refusal => break Err(refusal),
                },
            }
        };
        effects.has_grown = may_drop && self.has_outgrown_its_place();
        if pushed.is_ok() {
            for event in pieces {
                state.counts.accepted += 1;
                state.counts.accepted_bytes += event.message.text_bytes() as u64;
            }
            if let Some(range) = pieces.first().and_then(NewEvent::source_range) {
                range.source.begin_at(range.begin);
            }
            if timestamp_ms.is_some() {
                state.last_timestamp_ms = timestamp_ms;
            }
        }
        self.update_readiness(&mut state, effects);
        pushed
    }

    fn no_room(&self, pieces: &[NewEvent<'_>]) -> Refusal {
        let needs = self.min_charge(pieces);
        let limit = self.account.budget().charge_max();
        if needs > limit { Refusal::NeverFits { needs, limit } } else { Refusal::Full }
    }

    /// The least memory that the pieces take, in bytes.
    pub fn min_charge(&self, pieces: &[NewEvent<'_>]) -> usize {
        let prefix_bytes = self.body_prefix_bytes();
        pieces.iter().map(|event| OpenBatch::min_charge(prefix_bytes, event, &self.ledger)).sum()
    }

    /// Makes room in place of the oldest events of the target. Returns false, and drops nothing, when all of them would not make
    /// the room.
    fn make_room(&self, state: &mut State, pieces: &[NewEvent<'_>], spare: &mut Option<Charge>) -> bool {
        let spared = spare.as_ref().map_or(0, Charge::bytes);
        let needs = self.min_charge(pieces).saturating_sub(spared);
        if needs == 0 {
            // The spare memory suffices for a new batch.
            state.seal();
            return true;
        }
        let rest = needs.saturating_sub(state.droppable_bytes(needs));
        if !self.account.admits(state.health(), rest) {
            return false;
        }
        let Some(freed) = state.drop_oldest() else { return false };
        spare.get_or_insert_with(|| self.empty_charge()).take_over(freed);
        true
    }

    /// A charge of 0 bytes.
    pub fn empty_charge(&self) -> Charge {
        Charge::empty(&self.account)
    }

    /// Returns whether the target may take over `bytes` bytes from other targets.
    pub fn may_take_over(&self, bytes: usize) -> bool {
        self.account.may_take_over(bytes)
    }

    /// Memory that dropping unsent batches would give back, in bytes. Stops counting at `enough`.
    pub fn droppable_bytes(&self, enough: usize) -> usize {
        self.lock().droppable_bytes(enough)
    }

    /// Returns whether the target, with this health, may take `more` bytes now.
    pub fn admits(&self, health: Health, more: usize) -> bool {
        self.account.admits(health, more)
    }

    /// Drops the oldest batches for an event of another target that needs `bytes` bytes: until `spare` and the rest, for which
    /// there is room then, suffice. `spare` takes no more than these bytes over.
    pub fn give_up_oldest(
        &self,
        bytes: usize,
        spare: &mut Charge,
        has_room_for: impl Fn(usize) -> bool,
    ) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.lock();
        while !has_room_for(bytes - spare.bytes())
            && let Some(mut freed) = state.drop_oldest()
        {
            spare.take_over(freed.split_off(bytes - spare.bytes()));
        }
        self.update_readiness(&mut state, &mut effects);
        effects
    }

    fn open_batch(&self, id: u64, charge: Charge, expected: BatchSize, now: Instant) -> OpenBatch {
        let target = BatchTarget { body_prefix: self.body_prefix(), ledger: &self.ledger };
        OpenBatch::open(id, target, charge, expected, now)
    }

    /// Reserves the least memory that the pieces take.
    fn reserve(
        &self,
        pieces: &[NewEvent<'_>],
        health: Health,
        spare: &mut Option<Charge>,
    ) -> Result<Charge, NoRoom> {
        let mut charge = self.empty_charge();
        charge.grow_for_push(self.min_charge(pieces), spare, health)?;
        Ok(charge)
    }

    /// Adds all pieces of one event, or none. Each piece gets a batch of its own, which all but the last fill anyway.
    fn add_split(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        pieces: &[NewEvent<'_>],
        spare: &mut Option<Charge>,
    ) -> Result<(), NotAdded> {
        state.seal();
        let (health, now) = (state.health(), Instant::now());
        let mut reserved = self.reserve(pieces, health, spare)?;
        let open = |(id, event)| {
            let charge = reserved.split_off(self.min_charge(std::slice::from_ref(event)));
            self.open_batch(id, charge, BatchSize::default(), now)
        };
        let ids = (0..).map(|piece| state.next_batch + piece * BATCH_ID_STRIDE);
        let mut opened: Vec<_> = ids.zip(pieces).map(open).collect();
        let added = opened.iter_mut().zip(pieces).try_for_each(|(batch, event)| {
            // The charge of the batch was reserved before it was opened.
            batch.add(timestamp_ms, event, TargetState { health, is_under_way: false }, &mut None)
        });
        if added.is_err() {
            opened.into_iter().for_each(OpenBatch::cancel);
            return added;
        }
        state.next_batch += opened.len() as u64 * BATCH_ID_STRIDE;
        state.used_at = Some(now);
        state.waiting.extend(opened.into_iter().map(OpenBatch::seal));
        Ok(())
    }

    /// Adds the event to the open batch, and opens one if there is none. If the event does not get in, the batch is
    /// sealed, so that it goes out and makes room. For lack of memory it is sealed only when nothing else of the queue is
    /// under way.
    fn add(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        event: &NewEvent<'_>,
        spare: &mut Option<Charge>,
        effects: &mut Effects,
    ) -> Result<(), NotAdded> {
        let health = state.health();
        if state.open.is_none() {
            let now = Instant::now();
            let charge = self.reserve(std::slice::from_ref(event), health, spare)?;
            let batch = self.open_batch(state.next_batch, charge, state.last_size, now);
            state.next_batch += BATCH_ID_STRIDE;
            state.used_at = Some(now);
            state.open = Some(Box::new(batch));
            if !state.timer_armed {
                state.timer_armed = true;
                effects.arm_timer = Some(now);
            }
        }
        let is_under_way = state.is_under_way();
        let Some(open) = state.open.as_mut() else { return Err(NotAdded::NoRoom) };
        let added = open.add(timestamp_ms, event, TargetState { health, is_under_way }, spare);
        match added {
            // Batches that are under way make room when they are final. Sealed now, this batch could not go before that,
            // and a full buffer would stay full of batches with a single event each.
            Err(NotAdded::NoRoom) if is_under_way && !open.is_empty() => state.due = true,
            Err(_) => state.seal(),
            Ok(()) if open.is_full() => state.seal(),
            Ok(()) => {}
        }
        added
    }

    /// Takes the lock for a push: see [`Contention`](super::contention::Contention).
    #[inline]
    fn lock_for_push(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => {
                self.contention.on_uncontended();
                state
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.contention.back_off_until(|| self.state.try_lock().ok()).unwrap_or_else(|| self.lock())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    use super::*;
    use crate::batch::Message;
    use crate::memory::Budget;
    use crate::outcome::Ledger;

    /// A clock that notes a read while the lock of the queue is free.
    #[derive(Default)]
    struct LockWitness {
        queue: OnceLock<Arc<Queue>>,
        was_free: AtomicBool,
    }

    impl Clock for LockWitness {
        fn now_ms(&self) -> i64 {
            let is_free = self.queue.get().is_some_and(|queue| queue.state.try_lock().is_ok());
            self.was_free.fetch_or(is_free, Ordering::Relaxed);
            1_800_000_000_000
        }
        fn uptime_ms(&self) -> i64 {
            0
        }
    }

    #[test]
    fn the_clock_is_read_under_the_lock_so_that_threads_never_stamp_out_of_order() {
        let (budget, ledger) = (Arc::new(Budget::new(1 << 20, 1 << 20, 0)), Arc::<Ledger>::default());
        let queue = Arc::new(Queue::new("g", "s", 1, Duration::from_secs(1), &budget, &ledger));
        let clock = LockWitness::default();
        clock.queue.set(queue.clone()).expect("set once");
        let event = Event { timestamp_ms: None, message: b"m", token: 0, range: None };
        let mut effects = Effects::default();
        // The slow path makes room for the fast one.
        let is_fast = (0..100).any(|_| {
            let message = [NewEvent::whole(Message::measure(event.message), &event)];
            queue.push(None, &message, &clock, false, &mut None, &mut effects).expect("there is room");
            queue.try_push_small(&event, &clock, &mut effects)
        });
        assert!(is_fast, "the fast path was not taken");
        assert!(!clock.was_free.load(Ordering::Relaxed), "the clock was read while the lock was free");
    }
}
