//! What a test may ask a running endpoint, and tell it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::faults::{Rule, RuleId, RuleStatus};
use crate::ledger::{Counters, RequestRecord};
use crate::local::Local;
use crate::names::{check_group, check_stream};
use crate::stream::Event;

impl Local {
    /// Creates a log group; one that is there stays as it is.
    ///
    /// # Panics
    /// When the service would refuse the name.
    pub fn create_group(&self, group: &str) {
        check_group("group", group).unwrap_or_else(|error| panic!("{}", error.message));
        self.server.state().store.ensure_group(group, self.server.now_ms());
        self.server.notify();
    }

    /// Creates a log stream, and its group where that is missing; what is there stays as it is.
    ///
    /// # Panics
    /// When the service would refuse one of the names.
    pub fn create_stream(&self, group: &str, stream: &str) {
        self.create_group(group);
        check_stream("stream", stream).unwrap_or_else(|error| panic!("{}", error.message));
        self.server.state().store.ensure_stream(group, stream, self.server.now_ms());
        self.server.notify();
    }

    /// Deletes a log group and everything in it; `false` when there is none.
    pub fn delete_group(&self, group: &str) -> bool {
        let deleted = self.server.state().store.groups.remove(group).is_some();
        self.server.notify();
        deleted
    }

    /// Deletes a log stream and everything in it; `false` when there is none.
    pub fn delete_stream(&self, group: &str, stream: &str) -> bool {
        let deleted = match self.server.state().store.group(group) {
            Ok(group) => group.streams.remove(stream).is_some(),
            Err(_) => false,
        };
        self.server.notify();
        deleted
    }

    /// Whether there is such a log group.
    pub fn group_exists(&self, group: &str) -> bool {
        self.server.state().store.groups.contains_key(group)
    }

    /// Whether there is such a log stream.
    pub fn stream_exists(&self, group: &str, stream: &str) -> bool {
        self.server.state().store.stream(group, stream).is_ok()
    }

    /// Days for which the group keeps its events; `None` for ever, or when there is no such group.
    pub fn group_retention(&self, group: &str) -> Option<u32> {
        self.server.state().store.groups.get(group)?.retention_days
    }

    /// The group's class, such as `STANDARD`; `None` when there is no such group.
    pub fn group_class(&self, group: &str) -> Option<String> {
        Some(self.server.state().store.groups.get(group)?.class.clone())
    }

    /// A stream's events as `GetLogEvents` orders them: by timestamp, equal ones as they came. Empty when there is no
    /// such stream, and with `discard`.
    pub fn events(&self, group: &str, stream: &str) -> Vec<Event> {
        let mut state = self.server.state();
        state
            .store
            .stream(group, stream)
            .map_or_else(|_| Vec::new(), |s| s.in_reading_order().cloned().collect())
    }

    /// A stream's events in the order in which they were taken: request by request, and as they stood in each.
    pub fn arrival(&self, group: &str, stream: &str) -> Vec<Event> {
        let mut state = self.server.state();
        state.store.stream(group, stream).map_or_else(|_| Vec::new(), |stream| stream.arrived().to_vec())
    }

    /// Events in all streams of a group, counted also with `discard`; 0 when there is no such group.
    pub fn event_count(&self, group: &str) -> usize {
        let state = self.server.state();
        state
            .store
            .groups
            .get(group)
            .map_or(0, |group| group.streams.values().map(|stream| stream.count).sum())
    }

    /// Events in one stream, counted also with `discard`; 0 when there is no such stream.
    pub fn stream_event_count(&self, group: &str, stream: &str) -> usize {
        self.server.state().store.stream(group, stream).map_or(0, |stream| stream.count)
    }

    /// Events taken since the start, those of deleted groups included.
    pub fn total_events(&self) -> u64 {
        self.counters("PutLogEvents", "*").events
    }

    /// Sets these fault rules in place of all others. Their times count from now.
    ///
    /// # Panics
    /// When a rule is not sound; see [`Rule::check`].
    pub fn set_faults(&self, rules: Vec<Rule>) -> Vec<RuleId> {
        let ids = self.server.faults().replace(rules, Instant::now());
        ids.unwrap_or_else(|error| panic!("fault rule: {error}"))
    }

    /// Sets a fault rule after those that are there. Its times count from now.
    ///
    /// # Panics
    /// When the rule is not sound; see [`Rule::check`].
    pub fn add_fault(&self, rule: Rule) -> RuleId {
        let id = self.server.faults().add(rule, Instant::now());
        id.unwrap_or_else(|error| panic!("fault rule: {error}"))
    }

    /// Removes a fault rule; `false` when there is none of this id. Requests that hang or wait already are not let go.
    pub fn remove_fault(&self, id: RuleId) -> bool {
        self.server.faults().remove(id)
    }

    /// Removes every fault rule. Requests that hang or wait already are not let go.
    pub fn clear_faults(&self) {
        self.server.faults().clear();
    }

    /// The fault rules in their order, and how often each fired.
    pub fn faults(&self) -> Vec<RuleStatus> {
        self.server.faults().status()
    }

    /// The log of requests, oldest first, as far as it reaches back (see
    /// [`Options::request_log_cap`](crate::Options::request_log_cap)).
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.requests_where(|_| true)
    }

    /// Those requests of the log for which `wanted` holds. It is called under the endpoint's lock, so it must not ask
    /// the endpoint anything.
    pub fn requests_where(&self, wanted: impl Fn(&RequestRecord) -> bool) -> Vec<RequestRecord> {
        self.server.state().ledger.records().filter(|record| wanted(record)).cloned().collect()
    }

    /// Sums over the requests of one operation (`*`: any) to groups that fit a pattern with `*` and `?`. `*` includes
    /// requests that name no group.
    pub fn counters(&self, operation: &str, group_pattern: &str) -> Counters {
        self.server.state().ledger.sum(operation, group_pattern)
    }

    /// Requests of one operation (`*`: any) to groups that fit a pattern, whatever became of them.
    pub fn count(&self, operation: &str, group_pattern: &str) -> usize {
        self.counters(operation, group_pattern).requests as usize
    }

    /// Those of them that were told they succeeded.
    pub fn successes(&self, operation: &str, group_pattern: &str) -> usize {
        self.counters(operation, group_pattern).successes as usize
    }

    /// Connections open now.
    pub fn connections_open(&self) -> usize {
        self.server.connections_open.load(Ordering::Relaxed) as usize
    }

    /// Connections accepted since the start.
    pub fn connections_accepted(&self) -> usize {
        self.server.connections_accepted.load(Ordering::Relaxed) as usize
    }

    /// Requests that have begun and are not answered yet, those that hang or wait included.
    pub fn in_flight(&self) -> usize {
        self.server.in_flight.load(Ordering::Relaxed) as usize
    }

    /// The most requests that ever were in flight at once.
    pub fn in_flight_peak(&self) -> usize {
        self.server.in_flight_peak.load(Ordering::Relaxed) as usize
    }

    /// Puts this endpoint's clock so many milliseconds ahead of the machine's (negative: behind).
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.server.set_clock_offset_ms(offset_ms);
    }

    /// Blocks until `condition` holds or the time is over, and says whether it holds. The condition is asked at once
    /// and after every change (a request begun or ended, a connection opened or closed, a group created); it may ask
    /// the endpoint anything.
    pub fn wait_until(&self, timeout: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.server.change();
            if condition(self) {
                return true;
            }
            if !self.server.wait_for_change(seen, deadline) {
                return condition(self);
            }
        }
    }
}
