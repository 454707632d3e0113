//! What was asked and how it ended: a bounded log of requests, and counters that never forget.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use serde::Serialize;

use crate::faults::glob_matches;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation was carried out and its result was sent.
    Ok,
    /// One of the service's own rules refused it.
    Refused {
        /// HTTP status.
        status: u16,
        /// Exception name.
        code: String,
    },
    /// A fault rule decided.
    Fault {
        /// `error`, `hang`, `reset_before`, `reset_after`, `cut_response`, `html` or `empty`. A throttle and a flapping
        /// denial are `error` too.
        name: &'static str,
        /// Exception name, for `error`.
        code: Option<String>,
    },
}

impl Outcome {
    /// Whether the client was told that it succeeded (a partial rejection is a success).
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// The exception's name, or else the fault's; `Ok` for a success. [`Counters::errors`] are counted by it.
    pub fn code(&self) -> &str {
        match self {
            Self::Ok => "Ok",
            Self::Refused { code, .. } => code,
            Self::Fault { name, code } => code.as_deref().unwrap_or(name),
        }
    }
}

/// One request, recorded in the moment its end was decided.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Operation, such as `PutLogEvents`; as the client wrote it when it is unknown.
    pub operation: String,
    /// Log group it names, or empty; a request without a good signature is not asked.
    pub group: String,
    /// Log stream it names, or empty, likewise.
    pub stream: String,
    /// When its body had been read.
    pub at: Instant,
    /// Events it carried.
    pub events: usize,
    /// Events taken; less than `events` when some were rejected.
    pub taken_events: usize,
    /// Bytes of all its events as the service counts a batch: the messages plus 26 an event.
    pub counted_bytes: usize,
    /// Bytes of its body on the wire.
    pub body_bytes: usize,
    /// Its `Content-Encoding`, if any.
    pub content_encoding: Option<String>,
    /// Whether it was marked `x-amzn-logs-format: json/emf`.
    pub emf: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The connection it came over, counted from 1 in the order of acceptance.
    pub connection: u64,
}

/// Sums over requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests, whatever became of them.
    pub requests: u64,
    /// Requests that were told they succeeded.
    pub successes: u64,
    /// The others, by exception or fault name (see [`Outcome::code`]).
    pub errors: BTreeMap<String, u64>,
    /// Events taken.
    pub events: u64,
    /// Bytes of the events taken, as the service counts them.
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

    fn count(&mut self, record: &RequestRecord, taken_bytes: usize) {
        self.requests += 1;
        if record.outcome.is_ok() {
            self.successes += 1;
        } else {
            *self.errors.entry(record.outcome.code().to_owned()).or_default() += 1;
        }
        self.events += record.taken_events as u64;
        self.counted_bytes += taken_bytes as u64;
        self.body_bytes += record.body_bytes as u64;
    }
}

/// The log and the counters.
pub(crate) struct Ledger {
    records: VecDeque<RequestRecord>,
    cap: usize,
    /// By group, then operation: there are many groups and few operations.
    counters: HashMap<String, BTreeMap<String, Counters>>,
}

impl Ledger {
    /// An empty one that keeps at most `cap` records.
    pub fn new(cap: usize) -> Self {
        Self { records: VecDeque::new(), cap, counters: HashMap::new() }
    }

    /// Records a request. `taken_bytes` are the counted bytes of the events that were taken.
    pub fn record(&mut self, record: RequestRecord, taken_bytes: usize) {
        self.counters_of(&record.group, &record.operation).count(&record, taken_bytes);
        if self.cap == 0 {
            return;
        }
        if self.records.len() == self.cap {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// The records that are kept, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter()
    }

    /// Sums over the requests of one operation (`*`: any) to groups that fit a pattern.
    pub fn sum(&self, operation: &str, group_pattern: &str) -> Counters {
        let mut sum = Counters::default();
        let groups = self.counters.iter().filter(|(group, _)| glob_matches(group_pattern, group));
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

    /// Sums by group over all operations; requests that name no group are left out.
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

    fn counters_of(&mut self, group: &str, operation: &str) -> &mut Counters {
        // Looked up by reference first: the hot path allocates no key.
        if !self.counters.get(group).is_some_and(|operations| operations.contains_key(operation)) {
            self.counters
                .entry(group.to_owned())
                .or_default()
                .insert(operation.to_owned(), Counters::default());
        }
        self.counters
            .get_mut(group)
            .and_then(|operations| operations.get_mut(operation))
            .expect("it was put there two lines above")
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
        let mut ledger = Ledger::new(2);
        for _ in 0..3 {
            ledger.record(record("PutLogEvents", "/a", Outcome::Ok), 60);
        }
        assert_eq!(ledger.records().count(), 2);
        let sum = ledger.sum("PutLogEvents", "/a");
        assert_eq!((sum.requests, sum.successes, sum.events), (3, 3, 6));
        assert_eq!((sum.counted_bytes, sum.body_bytes), (180, 300));
    }

    #[test]
    fn counters_are_summed_by_operation_pattern_and_error() {
        let mut ledger = Ledger::new(0);
        let refused = Outcome::Refused { status: 400, code: "ResourceNotFoundException".to_owned() };
        ledger.record(record("PutLogEvents", "/a/1", refused), 0);
        ledger.record(record("PutLogEvents", "/a/2", Outcome::Fault { name: "hang", code: None }), 0);
        ledger.record(record("CreateLogGroup", "/b", Outcome::Ok), 0);
        ledger.record(record("DescribeLogGroups", "", Outcome::Ok), 0);
        let sum = ledger.sum("PutLogEvents", "/a/*");
        assert_eq!((sum.requests, sum.successes), (2, 0));
        assert_eq!(
            sum.errors.into_iter().collect::<Vec<_>>(),
            [("ResourceNotFoundException".to_owned(), 1), ("hang".to_owned(), 1)]
        );
        assert_eq!(ledger.sum("*", "*").requests, 4);
        assert_eq!(ledger.by_group().len(), 3);
        assert_eq!(ledger.by_operation()["PutLogEvents"].requests, 2);
    }
}
