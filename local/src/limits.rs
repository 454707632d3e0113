//! The service's limits, each in one place.
//!
//! Unless a comment names another source, the source is the service's API model of 2014-03-28 and its reference pages
//! for `PutLogEvents`, `CreateLogGroup`, `DescribeLogGroups`, `DescribeLogStreams` and `GetLogEvents`.

use std::time::Duration;

/// The most bytes of one batch: the UTF-8 bytes of all messages plus [`EVENT_OVERHEAD_BYTES`] per event.
pub(crate) const BATCH_BYTES: usize = 1_048_576;
/// Bytes that the service counts per event in addition to the message.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 26;
/// The most events of one batch.
pub(crate) const BATCH_EVENTS: usize = 10_000;
/// The longest time that the valid events of one batch may span, in milliseconds.
pub(crate) const BATCH_SPAN_MS: i64 = 24 * HOUR_MS;
/// The greatest age of an event, in milliseconds; an older event is too old.
pub(crate) const TOO_OLD_MS: i64 = 14 * DAY_MS;
/// The furthest timestamp in the future, in milliseconds; a later event is too new.
pub(crate) const TOO_NEW_MS: i64 = 2 * HOUR_MS;

/// The most characters of the name of a log group or log stream.
pub(crate) const NAME_CHARS: usize = 512;
/// The retention times of a log group, in days.
pub(crate) const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// The most characters of the ARN of a KMS key.
pub(crate) const KMS_KEY_CHARS: usize = 256;
/// The most tags of one log group.
pub(crate) const TAGS: usize = 50;
/// The most characters of the key of a tag.
pub(crate) const TAG_KEY_CHARS: usize = 128;
/// The most characters of the value of a tag.
pub(crate) const TAG_VALUE_CHARS: usize = 256;

/// The fewest and the most key attributes of an entity.
pub(crate) const ENTITY_KEY_ATTRIBUTES: std::ops::RangeInclusive<usize> = 2..=4;
/// The most other attributes of an entity.
pub(crate) const ENTITY_ATTRIBUTES: usize = 10;
/// The most characters of the value of an attribute. The name of a key attribute has at most 32 characters, the name of
/// another attribute at most 256.
pub(crate) const ENTITY_VALUE_CHARS: usize = 512;

/// The most items on one page of a `Describe` call, and the most identifiers in one `DescribeLogGroups` call.
pub(crate) const DESCRIBE_ITEMS: usize = 50;
/// The most events on one page of `GetLogEvents`.
pub(crate) const PAGE_EVENTS: usize = 10_000;
/// The most bytes on one page of `GetLogEvents`, counted as for a batch.
pub(crate) const PAGE_BYTES: usize = 1_048_576;

/// The greatest difference between the date of a request and the service's clock (AWS General Reference, Signature
/// Version 4).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// The most bytes of one request, both on the wire and after gunzip. It is not a limit of the service: it keeps a
/// broken client from filling the memory. It is far above the largest valid request (1 MiB of messages, six bytes per
/// escape).
pub(crate) const BODY_BYTES: usize = 64 * 1024 * 1024;

/// One hour in milliseconds.
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// One day in milliseconds.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
