//! The log lines, and batches as large as the service accepts.

use std::path::Path;

use crate::result::Failure;

/// The service's limits for one `PutLogEvents` request:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>.
const BATCH_BYTES: usize = 1_048_576;
const BATCH_EVENTS: usize = 10_000;
/// The bytes that the service counts per event in addition to the message.
const EVENT_OVERHEAD_BYTES: usize = 26;

/// The lines of a file, at least one.
pub struct Lines(Vec<String>);

impl Lines {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(format!("{}: the file is empty; at least one line is needed", path.display()).into());
        }
        Ok(Self(lines))
    }

    /// Makes as few batches for `events` events as possible. After the last line, the first line follows again.
    pub fn batches(&self, events: u64) -> impl Iterator<Item = Vec<&str>> {
        let mut left = (0..events).zip(self.0.iter().cycle()).map(|(_, line)| line.as_str()).peekable();
        std::iter::from_fn(move || {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while batch.len() < BATCH_EVENTS
                && let Some(line) = left.next_if(|line| {
                    batch.is_empty() || bytes + line.len() + EVENT_OVERHEAD_BYTES <= BATCH_BYTES
                })
            {
                bytes += line.len() + EVENT_OVERHEAD_BYTES;
                batch.push(line);
            }
            (!batch.is_empty()).then_some(batch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(line: &str, events: u64) -> Vec<usize> {
        Lines(vec![line.to_owned()]).batches(events).map(|batch| batch.len()).collect()
    }

    #[test]
    fn batches_are_as_large_as_the_service_accepts() {
        assert_eq!(sizes("short", 25_000), [10_000, 10_000, 5_000]);
        assert_eq!(sizes(&"x".repeat(126), 7_000), [6_898, 102]);
        assert_eq!(sizes(&"x".repeat(524_288 - 26), 3), [2, 1]);
        assert!(sizes("short", 0).is_empty());
    }

    #[test]
    fn lines_are_repeated_in_order_across_batches() {
        let lines = Lines(["a", "b", "c"].map(str::to_owned).to_vec());
        let repeated: Vec<&str> = lines.batches(10_002).flatten().collect();
        assert!(repeated.iter().zip(["a", "b", "c"].iter().cycle()).all(|(line, expected)| line == expected));
        assert_eq!(repeated.len(), 10_002);
    }
}
