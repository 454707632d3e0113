//! The model of the limit of a request body on the wire: a size that the service refused is not sent again. What the engine
//! learns from time-outs is not modelled exactly: after one of a large body, any body may be halved.

/// The smallest refused body that says something about others, in bytes.
const LEARNED_BYTES_MIN: usize = 64 * 1024;

/// See the module. Without a refusal there is no limit.
#[derive(Debug, Default)]
pub struct BodyLimitModel {
    max_bytes: Option<usize>,
    /// The largest body that the service took, in bytes.
    taken_bytes: usize,
    /// True if a large body had no answer.
    has_timed_out: bool,
}

impl BodyLimitModel {
    /// Returns true if bodies may be halved for their size.
    pub fn is_known(&self) -> bool {
        self.max_bytes.is_some() || self.has_timed_out
    }

    /// Returns true if a body of this size is halved before it is sent.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        self.max_bytes.is_some_and(|max| bytes > max)
    }

    /// Returns true if a body of this size may be halved before it is sent.
    pub fn may_be_exceeded_by(&self, bytes: usize) -> bool {
        self.is_exceeded_by(bytes) || (self.has_timed_out && bytes > LEARNED_BYTES_MIN)
    }

    /// A body of this size had no answer within the time-out.
    pub fn on_timed_out(&mut self, bytes: usize) {
        self.has_timed_out |= bytes >= LEARNED_BYTES_MIN;
    }

    /// The service took a body of this size.
    pub fn on_taken(&mut self, bytes: usize) {
        self.taken_bytes = self.taken_bytes.max(bytes);
        self.max_bytes = self.max_bytes.map(|max| max.max(bytes));
    }

    /// The service refused a body of this size. The limit is the largest body that it took, or half of the refused one
    /// if that is more. A refusal that contradicts what it took, or of a small body, says nothing.
    pub fn on_refused(&mut self, bytes: usize) {
        if bytes <= self.taken_bytes || bytes < LEARNED_BYTES_MIN {
            return;
        }
        let limit = self.taken_bytes.max(bytes / 2);
        self.max_bytes = Some(self.max_bytes.map_or(limit, |max| max.min(limit)));
    }
}
