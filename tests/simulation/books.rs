//! The books of a run: every event that was accepted, as the host and as the service know it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cwl_sink::outcome::Reason;
use cwl_sink::target::Queue;
use std::sync::Weak;
use tokio::time::Instant;

use crate::models::{Breaker, Key};

/// An event as the service sees it: a whole one, or a part of one that was split.
#[derive(Debug)]
pub struct Piece {
    pub event: usize,
    pub queue: usize,
    /// Its place among all pieces accepted for its queue.
    pub number: u64,
    pub timestamp_ms: i64,
    pub text_bytes: usize,
    /// How often the service took it.
    pub held: u32,
    /// How often of those nobody was told.
    pub lost: u32,
    /// The answer to it was that it was refused so.
    pub refused: Option<Reason>,
    /// The answer was that it was taken.
    pub confirmed: bool,
    /// The first of its batch.
    pub batch: Option<Key>,
    /// The second of two pieces.
    pub second: bool,
}

/// An event as the host knows it; its token is its place among the events.
#[derive(Debug)]
pub struct Event {
    pub pieces: std::ops::Range<usize>,
    /// As it was pushed.
    pub bytes: usize,
    /// As the service counts it.
    pub text_bytes: usize,
    pub emf: bool,
    pub ack_owed: bool,
    pub accepted_at: Instant,
    /// How long its target had an excuse for not sending, until it was accepted.
    pub excused: Duration,
    /// Its ack, and the code of the error that it named.
    pub ack: Option<(Reason, Option<String>)>,
    /// When the host had it.
    pub acked_at: Option<Instant>,
}

/// A batch that was tried.
#[derive(Debug)]
pub struct Batch {
    pub pieces: Vec<usize>,
    /// Kept until it is final.
    pub body: Option<Bytes>,
    pub first_attempt: Instant,
    pub last_attempt: Instant,
    pub last_answer: Option<Instant>,
    /// The longest wait that its last failure could have meant.
    pub last_wait: Duration,
    pub last_code: Option<String>,
    pub never: bool,
    pub panicked: bool,
    pub is_final: bool,
    /// It may have been given up after its last failure, for its age or the shutdown.
    pub perhaps_over: bool,
    /// It must have been.
    pub over: bool,
    /// Its last failure may not have counted as one of its target's.
    pub perhaps_returned: bool,
    /// Whether its target got through for certain when its attempt began; none where that cannot be told from here.
    pub steady: Option<bool>,
    /// Its target was created within the attempt, and it is sent again at once.
    pub continues: bool,
    /// It was the probe, and failed in a way that the clock may be behind: it goes out once more at once.
    pub clock_tried: bool,
    /// Its group was created within the attempt.
    pub group_created: bool,
    /// It is out.
    pub flies: bool,
}

/// One queue: a target, or its twin for metrics.
pub struct Line {
    /// The engine's own; gone when that has forgotten it.
    pub queue: Weak<Queue>,
    pub last_push: Option<Instant>,
    pub group: String,
    pub stream: String,
    pub emf: bool,
    pub pieces: Vec<usize>,
    pub batches: BTreeMap<Key, Batch>,
    /// Batches that are not final, for finding one by its body.
    pub unfinished: BTreeSet<Key>,
    pub flying: usize,
    pub last_tried: Option<Key>,
    pub last_timestamp_ms: Option<i64>,
    pub created_at: Option<Instant>,
    pub breaker: Breaker,
    /// How long in all it had an excuse for not sending.
    pub excused: Duration,
    /// The same when the shutdown began.
    pub excused_at_close: Duration,
    pub healthy: bool,
    pub was_delivered: bool,
    /// Its last request got no answer, and perhaps it was not blamed for that: others go before it.
    pub suspect: bool,
}

/// What a source pushed and had accepted.
#[derive(Debug, Default)]
pub struct SourceBooks {
    pub accepted: Vec<(u64, u64, usize)>,
    pub next: u64,
    /// Where the contiguous final part ended at the last look, as an index and an offset.
    pub reached: (usize, Option<u64>),
}

/// See the module.
#[derive(Default)]
pub struct Books {
    pub events: Vec<Event>,
    pub pieces: Vec<Piece>,
    pub lines: Vec<Line>,
    pub sources: Vec<SourceBooks>,
    /// Pieces that answers called taken, and refused.
    pub delivered: u64,
    pub rejected: u64,
    /// Events acked, by outcome.
    pub acked: [u64; 4],
    pub acks_owed: u64,
    /// Bytes of events that are owed an ack and have none.
    pub unacked_bytes: usize,
    pub acks: u64,
}

impl Line {
    /// A queue that nothing was pushed to.
    pub fn new(group: &str, stream: &str, emf: bool, healthy: bool) -> Self {
        Line {
            queue: Weak::new(),
            last_push: None,
            group: group.into(),
            stream: stream.into(),
            emf,
            pieces: Vec::new(),
            batches: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            flying: 0,
            last_tried: None,
            last_timestamp_ms: None,
            created_at: None,
            breaker: Breaker::default(),
            excused: Duration::ZERO,
            excused_at_close: Duration::ZERO,
            healthy,
            was_delivered: false,
            suspect: false,
        }
    }

    /// Whether it has to show that it gets through, for certain.
    pub fn is_on_trial(&self) -> bool {
        !self.was_delivered || self.breaker.fails()
    }

    /// Whether it gets through, for certain.
    pub fn is_steady(&self) -> bool {
        self.was_delivered && !self.suspect && self.breaker.is_well()
    }

    /// The same, or that it does not for certain; none where it cannot be told.
    pub fn steadiness(&self) -> Option<bool> {
        if self.is_on_trial() { Some(false) } else { self.is_steady().then_some(true) }
    }

    /// Its name in a message.
    pub fn name(&self) -> String {
        format!("{}/{}{}", self.group, self.stream, if self.emf { " (metrics)" } else { "" })
    }

    /// Whether another batch that failed before may wait.
    pub fn more_failed(&self, but: Key) -> bool {
        self.unfinished.iter().any(|key| *key != but && !self.batches[key].flies)
    }
}

impl Books {
    /// An ack came.
    pub fn acked(
        &mut self,
        token: u64,
        reason: Reason,
        code: Option<String>,
        at: Instant,
    ) -> Result<(), String> {
        let Some(event) = self.events.get_mut(token as usize) else {
            return Err(format!("an ack came for token {token}, which was never accepted"));
        };
        if let Some((before, _)) = &event.ack {
            return Err(format!("event {token} was acked twice: {before:?}, then {reason:?}"));
        }
        event.ack = Some((reason, code));
        event.acked_at = Some(at);
        if event.ack_owed {
            self.acks_owed -= 1;
            self.unacked_bytes -= event.text_bytes;
        }
        self.acked[reason.outcome().index()] += 1;
        self.acks += 1;
        Ok(())
    }

    /// The offset that a source must have, by the acks so far.
    pub fn offset(&mut self, source: usize) -> Option<u64> {
        let books = &mut self.sources[source];
        let (mut index, mut offset) = books.reached;
        while let Some((begin, end, event)) = books.accepted.get(index) {
            let begin_here = *offset.get_or_insert(*begin) == *begin;
            let ended = self.events[*event].ack.as_ref();
            let passed =
                ended.is_some_and(|(reason, _)| reason.outcome() != cwl_sink::outcome::Outcome::Abandoned);
            if !begin_here || !passed {
                break;
            }
            (index, offset) = (index + 1, Some(*end));
        }
        books.reached = (index, offset);
        offset
    }
}

/// The message of an event: the same for the same numbers. One for the service to tell pieces by when it is long.
pub fn message(token: usize, bytes: usize, emf: bool) -> Vec<u8> {
    let mut message = if emf {
        format!("{{\"id\":{token},\"_aws\":{{\"CloudWatchMetrics\":[]}},\"x\":\"")
    } else {
        format!("<{token}>")
    }
    .into_bytes();
    let filler: &[u8] = match token % 5 {
        _ if bytes > 500_000 => b"long",
        0 => "\u{fc}\u{20ac}".as_bytes(),
        1 => b"say \"x\"\n\t\\",
        2 => &[0xff, b'z', 0xc3],
        _ => b"plain text ",
    };
    let room = bytes.saturating_sub(message.len());
    message.extend(filler.iter().cycle().take(room));
    if emf {
        message.extend_from_slice(b"\"}");
    }
    message
}

/// The token in a message.
pub fn token_of(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("<").or_else(|| text.strip_prefix("{\"id\":"))?;
    digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// Events that were refused and come again, in order.
pub type Lane = VecDeque<Wish>;

/// An event that the host wants to push.
#[derive(Clone, Debug)]
pub struct Wish {
    pub target: usize,
    pub timestamp_ms: Option<i64>,
    pub bytes: usize,
    pub emf: bool,
    pub range: Option<(u64, u64)>,
}
