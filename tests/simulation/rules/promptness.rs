//! An event of a healthy target is sent within the flush interval, whatever happens to other targets. Time in which the
//! engine had a reason not to send to the target does not count.

use crate::models::SLACK;
use crate::world::World;

impl World {
    /// A piece is sent for the first time: checks that it did not wait too long.
    pub fn check_promptness(&mut self, piece: usize) -> Result<(), String> {
        let now = self.tick();
        let piece = &self.record.pieces[piece];
        let event = &self.record.events[piece.event];
        let queue = &self.record.queues[piece.queue];
        let waited = now.at - event.accepted_at;
        let free = waited.saturating_sub(queue.excused - event.excused_before);
        // A batch that was dropped to make room may have failed together with others. Its target still waits then.
        let is_unclear = self.may_drop_oldest(piece.queue) && self.counts.endpoint_failures > 0;
        let max = self.scenario.config.flush_interval + 2 * SLACK;
        if queue.is_healthy && !is_unclear && free > max {
            return Err(format!(
                "event {} of the healthy target {} went out {waited:?} after its push, \
                 and could have gone out for {free:?} of that",
                piece.event,
                queue.name()
            ));
        }
        Ok(())
    }
}
