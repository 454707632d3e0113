//! The creations of groups and streams under way, by the task of their attempt.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cwl_sink::service::ApiError;
use tokio::task;
use tokio::time::Instant;

use super::World;
use crate::models::{AttemptEnd, BatchId, CountedFailure, EndpointSign};

/// See the module.
#[derive(Default)]
pub struct Creations {
    /// The batches whose attempt creates.
    pub batches: HashMap<task::Id, BatchId>,
    /// The attempts that created a stream.
    pub created: HashSet<task::Id>,
    /// The attempts that created a group.
    pub created_group: HashSet<task::Id>,
    /// The attempts whose first creation was repeated, since the clock may have been wrong.
    pub repeated: HashSet<task::Id>,
    /// The call that must come next, at the same instant.
    pub expected: Option<(task::Id, NextCall)>,
    /// The groups whose creation was refused: the error, the time until which it holds, and the refusals in a row.
    pub refused_groups: BTreeMap<String, (ApiError, Instant, u32)>,
    /// The groups for which a `CreateLogGroup` is out.
    pub groups_out: BTreeMap<String, task::Id>,
    /// The groups that the engine began to create and whose result it does not know.
    pub unknown_groups: BTreeSet<String>,
    /// The groups that are the engine's as far as the engine can know. It owes them the retention.
    pub own_groups: BTreeSet<String>,
    /// Creations may have to wait for their pace until then.
    pub paced_until: Option<Instant>,
    /// The time at which each attempt sent its last request.
    pub sent_at: HashMap<task::Id, Instant>,
    /// Attempts that began with a creation, and whose batch was not known then.
    pub unseen: u64,
}

/// The next call of an attempt that creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextCall {
    Stream,
    Group,
    Put,
}

impl World {
    /// The attempt of this task sends a request.
    pub fn note_sent(&mut self) {
        let now = self.tick();
        self.creations.sent_at.insert(task::id(), now.at);
    }

    /// The time at which the attempt of this task sent its last request.
    pub fn sent_at(&self) -> Instant {
        let sent_at = task::try_id().and_then(|task| self.creations.sent_at.get(&task)).copied();
        sent_at.unwrap_or(self.last_tick)
    }

    /// The attempt was answered, and goes on.
    pub fn is_answered(&mut self, id: BatchId) {
        let now = self.tick();
        self.note_answer(id);
        self.record.queues[id.queue].is_served = true;
        self.endpoint.attempt_ends(id, EndpointSign::Answered, self.sent_at(), now);
    }

    /// A call comes in. Returns true if it had to come now.
    pub fn take_expected_call(&mut self, task: task::Id, call: NextCall) -> bool {
        let is_expected = self.creations.expected == Some((task, call));
        if is_expected {
            self.creations.expected = None;
        }
        is_expected
    }

    /// Something else happens than the call that had to come. Only a creation that waits for the pace may stay away.
    pub(super) fn resolve_expected_call(&mut self) {
        let Some((task, call)) = self.creations.expected.take().filter(|_| !self.shutdown.is_stopped) else {
            return;
        };
        let Some(batch) = self.creations.batches.remove(&task) else { return };
        let now = self.tick();
        if call != NextCall::Stream || !now.creations_paced {
            let name = self.record.queues[batch.queue].name();
            self.report_broken(format!("{name}: the attempt that creates did not go on with {call:?}"));
        }
        self.attempt_parks(batch);
    }

    /// The queue of the batch is parked: the attempt ends, and nobody is at fault.
    pub fn attempt_parks(&mut self, batch: BatchId) {
        let end = AttemptEnd::Requeued { counted: CountedFailure::No, may_be_final: false };
        self.attempt_ends(batch, end, EndpointSign::Answered);
    }
}
