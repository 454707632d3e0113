//! The promises that must hold at any time.

use cwl_sink::report::stats::Snapshot;

use super::Driver;
use crate::record::Record;
use crate::world::errors_of;

/// The least memory of an event whose ack the host has not fetched: its token.
const ACK_BYTES: u64 = 8;

/// The counters of the engine at one moment.
struct Totals {
    snapshot: Snapshot,
    /// Final events by outcome.
    ended: [u64; 4],
    /// The host was owed an ack for every event, and has fetched all acks, so the record says exactly what is final.
    is_exact: bool,
}

impl Driver {
    /// Checks all promises that must hold at any time.
    pub fn check(&mut self) -> Result<(), String> {
        let snapshot = self.engine.snapshot();
        let ended = [
            snapshot.delivered_events,
            snapshot.rejected_events,
            snapshot.dropped_events,
            snapshot.abandoned_events,
        ];
        let is_exact = self.engine.acks().is_empty() && self.scenario.acks.is_asked_from_start();
        let totals = Totals { snapshot, ended, is_exact };
        let service = self.service.clone();
        let mut world = service.world();
        world.check_memory();
        if let Some(broken) = &world.broken {
            return Err(broken.clone());
        }
        if !world.shutdown.is_stopped {
            world.clock_model.check(errors_of(&world.clock))?;
        }
        let is_all_final = totals.snapshot.pending_events + totals.snapshot.abandoned_events == 0;
        let may_be_halved_unseen = world.body_limit.is_known() || world.may_wait_for_memory();
        let may_be_held_back = may_be_halved_unseen && !is_all_final;
        let record = &mut world.record;
        check_counters(record, &totals)?;
        self.check_acks(record, &totals)?;
        if totals.is_exact {
            self.check_offsets(record, may_be_held_back)?;
        }
        self.check_flushes(record, &totals)
    }

    /// Checks that the acks agree with the counters, and that events without an ack hold memory. Runs with messages in
    /// pieces are left out: a piece has an outcome of its own but no ack, and gives its memory back for itself.
    fn check_acks(&self, record: &Record, totals: &Totals) -> Result<(), String> {
        if self.scenario.oversize {
            return Ok(());
        }
        let held = totals.snapshot.buffered_bytes;
        if totals.is_exact && record.acked != totals.ended {
            return Err(format!("the acks say {:?}, and the counters {:?}", record.acked, totals.ended));
        }
        if totals.is_exact && !self.scenario.config.gzip && (held as usize) < record.unacked_bytes {
            return Err(format!(
                "{held} bytes are counted as held, and messages of {} bytes are held",
                record.unacked_bytes
            ));
        }
        if self.scenario.acks.is_asked_from_start() && held < ACK_BYTES * record.acks_owed {
            return Err(format!(
                "{held} bytes are counted as held, and {} events without an ack hold {ACK_BYTES} each",
                record.acks_owed
            ));
        }
        Ok(())
    }

    /// Checks that each source is where the outcomes say. `may_be_held_back`: some of the events that are pending or abandoned
    /// may be in the same batch as others, which was halved unsent.
    fn check_offsets(&self, record: &mut Record, may_be_held_back: bool) -> Result<(), String> {
        for (index, source) in self.sources.iter().enumerate() {
            let (offset, expected) = (source.offset(), record.offset(index));
            if offset != expected && !(may_be_held_back && offset < expected) {
                return Err(format!("source {index} is at {offset:?}, and by the outcomes at {expected:?}"));
            }
        }
        Ok(())
    }

    /// Checks that every flush is done exactly when everything before it is final. Forgets the flushes that are done.
    fn check_flushes(&mut self, record: &Record, totals: &Totals) -> Result<(), String> {
        let final_events: u64 = totals.ended.iter().sum();
        let mut kept = Ok(());
        self.flushes.retain(|flush| {
            let is_done = flush.group.is_done();
            let pending = record.events[..flush.events_before].iter().position(|event| event.ack.is_none());
            let fault = match pending {
                Some(event) if is_done && totals.is_exact => {
                    format!("a flush is done, and event {event} before it is not final")
                }
                None if !is_done && totals.is_exact => {
                    "a flush is not done, and all events before it are final".into()
                }
                _ if is_done && final_events < flush.events_before as u64 => {
                    "a flush is done before as many events are final".into()
                }
                _ if !is_done && totals.snapshot.pending_events == 0 => {
                    "a flush is not done, and nothing is pending".into()
                }
                _ => return !is_done,
            };
            kept = Err(fault);
            false
        });
        kept
    }
}

/// Every accepted event has one outcome or is pending, and the service agrees.
fn check_counters(record: &Record, totals: &Totals) -> Result<(), String> {
    let Totals { snapshot, ended, .. } = totals;
    let accepted = record.pieces.len() as u64;
    let final_events: u64 = ended.iter().sum();
    if snapshot.accepted_events != accepted || accepted != final_events + snapshot.pending_events {
        return Err(format!("{accepted} events were accepted, and the counters say {snapshot:?}"));
    }
    if ended[..2] != [record.delivered, record.rejected] {
        return Err(format!(
            "the service took {} events and refused {}, and the counters say {ended:?}",
            record.delivered, record.rejected
        ));
    }
    Ok(())
}
