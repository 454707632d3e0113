//! The methods that read and change the state of a running endpoint.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Local;
use crate::faults::{Rule, RuleId, RuleStatus};
use crate::names::{check_group, check_stream};
use crate::request_log::{Counters, RequestRecord};
use crate::server::WaitResult;
use crate::store::{Event, Stream};

impl Local {
    /// Creates a log group. An existing group stays as it is.
    ///
    /// # Panics
    /// When the service would refuse the name.
    pub fn create_group(&self, group: &str) {
        check_group("group", group).unwrap_or_else(|error| panic!("{}", error.message));
        self.server.state().store.ensure_group(group, self.server.now_ms());
        self.server.notify();
    }

    /// Creates a log stream, and its group when that is missing. Existing ones stay as they are.
    ///
    /// # Panics
    /// When the service would refuse one of the names.
    pub fn create_stream(&self, group: &str, stream: &str) {
        self.create_group(group);
        check_stream("stream", stream).unwrap_or_else(|error| panic!("{}", error.message));
        self.server.state().store.ensure_stream(group, stream, self.server.now_ms());
        self.server.notify();
    }

    /// Deletes a log group and everything in it; returns false when it does not exist.
    pub fn delete_group(&self, group: &str) -> bool {
        let deleted = self.server.state().store.groups.remove(group).is_some();
        self.server.notify();
        deleted
    }

    /// Deletes a log stream and everything in it; returns false when it does not exist.
    pub fn delete_stream(&self, group: &str, stream: &str) -> bool {
        let deleted = match self.server.state().store.group(group) {
            Ok(group) => group.streams.remove(stream).is_some(),
            Err(_) => false,
        };
        self.server.notify();
        deleted
    }

    /// Returns true when the log group exists.
    pub fn group_exists(&self, group: &str) -> bool {
        self.server.state().store.groups.contains_key(group)
    }

    /// Returns true when the log stream exists.
    pub fn stream_exists(&self, group: &str, stream: &str) -> bool {
        self.server.state().store.stream(group, stream).is_ok()
    }

    /// Returns the days for which the group keeps its events; `None` means without end, or that the group does not
    /// exist.
    pub fn group_retention(&self, group: &str) -> Option<u32> {
        self.server.state().store.groups.get(group)?.retention_days
    }

    /// Returns the class of the group, such as `STANDARD`; `None` when the group does not exist.
    pub fn group_class(&self, group: &str) -> Option<String> {
        Some(self.server.state().store.groups.get(group)?.class.clone())
    }

    /// Returns the events of a stream in the order of `GetLogEvents`: by timestamp, and equal timestamps in the order
    /// of arrival. The result is empty when the stream does not exist, and with `discard`.
    pub fn events(&self, group: &str, stream: &str) -> Vec<Event> {
        self.with_stream(group, stream, |stream| stream.in_reading_order().cloned().collect())
    }

    /// Returns the events of a stream in the order of arrival: request by request, and within a request in its order.
    pub fn arrival(&self, group: &str, stream: &str) -> Vec<Event> {
        self.with_stream(group, stream, |stream| stream.in_arrival_order().to_vec())
    }

    /// Returns the number of events in all streams of a group, also with `discard`; 0 when the group does not exist.
    pub fn event_count(&self, group: &str) -> usize {
        let state = self.server.state();
        state
            .store
            .groups
            .get(group)
            .map_or(0, |group| group.streams.values().map(|stream| stream.count).sum())
    }

    /// Returns the number of events in one stream, also with `discard`; 0 when the stream does not exist.
    pub fn stream_event_count(&self, group: &str, stream: &str) -> usize {
        self.with_stream(group, stream, |stream| stream.count)
    }

    /// Returns the number of events accepted since the start, including the events of deleted groups.
    pub fn total_events(&self) -> u64 {
        self.counters("PutLogEvents", "*").events
    }

    /// Replaces all fault rules. The times of the new rules count from now.
    ///
    /// # Panics
    /// When a rule has a wrong value; see [`Rule::check`].
    pub fn set_faults(&self, rules: Vec<Rule>) -> Vec<RuleId> {
        let ids = self.server.faults().replace(rules, Instant::now());
        ids.unwrap_or_else(|error| panic!("fault rule: {error}"))
    }

    /// Adds a fault rule after the existing ones. Its times count from now.
    ///
    /// # Panics
    /// When the rule has a wrong value; see [`Rule::check`].
    pub fn add_fault(&self, rule: Rule) -> RuleId {
        let id = self.server.faults().add(rule, Instant::now());
        id.unwrap_or_else(|error| panic!("fault rule: {error}"))
    }

    /// Removes a fault rule; returns false when no rule has this id. Requests that hang or wait already continue to
    /// do so.
    pub fn remove_fault(&self, id: RuleId) -> bool {
        self.server.faults().remove(id)
    }

    /// Removes every fault rule. Requests that hang or wait already continue to do so.
    pub fn clear_faults(&self) {
        self.server.faults().clear();
    }

    /// Returns the fault rules in their order, with their counters.
    pub fn faults(&self) -> Vec<RuleStatus> {
        self.server.faults().status()
    }

    /// Returns the log of requests, oldest first. Its length is limited by
    /// [`Options::request_log_cap`](crate::Options::request_log_cap).
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.requests_where(|_| true)
    }

    /// Returns the requests of the log for which `predicate` is true. It is called while the endpoint's state is
    /// locked, so it must not call a method of the endpoint.
    pub fn requests_where(&self, predicate: impl Fn(&RequestRecord) -> bool) -> Vec<RequestRecord> {
        self.server.state().request_log.records().filter(|record| predicate(record)).cloned().collect()
    }

    /// Returns the sums over the requests of one operation (`*` for any) to the groups that match a pattern with `*`
    /// and `?`. The pattern `*` includes requests that name no group.
    pub fn counters(&self, operation: &str, group_pattern: &str) -> Counters {
        self.server.state().request_log.sum(operation, group_pattern)
    }

    /// Returns the number of requests of one operation (`*` for any) to the groups that match a pattern, with any
    /// outcome.
    pub fn count(&self, operation: &str, group_pattern: &str) -> usize {
        self.counters(operation, group_pattern).requests as usize
    }

    /// Returns the number of these requests that got a success response.
    pub fn successes(&self, operation: &str, group_pattern: &str) -> usize {
        self.counters(operation, group_pattern).successes as usize
    }

    /// Returns the number of connections that are open now.
    pub fn connections_open(&self) -> usize {
        self.server.connections_open.load(Ordering::Relaxed) as usize
    }

    /// Returns the number of connections accepted since the start.
    pub fn connections_accepted(&self) -> usize {
        self.server.connections_accepted.load(Ordering::Relaxed) as usize
    }

    /// Returns the number of requests that have begun and have no response yet, including requests that hang or wait.
    pub fn in_flight(&self) -> usize {
        self.server.in_flight.load(Ordering::Relaxed) as usize
    }

    /// Returns the most requests that were in flight at the same time.
    pub fn in_flight_peak(&self) -> usize {
        self.server.in_flight_peak.load(Ordering::Relaxed) as usize
    }

    /// Sets the endpoint's clock `offset_ms` milliseconds ahead of the machine's clock (negative: behind).
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.server.set_clock_offset_ms(offset_ms);
    }

    /// Blocks until `condition` is true or the time is over; returns true when the condition is true. The condition is
    /// evaluated at once and after every change: a request begins or ends, a connection is opened or closed, a group is
    /// created. It may call any method of the endpoint.
    pub fn wait_until(&self, timeout: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.server.change_count();
            if condition(self) {
                return true;
            }
            if self.server.wait_for_change(seen, deadline) == WaitResult::TimedOut {
                return condition(self);
            }
        }
    }

    /// Returns the default value when the stream does not exist.
    fn with_stream<T: Default>(&self, group: &str, stream: &str, read: impl FnOnce(&mut Stream) -> T) -> T {
        self.server.state().store.stream(group, stream).map_or_else(|_| T::default(), read)
    }
}
