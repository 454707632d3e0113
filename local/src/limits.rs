//! The service's numbers, each once.
//!
//! Unless a line says otherwise the source is the service's API model of 2014-03-28 and its reference pages for
//! `PutLogEvents`, `CreateLogGroup`, `DescribeLogGroups`, `DescribeLogStreams` and `GetLogEvents`.

use std::time::Duration;

/// Bytes of one batch: the UTF-8 bytes of every message plus [`EVENT_OVERHEAD_BYTES`] an event.
pub(crate) const BATCH_BYTES: usize = 1_048_576;
/// Bytes counted for an event besides its message.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 26;
/// Events of one batch.
pub(crate) const BATCH_EVENTS: usize = 10_000;
/// Milliseconds that the valid events of one batch may span.
pub(crate) const BATCH_SPAN_MS: i64 = 24 * HOUR_MS;
/// Milliseconds into the past beyond which an event is too old.
pub(crate) const TOO_OLD_MS: i64 = 14 * DAY_MS;
/// Milliseconds into the future beyond which an event is too new.
pub(crate) const TOO_NEW_MS: i64 = 2 * HOUR_MS;

/// Characters of a log group's or a log stream's name.
pub(crate) const NAME_CHARS: usize = 512;
/// Days for which a log group may be told to keep its events.
pub(crate) const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// Characters of a KMS key's ARN.
pub(crate) const KMS_KEY_CHARS: usize = 256;
/// Tags of one log group.
pub(crate) const TAGS: usize = 50;
/// Characters of a tag's key.
pub(crate) const TAG_KEY_CHARS: usize = 128;
/// Characters of a tag's value.
pub(crate) const TAG_VALUE_CHARS: usize = 256;

/// Key attributes of an entity, least and most.
pub(crate) const ENTITY_KEY_ATTRIBUTES: std::ops::RangeInclusive<usize> = 2..=4;
/// Further attributes of an entity.
pub(crate) const ENTITY_ATTRIBUTES: usize = 10;
/// Characters of an attribute's value; of its name: 32 for a key attribute, 256 for another.
pub(crate) const ENTITY_VALUE_CHARS: usize = 512;

/// Items of one page of a `Describe` call, and identifiers in one `DescribeLogGroups`.
pub(crate) const DESCRIBE_ITEMS: usize = 50;
/// Events of one page of `GetLogEvents`.
pub(crate) const PAGE_EVENTS: usize = 10_000;
/// Bytes of one page of `GetLogEvents`, counted like a batch.
pub(crate) const PAGE_BYTES: usize = 1_048_576;

/// How far a request's date may be from the service's clock (AWS General Reference, Signature Version 4).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// Bytes of one request, on the wire and after gunzip. Not the service's number: it only keeps a broken client from
/// filling the memory, and stands far above the largest lawful request (1 MiB of messages, six bytes an escape).
pub(crate) const BODY_BYTES: usize = 64 * 1024 * 1024;

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
