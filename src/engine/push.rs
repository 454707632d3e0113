//! The way in of an event, up to the moment when its batch may be sent.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Engine;
use super::push_error::PushError;
use crate::batch::fit::{self, Fitted};
use crate::batch::{Event, Message, NewEvent, Scratch};
use crate::config::{Oversize, WhenFull};
use crate::health::Health;
use crate::limits::{self, is_accepted_timestamp};
use crate::outcome::SplitEvent;
use crate::sources::SourceRange;
use crate::target::queue::Refusal;
use crate::target::{Effects, Queue};

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
        let drop_oldest = self.shared.config.when_full == WhenFull::DropOldest || queue.is_emf();
        loop {
            let mut effects = Effects::default();
            let pushed = queue.push(timestamp_ms, pieces, &*self.shared.clock, drop_oldest, &mut effects);
            if !effects.is_empty() {
                self.shared.apply(queue, effects);
            }
            match pushed {
                Ok(()) => return Ok(()),
                Err(Refusal::Closed) => return Err(PushError::Closed.into()),
                Err(Refusal::NeverFits { needs, limit }) => {
                    return Err(PushError::NeverFits { needs, limit }.into());
                }
                Err(Refusal::Full) if drop_oldest && self.drop_oldest_of_others(queue, pieces) => continue,
                Err(Refusal::Full) => return Err(self.full(queue).into()),
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

    /// Drops the oldest batch of another target, for a target that has nothing left to drop. The target with the most
    /// droppable memory comes first. A target that is not healthy takes nothing from healthy ones. Metrics take only from
    /// metrics, unless the host wants the oldest events dropped anyway. Returns false, and drops nothing, when that would
    /// not make the room.
    fn drop_oldest_of_others(&self, pushed: &Queue, pieces: &[NewEvent<'_>]) -> bool {
        let shared = &*self.shared;
        let health = pushed.health();
        let may_lose = |queue: &Arc<Queue>| {
            (health == Health::Healthy || queue.health() != Health::Healthy)
                && (shared.config.when_full == WhenFull::DropOldest || queue.is_emf())
        };
        let others = shared.registry.all().into_iter().filter(may_lose);
        let mut others: Vec<_> = others.map(|queue| (queue.droppable_bytes(), queue)).collect();
        others.sort_by_key(|(bytes, _)| Reverse(*bytes));
        let droppable: usize = others.iter().map(|(bytes, _)| bytes).sum();
        let used = shared.budget.used().saturating_sub(droppable);
        let held = pushed.buffered_bytes();
        shared.budget.admits(health, held, pushed.min_charge(pieces), used)
            && others.iter().any(|(_, queue)| {
                let oldest = queue.drop_oldest();
                shared.apply(queue, oldest.effects);
                oldest.dropped
            })
    }
}
