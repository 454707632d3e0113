//! `PutLogEvents`: checks every rule of the service and every promise that shows in a request, decides the
//! answer, and keeps what was taken.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use cwl_sink::limits;
use cwl_sink::outcome::Reason;
use cwl_sink::schedule::service_errors::may_be_clock;
use cwl_sink::service::{ApiError, Failure, PutLogEvents, RejectedEvents};
use serde::Deserialize;

use crate::books::{Batch, message, token_of};
use crate::faults::{self, Means, meaning};
use crate::models::{End, Key, Pause, SLACK};
use crate::world::{Mood, World};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request<'a> {
    log_group_name: &'a str,
    log_stream_name: &'a str,
    #[serde(borrow)]
    log_events: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    timestamp: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// After a throttled request everybody may be slowed for so long: the slowest pace is a request in 2 s, and some seconds
/// after the next that is answered it is faster than anything here.
const PACED: Duration = Duration::from_secs(20);

/// A request that is to be answered so, after that time.
pub struct Put {
    pub call: u64,
    pub line: usize,
    pub key: Key,
    pub action: Action,
    pub delay: Duration,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Taken, but for those. `noted`: it was already when the request came in.
    Take { refused: RejectedEvents, noted: bool },
    /// Answered with an error.
    Fail(ApiError),
    /// It panics.
    Panic,
}

impl World {
    /// A request comes in; none when it breaks a promise so that it cannot be answered.
    pub fn put_begins(&mut self, request: &PutLogEvents<'_>) -> Option<Put> {
        let now = self.tick();
        self.requests += 1;
        self.check_memory();
        let fits = |line: &crate::books::Line| {
            line.group == request.group && line.stream == request.stream && line.emf == request.emf
        };
        let Some(line) = self.books.lines.iter().position(fits) else {
            self.breaks(format!(
                "a request for {}/{}, which nobody pushed to",
                request.group, request.stream
            ));
            return None;
        };
        let key = match self.known_batch(line, request) {
            Some(key) => key,
            None => match self.new_batch(line, request) {
                Ok(key) => key,
                Err(what) => {
                    self.breaks(what);
                    return None;
                }
            },
        };
        self.note("put", &[line as u64, key, request.body.bytes.len() as u64]);
        let continues = self.batch(line, key).continues;
        let kept = self.attempt_begins(line, key);
        self.check(kept);
        if !continues {
            self.batch(line, key).steady = self.books.lines[line].steadiness();
        }
        let steady = self.batch(line, key).steady;
        let call = self.call_begins(Some(line), steady, request.body.bytes.len());
        let batch = self.batch(line, key);
        (batch.last_attempt, batch.flies) = (now.at, true);
        let (action, delay) = self.decide(line, key);
        Some(Put { call, line, key, action, delay })
    }

    fn batch(&mut self, line: usize, key: Key) -> &mut Batch {
        self.books.lines[line].batches.get_mut(&key).expect("a batch that was sent")
    }

    /// The batch of these very bytes.
    fn known_batch(&self, line: usize, request: &PutLogEvents<'_>) -> Option<Key> {
        let line = &self.books.lines[line];
        let same = |key: &&Key| {
            line.batches[*key].body.as_ref().is_some_and(|body| {
                body.as_ptr() == request.body.bytes.as_ptr() && body.len() == request.body.bytes.len()
            })
        };
        line.unfinished.iter().find(same).copied()
    }

    /// Reads a body that is new, and checks every rule of the service.
    fn new_batch(&mut self, line: usize, request: &PutLogEvents<'_>) -> Result<Key, String> {
        let bytes = &request.body.bytes;
        let mut plain = Vec::new();
        let body: &[u8] = if request.body.gzip {
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut plain)
                .map_err(|e| format!("not gzip: {e}"))?;
            &plain
        } else {
            bytes
        };
        let read: Request<'_> =
            serde_json::from_slice(body).map_err(|e| format!("not the service's JSON: {e}"))?;
        if (read.log_group_name, read.log_stream_name) != (request.group, request.stream) {
            return Err("the body names another target".into());
        }
        let events = &read.log_events;
        let counted: usize = events.iter().map(|e| e.message.len() + limits::EVENT_OVERHEAD_BYTES).sum();
        let span = events.last().map_or(0, |last| last.timestamp - events[0].timestamp);
        if events.is_empty() || events.len() > 10_000 || counted > 1_048_576 || span > 86_400_000 {
            return Err(format!(
                "{} events, {counted} bytes, {span} ms: more than a request may hold",
                events.len()
            ));
        }
        if !events.is_sorted_by_key(|event| event.timestamp) {
            return Err("events are not in order of time".into());
        }
        let pieces = events.iter().map(|event| self.piece(line, event)).collect::<Result<Vec<_>, _>>()?;
        let order: Vec<_> = pieces
            .iter()
            .map(|p| (self.books.pieces[*p].timestamp_ms, self.books.pieces[*p].number))
            .collect();
        if !order.is_sorted() {
            return Err(format!("events of one time are not in the order pushed: {order:?}"));
        }
        let numbers: BTreeSet<_> = order.iter().map(|(_, number)| *number).collect();
        let (first, last) =
            (order.iter().map(|o| o.1).min().unwrap_or(0), order.iter().map(|o| o.1).max().unwrap_or(0));
        if numbers.len() != pieces.len() || last - first + 1 != pieces.len() as u64 {
            return Err(format!(
                "a batch holds the events {numbers:?} of its target, which do not follow on each other"
            ));
        }
        let now = self.tick();
        let promised = self.scenario.config.flush_interval + 2 * SLACK;
        let name = self.books.lines[line].name();
        for piece in &pieces {
            if let Some(other) = self.books.pieces[*piece].batch {
                return Err(format!(
                    "event {} of {name} is in two batches, {other} and {first}",
                    self.books.pieces[*piece].event
                ));
            }
            self.books.pieces[*piece].batch = Some(first);
            let event = &self.books.events[self.books.pieces[*piece].event];
            let waited = now.at - event.accepted_at;
            let free = waited.saturating_sub(self.books.lines[line].excused - event.excused);
            // A batch that made room may have been one that failed with everybody; its target still waits for its turn.
            let unclear = self.overflows(line) && self.paused > 0;
            if self.books.lines[line].healthy && !unclear && free > promised {
                self.breaks(format!(
                    "event {} of the healthy target {name} went out {waited:?} after its push, {free:?} of which it could have been sent",
                    self.books.pieces[*piece].event
                ));
            }
        }
        let batch = Batch {
            pieces,
            body: Some(bytes.clone()),
            first_attempt: now.at,
            last_attempt: now.at,
            last_answer: None,
            last_wait: Duration::ZERO,
            last_code: None,
            never: false,
            panicked: false,
            is_final: false,
            perhaps_over: false,
            over: false,
            perhaps_returned: false,
            steady: None,
            continues: false,
            clock_tried: false,
            group_created: false,
            flies: false,
        };
        self.books.lines[line].batches.insert(first, batch);
        self.books.lines[line].unfinished.insert(first);
        Ok(first)
    }

    /// The event that an entry is, checked to be what was pushed.
    fn piece(&self, line: usize, entry: &Entry<'_>) -> Result<usize, String> {
        let name = self.books.lines[line].name();
        let books = &self.books;
        let found = match token_of(&entry.message) {
            Some(token) => books.events.get(token).map(|event| event.pieces.start),
            // The second piece of one that was split.
            None => books.lines[line].pieces.iter().copied().find(|piece| {
                let piece = &books.pieces[*piece];
                piece.batch.is_none() && piece.text_bytes == entry.message.len() && piece.second
            }),
        };
        let Some(piece) = found else {
            return Err(format!("{name} got a message that nobody pushed: {:.40}", entry.message));
        };
        let (known, event) = (&books.pieces[piece], &books.events[books.pieces[piece].event]);
        let pushed = message(known.event, event.bytes, event.emf);
        let text = String::from_utf8_lossy(&pushed);
        let same = match entry.message.strip_suffix("[Truncated...]") {
            Some(kept) => text.len() > limits::MESSAGE_BYTES_MAX && text.starts_with(kept),
            None if known.second => text.ends_with(&*entry.message),
            None if event.pieces.len() > 1 => text.starts_with(&*entry.message),
            None => text == entry.message,
        };
        if !same || entry.message.len() != known.text_bytes || known.queue != line {
            return Err(format!(
                "event {} came to {name} as {:.60} ({} bytes)",
                known.event,
                entry.message,
                entry.message.len()
            ));
        }
        if entry.timestamp != known.timestamp_ms {
            return Err(format!(
                "event {} has the timestamp {}, not {}",
                known.event, entry.timestamp, known.timestamp_ms
            ));
        }
        Ok(piece)
    }

    /// Checks that the batch may go out now.
    fn attempt_begins(&mut self, line: usize, key: Key) -> Result<(), String> {
        let now = self.tick();
        let config = &self.scenario.config;
        let alone = config.target_concurrency == 1;
        // One that a probe has with it while it renews credentials is out, though that does not show yet.
        let probing = !alone && self.renewals > 0;
        let may_skip = self.overflows(line) || now.closing || self.renewals_panicked > 0 || probing;
        let late = self.renewals > 0;
        let max_age = config.retry_max_age;
        let target_concurrency = config.target_concurrency;
        let continues = &mut self.batch(line, key).continues;
        if std::mem::take(continues) {
            return Ok(());
        }
        let gate = self.gate.begins(line, key, now);
        let line = &mut self.books.lines[line];
        let name = line.name();
        let batch = line.batches.get_mut(&key).ok_or("no such batch")?;
        (batch.group_created, batch.perhaps_returned) = (false, false);
        let fault = |what: String| Err(format!("{name}, batch {key}: {what}"));
        if batch.is_final || batch.flies {
            return fault("sent though it was final or in flight".into());
        }
        if batch.over && !now.closing {
            return fault(format!("tried again later than {max_age:?} after its first attempt"));
        }
        gate.map_err(|what| format!("{name}: {what}"))?;
        line.flying += 1;
        if line.flying > target_concurrency {
            return fault(format!("{} requests of the target at once", line.flying));
        }
        let last = line.last_tried.filter(|last| *last != key);
        if last.is_none_or(|last| key > last) {
            let next = last.map_or(0, |last| last + line.batches[&last].pieces.len() as u64);
            if line.last_tried != Some(key) && key != next && !may_skip {
                return fault(format!("went out while the events from {next} on were still to come"));
            }
            line.last_tried = Some(key);
        } else if alone {
            return fault(format!("went out after batch {last:?}, which was pushed later"));
        }
        if let Some(last) = last.filter(|_| alone) {
            let before = &line.batches[&last];
            if !before.is_final && !before.perhaps_over && !may_skip {
                return fault(format!("went out though batch {last} before it is not final"));
            }
        }
        line.breaker.begins(key, now, alone, late).map_err(|what| format!("{name}: {what}"))
    }

    fn decide(&mut self, line: usize, key: Key) -> (Action, Duration) {
        let healthy = self.books.lines[line].healthy;
        let mood = if self.healed || healthy { Mood::Fine } else { self.moods[line / 2] };
        let latency = self.rng.u64(0..=if self.healed { 5 } else { self.scenario.latency_max_ms });
        let mut delay = Duration::from_millis(latency);
        if self.is_down() {
            return (Action::Fail(faults::refused()), delay);
        }
        if let Some(fault) = self.endpoint_fault() {
            self.met[fault] = true;
            return (Action::Fail(self.faults[fault].clone()), delay);
        }
        let stream = (self.books.lines[line].group.clone(), self.books.lines[line].stream.clone());
        if !self.streams.contains(&stream) {
            return (Action::Fail(faults::not_found()), delay);
        }
        let dice = self.rng.u32(..100);
        let action = match mood {
            Mood::Faulty(percent, fault) if dice < percent => {
                let fault = fault.unwrap_or_else(|| self.any_fault());
                self.met[fault] = true;
                Action::Fail(self.faults[fault].clone())
            }
            Mood::Losing(percent) if dice < percent => {
                self.take(line, key, RejectedEvents::default(), true);
                Action::Fail(crate::scenario::pick(&mut self.rng, &faults::answer_lost()).clone())
            }
            Mood::Hanging(percent) if dice < percent => {
                delay = self.scenario.config.request_timeout;
                if self.rng.bool() {
                    self.take(line, key, RejectedEvents::default(), true);
                }
                Action::Fail(faults::timed_out())
            }
            Mood::Panicking(percent) if dice < percent => {
                if self.rng.bool() {
                    self.take(line, key, RejectedEvents::default(), true);
                }
                Action::Panic
            }
            Mood::Rejecting(percent) if dice < percent => {
                let events = self.batch(line, key).pieces.len();
                let mut rng = self.rng.clone();
                let mut place = |percent| (rng.u32(..100) < percent).then(|| rng.usize(0..=events + 2));
                let refused = RejectedEvents {
                    too_old_end: place(50).unwrap_or(0),
                    expired_end: place(50).unwrap_or(0),
                    too_new_start: place(50),
                };
                self.rng = rng;
                Action::Take { refused, noted: false }
            }
            _ => {
                if mood == Mood::Slow {
                    delay = self.scenario.config.request_timeout.mul_f64(self.rng.f64() * 0.99);
                }
                Action::Take { refused: self.untimely(line, key), noted: false }
            }
        };
        match action {
            Action::Take { refused, .. } if self.rng.bool() => {
                self.take(line, key, refused, true);
                (Action::Take { refused, noted: true }, delay)
            }
            action => (action, delay),
        }
    }

    /// What the service refuses by its own clock.
    fn untimely(&mut self, line: usize, key: Key) -> RejectedEvents {
        let now_ms = self.true_ms();
        let group = &self.books.lines[line].group;
        let kept = self
            .groups
            .get(group)
            .copied()
            .flatten()
            .map_or(i64::MAX / 2, |days| i64::from(days) * 86_400_000);
        let stamps: Vec<_> = self.books.lines[line].batches[&key]
            .pieces
            .iter()
            .map(|p| self.books.pieces[*p].timestamp_ms)
            .collect();
        let new = stamps.partition_point(|stamp| *stamp <= now_ms + 2 * 3_600_000);
        RejectedEvents {
            too_old_end: stamps.partition_point(|stamp| *stamp < now_ms - 14 * 86_400_000),
            expired_end: stamps.partition_point(|stamp| *stamp < now_ms - kept),
            too_new_start: (new < stamps.len()).then_some(new),
        }
    }

    /// Keeps the events. `lost`: nobody was told yet.
    fn take(&mut self, line: usize, key: Key, refused: RejectedEvents, lost: bool) {
        let pieces = &self.books.lines[line].batches[&key].pieces;
        for (index, piece) in pieces.iter().enumerate() {
            if why_refused(refused, index).is_none() {
                let piece = &mut self.books.pieces[*piece];
                piece.held += 1;
                piece.lost += u32::from(lost);
            }
        }
    }

    /// The answer goes out.
    pub fn put_ends(&mut self, line: usize, key: Key, action: Action) -> Result<RejectedEvents, ApiError> {
        self.tick();
        let (refused, error) = match action {
            Action::Take { refused, noted } => {
                if !noted {
                    self.take(line, key, refused, true);
                }
                (refused, None)
            }
            Action::Fail(error) => (RejectedEvents::default(), Some(error)),
            Action::Panic => unreachable!("panicked"),
        };
        let means = error.as_ref().map(meaning);
        self.note("answer", &[line as u64, key, means.map_or(99, |means| means as u64)]);
        if matches!(means, None | Some(Means::Delivered)) {
            for (index, piece) in self.books.lines[line].batches[&key].pieces.iter().enumerate() {
                let piece = &mut self.books.pieces[*piece];
                let why = why_refused(refused, index);
                match (why, means) {
                    (Some(why), _) => piece.refused = Some(why),
                    // It was told of this one now.
                    (None, None) => (piece.confirmed, piece.lost) = (true, piece.lost - 1),
                    // The service has it already, or is taken to have it.
                    (None, Some(_)) if piece.held == 0 => (piece.confirmed, piece.held) = (true, 1),
                    (None, Some(_)) => (piece.confirmed, piece.lost) = (true, piece.lost - 1),
                }
                self.books.delivered += u64::from(why.is_none());
                self.books.rejected += u64::from(why.is_some());
            }
            self.books.lines[line].was_delivered = true;
            self.attempt_ended(line, key, End::Final, Pause::No);
            return error.map_or(Ok(refused), Err);
        }
        let (Some(error), Some(means)) = (error, means) else { return Ok(refused) };
        self.put_fails(line, key, means, &error);
        Err(error)
    }

    /// An attempt failed.
    pub fn put_fails(&mut self, line: usize, key: Key, means: Means, error: &ApiError) {
        let now = self.tick();
        // A probe of the endpoint that got no answer has shown nothing.
        let (probe, was_probe) = (self.gate.is_probe(line, key), self.gate.was_probe(line, key));
        let unanswered = matches!(error.failure, Failure::TimedOut | Failure::Connection);
        let means = if probe && unanswered { Means::Pause } else { means };
        // Whether it is the endpoint's fault, or the target's, cannot be told from one request.
        let either = means == Means::Throttle || unanswered;
        let config = &self.scenario.config;
        let (max_age, may_create, slow_after) =
            (config.retry_max_age, config.create_log_stream, config.slow_after);
        let queue = &self.books.lines[line];
        let fresh = queue.created_at.is_some_and(|at| now.at - at < Duration::from_secs(5));
        let group = queue.group.clone();
        let (shortest, longest) = queue.breaker.next_wait(
            key,
            if matches!(means, Means::Long | Means::Throttle) { Means::Long } else { Means::Short },
        );
        let batch = self.batch(line, key);
        batch.last_code = error.code.clone();
        let mut suspect = false;
        let clock_tried = std::mem::take(&mut batch.clock_tried);
        match means {
            Means::Delivered => self.attempt_ended(line, key, End::Final, Pause::No),
            Means::Never => {
                batch.never = true;
                self.attempt_ended(line, key, End::Final, Pause::No);
            }
            Means::Pause if was_probe && may_be_clock(error) && !clock_tried => {
                (batch.clock_tried, batch.continues) = (true, true);
            }
            Means::Pause => {
                let longest = Duration::from_secs(60);
                batch.last_wait = longest;
                batch.perhaps_over = now.closing || now.at + longest > batch.first_attempt + max_age;
                let end = if batch.perhaps_over { End::ReturnedOrOver } else { End::Returned };
                suspect = unanswered;
                self.attempt_ended(line, key, end, if unanswered { Pause::Unanswered } else { Pause::Sure });
            }
            Means::Create if may_create && !fresh => {
                if self.creating.contains_key(&group) {
                    return self.attempt_ended(line, key, End::Returned, Pause::No);
                }
                self.gate.ends(line, key, Pause::No, false, now, slow_after);
                self.creating.insert(group, (line, key));
            }
            Means::Throttle | Means::Long if either => {
                batch.last_wait = longest;
                batch.perhaps_over = now.closing || now.at + longest > batch.first_attempt + max_age;
                batch.over = now.at > batch.first_attempt + max_age;
                batch.perhaps_returned = true;
                suspect = unanswered;
                let end = if batch.perhaps_over {
                    End::EitherOrOver(Means::Long)
                } else {
                    End::Either(Means::Long)
                };
                self.paused += 1;
                match means {
                    Means::Throttle => self.paced_until = Some(now.at + PACED),
                    _ => self.gate.perhaps_fails(line, key, now),
                }
                self.attempt_ended(line, key, end, Pause::No);
            }
            Means::Create | Means::Short | Means::Long | Means::Throttle => {
                batch.last_wait = longest;
                batch.perhaps_over = now.closing || now.at + longest > batch.first_attempt + max_age;
                batch.over = now.at + shortest > batch.first_attempt + max_age;
                let means = if means == Means::Long { Means::Long } else { Means::Short };
                let end = if batch.perhaps_over { End::PerhapsOver(means) } else { End::Retry(means) };
                self.attempt_ended(line, key, end, Pause::No);
            }
        }
        self.books.lines[line].suspect = suspect;
    }
}

/// Why the service refused the event at this place of a request, if it did.
fn why_refused(refused: RejectedEvents, index: usize) -> Option<Reason> {
    if index < refused.too_old_end {
        Some(Reason::TooOld)
    } else if index < refused.expired_end {
        Some(Reason::Expired)
    } else if refused.too_new_start.is_some_and(|start| index >= start) {
        Some(Reason::TooNew)
    } else {
        None
    }
}
