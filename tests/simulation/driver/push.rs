//! Pushes events, checks what the engine says to each, and records what it accepted.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use cwl_sink::batch::Event;
use cwl_sink::clock::Clock;
use cwl_sink::config::{Emf, Oversize, WhenFull};
use cwl_sink::engine::PushError;
use cwl_sink::limits::{EVENT_AGE_MAX_MS, EVENT_AHEAD_MAX_MS, MESSAGE_BYTES_MAX};
use cwl_sink::target::Queue;

use super::Driver;
use crate::record::message::{LONG_BYTES, message};
use crate::record::{AcceptedRange, EventRecord, PieceRecord};
use crate::rules::age::{is_accepted, is_inherited};
use crate::rules::message::TRUNCATED;

/// The most memory that an event takes for each byte of its message. A byte may need six bytes of JSON, and a body is
/// charged twice when it is sorted.
const MEMORY_PER_BYTE_MAX: usize = 12;
/// The most memory that a batch with one event takes besides.
const MEMORY_PER_BATCH_MAX: usize = 2000;

/// Events that were refused and are pushed again, in order.
pub type Backlog = VecDeque<PendingPush>;

/// An event that the host wants to push.
#[derive(Clone, Debug)]
pub struct PendingPush {
    target: usize,
    timestamp_ms: Option<i64>,
    bytes: usize,
    emf: bool,
    /// The service refuses every request with the event.
    is_poison: bool,
    /// The range of its source that the event covers.
    range: Option<(u64, u64)>,
}

/// The result of a push that kept every promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Accepted,
    /// The engine will never accept the event.
    Refused,
    /// There is no room now.
    NoRoom,
}

/// A push as it was made.
struct MadePush<'a> {
    pending: &'a PendingPush,
    token: usize,
    text: Vec<u8>,
    /// The index of the queue.
    queue: usize,
    engine_queue: Arc<Queue>,
    /// The time of day by the clock of the engine.
    now_ms: i64,
}

impl MadePush<'_> {
    /// The length of the message as UTF-8.
    fn text_bytes(&self) -> usize {
        String::from_utf8_lossy(&self.text).len()
    }

    fn is_too_long(&self) -> bool {
        self.text_bytes() > MESSAGE_BYTES_MAX
    }

    /// Returns true if the event goes to the queue for metrics.
    fn is_metrics(&self) -> bool {
        self.queue % 2 == 1
    }

    /// Returns true if the service would refuse the event for its age.
    fn has_odd_timestamp(&self) -> bool {
        self.pending.timestamp_ms.is_some_and(|timestamp_ms| !is_accepted(timestamp_ms, self.now_ms))
    }

    /// The lengths of the pieces that the service must get.
    fn piece_bytes(&self, oversize: Oversize) -> Vec<usize> {
        match oversize {
            Oversize::Truncate if self.is_too_long() => {
                let whole = String::from_utf8_lossy(&self.text);
                vec![whole.floor_char_boundary(MESSAGE_BYTES_MAX - TRUNCATED.len()) + TRUNCATED.len()]
            }
            Oversize::Split if self.is_too_long() => {
                vec![MESSAGE_BYTES_MAX, self.text_bytes() - MESSAGE_BYTES_MAX]
            }
            _ => vec![self.text_bytes()],
        }
    }
}

impl Driver {
    /// Pushes the events that were refused again, each backlog as far as there is room.
    pub(super) fn push_backlogs(&mut self) -> Result<(), String> {
        for index in 0..self.backlogs.len() {
            while let Some(pending) = self.backlogs[index].front().cloned() {
                if self.push(index, &pending)? == Pushed::NoRoom {
                    break;
                }
                self.backlogs[index].pop_front();
            }
        }
        Ok(())
    }

    /// Pushes a random new event.
    pub(super) fn push_new_event(&mut self) -> Result<(), String> {
        let timestamp_ms = self.random_timestamp();
        let bytes = self.random_length();
        let emf = self.rng.u32(..100) < self.scenario.emf_percent && bytes < LONG_BYTES;
        let index = self.rng.usize(..self.backlogs.len());
        let range = (index < self.sources.len()).then(|| {
            let source = &mut self.service.world().record.sources[index];
            let begin = source.next + if self.rng.u32(..200) == 0 { 3 } else { 0 };
            source.next = begin + self.rng.u64(1..2000);
            (begin, source.next)
        });
        let target = self.rng.usize(..self.scenario.targets);
        let is_poison = self.rng.u32(..100) < self.scenario.poison_percent
            && self.service.world().faults.poison[target].is_some();
        let pending = PendingPush { target, timestamp_ms, bytes, emf, is_poison, range };
        if self.backlogs[index].is_empty() && self.push(index, &pending)? != Pushed::NoRoom {
            return Ok(());
        }
        // The host loses a refused event, unless it reads the event again or waits for room.
        if range.is_some() || self.scenario.config.when_full == WhenFull::Block {
            self.backlogs[index].push_back(pending);
        }
        Ok(())
    }

    /// Pushes a small event to a queue, after all faults have ended.
    pub(super) fn push_last_event(&mut self, queue: usize) -> Result<Pushed, String> {
        let (target, emf) = (queue / 2, queue % 2 == 1);
        let timestamp_ms = Some(self.clock.now_ms());
        let pending = PendingPush { target, timestamp_ms, bytes: 20, emf, is_poison: false, range: None };
        self.push(self.sources.len(), &pending)
    }

    /// Pushes an event to each queue in which a batch waits until another one is delivered. Returns false if there is no
    /// room for one of them.
    pub(super) fn push_awaited_events(&mut self) -> Result<bool, String> {
        let mut has_room = true;
        let queues = self.service.world().record.queues_that_need_delivery();
        for queue in queues {
            has_room &= self.push_last_event(queue)? != Pushed::NoRoom;
        }
        Ok(has_room)
    }

    fn random_timestamp(&mut self) -> Option<i64> {
        let now_ms = self.clock.now_ms();
        let rng = &mut self.rng;
        if rng.u32(..100) < self.scenario.unstamped_percent {
            return None;
        }
        if rng.u32(..100) >= self.scenario.odd_stamp_percent {
            return Some(now_ms);
        }
        Some(match rng.u32(..6) {
            0 => now_ms - EVENT_AGE_MAX_MS + rng.i64(-2..=2000),
            1 => now_ms + EVENT_AHEAD_MAX_MS - rng.i64(-2..=2000),
            2 => now_ms - rng.i64(0..EVENT_AGE_MAX_MS),
            3 => now_ms + rng.i64(0..EVENT_AHEAD_MAX_MS),
            _ => now_ms - rng.i64(0..10_000),
        })
    }

    fn random_length(&mut self) -> usize {
        let rng = &mut self.rng;
        if self.scenario.oversize && rng.u32(..4) == 0 {
            rng.usize(MESSAGE_BYTES_MAX - 2..2 * MESSAGE_BYTES_MAX - 100)
        } else if self.scenario.too_large && rng.u32(..100) == 0 {
            self.scenario.config.target_buffer_max_bytes
        } else {
            rng.usize(1..=self.scenario.bytes_max)
        }
    }

    /// Pushes one event, from the source or the backlog of this index.
    fn push(&mut self, index: usize, pending: &PendingPush) -> Result<Pushed, String> {
        let Some(made) = self.prepare_push(pending)? else { return Ok(Pushed::Refused) };
        let range = pending.range.map(|(begin, end)| (&self.sources[index], begin, end));
        let token = made.token as u64;
        let event = Event { timestamp_ms: pending.timestamp_ms, message: &made.text, token, range };
        let dropped = self.engine.snapshot().dropped_events;
        let result = self.engine.push(&made.engine_queue, &event).map_err(|error| *error);
        let dropped = self.engine.snapshot().dropped_events - dropped;
        let mut world = self.service.world();
        world.note("push", &[made.queue as u64, made.text.len() as u64, u64::from(result.is_ok())]);
        let name = world.record.queues[made.queue].name();
        drop(world);
        if let (Err(error), 1..) = (&result, dropped) {
            return Err(format!(
                "a push to {name} was refused ({error}), and cost {dropped} events all the same"
            ));
        }
        let pushed = match result {
            Ok(()) => Pushed::Accepted,
            Err(error) => self
                .judge_refusal(&made, &error)
                .ok_or_else(|| format!("event {token} to {name} was refused: {error}"))?,
        };
        if pushed == Pushed::Accepted {
            if made.has_odd_timestamp() || self.service.world().shutdown.closed_at.is_some() {
                return Err(format!(
                    "event {token} to {name} was accepted with an odd timestamp or after the shutdown began"
                ));
            }
            self.record_accepted(index, &made);
        }
        if pushed != Pushed::Refused {
            self.service.world().check_memory();
        }
        Ok(pushed)
    }

    /// Finds the queue of an event. `None` once the engine is closed.
    fn prepare_push<'a>(&mut self, pending: &'a PendingPush) -> Result<Option<MadePush<'a>>, String> {
        let mut world = self.service.world();
        world.tick();
        let token = world.record.events.len();
        let text = message(token, pending.bytes, pending.emf);
        let emf = match self.scenario.config.emf {
            Emf::Auto => pending.emf,
            Emf::Always => true,
            Emf::Never => false,
        };
        let queue = 2 * pending.target + usize::from(emf);
        let group = world.record.queues[queue].group.clone();
        let stream = world.record.queues[queue].stream.clone();
        world.forget_if_gone(queue)?;
        drop(world);
        let now_ms = self.clock.now_ms();
        match self.engine.target(Some(&group), Some(&stream)) {
            Ok(engine_queue) => Ok(Some(MadePush { pending, token, text, queue, engine_queue, now_ms })),
            Err(PushError::Closed) => Ok(None),
            Err(error) => Err(format!("{group}/{stream}: {error}")),
        }
    }

    /// Judges an error of a push. `None` if the engine had no reason for it.
    fn judge_refusal(&self, made: &MadePush<'_>, error: &PushError) -> Option<Pushed> {
        let has_odd_timestamp = made.has_odd_timestamp();
        let memory_max = MEMORY_PER_BYTE_MAX * made.text.len() + MEMORY_PER_BATCH_MAX;
        let rejects_long = self.scenario.config.oversize == Oversize::Reject;
        match error {
            PushError::Full { .. } if !has_odd_timestamp && self.engine.snapshot().buffered_bytes > 0 => {
                Some(Pushed::NoRoom)
            }
            PushError::TooOld { .. } | PushError::TooNew { .. } if has_odd_timestamp => Some(Pushed::Refused),
            PushError::NeverFits { limit, .. } if memory_max > *limit => Some(Pushed::Refused),
            PushError::TooLarge { .. } if made.is_too_long() && rejects_long && !made.is_metrics() => {
                Some(Pushed::Refused)
            }
            PushError::EmfTooLarge { .. } if made.is_too_long() && made.is_metrics() => Some(Pushed::Refused),
            PushError::Closed if self.service.world().shutdown.closed_at.is_some() => Some(Pushed::Refused),
            _ => None,
        }
    }

    fn record_accepted(&mut self, index: usize, made: &MadePush<'_>) {
        let mut world = self.service.world();
        let now = world.tick().at;
        let MadePush { pending, token, .. } = *made;
        let record = &mut world.record;
        let queue = &mut record.queues[made.queue];
        queue.engine_queue = if queue.emf {
            made.engine_queue.emf_queue().map_or_else(Weak::new, Arc::downgrade)
        } else {
            Arc::downgrade(&made.engine_queue)
        };
        queue.last_push_at = Some(now);
        let last_timestamp_ms = queue.last_timestamp_ms.filter(|last| is_inherited(*last, made.now_ms));
        queue.last_timestamp_ms = pending.timestamp_ms.or(queue.last_timestamp_ms);
        let first = record.pieces.len();
        let piece_bytes = made.piece_bytes(self.scenario.config.oversize);
        let timestamp_ms = pending.timestamp_ms.or(last_timestamp_ms).unwrap_or(made.now_ms);
        queue.is_out_of_order |= timestamp_ms < queue.newest_timestamp_ms;
        queue.newest_timestamp_ms = queue.newest_timestamp_ms.max(timestamp_ms);
        for (piece, text_bytes) in piece_bytes.iter().enumerate() {
            queue.pieces.push(first + piece);
            record.pieces.push(PieceRecord {
                event: token,
                queue: made.queue,
                number: queue.pieces.len() as u64 - 1,
                timestamp_ms,
                text_bytes: *text_bytes,
                taken: 0,
                taken_without_answer: 0,
                refused: None,
                confirmed: false,
                batch: None,
                is_second: piece > 0,
            });
        }
        let text_bytes = piece_bytes.iter().sum();
        record.events.push(EventRecord {
            pieces: first..record.pieces.len(),
            pushed_bytes: pending.bytes,
            text_bytes,
            emf: pending.emf,
            is_poison: pending.is_poison,
            ack_owed: self.acks_enabled,
            accepted_at: now,
            excused_before: queue.excused,
            ack: None,
        });
        if self.acks_enabled {
            record.acks_owed += 1;
            record.unacked_bytes += text_bytes;
        }
        if let Some((begin, end)) = pending.range {
            record.sources[index].accepted.push(AcceptedRange { begin, end, event: token });
        }
    }
}
