//! The groups that are being created, and those that this sink may have created.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use crate::schedule::backoff::Backoff;
use crate::schedule::service_errors::{Verdict, classify};
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
    /// The groups whose last creation was refused.
    refused: HashMap<Box<str>, RefusedGroup>,
}

/// A refusal holds for all targets of the group for a while. Otherwise each of a thousand streams would ask for the group.
#[derive(Debug)]
struct RefusedGroup {
    error: ApiError,
    until: Instant,
    refusals: u32,
}

/// The reason why a creation does not begin.
#[derive(Debug)]
pub(super) enum NotBegun<'a> {
    /// The creation is under way. These queues are parked for it.
    UnderWay(&'a mut Vec<Arc<Queue>>),
    /// The service refused it a moment ago.
    Refused(ApiError),
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
    /// Begins the creation of a group.
    pub(super) fn begin(&mut self, group: &str, now: Instant) -> Result<(), NotBegun<'_>> {
        if let Some(refused) = self.refused.get(group).filter(|refused| now < refused.until) {
            return Err(NotBegun::Refused(refused.error.clone()));
        }
        if !self.under_way.contains_key(group) {
            // Noted before the request goes out, so that a request that is cut off counts as well.
            let was_unknown = !self.unknown.insert(group.into());
            self.under_way.insert(group.into(), UnderWay { parked: Vec::new(), was_unknown });
            return Ok(());
        }
        match self.under_way.get_mut(group) {
            Some(under_way) => Err(NotBegun::UnderWay(&mut under_way.parked)),
            None => Ok(()),
        }
    }

    /// The service answered the creation. Returns whether this sink has created the group, with this request or with an
    /// earlier one.
    pub(super) fn on_answer(&mut self, group: &str, answer: &Result<GroupState, ApiError>) -> bool {
        let was_unknown = self.under_way.get(group).is_some_and(|under_way| under_way.was_unknown);
        match answer {
            Ok(state) => {
                self.on_found(group);
                was_unknown || *state == GroupState::Created
            }
            Err(error) => {
                self.note_refusal(group, error);
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

    fn note_refusal(&mut self, group: &str, error: &ApiError) {
        if error.failure == Failure::Answered && matches!(classify(error), Verdict::Retry(_)) {
            let refusals = self.refused.get(group).map_or(0, |refused| refused.refusals);
            let until = Instant::now() + Backoff::Missing.base(refusals, 0);
            let refusals = refusals.saturating_add(1);
            self.refused.insert(group.into(), RefusedGroup { error: error.clone(), until, refusals });
        }
    }

    /// The group exists. Returns whether this sink began to create it without knowing the result; the answer is given once.
    pub(super) fn on_found(&mut self, group: &str) -> bool {
        self.refused.remove(group);
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
        Failure::TimedOut | Failure::Connection | Failure::Unreadable | Failure::Internal => false,
    }
}
