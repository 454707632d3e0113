//! The settings that are owed to groups: the retention of each group that this sink has created.
//!
//! A setting is owed until the service has taken it. A task tries each again, with a back-off of its own. No event waits for
//! a setting. At the shutdown each has one more try.
//!
//! A group that is not found any more was deleted, so nothing is owed to it. If another process creates the group again, that
//! process decides about the retention.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::schedule::rate_limiter::RateLimiter;
use crate::sync::lock;
use crate::wait_group::{WaitGroup, WaitGuard};

/// The most tries that are out at once. A quota of 5 per second needs few.
const TRIES_MAX: usize = 4;
/// See the module.
#[derive(Debug)]
pub(super) struct OwedSettings {
    retention_days: Option<u32>,
    /// Guards the groups. Nothing awaits while holding it.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<Box<str>, Owed>,
    tries: usize,
    limiter: RateLimiter,
    /// The sink is closing: each group has one more try.
    closing: bool,
    stopped: bool,
}

#[derive(Debug)]
struct Owed {
    due: Instant,
    failures: u32,
    is_being_tried: bool,
    /// The try at the shutdown was made.
    is_last_try_over: bool,
    /// Guards of a shutdown that waits for the last try.
    last_try: Vec<WaitGuard>,
}

/// The next step of the task.
#[derive(Debug)]
pub(super) enum NextTry {
    /// Try this setting. The caller ends the try with one of the methods below.
    Try(SettingTry),
    /// No setting is due before then.
    NotBefore(Instant),
    /// No setting may be tried until something changes.
    WaitForChange,
    /// The sink has stopped.
    Stopped,
}

/// One try.
#[derive(Debug)]
pub(super) struct SettingTry {
    /// The group that the setting is owed to.
    pub(super) group: Box<str>,
    /// The number of failed tries before.
    pub(super) failures: u32,
    /// The sink was closing when the try began: it is the last one.
    pub(super) is_last: bool,
}

impl OwedSettings {
    /// No settings are owed yet. Without a retention, none ever are.
    pub(super) fn new(retention_days: Option<u32>) -> Self {
        OwedSettings { retention_days, state: Mutex::default(), changed: Notify::new() }
    }

    /// This sink has created the group.
    pub(super) fn add(&self, group: &str) {
        if self.retention_days.is_none() {
            return;
        }
        let mut state = self.lock();
        let owed = state.groups.entry(group.into()).or_insert_with(Owed::new);
        (owed.due, owed.failures, owed.is_last_try_over) = (Instant::now(), 0, false);
        drop(state);
        self.changed.notify_one();
    }

    /// The number of groups whose settings are owed.
    pub(super) fn count(&self) -> usize {
        self.lock().groups.len()
    }

    /// The sink begins to close: makes every setting due for its last try.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let now = Instant::now();
        state.groups.values_mut().for_each(|owed| owed.due = now);
        drop(state);
        self.changed.notify_one();
    }

    /// The wait group is done when each setting that is owed now has had its last try.
    pub(super) fn wait_for_last_tries(&self) -> Arc<WaitGroup> {
        let group = Arc::<WaitGroup>::default();
        let mut state = self.lock();
        let untried = state.groups.values_mut().filter(|owed| !owed.is_last_try_over);
        untried.for_each(|owed| owed.last_try.push(group.guard()));
        group
    }

    /// Makes no more tries.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    /// The next step. Begins a try if a setting is due.
    pub(super) fn next(&self, now: Instant) -> NextTry {
        let mut state = self.lock();
        if state.stopped {
            return NextTry::Stopped;
        }
        let may_try = |owed: &&mut Owed| !owed.is_being_tried && !owed.is_last_try_over;
        let (tries, closing, next) = (state.tries, state.closing, state.limiter.next(now));
        let groups = state.groups.iter_mut().filter(|(_, owed)| may_try(owed));
        let Some((group, owed)) = groups.min_by_key(|(_, owed)| owed.due).filter(|_| tries < TRIES_MAX)
        else {
            return NextTry::WaitForChange;
        };
        let at = next.map_or(owed.due, |next| next.max(owed.due));
        if at > now {
            return NextTry::NotBefore(at);
        }
        owed.is_being_tried = true;
        let begun = SettingTry { group: group.clone(), failures: owed.failures, is_last: closing };
        state.tries += 1;
        state.limiter.on_sent(now);
        NextTry::Try(begun)
    }

    /// Waits until a setting is due earlier than before, or a try has ended.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends a try: nothing is owed to the group any more.
    pub(super) fn on_settled(&self, group: &str) {
        let mut state = self.lock();
        state.tries -= 1;
        state.limiter.on_answer();
        let settled = state.groups.remove(group);
        drop(state);
        drop(settled);
        self.changed.notify_one();
    }

    /// Ends a try that failed: the setting is tried again after `wait`.
    pub(super) fn on_failed(&self, begun: &SettingTry, is_throttled: bool, wait: Duration) {
        let mut state = self.lock();
        let now = Instant::now();
        state.tries -= 1;
        match is_throttled {
            true => state.limiter.on_throttled(now),
            false => state.limiter.on_answer(),
        }
        // A try that began before the shutdown is not the last one.
        let due = if state.closing { now } else { now + wait };
        let mut released = Vec::new();
        if let Some(owed) = state.groups.get_mut(&begun.group) {
            owed.failures = owed.failures.saturating_add(1);
            (owed.due, owed.is_being_tried, owed.is_last_try_over) = (due, false, begun.is_last);
            if begun.is_last {
                released = std::mem::take(&mut owed.last_try);
            }
        }
        drop(state);
        drop(released);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Owed {
    fn new() -> Self {
        Owed {
            due: Instant::now(),
            failures: 0,
            is_being_tried: false,
            is_last_try_over: false,
            last_try: Vec::new(),
        }
    }
}
