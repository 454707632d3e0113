//! The way in of an event, up to the moment when its batch may be sent.

use std::sync::Arc;

use super::Engine;
use super::push_error::PushError;
use crate::batch::fit::{self, Fitted};
use crate::batch::{Event, Message, NewEvent, Scratch};
use crate::config::{Oversize, WhenFull};
use crate::health::Health;
use crate::limits::{self, is_accepted_timestamp};
use crate::memory::Charge;
use crate::outcome::SplitEvent;
use crate::sources::SourceRange;
use crate::target::queue::Refusal;
use crate::target::{Effects, Queue};

/// The most targets that one push asks for the room of their oldest events. So a refusal costs some microseconds, however many
/// targets there are.
const GIVERS_MAX: usize = 64;

#[cold]
fn refused_timestamp(timestamp_ms: i64, now_ms: i64) -> PushError {
    match timestamp_ms {
        ..0 => PushError::NegativeTimestamp { timestamp_ms },
        _ if timestamp_ms < now_ms => PushError::TooOld { timestamp_ms, now_ms },
        _ => PushError::TooNew { timestamp_ms, now_ms },
    }
}

impl Engine {
    /// Pushes one event; never blocks. The error is boxed to keep the success path small. [`PushError::Full`] is for the
    /// caller to wait out, if that is what `when_full` asks for.
    pub fn push(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        if event.message.is_empty() {
            return Err(PushError::Empty.into());
        }
        if let Some(timestamp_ms) = event.timestamp_ms {
            let now_ms = self.shared.clock.coarse_now_ms();
            if !is_accepted_timestamp(timestamp_ms, now_ms) {
                return Err(refused_timestamp(timestamp_ms, now_ms).into());
            }
        }
        if let Some((_, begin, end)) = event.range
            && begin >= end
        {
            return Err(PushError::BadRange { begin, end }.into());
        }
        if fit::is_emf(self.shared.config.emf, event.message) {
            let queue = self.shared.registry.emf_queue(queue).ok_or(PushError::Closed)?;
            return self.push_fitted(&queue, event);
        }
        self.push_fitted(queue, event)
    }

    /// Makes the message fit the limits of the service and pushes it, in pieces if necessary.
    fn push_fitted(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        if event.message.len() > limits::MESSAGE_BYTES_MAX / 3 {
            // The message may be too long, if bytes that are not UTF-8 grow to U+FFFD.
            return self.push_long(queue, event);
        }
        let mut effects = Effects::default();
        if queue.try_push_small(event, &*self.shared.clock, &mut effects) {
            if !effects.is_empty() {
                self.shared.apply(queue, effects);
            }
            return Ok(());
        }
        let mut scratch = Scratch::of_thread();
        let message = Message::write(event.message, &mut scratch);
        self.push_pieces(queue, event.timestamp_ms, &[NewEvent::whole(message, event)])
    }

    fn push_long(&self, queue: &Arc<Queue>, event: &Event<'_>) -> Result<(), Box<PushError>> {
        let timestamp_ms = event.timestamp_ms;
        let oversize = if queue.is_emf() { Oversize::Reject } else { self.shared.config.oversize };
        match fit::fit(oversize, self.shared.budget.charge_max(), event.message) {
            Fitted::Whole(message) => {
                self.push_pieces(queue, timestamp_ms, &[NewEvent::whole(message, event)])
            }
            Fitted::Cut(text) => {
                let message = Message::measure(text.as_bytes());
                self.push_pieces(queue, timestamp_ms, &[NewEvent::whole(message, event)])?;
                self.shared.stats.count_truncated_event();
                Ok(())
            }
            Fitted::Pieces(text, places) => {
                let split = SplitEvent::new(places.len() - 1, event.range.map(SourceRange::new));
                let piece = |place: &[usize]| NewEvent {
                    message: Message::measure(&text.as_bytes()[place[0]..place[1]]),
                    token: event.token,
                    range: None,
                    split: Some(split.clone()),
                };
                let pieces: Vec<_> = places.windows(2).map(piece).collect();
                self.push_pieces(queue, timestamp_ms, &pieces)
            }
            Fitted::TooLong(bytes) if queue.is_emf() => Err(PushError::EmfTooLarge { bytes }.into()),
            Fitted::TooLong(bytes) => Err(PushError::TooLarge { bytes }.into()),
            Fitted::NeverFits { needs, limit } => Err(PushError::NeverFits { needs, limit }.into()),
        }
    }

    fn push_pieces(
        &self,
        queue: &Arc<Queue>,
        timestamp_ms: Option<i64>,
        pieces: &[NewEvent<'_>],
    ) -> Result<(), Box<PushError>> {
        // The newest metrics count most, so the oldest make room and the host does not wait.
        let may_drop = self.shared.config.when_full == WhenFull::DropOldest || queue.is_emf();
        let mut spare = None;
        loop {
            let mut effects = Effects::default();
            let clock = &*self.shared.clock;
            let pushed = queue.push(timestamp_ms, pieces, clock, may_drop, &mut spare, &mut effects);
            if !effects.is_empty() {
                self.shared.apply(queue, effects);
            }
            match pushed {
                Ok(()) => return Ok(()),
                Err(Refusal::Closed) => return Err(PushError::Closed.into()),
                Err(Refusal::NeverFits { needs, limit }) => {
                    return Err(PushError::NeverFits { needs, limit }.into());
                }
                Err(Refusal::Full) if may_drop && spare.is_none() => {
                    spare = self.room_of_others(queue, pieces);
                    if spare.is_none() {
                        return Err(self.full(queue).into());
                    }
                }
                Err(Refusal::Full | Refusal::NoMemory) => return Err(self.full(queue).into()),
            }
        }
    }

    /// The error of a push without room. Makes open batches due when nothing else would make room.
    fn full(&self, queue: &Queue) -> PushError {
        let shared = &*self.shared;
        // A failing target has its share. The batches of others are not sent early for its sake.
        let health = queue.health();
        if health != Health::Failing && !shared.stats.is_sending() && shared.pool.is_empty() {
            shared.timers.flush_all();
        }
        PushError::Full {
            buffered: shared.budget.used(),
            limit: shared.config.buffer_max_bytes,
            held: queue.buffered_bytes(),
            target_limit: shared.config.target_buffer_max_bytes,
            is_healthy: health == Health::Healthy,
        }
    }

    /// Takes memory over from other targets, whose oldest events are dropped for it: all that the pieces need, or what is missing
    /// when the oldest events of the target itself make room too.
    fn room_of_others(&self, queue: &Queue, pieces: &[NewEvent<'_>]) -> Option<Charge> {
        let needs = queue.min_charge(pieces);
        self.take_over_oldest(queue, needs).or_else(|| match queue.droppable_bytes(needs) {
            0 => None,
            own => self.take_over_oldest(queue, needs.saturating_sub(own)),
        })
    }

    /// Makes room for `bytes` bytes: takes them over from other targets, those that hold most first, and drops their oldest
    /// events, until there is room for the rest. Returns `None`, and drops nothing, when these targets cannot give as much.
    ///
    /// A target that is not healthy takes nothing from healthy ones. Metrics take only from metrics, unless the host wants the
    /// oldest events dropped anyway: other targets are not listed then.
    fn take_over_oldest(&self, queue: &Queue, bytes: usize) -> Option<Charge> {
        let shared = &*self.shared;
        if !queue.may_take_over(bytes) {
            return None;
        }
        let health = queue.health();
        let (mut givers, mut droppable) = (Vec::new(), 0);
        for giver in shared.registry.holders.largest(GIVERS_MAX) {
            let may_lose = health == Health::Healthy || giver.health() != Health::Healthy;
            if may_lose && giver.id() != queue.id() && droppable < bytes {
                let more = giver.droppable_bytes(bytes - droppable);
                droppable += more;
                givers.extend((more > 0).then_some(giver));
            }
        }
        // The room that is left is for healthy targets.
        let has_room_for = |rest: usize| match health {
            Health::Healthy => queue.admits(health, rest),
            Health::Unknown | Health::Failing => rest == 0,
        };
        if !has_room_for(bytes.saturating_sub(droppable)) {
            return None;
        }
        let mut spare = queue.empty_charge();
        for giver in givers {
            let effects = giver.give_up_oldest(bytes, &mut spare, has_room_for);
            shared.apply(&giver, effects);
        }
        Some(spare)
    }
}
