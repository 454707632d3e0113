//! `PutLogEvents`: checks the request, decides the answer, and keeps the events that were taken.

use std::time::Duration;

use cwl_sink::service::{ApiError, PutLogEvents, RejectedEvents};

use tokio::task;

use super::answer::PutAnswer;
use super::clock::RequestSignature;
use crate::faults::{Meaning, meaning_of};
use crate::models::{AttemptEnd, BatchId, BatchKey, EndpointSign};
use crate::record::{BatchState, FinalState, Halving};
use crate::rules::age::refusal_at;
use crate::world::{NextCall, World};

/// A request that gets this answer after this time.
pub struct PendingPut {
    pub number: u64,
    pub batch: BatchId,
    pub signature: RequestSignature,
    pub answer: PutAnswer,
    pub delay: Duration,
}

impl World {
    /// A request comes in. `None` if it breaks a promise in such a way that it cannot be answered.
    pub fn put_begins(&mut self, request: &PutLogEvents<'_>) -> Option<PendingPut> {
        let task = task::id();
        self.take_expected_call(task, NextCall::Put);
        let unseen = self.creations.batches.remove(&task).filter(|created| created.is_unseen());
        let now = self.tick();
        self.check_memory();
        let batch = match self.find_batch(request) {
            Ok(batch) => batch,
            Err(what) => {
                self.report_broken(what);
                return None;
            }
        };
        let body_bytes = request.body.bytes.len();
        self.note("put", &[&batch.numbers()[..], &[body_bytes as u64]].concat());
        if !matches!(self.record.batch(batch).state, BatchState::SendsAgain { .. }) {
            let kept =
                self.check_body_limit(batch, body_bytes).and_then(|()| self.check_attempt_of(batch, unseen));
            self.report_if_broken(kept);
            let queue = &self.record.queues[batch.queue];
            let kept = match queue.missing && unseen.is_none() {
                true => Err(format!("{}: a batch was sent though the target is missing", queue.name())),
                false => Ok(()),
            };
            self.report_if_broken(kept);
            self.record.batch_mut(batch).halving = Halving::No;
            self.record.batch_mut(batch).steadiness = self.record.queues[batch.queue].steadiness;
        }
        let steadiness = self.record.batch(batch).steadiness;
        let number = self.call_begins(Some(batch.queue), steadiness, body_bytes);
        self.note_sent();
        self.record.batch_mut(batch).begin_request(now.at);
        let (answer, delay) = self.decide_answer(batch);
        let signature = self.sign();
        Some(PendingPut { number, batch, signature, answer, delay })
    }

    /// Finds the batch of a request, or reads it from the body if it is new.
    fn find_batch(&mut self, request: &PutLogEvents<'_>) -> Result<BatchId, String> {
        let (group, stream) = (request.group, request.stream);
        let queue = self
            .record
            .queues
            .iter()
            .position(|queue| queue.group == group && queue.stream == stream && queue.emf == request.emf)
            .ok_or_else(|| format!("a request for {group}/{stream}, which nobody pushed to"))?;
        let key = match self.known_batch(queue, request) {
            Some(key) => key,
            None => self.read_batch(queue, request)?,
        };
        Ok(BatchId { queue, key })
    }

    /// The batch that was sent before with the same buffer.
    fn known_batch(&self, queue: usize, request: &PutLogEvents<'_>) -> Option<BatchKey> {
        let queue = &self.record.queues[queue];
        let is_same = |key: &&BatchKey| {
            queue.batches[*key].body.as_ref().is_some_and(|body| {
                body.as_ptr() == request.body.bytes.as_ptr() && body.len() == request.body.bytes.len()
            })
        };
        queue.unfinished.iter().find(is_same).copied()
    }

    /// Takes the events of a batch, except `refused`. Its answer is still out.
    pub fn take(&mut self, batch: BatchId, refused: RejectedEvents) {
        let pieces = &self.record.queues[batch.queue].batches[&batch.key].pieces;
        for (index, piece) in pieces.iter().enumerate() {
            if refusal_at(refused, index).is_none() {
                let piece = &mut self.record.pieces[*piece];
                piece.taken += 1;
                piece.taken_without_answer += 1;
            }
        }
    }

    /// The answer to a request goes out.
    pub fn put_ends(&mut self, batch: BatchId, answer: PutAnswer) -> Result<RejectedEvents, ApiError> {
        self.tick();
        let (refused, error) = match answer {
            PutAnswer::Take { refused, taken_already } => {
                if !taken_already {
                    self.take(batch, refused);
                }
                (refused, None)
            }
            PutAnswer::Fail(error) => (RejectedEvents::default(), Some(error)),
            PutAnswer::Panic => unreachable!("the call has panicked"),
        };
        let meaning = error.as_ref().map(meaning_of);
        let meaning_number = meaning.map_or(99, |meaning| meaning as u64);
        self.note("answer", &[&batch.numbers()[..], &[meaning_number]].concat());
        match (error, meaning) {
            (Some(error), Some(meaning)) if meaning != Meaning::Delivered => {
                self.attempt_fails(batch, meaning, &error);
                Err(error)
            }
            (error, _) => {
                self.note_answer(batch);
                self.record.queues[batch.queue].is_served = true;
                self.confirm(batch, refused, error.is_some());
                let queue = &mut self.record.queues[batch.queue];
                let sent_at = queue.batches[&batch.key].last_request_at;
                (queue.delivered_at, queue.unknown_refusals) = (queue.delivered_at.max(Some(sent_at)), 0);
                if let Some(body) = queue.batches[&batch.key].body.as_ref().filter(|_| error.is_none()) {
                    self.body_limit.on_taken(body.len());
                }
                let end = AttemptEnd::Final(FinalState::Delivered);
                self.attempt_ends(batch, end, EndpointSign::Answered);
                error.map_or(Ok(refused), Err)
            }
        }
    }

    /// The answer says that the events of a batch are taken, except `refused`. `was_taken_before`: it says that the
    /// service has them already.
    fn confirm(&mut self, batch: BatchId, refused: RejectedEvents, was_taken_before: bool) {
        let pieces = &self.record.queues[batch.queue].batches[&batch.key].pieces;
        for (index, piece) in pieces.iter().enumerate() {
            let piece = &mut self.record.pieces[*piece];
            let refusal = refusal_at(refused, index);
            if refusal.is_some() {
                piece.refused = refusal;
                self.record.rejected += 1;
                continue;
            }
            self.record.delivered += 1;
            piece.confirmed = true;
            if was_taken_before && piece.taken == 0 {
                // By this answer the service has the piece, even if the simulation never took it.
                piece.taken = 1;
            } else {
                piece.taken_without_answer -= 1;
            }
        }
    }
}
