//! The memory bounds, checked at every push and at every request, and the memory that halving a batch takes.

use super::World;
use crate::models::BatchId;
use crate::record::Halving;

/// The most memory that two halves take besides their events, in bytes.
const HALVES_OVERHEAD_BYTES: usize = 4000;
/// The most memory that an event takes besides its message, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 80;
/// The most bytes of JSON for a byte of a message.
const JSON_PER_BYTE_MAX: usize = 6;
/// Memory that suffices to halve a batch in any run without oversize messages, in bytes.
const PLENTY_BYTES: usize = 1 << 20;

impl World {
    /// Checks that the engine and each of its targets hold no more memory than they may.
    pub fn check_memory(&mut self) {
        let Some(engine) = self.engine.upgrade().filter(|_| !self.shutdown.is_stopped) else { return };
        let config = &self.scenario.config;
        let (max, target_max) = (config.buffer_max_bytes, config.target_buffer_max_bytes);
        let over = self.record.queues.iter().find_map(|queue| {
            let held = queue.engine_queue.upgrade()?.buffered_bytes();
            (held > target_max).then(|| format!("target {} holds {held} bytes of {target_max}", queue.name()))
        });
        if let Some(over) = over {
            self.report_broken(over);
        }
        let snapshot = engine.snapshot();
        let (held, peak) = (snapshot.buffered_bytes, snapshot.buffered_bytes_peak);
        if held > max as u64 || peak > max as u64 {
            self.report_broken(format!("{held} bytes are held, {peak} at the peak, of {max}"));
        }
    }

    /// Returns true if the memory certainly suffices for the halves of the batch besides the batch.
    pub fn has_memory_to_halve(&self, id: BatchId) -> bool {
        let Some(engine) = self.engine.upgrade() else { return false };
        let config = &self.scenario.config;
        let batch = self.record.batch(id);
        let text_bytes: usize = batch.pieces.iter().map(|piece| self.record.pieces[*piece].text_bytes).sum();
        let plain_max = match &batch.body {
            Some(body) if !config.gzip => body.len(),
            _ => JSON_PER_BYTE_MAX * text_bytes + EVENT_OVERHEAD_BYTES * batch.pieces.len(),
        };
        // A body that is unzipped, and the two halves. The capacity of a buffer may be a quarter more than its length.
        let needed = 3 * plain_max + EVENT_OVERHEAD_BYTES * batch.pieces.len() + HALVES_OVERHEAD_BYTES;
        let held_by_target =
            self.record.queues[id.queue].engine_queue.upgrade().map_or(0, |queue| queue.buffered_bytes());
        engine.snapshot().buffered_bytes as usize + needed <= config.buffer_max_bytes
            && held_by_target + needed <= config.target_buffer_max_bytes
    }

    /// Returns true if a batch may wait for the memory to halve it without having been sent.
    pub fn may_wait_for_memory_unseen(&self) -> bool {
        self.body_limit.is_known() && self.scenario.config.target_buffer_max_bytes < PLENTY_BYTES
    }

    /// Returns true if a batch that has to be halved may wait for memory.
    pub fn may_wait_for_memory(&self) -> bool {
        let mut batches = self.record.queues.iter().flat_map(|queue| queue.unfinished_batches());
        self.may_wait_for_memory_unseen() || batches.any(|batch| batch.halving == Halving::Perhaps)
    }
}
