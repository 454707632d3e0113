//! The rules of the service about a request, and the promises of the engine that show in one.

pub mod age;
mod attempt;
mod body;
pub mod message;
mod order;
mod promptness;
mod size;

use cwl_sink::service::PutLogEvents;

use crate::models::BatchKey;
use crate::record::BatchRecord;
use crate::world::World;

impl World {
    /// Reads the body of a request with a new batch, and checks every rule about it.
    pub fn read_new_batch(&mut self, queue: usize, request: &PutLogEvents<'_>) -> Result<BatchKey, String> {
        let mut unzipped = Vec::new();
        let body = body::read(request, &mut unzipped)?;
        size::check(&body.log_events)?;
        order::check_time(&body.log_events)?;
        let pieces = message::find_pieces(&self.record, queue, &body.log_events)?;
        let key = order::check_sequence(&self.record, queue, &pieces)?;
        for piece in &pieces {
            self.record.pieces[*piece].batch = Some(key);
            let kept = self.check_promptness(*piece);
            self.report_if_broken(kept);
        }
        let now = self.tick();
        let batch = BatchRecord::new(pieces, request.body.bytes.clone(), now.at);
        let queue = &mut self.record.queues[queue];
        queue.batches.insert(key, batch);
        queue.unfinished.insert(key);
        Ok(key)
    }
}
