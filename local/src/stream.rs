//! One log stream: its events in the order they came, and in the order in which they are read.
//!
//! Promises: events are read by timestamp, equal timestamps in the order of arrival; a position between two events
//! stays where it is whatever arrives later.

/// One event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened, in milliseconds since the Unix epoch, as the client said.
    pub timestamp_ms: i64,
    /// When it was taken, in milliseconds since the Unix epoch, by this endpoint's clock.
    pub ingestion_ms: i64,
    /// Its text.
    pub message: String,
}

/// A place before the event of this timestamp and this number of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub timestamp_ms: i64,
    pub arrival: usize,
}

/// A log stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Events taken, kept or not.
    pub count: usize,
    /// Bytes taken, counted as the service counts a batch.
    pub stored_bytes: usize,
    /// Timestamp of the earliest event.
    pub first_event_ms: Option<i64>,
    /// Timestamp of the latest event.
    pub last_event_ms: Option<i64>,
    /// When an event was last taken.
    pub last_ingestion_ms: Option<i64>,
    arrived: Vec<Event>,
    /// Indices into `arrived` in the order of reading, as far as `arrived` has been sorted in.
    reading_order: Vec<usize>,
}

impl Stream {
    /// An empty stream.
    pub fn new(created_ms: i64) -> Self {
        Self { created_ms, ..Self::default() }
    }

    /// Counts events that were taken. `first_ms` and `last_ms` are the earliest and the latest of their timestamps.
    pub fn count_taken(&mut self, count: usize, bytes: usize, first_ms: i64, last_ms: i64, now_ms: i64) {
        self.count += count;
        self.stored_bytes += bytes;
        self.first_event_ms = Some(self.first_event_ms.map_or(first_ms, |first| first.min(first_ms)));
        self.last_event_ms = Some(self.last_event_ms.map_or(last_ms, |last| last.max(last_ms)));
        self.last_ingestion_ms = Some(now_ms);
    }

    /// Keeps events, in the order in which they came.
    pub fn keep(&mut self, events: impl Iterator<Item = Event>) {
        self.arrived.extend(events);
    }

    /// The kept events in the order in which they came.
    pub fn arrived(&self) -> &[Event] {
        &self.arrived
    }

    /// The kept events in the order in which they are read.
    pub fn in_reading_order(&mut self) -> impl Iterator<Item = &Event> {
        self.sort_in();
        self.reading_order.iter().map(|arrival| &self.arrived[*arrival])
    }

    /// The kept events from one position up to another, with the position of each, in the order of reading.
    pub fn between(
        &mut self,
        from: Position,
        to: Position,
    ) -> impl DoubleEndedIterator<Item = (Position, &Event)> {
        self.sort_in();
        let arrived = &self.arrived;
        let position = |arrival: usize| Position { timestamp_ms: arrived[arrival].timestamp_ms, arrival };
        let begin = self.reading_order.partition_point(|arrival| position(*arrival) < from);
        let end = self.reading_order.partition_point(|arrival| position(*arrival) < to).max(begin);
        self.reading_order[begin..end].iter().map(move |arrival| (position(*arrival), &arrived[*arrival]))
    }

    fn sort_in(&mut self) {
        let sorted = self.reading_order.len();
        if sorted == self.arrived.len() {
            return;
        }
        self.reading_order.extend(sorted..self.arrived.len());
        // Mostly sorted already, which is what this sort is quick at; stable, so arrival decides between equals.
        self.reading_order.sort_by_key(|arrival| self.arrived[*arrival].timestamp_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(timestamps: &[i64]) -> Stream {
        let mut stream = Stream::default();
        let event =
            |(n, at): (usize, &i64)| Event { timestamp_ms: *at, ingestion_ms: 0, message: n.to_string() };
        stream.keep(timestamps.iter().enumerate().map(event));
        stream
    }

    #[test]
    fn events_are_read_by_time_and_equal_times_by_arrival() {
        let mut stream = stream(&[3, 1, 3, 2, 1]);
        let read: Vec<_> = stream.in_reading_order().map(|event| event.message.clone()).collect();
        assert_eq!(read, ["1", "4", "3", "0", "2"]);
        let arrived: Vec<_> = stream.arrived().iter().map(|event| event.message.clone()).collect();
        assert_eq!(arrived, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_range_holds_what_lies_between_its_positions() {
        let mut stream = stream(&[1, 2, 2, 3]);
        let at = |timestamp_ms, arrival| Position { timestamp_ms, arrival };
        let mut read = |from, to| stream.between(from, to).map(|(at, _)| at.arrival).collect::<Vec<_>>();
        assert_eq!(read(at(0, 0), at(9, 0)), [0, 1, 2, 3]);
        assert_eq!(read(at(2, 0), at(3, 0)), [1, 2]);
        assert_eq!(read(at(2, 2), at(9, 0)), [2, 3]);
        assert_eq!(read(at(9, 0), at(0, 0)), [0_usize; 0]);
    }
}
