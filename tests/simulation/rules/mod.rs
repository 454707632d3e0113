//! The rules of the service about a request, and the promises of the engine that show in one.

pub mod age;
mod attempt;
mod body;
pub mod message;
mod order;
mod promptness;
mod size;

use cwl_sink::service::PutLogEvents;

use crate::models::{BatchId, BatchKey};
use crate::record::BatchRecord;
use crate::world::World;

impl World {
    /// Reads the body of a request that was not sent before, and checks every rule about it.
    pub fn read_batch(&mut self, queue: usize, request: &PutLogEvents<'_>) -> Result<BatchKey, String> {
        let mut unzipped = Vec::new();
        let body = body::read(request, &mut unzipped)?;
        size::check(&body.log_events)?;
        order::check_time(&body.log_events)?;
        let pieces = message::find_pieces(&self.record, queue, &body.log_events)?;
        if let Some(key) = self.record.find_part(queue, &pieces, &self.body_limit)? {
            self.record.batch_mut(BatchId { queue, key }).body = Some(request.body.bytes.clone());
            return Ok(key);
        }
        let is_out_of_order = self.record.queues[queue].is_out_of_order;
        let key = match self.body_limit.is_known() && is_out_of_order {
            // The batch may be a part of one that was halved unsent, and the other parts hold the pieces in between.
            true => self.record.queues[queue].next_key(),
            false => order::check_sequence(&self.record, queue, &pieces)?,
        };
        for piece in &pieces {
            self.record.pieces[*piece].batch = Some(key);
            let kept = self.check_promptness(*piece);
            self.report_if_broken(kept);
        }
        let now = self.tick();
        let mut batch = BatchRecord::new(pieces, request.body.bytes.clone(), now.at);
        let queue = &mut self.record.queues[queue];
        batch.earliest_attempt_at = queue.unseen_since.unwrap_or(now.at);
        queue.batches.insert(key, batch);
        queue.unfinished.insert(key);
        Ok(key)
    }
}
