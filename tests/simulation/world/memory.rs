//! The memory bounds, checked at every push and at every request.

use super::World;

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
}
