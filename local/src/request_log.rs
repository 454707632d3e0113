//! A bounded log of the requests and their outcomes, and counters over all requests.
//!
//! The counters also count the requests that the log no longer holds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use serde::Serialize;

use crate::glob;

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation was carried out and its result was sent.
    Ok,
    /// The service refused the request.
    Refused {
        /// HTTP status.
        status: u16,
        /// Exception name.
        code: String,
    },
    /// A fault rule decided the outcome.
    Fault {
        /// `error`, `hang`, `reset_before`, `reset_after`, `cut_response`, `html` or `empty`. `throttle_per_second` and
        /// `deny_then_allow_ms` count as `error` too.
        name: &'static str,
        /// Exception name, for `error`.
        code: Option<String>,
    },
}

impl Outcome {
    /// Returns true when the client got a success response. A partial rejection is a success.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Returns the name of the exception, or else the name of the fault; `Ok` for a success. It is the key of
    /// [`Counters::errors`].
    pub fn code(&self) -> &str {
        match self {
            Self::Ok => "Ok",
            Self::Refused { code, .. } => code,
            Self::Fault { name, code } => code.as_deref().unwrap_or(name),
        }
    }
}

/// One request, recorded when its outcome was decided.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Operation, such as `PutLogEvents`; an unknown operation is recorded as the client sent it.
    pub operation: String,
    /// Log group that the request names, or empty. It is empty too when the signature is invalid.
    pub group: String,
    /// Log stream that the request names, or empty. It is empty too when the signature is invalid.
    pub stream: String,
    /// The time at which the whole body had been read.
    pub at: Instant,
    /// Events in the request.
    pub events: usize,
    /// Events accepted; fewer than `events` when some were rejected.
    pub taken_events: usize,
    /// Bytes of all its events as the service counts a batch: the bytes of the messages plus 26 per event.
    pub counted_bytes: usize,
    /// Bytes of the body on the wire.
    pub body_bytes: usize,
    /// The `Content-Encoding` header, if any.
    pub content_encoding: Option<String>,
    /// True when the request has the header `x-amzn-logs-format: json/emf`.
    pub emf: bool,
    /// The outcome of the request.
    pub outcome: Outcome,
    /// The number of the connection, counted from 1 in the order of acceptance.
    pub connection: u64,
}

/// Sums over requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests with any outcome.
    pub requests: u64,
    /// Requests that got a success response.
    pub successes: u64,
    /// All other requests, by the name of the exception or the fault (see [`Outcome::code`]).
    pub errors: BTreeMap<String, u64>,
    /// Events accepted.
    pub events: u64,
    /// Bytes of the accepted events, as the service counts a batch.
    pub counted_bytes: u64,
    /// Bytes of all bodies on the wire.
    pub body_bytes: u64,
}

impl Counters {
    /// Adds other sums to these.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.successes += other.successes;
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        self.events += other.events;
        self.counted_bytes += other.counted_bytes;
        self.body_bytes += other.body_bytes;
    }

    fn count(&mut self, record: &RequestRecord, accepted_bytes: usize) {
        self.requests += 1;
        if record.outcome.is_ok() {
            self.successes += 1;
        } else {
            *self.errors.entry(record.outcome.code().to_owned()).or_default() += 1;
        }
        self.events += record.taken_events as u64;
        self.counted_bytes += accepted_bytes as u64;
        self.body_bytes += record.body_bytes as u64;
    }
}

/// The log and the counters.
pub(crate) struct RequestLog {
    records: VecDeque<RequestRecord>,
    max_records: usize,
    /// By group, then by operation: there are many groups and few operations.
    counters: HashMap<String, BTreeMap<String, Counters>>,
}

impl RequestLog {
    /// Makes an empty log that keeps at most `max_records` records.
    pub fn new(max_records: usize) -> Self {
        Self { records: VecDeque::new(), max_records, counters: HashMap::new() }
    }

    /// Records a request. `accepted_bytes` are the bytes of the accepted events, as the service counts a batch.
    pub fn record(&mut self, record: RequestRecord, accepted_bytes: usize) {
        self.counters_mut(&record.group, &record.operation).count(&record, accepted_bytes);
        if self.max_records == 0 {
            return;
        }
        if self.records.len() == self.max_records {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// Returns the kept records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter()
    }

    /// Sums over the requests of one operation (`*` for any) to the groups that match a pattern.
    pub fn sum(&self, operation: &str, group_pattern: &str) -> Counters {
        let mut sum = Counters::default();
        let groups = self.counters.iter().filter(|(group, _)| glob::matches(group_pattern, group));
        for (name, counters) in groups.flat_map(|(_, operations)| operations) {
            if operation == "*" || operation == name {
                sum.add(counters);
            }
        }
        sum
    }

    /// Sums by operation over all groups.
    pub fn by_operation(&self) -> BTreeMap<String, Counters> {
        let mut sums = BTreeMap::<String, Counters>::new();
        for (operation, counters) in self.counters.values().flatten() {
            sums.entry(operation.clone()).or_default().add(counters);
        }
        sums
    }

    /// Sums by group over all operations. Requests that name no group are omitted.
    pub fn by_group(&self) -> BTreeMap<String, Counters> {
        let sum = |operations: &BTreeMap<String, Counters>| {
            operations.values().fold(Counters::default(), |mut sum, counters| {
                sum.add(counters);
                sum
            })
        };
        self.counters
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(|(group, operations)| (group.clone(), sum(operations)))
            .collect()
    }

    fn counters_mut(&mut self, group: &str, operation: &str) -> &mut Counters {
        // The lookup by reference comes first, so that the hot path allocates no key.
        if !self.counters.get(group).is_some_and(|operations| operations.contains_key(operation)) {
            self.counters
                .entry(group.to_owned())
                .or_default()
                .insert(operation.to_owned(), Counters::default());
        }
        self.counters
            .get_mut(group)
            .and_then(|operations| operations.get_mut(operation))
            .expect("the entry was inserted above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(operation: &str, group: &str, outcome: Outcome) -> RequestRecord {
        RequestRecord {
            operation: operation.to_owned(),
            group: group.to_owned(),
            stream: String::new(),
            at: Instant::now(),
            events: 2,
            taken_events: if outcome.is_ok() { 2 } else { 0 },
            counted_bytes: 60,
            body_bytes: 100,
            content_encoding: None,
            emf: false,
            outcome,
            connection: 1,
        }
    }

    #[test]
    fn the_log_is_bounded_and_the_counters_are_not() {
        let mut log = RequestLog::new(2);
        for _ in 0..3 {
            log.record(record("PutLogEvents", "/a", Outcome::Ok), 60);
        }
        assert_eq!(log.records().count(), 2);
        let sum = log.sum("PutLogEvents", "/a");
        assert_eq!((sum.requests, sum.successes, sum.events), (3, 3, 6));
        assert_eq!((sum.counted_bytes, sum.body_bytes), (180, 300));
    }

    #[test]
    fn counters_are_summed_by_operation_pattern_and_error() {
        let mut log = RequestLog::new(0);
        let refused = Outcome::Refused { status: 400, code: "ResourceNotFoundException".to_owned() };
        log.record(record("PutLogEvents", "/a/1", refused), 0);
        log.record(record("PutLogEvents", "/a/2", Outcome::Fault { name: "hang", code: None }), 0);
        log.record(record("CreateLogGroup", "/b", Outcome::Ok), 0);
        log.record(record("DescribeLogGroups", "", Outcome::Ok), 0);
        let sum = log.sum("PutLogEvents", "/a/*");
        assert_eq!((sum.requests, sum.successes), (2, 0));
        assert_eq!(
            sum.errors.into_iter().collect::<Vec<_>>(),
            [("ResourceNotFoundException".to_owned(), 1), ("hang".to_owned(), 1)]
        );
        assert_eq!(log.sum("*", "*").requests, 4);
        assert_eq!(log.by_group().len(), 3);
        assert_eq!(log.by_operation()["PutLogEvents"].requests, 2);
    }
}
