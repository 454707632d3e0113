//! A batch that was sent at least once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Halving, Steadiness};
use crate::models::{AttemptEnd, CountedFailure};

/// See the module.
#[derive(Debug)]
pub struct BatchRecord {
    pub state: BatchState,
    pub pieces: Vec<usize>,
    /// The pieces of the batch that was sealed. It has more of them than this one if this is a part of a halved batch.
    pub root: Arc<[usize]>,
    /// The request body, once it was sent and until the batch is final.
    pub body: Option<Bytes>,
    pub first_attempt_at: Instant,
    /// The same if an attempt that began with a creation was one of this batch.
    pub earliest_attempt_at: Instant,
    pub last_request_at: Instant,
    pub last_answer_at: Option<Instant>,
    /// The longest wait that the last failure may have led to.
    pub max_wait: Duration,
    pub last_code: Option<String>,
    pub given_up: GivenUp,
    pub halving: Halving,
    /// The batch is a half of another one.
    pub is_half: bool,
    /// The time of the last refusal of the batch, or of the larger batch that it was a part of. For an event that was never
    /// part of a larger batch, the time of its first refusal.
    pub refused_at: Option<Instant>,
    /// The batch lets others go first, until one of them shows that the service takes batches of the target.
    pub is_set_aside: bool,
    /// The batch was set aside once, so batches that were pushed later may have gone out before it.
    pub was_set_aside: bool,
    /// There may have been no memory for the halves of the batch once. It may let others go first since, as they give memory
    /// back.
    pub may_need_memory: bool,
    /// The steadiness of the target when the attempt began.
    pub steadiness: Steadiness,
}

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// The batch was not sent yet.
    New,
    /// A request with the batch is out, or something is being created for it. `after_clock_error`: the request was
    /// repeated since the clock may have been wrong.
    InFlight {
        after_clock_error: bool,
    },
    /// The attempt continues: the next request with the batch goes out at once.
    SendsAgain {
        after_clock_error: bool,
    },
    /// The last attempt failed, and the batch waits unless it was given up.
    Requeued(CountedFailure),
    Final(FinalState),
}

/// The state of a final batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalState {
    /// The service took the batch, perhaps without some of its events.
    Delivered,
    /// The service refused the batch, and the engine dropped it.
    NotRetryable,
    /// The attempt panicked or was cut off.
    CutOff,
}

/// Tells if the engine gave a batch up after its last failure: after too long a time, or because it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    No,
    Perhaps,
    Certainly,
}

impl BatchRecord {
    /// A batch that is about to be sent for the first time.
    pub fn new(pieces: Vec<usize>, body: Bytes, now: Instant) -> Self {
        BatchRecord {
            state: BatchState::New,
            root: pieces.as_slice().into(),
            pieces,
            body: Some(body),
            first_attempt_at: now,
            earliest_attempt_at: now,
            last_request_at: now,
            last_answer_at: None,
            max_wait: Duration::ZERO,
            last_code: None,
            given_up: GivenUp::No,
            halving: Halving::No,
            is_half: false,
            refused_at: None,
            is_set_aside: false,
            was_set_aside: false,
            may_need_memory: false,
            steadiness: Steadiness::Unknown,
        }
    }

    pub fn is_final(&self) -> bool {
        matches!(self.state, BatchState::Final(_))
    }

    /// Returns true if an attempt with the batch is under way.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.state, BatchState::InFlight { .. } | BatchState::SendsAgain { .. })
    }

    /// Returns true if the engine must have finalized the batch after its last failure.
    pub fn is_given_up(&self) -> bool {
        self.given_up == GivenUp::Certainly
    }

    /// Returns true if the engine may have finalized the batch without a trace at the service.
    pub fn may_be_given_up(&self) -> bool {
        self.given_up != GivenUp::No
    }

    /// Returns true if the last failure may or may not have counted as one of the target.
    pub fn is_failure_unclear(&self) -> bool {
        matches!(self.state, BatchState::Requeued(CountedFailure::Perhaps(_)))
    }

    /// Begins a request with the batch: the first one of an attempt, or the next one of an attempt that continues.
    pub fn begin_request(&mut self, now: Instant) {
        let after_clock_error = matches!(self.state, BatchState::SendsAgain { after_clock_error: true });
        self.state = BatchState::InFlight { after_clock_error };
        self.last_request_at = now;
    }

    /// Returns true if the request was repeated since the clock may have been wrong. Further requests are not.
    pub fn take_clock_error(&mut self) -> bool {
        match &mut self.state {
            BatchState::InFlight { after_clock_error } => std::mem::take(after_clock_error),
            _ => false,
        }
    }

    /// Ends an attempt.
    pub fn end_attempt(&mut self, end: AttemptEnd, now: Instant) {
        self.last_answer_at = Some(now);
        self.state = match end {
            AttemptEnd::Requeued { counted, .. } => BatchState::Requeued(counted),
            AttemptEnd::Final(state) => {
                self.body = None;
                BatchState::Final(state)
            }
        };
    }

    /// The engine may have given the batch up without a trace at the service.
    pub fn note_may_be_given_up(&mut self) {
        if self.given_up == GivenUp::No {
            self.given_up = GivenUp::Perhaps;
        }
    }
}
