//! The circuit breaker of one target: it opens when a batch fails, and closes when a probe is answered.
//!
//! A target that is refused must not be asked again for each of its batches. So the first failure opens its breaker, and
//! nothing is sent to the target until a back-off is over. Then one batch goes out as a probe, and its end decides.
//!
//! ```text
//!            a batch failed                     due
//!   Closed ─────────────────▶ Open ───────────────────────▶ HalfOpen
//!     ▲                        ▲  the probe failed              │ one batch goes out: the probe
//!     │                        └────────────────────────────────┤
//!     └─────────────────────────────────────────────────────────┘ the probe is final
//! ```
//!
//! Invariants:
//!
//! * While the breaker is open, no batch goes out.
//! * While it is half open, one batch is out as its probe. Only the end of that batch changes the state: other batches
//!   that were in flight when the breaker opened neither close it nor count as another failure.
//! * Each opening has one generation, and the retry heap holds one due time for it.

/// Identifies one opening of a breaker, so that the due time of an earlier opening is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Every batch may go out.
    Closed,
    /// No batch may go out until the due time of this generation.
    Open(Generation),
    /// One batch may go out. Holds the id of that batch once it is out.
    HalfOpen(Option<u64>),
}

/// See the module.
#[derive(Debug)]
pub struct CircuitBreaker {
    state: BreakerState,
    failures: u32,
    generations: u64,
}

/// The effect of a failure on the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerFailure {
    /// The breaker opened. The retry heap needs a due time for this generation.
    Opened(Generation),
    /// The breaker was open already; its due time stays.
    AlreadyOpen,
}

/// A batch that is final, as the breaker sees it.
#[derive(Clone, Copy, Debug)]
pub struct FinalBatch {
    /// The id of the batch.
    pub id: u64,
    /// The service answered for the batch, so the target is healthy. Otherwise the target continues, but its consecutive
    /// failures are not forgotten.
    pub answered: bool,
    /// Another batch that failed waits. It is the next probe.
    pub more_failed: bool,
}

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new() -> Self {
        CircuitBreaker { state: BreakerState::Closed, failures: 0, generations: 0 }
    }

    /// The state.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Returns whether the breaker is closed.
    pub fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    /// Returns whether a batch may go out now.
    pub fn allows(&self) -> bool {
        matches!(self.state, BreakerState::Closed | BreakerState::HalfOpen(None))
    }

    /// The number of openings since the service last answered for a batch.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A batch goes out. In the half open state it is the probe.
    pub fn on_sent(&mut self, batch: u64) {
        if self.state == BreakerState::HalfOpen(None) {
            self.state = BreakerState::HalfOpen(Some(batch));
        }
    }

    /// A batch failed and will be tried again.
    pub fn on_failure(&mut self, batch: u64) -> BreakerFailure {
        let probe_or_first = self.is_closed() || self.state == BreakerState::HalfOpen(Some(batch));
        if !probe_or_first {
            return BreakerFailure::AlreadyOpen;
        }
        self.failures = self.failures.saturating_add(1);
        self.generations += 1;
        let generation = Generation(self.generations);
        self.state = BreakerState::Open(generation);
        BreakerFailure::Opened(generation)
    }

    /// A batch is final. Returns whether the target recovered: the breaker has no failure left to wait out.
    pub fn on_final(&mut self, batch: FinalBatch) -> bool {
        let FinalBatch { id, answered, more_failed } = batch;
        let was_failing = self.failures > 0;
        match self.state {
            BreakerState::Closed => {
                self.failures = if answered { 0 } else { self.failures };
                return answered && was_failing;
            }
            BreakerState::HalfOpen(Some(probe)) if probe == id => {}
            _ => return false,
        }
        if answered {
            self.failures = 0;
        }
        self.state = if more_failed { BreakerState::HalfOpen(None) } else { BreakerState::Closed };
        answered && !more_failed
    }

    /// A batch came back without a result that counts, such as one that waits for the creation of its group. If it was
    /// the probe, another batch may be.
    pub fn on_requeued(&mut self, batch: u64) {
        if self.state == BreakerState::HalfOpen(Some(batch)) {
            self.state = BreakerState::HalfOpen(None);
        }
    }

    /// The due time of a generation has come. Returns false for the due time of an earlier opening.
    pub fn on_due(&mut self, generation: Generation) -> bool {
        let current = self.state == BreakerState::Open(generation);
        if current {
            self.state = BreakerState::HalfOpen(None);
        }
        current
    }

    /// Makes an open breaker due at once.
    pub fn make_due(&mut self) {
        if let BreakerState::Open(generation) = self.state {
            self.on_due(generation);
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

    fn open(breaker: &mut CircuitBreaker, batch: u64) -> (Generation, u32) {
        match breaker.on_failure(batch) {
            BreakerFailure::Opened(generation) => (generation, breaker.failures()),
            BreakerFailure::AlreadyOpen => panic!("batch {batch} should have opened the breaker"),
        }
    }

    fn answered(id: u64) -> FinalBatch {
        FinalBatch { id, answered: true, more_failed: false }
    }

    #[test]
    fn it_opens_at_a_failure_and_closes_when_its_probe_is_answered() {
        let mut breaker = CircuitBreaker::new();
        breaker.on_sent(1);
        let (generation, failures) = open(&mut breaker, 1);
        assert_eq!(failures, 1);
        assert!(!breaker.allows());
        assert!(breaker.on_due(generation));
        assert!(breaker.allows());
        breaker.on_sent(1);
        assert!(!breaker.allows(), "one probe at a time");
        assert!(breaker.on_final(answered(1)));
        assert!(breaker.is_closed());
    }

    #[test]
    fn batches_in_flight_before_neither_close_it_nor_count_as_a_failure() {
        let mut breaker = CircuitBreaker::new();
        for batch in [1, 2, 3] {
            breaker.on_sent(batch);
        }
        let (generation, _) = open(&mut breaker, 1);
        assert!(!breaker.on_final(answered(2)));
        assert_eq!(breaker.on_failure(3), BreakerFailure::AlreadyOpen);
        assert!(!breaker.allows());
        assert!(breaker.on_due(generation));
        breaker.on_sent(1);
        assert!(!breaker.on_final(answered(2)));
        assert_eq!(breaker.on_failure(3), BreakerFailure::AlreadyOpen);
        let (_, failures) = open(&mut breaker, 1);
        assert_eq!(failures, 2, "the failure of the probe is the second");
    }

    #[test]
    fn another_failed_batch_that_waits_is_the_next_probe() {
        let mut breaker = CircuitBreaker::new();
        breaker.on_sent(1);
        breaker.on_sent(2);
        let (generation, _) = open(&mut breaker, 1);
        breaker.on_failure(2);
        breaker.on_due(generation);
        breaker.on_sent(1);
        assert!(!breaker.on_final(FinalBatch { more_failed: true, ..answered(1) }));
        assert_eq!(breaker.state(), BreakerState::HalfOpen(None));
        breaker.on_sent(2);
        assert!(breaker.on_final(answered(2)));
    }

    #[test]
    fn the_due_time_of_an_earlier_opening_is_ignored() {
        let mut breaker = CircuitBreaker::new();
        breaker.on_sent(1);
        let (old, _) = open(&mut breaker, 1);
        breaker.make_due();
        breaker.on_sent(1);
        let (new, _) = open(&mut breaker, 1);
        assert!(!breaker.on_due(old));
        assert!(breaker.on_due(new));
    }
}
