//! An event on its way in: into the open batch of its target, under the target's lock.

use std::sync::{MutexGuard, TryLockError};

use tokio::time::Instant;

use super::state::State;
use super::{Effects, Queue};
use crate::batch::{NewEvent, NotAdded, OpenBatch, Situation, Start, Target};
use crate::engine::Event;
use crate::limits;
use crate::memory::{Charge, NoRoom, Standing};

/// Why an event did not get into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sink is shut down.
    Closed,
    /// There is no room now.
    Full,
    /// There will never be room: the event takes more memory than its target may hold.
    NeverFits {
        /// What it takes.
        needs: usize,
        /// What there is at most.
        limit: usize,
    },
}

impl Queue {
    /// Takes an event that only has to be written: nobody else is at the lock, and the open batch has room for it,
    /// however much of its message needs escapes. False where that is not so, and then nothing was done.
    #[inline]
    pub fn push_at_once(&self, event: &Event<'_>, now_ms: i64, effects: &mut Effects) -> bool {
        if event.range.is_some() {
            return false;
        }
        let Ok(mut state) = self.state.try_lock() else { return false };
        let stamp = state.stamp(event.timestamp_ms, now_ms);
        // None is, once the queue is closed.
        let Some(open) = state.open.as_deref_mut() else { return false };
        if !open.add_at_once(stamp, event.message, event.token) {
            return false;
        }
        self.rivalry.none_met();
        if open.is_full() {
            state.seal();
        }
        state.counts.accepted += 1;
        state.counts.accepted_bytes += event.message.len() as u64;
        if event.timestamp_ms.is_some() {
            state.last_timestamp_ms = event.timestamp_ms;
        }
        self.settle_line(&mut state, effects);
        true
    }

    /// Takes one event, in as many pieces as it was split into; `None` as its timestamp means the last one's, or
    /// else `now_ms`.
    #[inline]
    pub fn push(
        &self,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
        now_ms: i64,
        drop_oldest: bool,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let mut state = self.lock_for_push();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let stamp = state.stamp(timestamp_ms, now_ms);
        let pushed = loop {
            let added = match pieces {
                [event] => self.add(&mut state, stamp, event, effects),
                pieces => self.add_split(&mut state, stamp, pieces),
            };
            match added {
                Ok(()) => break Ok(()),
                // The open batch was sealed and the next one is empty, so the loop ends.
                Err(NotAdded::BatchFull) => continue,
                Err(NotAdded::NoRoom) => match self.no_room(pieces) {
                    Refusal::Full if drop_oldest && self.make_room(&mut state, pieces) => continue,
                    refusal => break Err(refusal),
                },
            }
        };
        if pushed.is_ok() {
            for event in pieces {
                state.counts.accepted += 1;
                state.counts.accepted_bytes += event.message.text_bytes() as u64;
            }
            if let Some(range) = pieces.first().and_then(NewEvent::source_range) {
                range.source.accepted(range.begin);
            }
            if timestamp_ms.is_some() {
                state.last_timestamp_ms = timestamp_ms;
            }
        }
        self.settle_line(&mut state, effects);
        pushed
    }

    fn no_room(&self, pieces: &[NewEvent<'_>]) -> Refusal {
        let needs = self.needs(pieces);
        let limit = self.account.budget().largest_charge();
        if needs > limit { Refusal::NeverFits { needs, limit } } else { Refusal::Full }
    }

    /// The least that the pieces take.
    pub fn needs(&self, pieces: &[NewEvent<'_>]) -> usize {
        let prefix_bytes = self.prefix_bytes();
        pieces.iter().map(|event| OpenBatch::least_charge(prefix_bytes, event, &self.ledger)).sum()
    }

    /// Gives up the oldest batch that waits, if giving up all that wait would make the room.
    fn make_room(&self, state: &mut State, pieces: &[NewEvent<'_>]) -> bool {
        if state.waiting.is_empty() {
            state.seal();
        }
        let (held, budget) = (self.account.held(), self.account.budget());
        let waiting = state.bytes_to_free();
        let (held, used) = (held.saturating_sub(waiting), budget.used().saturating_sub(waiting));
        budget.admits(state.standing(), held, self.needs(pieces), used) && state.drop_front()
    }

    fn open_batch(&self, id: u64, charge: Charge, start: Start, now: Instant) -> OpenBatch {
        OpenBatch::open(id, Target { prefix: self.prefix(), ledger: &self.ledger }, charge, start, now)
    }

    /// The least that the pieces take, reserved.
    fn reserve(&self, pieces: &[NewEvent<'_>], standing: Standing) -> Result<Charge, NoRoom> {
        let mut charge = Charge::empty(&self.account);
        charge.grow_for_push(self.needs(pieces), standing)?;
        Ok(charge)
    }

    /// Adds the pieces of one event, each in a batch of its own, which all but the last fill anyway: all of them
    /// or none.
    fn add_split(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        pieces: &[NewEvent<'_>],
    ) -> Result<(), NotAdded> {
        state.seal();
        let (standing, now) = (state.standing(), Instant::now());
        let mut reserved = self.reserve(pieces, standing)?;
        let open = |(id, event)| {
            let charge = reserved.split_off(self.needs(std::slice::from_ref(event)));
            self.open_batch(id, charge, Start::default(), now)
        };
        let mut opened: Vec<_> = (state.next_batch..).zip(pieces).map(open).collect();
        let added = opened.iter_mut().zip(pieces).try_for_each(|(batch, event)| {
            // What it is charged was reserved before it was opened.
            batch.add(timestamp_ms, event, Situation { standing, under_way: false })
        });
        if added.is_err() {
            opened.into_iter().for_each(OpenBatch::cancel);
            return Err(NotAdded::NoRoom);
        }
        state.next_batch += opened.len() as u64;
        state.used_at = Some(now);
        state.waiting.extend(opened.into_iter().map(OpenBatch::seal));
        Ok(())
    }

    /// Adds the event to the open batch, opening one if there is none. When it does not get in, the batch is
    /// sealed, so that it goes out and makes room; for want of memory only when nothing else of the queue will.
    fn add(
        &self,
        state: &mut State,
        timestamp_ms: i64,
        event: &NewEvent<'_>,
        effects: &mut Effects,
    ) -> Result<(), NotAdded> {
        let standing = state.standing();
        if state.open.is_none() {
            let now = Instant::now();
            let start = Start { at_once: self.account.budget().is_plenty(), ..state.last_size };
            let charge = self.reserve(std::slice::from_ref(event), standing)?;
            let batch = self.open_batch(state.next_batch, charge, start, now);
            state.next_batch += 1;
            state.used_at = Some(now);
            state.open = Some(Box::new(batch));
            if !state.timer_armed {
                state.timer_armed = true;
                effects.arm_timer = Some(now);
            }
        }
        let under_way = state.is_under_way();
        let Some(open) = state.open.as_mut() else { return Err(NotAdded::NoRoom) };
        let added = open.add(timestamp_ms, event, Situation { standing, under_way });
        match added {
            // What is on its way makes room when it is final. Sealed now, the batch could not go before that, and a
            // full buffer would be kept full of batches of single events.
            Err(NotAdded::NoRoom) if under_way && !open.is_empty() => state.due = true,
            Err(_) => state.seal(),
            Ok(()) if open.is_full() => state.seal(),
            Ok(()) => {}
        }
        added
    }

    /// The lock, for a push: see [`Rivalry`].
    #[inline]
    fn lock_for_push(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => {
                self.rivalry.none_met();
                state
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.rivalry.stay_away_until(|| self.state.try_lock().ok()).unwrap_or_else(|| self.lock())
            }
        }
    }
}

/// Whether the service would take an event of this timestamp.
pub fn timely(timestamp_ms: i64, now_ms: i64) -> bool {
    let oldest_ms = (now_ms - limits::EVENT_AGE_MAX_MS).max(0);
    (oldest_ms..=now_ms + limits::EVENT_AHEAD_MAX_MS).contains(&timestamp_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_before_1970_is_never_timely() {
        let soon_after = 5_000;
        assert!(timely(0, soon_after) && !timely(-1, soon_after));
        let now_ms = 1_800_000_000_000;
        let (oldest_ms, newest_ms) = (now_ms - limits::EVENT_AGE_MAX_MS, now_ms + limits::EVENT_AHEAD_MAX_MS);
        assert!(timely(oldest_ms, now_ms) && timely(newest_ms, now_ms));
        assert!(!timely(oldest_ms - 1, now_ms) && !timely(newest_ms + 1, now_ms));
    }
}
