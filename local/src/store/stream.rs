//! One log stream: its events in the order of arrival and in the order of reading.
//!
//! Events are read in the order of their timestamps; equal timestamps in the order of arrival. A position between two
//! events stays valid when more events arrive.

use std::ops::Range;

/// One event of a log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The timestamp that the client sent, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The time at which the event was accepted, by the endpoint's clock, in milliseconds since the Unix epoch.
    pub ingestion_ms: i64,
    /// The message.
    pub message: String,
}

/// The position before the event with this timestamp and this arrival index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub timestamp_ms: i64,
    pub arrival: usize,
}

/// A log stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Creation time, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Events accepted, whether or not they are kept.
    pub count: usize,
    /// Bytes accepted, as the service counts a batch.
    pub stored_bytes: usize,
    /// Earliest timestamp of an event.
    pub first_event_ms: Option<i64>,
    /// Latest timestamp of an event.
    pub last_event_ms: Option<i64>,
    /// The time at which an event was last accepted.
    pub last_ingestion_ms: Option<i64>,
    /// The kept events in the order of arrival.
    events: Vec<Event>,
    /// Indices into `events` in the order of reading. [`Stream::sort`] adds the indices of new events.
    reading_order: Vec<usize>,
}

impl Stream {
    /// Makes an empty stream.
    pub fn new(created_ms: i64) -> Self {
        Self { created_ms, ..Self::default() }
    }

    /// Counts accepted events. `first_ms` and `last_ms` are the earliest and the latest of their timestamps.
    pub fn count_accepted(&mut self, count: usize, bytes: usize, first_ms: i64, last_ms: i64, now_ms: i64) {
        self.count += count;
        self.stored_bytes += bytes;
        self.first_event_ms = Some(self.first_event_ms.map_or(first_ms, |first| first.min(first_ms)));
        self.last_event_ms = Some(self.last_event_ms.map_or(last_ms, |last| last.max(last_ms)));
        self.last_ingestion_ms = Some(now_ms);
    }

    /// Keeps events, in the order of arrival.
    pub fn keep(&mut self, events: impl Iterator<Item = Event>) {
        self.events.extend(events);
    }

    /// Returns the kept events in the order of arrival.
    pub fn in_arrival_order(&self) -> &[Event] {
        &self.events
    }

    /// Returns the kept events in the order of reading.
    pub fn in_reading_order(&mut self) -> impl Iterator<Item = &Event> {
        self.sort();
        self.reading_order.iter().map(|arrival| &self.events[*arrival])
    }

    /// Returns the kept events between two positions in the order of reading, each with its position. The range is
    /// empty when its start is after its end.
    pub fn range(
        &mut self,
        positions: Range<Position>,
    ) -> impl DoubleEndedIterator<Item = (Position, &Event)> {
        self.sort();
        let events = &self.events;
        let position = |arrival: usize| Position { timestamp_ms: events[arrival].timestamp_ms, arrival };
        let begin = self.reading_order.partition_point(|arrival| position(*arrival) < positions.start);
        let end = self.reading_order.partition_point(|arrival| position(*arrival) < positions.end).max(begin);
        self.reading_order[begin..end].iter().map(move |arrival| (position(*arrival), &events[*arrival]))
    }

    fn sort(&mut self) {
        let sorted = self.reading_order.len();
        if sorted == self.events.len() {
            return;
        }
        self.reading_order.extend(sorted..self.events.len());
        // This sort is fast for input that is mostly sorted. It is stable, so arrival decides between equal timestamps.
        self.reading_order.sort_by_key(|arrival| self.events[*arrival].timestamp_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(timestamps: &[i64]) -> Stream {
        let mut stream = Stream::default();
        let event = |(n, timestamp_ms): (usize, &i64)| Event {
            timestamp_ms: *timestamp_ms,
            ingestion_ms: 0,
            message: n.to_string(),
        };
        stream.keep(timestamps.iter().enumerate().map(event));
        stream
    }

    #[test]
    fn events_are_read_by_time_and_equal_times_by_arrival() {
        let mut stream = stream(&[3, 1, 3, 2, 1]);
        let read: Vec<_> = stream.in_reading_order().map(|event| event.message.clone()).collect();
        assert_eq!(read, ["1", "4", "3", "0", "2"]);
        let arrived: Vec<_> = stream.in_arrival_order().iter().map(|event| event.message.clone()).collect();
        assert_eq!(arrived, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_range_holds_the_events_between_its_positions() {
        let mut stream = stream(&[1, 2, 2, 3]);
        let at = |timestamp_ms, arrival| Position { timestamp_ms, arrival };
        let mut read =
            |from, to| stream.range(from..to).map(|(position, _)| position.arrival).collect::<Vec<_>>();
        assert_eq!(read(at(0, 0), at(9, 0)), [0, 1, 2, 3]);
        assert_eq!(read(at(2, 0), at(3, 0)), [1, 2]);
        assert_eq!(read(at(2, 2), at(9, 0)), [2, 3]);
        assert_eq!(read(at(9, 0), at(0, 0)), [0_usize; 0]);
    }
}
