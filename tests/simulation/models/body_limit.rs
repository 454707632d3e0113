//! The model of the limit of a request body on the wire: a size that the service refused is not sent again.

/// The smallest refused body that says something about others, in bytes.
const LEARNED_BYTES_MIN: usize = 64 * 1024;

/// See the module. Without a refusal there is no limit.
#[derive(Debug, Default)]
pub struct BodyLimitModel {
    max_bytes: Option<usize>,
    /// The largest body that the service took, in bytes.
    taken_bytes: usize,
}

impl BodyLimitModel {
    /// Returns true if a size was refused.
    pub fn is_known(&self) -> bool {
        self.max_bytes.is_some()
    }

    /// Returns true if a body of this size is halved before it is sent.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        self.max_bytes.is_some_and(|max| bytes > max)
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
