//! The groups that are being created, and those that this sink may have created.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::service::{ApiError, Failure};
use crate::sync::lock;
use crate::target::Queue;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct GroupCreations {
    /// Guards both. The lock of a queue may be taken under it, never the other way. Nothing awaits while holding it.
    state: Mutex<State>,
}

/// The groups, while they are locked.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The groups for which a `CreateLogGroup` is out, and the queues that are parked for each.
    under_way: HashMap<Box<str>, UnderWay>,
    /// The groups that this sink began to create without knowing the result. If such a group exists later, this sink has
    /// created it.
    unknown: HashSet<Box<str>>,
}

#[derive(Debug)]
struct UnderWay {
    parked: Vec<Arc<Queue>>,
    /// An earlier creation of the group may have succeeded.
    was_unknown: bool,
}

impl GroupCreations {
    /// Locks the groups.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Begins the creation of a group. Returns the queues that are parked for it if it is under way already.
    pub(super) fn begin(&mut self, group: &str) -> Result<(), &mut Vec<Arc<Queue>>> {
        if !self.under_way.contains_key(group) {
            // Noted before the request goes out, so that a request that is cut off counts as well.
            let was_unknown = !self.unknown.insert(group.into());
            self.under_way.insert(group.into(), UnderWay { parked: Vec::new(), was_unknown });
            return Ok(());
        }
        match self.under_way.get_mut(group) {
            Some(under_way) => Err(&mut under_way.parked),
            None => Ok(()),
        }
    }

    /// The service answered the creation. Returns whether this sink has created the group, with this request or with an
    /// earlier one.
    pub(super) fn on_answer(&mut self, group: &str, answer: &Result<GroupState, ApiError>) -> bool {
        let was_unknown = self.under_way.get(group).is_some_and(|under_way| under_way.was_unknown);
        match answer {
            Ok(state) => {
                self.unknown.remove(group);
                was_unknown || *state == GroupState::Created
            }
            Err(error) => {
                if !was_unknown && is_certainly_undone(error) {
                    self.unknown.remove(group);
                }
                false
            }
        }
    }

    /// Ends the creation of a group. Returns the queues that are parked for it.
    pub(super) fn end(&mut self, group: &str) -> Vec<Arc<Queue>> {
        self.under_way.remove(group).map(|under_way| under_way.parked).unwrap_or_default()
    }

    /// Returns whether this sink began to create a group, which exists, without knowing the result. The question is answered
    /// once.
    pub(super) fn take_unknown(&mut self, group: &str) -> bool {
        self.unknown.remove(group)
    }
}

/// The state of a group after its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupState {
    /// The request has created the group.
    Created,
    /// The group existed already.
    Existed,
}

/// Returns whether the service has certainly not done what the request asked for.
fn is_certainly_undone(error: &ApiError) -> bool {
    match error.failure {
        Failure::NotSent => true,
        Failure::Answered => error.status.is_some_and(|status| (400..500).contains(&status)),
        Failure::TimedOut | Failure::Connection | Failure::Unreadable => false,
    }
}
