//! The breaker of one target: it opens when a batch fails, and closes when a probe gets through.
//!
//! ```text
//!            a batch failed                     due
//!   Closed ─────────────────▶ Open ───────────────────────▶ HalfOpen
//!     ▲                        ▲  the probe failed              │ one batch goes out: the probe
//!     │                        └────────────────────────────────┤
//!     └─────────────────────────────────────────────────────────┘ the probe is final
//! ```
//!
//! Invariants: while it is open nothing goes out; while it is half open one batch is out as its probe, and
//! only that batch's end moves it on: what else was in flight when it opened neither closes it nor counts as
//! another failure. Each time it opens there is exactly one ticket for when it is due.

/// Which opening a due time belongs to, so that one that was overtaken is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, until its ticket is due.
    Open(Ticket),
    /// One batch. It holds the id of the batch once that is out.
    HalfOpen(Option<u64>),
}

/// See the module.
#[derive(Debug)]
pub struct CircuitBreaker {
    state: State,
    failures: u32,
    tickets: u64,
}

/// What a failure meant to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It opened; the ticket wants a due time.
    Opened(Ticket),
    /// It was open already; its due time stands.
    Known,
}

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new() -> Self {
        CircuitBreaker { state: State::Closed, failures: 0, tickets: 0 }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a batch may go out now.
    pub fn allows(&self) -> bool {
        matches!(self.state, State::Closed | State::HalfOpen(None))
    }

    /// How often it opened since a batch last got through.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A batch goes out; while half open it is the probe.
    pub fn sent(&mut self, batch: u64) {
        if self.state == State::HalfOpen(None) {
            self.state = State::HalfOpen(Some(batch));
        }
    }

    /// A batch failed and will be tried again.
    pub fn failed(&mut self, batch: u64) -> Failure {
        let probe_or_first = self.is_closed() || self.state == State::HalfOpen(Some(batch));
        if !probe_or_first {
            return Failure::Known;
        }
        self.failures = self.failures.saturating_add(1);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.state = State::Open(ticket);
        Failure::Opened(ticket)
    }

    /// A batch is final. `got_through`: the service answered for it, so that the target is well; without that the
    /// target goes on all the same, but its failures in a row are not forgotten. `more_failed`: another batch that
    /// failed waits, and is then the next probe. True when the breaker closed since the probe got through.
    pub fn finalized(&mut self, batch: u64, got_through: bool, more_failed: bool) -> bool {
        let was_failing = self.failures > 0;
        match self.state {
            State::Closed => {
                self.failures = if got_through { 0 } else { self.failures };
                return got_through && was_failing;
            }
            State::HalfOpen(Some(probe)) if probe == batch => {}
            _ => return false,
        }
        if got_through {
            self.failures = 0;
        }
        self.state = if more_failed { State::HalfOpen(None) } else { State::Closed };
        got_through && !more_failed
    }

    /// A batch came back without having been tried, such as one that waits for its group to be created.
    pub fn returned(&mut self, batch: u64) {
        if self.state == State::HalfOpen(Some(batch)) {
            self.state = State::HalfOpen(None);
        }
    }

    /// The due time of a ticket has come. False when it was overtaken.
    pub fn due(&mut self, ticket: Ticket) -> bool {
        let current = self.state == State::Open(ticket);
        if current {
            self.state = State::HalfOpen(None);
        }
        current
    }

    /// Makes an open breaker due at once.
    pub fn due_now(&mut self) {
        if let State::Open(ticket) = self.state {
            self.due(ticket);
        }
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(breaker: &mut CircuitBreaker, batch: u64) -> (Ticket, u32) {
        match breaker.failed(batch) {
            Failure::Opened(ticket) => (ticket, breaker.failures()),
            Failure::Known => panic!("batch {batch} should have opened the breaker"),
        }
    }

    #[test]
    fn it_opens_at_a_failure_and_closes_when_its_probe_gets_through() {
        let mut breaker = CircuitBreaker::new();
        breaker.sent(1);
        let (ticket, failures) = opened(&mut breaker, 1);
        assert_eq!(failures, 1);
        assert!(!breaker.allows());
        assert!(breaker.due(ticket));
        assert!(breaker.allows());
        breaker.sent(1);
        assert!(!breaker.allows(), "one probe at a time");
        assert!(breaker.finalized(1, true, false));
        assert!(breaker.is_closed());
    }

    #[test]
    fn what_was_in_flight_before_neither_closes_it_nor_counts_as_a_failure() {
        let mut breaker = CircuitBreaker::new();
        for batch in [1, 2, 3] {
            breaker.sent(batch);
        }
        let (ticket, _) = opened(&mut breaker, 1);
        assert!(!breaker.finalized(2, true, false));
        assert_eq!(breaker.failed(3), Failure::Known);
        assert!(!breaker.allows());
        assert!(breaker.due(ticket));
        breaker.sent(1);
        assert!(!breaker.finalized(2, true, false));
        assert_eq!(breaker.failed(3), Failure::Known);
        let (_, failures) = opened(&mut breaker, 1);
        assert_eq!(failures, 2, "the probe's failure is the second");
    }

    #[test]
    fn while_another_failed_batch_waits_that_one_is_the_next_probe() {
        let mut breaker = CircuitBreaker::new();
        breaker.sent(1);
        breaker.sent(2);
        let (ticket, _) = opened(&mut breaker, 1);
        breaker.failed(2);
        breaker.due(ticket);
        breaker.sent(1);
        assert!(!breaker.finalized(1, true, true));
        assert_eq!(breaker.state(), State::HalfOpen(None));
        breaker.sent(2);
        assert!(breaker.finalized(2, true, false));
    }

    #[test]
    fn a_due_time_that_was_overtaken_is_ignored() {
        let mut breaker = CircuitBreaker::new();
        breaker.sent(1);
        let (old, _) = opened(&mut breaker, 1);
        breaker.due_now();
        breaker.sent(1);
        let (new, _) = opened(&mut breaker, 1);
        assert!(!breaker.due(old));
        assert!(breaker.due(new));
    }
}
