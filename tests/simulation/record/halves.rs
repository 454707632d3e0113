//! The halves of a batch that the service refused: each is a batch of its own, with the events that it must hold.

use super::{BatchRecord, BatchState, GivenUp, Record};
use crate::models::{BatchId, BatchKey, BodyLimitModel, CountedFailure};

/// Tells if the engine has halved a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halving {
    No,
    /// There may have been no memory for the halves. Then the whole batch is tried again.
    Perhaps,
}

impl Record {
    /// Halves a batch. The first half takes the place of the batch, and the second follows it.
    pub fn halve(&mut self, id: BatchId) {
        let queue = &mut self.queues[id.queue];
        let Some(whole) = queue.batches.remove(&id.key) else { return };
        let place = whole.pieces.len() / 2;
        let (first, second) = whole.pieces.split_at(place);
        let second_key = BatchKey { place: id.key.place + place as u64, ..id.key };
        for (key, pieces) in [(id.key, first), (second_key, second)] {
            pieces.iter().for_each(|piece| self.pieces[*piece].batch = Some(key));
            queue.unfinished.insert(key);
            queue.batches.insert(key, whole.half(pieces));
        }
    }

    /// Finds the batch that a request holds, by its pieces. `None` if none of the pieces was sent before. A batch
    /// above the limit of a body may have been halved without being sent first.
    pub fn find_part(
        &mut self,
        queue: usize,
        pieces: &[usize],
        limit: &BodyLimitModel,
    ) -> Result<Option<BatchKey>, String> {
        loop {
            let Some(key) = pieces.first().and_then(|piece| self.pieces[*piece].batch) else {
                return Ok(None);
            };
            let id = BatchId { queue, key };
            let batch = self.batch(id);
            let is_ready = !batch.is_final() && !batch.is_in_flight();
            if batch.pieces == pieces && batch.body.is_none() && is_ready {
                return Ok(Some(key));
            }
            let is_longer = batch.pieces.len() > pieces.len()
                && batch.pieces.windows(pieces.len()).any(|window| window == pieces);
            let is_too_large = match &batch.body {
                Some(body) => limit.may_be_exceeded_by(body.len()),
                None => limit.is_known(),
            };
            let was_halved = is_ready && (is_too_large || batch.halving == Halving::Perhaps);
            if !is_longer || !was_halved {
                let name = self.queues[queue].name();
                return Err(format!(
                    "{name} got the events {pieces:?}, the first of which belongs into batch {key} with the events {:?}",
                    batch.pieces
                ));
            }
            if batch.halving == Halving::Perhaps {
                self.queues[queue].breaker.may_close();
            }
            self.halve(id);
        }
    }
}

impl BatchRecord {
    /// A half of the batch, which waits to be sent.
    fn half(&self, pieces: &[usize]) -> Self {
        BatchRecord {
            state: BatchState::Requeued(CountedFailure::No),
            pieces: pieces.to_vec(),
            body: None,
            halving: Halving::No,
            given_up: GivenUp::No,
            is_half: true,
            last_code: self.last_code.clone(),
            root: self.root.clone(),
            ..*self
        }
    }
}
