//! The table of options: what parses, bounds and explains each, in the order in which the README lists them.

use std::time::Duration;

use super::{Emf, Kind, OptionSpec, Oversize, Value, WhenFull, check_endpoint, check_region};
use crate::limits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Writes a `fn(&mut Config, Value)` that takes the value of one kind and stores it in one field.
macro_rules! store {
    ($kind:ident, $field:ident, $convert:expr) => {
        |config, value| match value {
            Value::$kind(value) => config.$field = $convert(value),
            _ => unreachable!("the row's kind decides the value's kind"),
        }
    };
}

fn any_text(_: &str) -> Result<(), String> {
    Ok(())
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The options, in the order in which the README lists them.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "region",
        kind: Kind::Text(check_region),
        default: "",
        help: "AWS region, such as `eu-central-1`. Without it: `AWS_REGION`, the profile, the instance's metadata.",
        apply: store!(Text, region, Some),
    },
    OptionSpec {
        key: "endpoint_url",
        kind: Kind::Text(check_endpoint),
        default: "",
        help: "Another endpoint than the region's own, such as a VPC endpoint or a test server. Plain HTTP is used only when it says `http://`.",
        apply: store!(Text, endpoint_url, |v: String| Some(v.trim_end_matches('/').to_owned())),
    },
    OptionSpec {
        key: "profile",
        kind: Kind::Text(any_text),
        default: "",
        help: "Profile of the AWS configuration files that credentials and region are read from.",
        apply: store!(Text, profile, Some),
    },
    OptionSpec {
        key: "access_key_id",
        kind: Kind::Text(any_text),
        default: "",
        help: "Access key; goes with `secret_access_key`. Without both, AWS's default chain finds credentials: environment, profile, web identity, container, instance.",
        apply: store!(Text, access_key_id, Some),
    },
    OptionSpec {
        key: "secret_access_key",
        kind: Kind::Secret,
        default: "",
        help: "Secret key of `access_key_id`. Never shown in a message, a statistic or a log line.",
        apply: store!(Secret, secret_access_key, Some),
    },
    OptionSpec {
        key: "session_token",
        kind: Kind::Secret,
        default: "",
        help: "Session token that belongs to a temporary `access_key_id`. Never shown.",
        apply: store!(Secret, session_token, Some),
    },
    OptionSpec {
        key: "log_group",
        kind: Kind::Text(limits::check_group_name),
        default: "",
        help: "Log group of events that name none.",
        apply: store!(Text, log_group, Some),
    },
    OptionSpec {
        key: "log_stream",
        kind: Kind::Text(limits::check_stream_name),
        default: "",
        help: "Log stream of events that name none.",
        apply: store!(Text, log_stream, Some),
    },
    OptionSpec {
        key: "create_log_group",
        kind: Kind::Bool,
        default: "true",
        help: "Create a log group that is missing.",
        apply: store!(Bool, create_log_group, |v| v),
    },
    OptionSpec {
        key: "create_log_stream",
        kind: Kind::Bool,
        default: "true",
        help: "Create a log stream that is missing. When false, no group is created either.",
        apply: store!(Bool, create_log_stream, |v| v),
    },
    OptionSpec {
        key: "retention_days",
        kind: Kind::OneOf(&limits::RETENTION_DAYS),
        default: "",
        help: "Retention of a group that the sink creates. Without it the group keeps its events for ever.",
        apply: store!(Integer, retention_days, |v| u32::try_from(v).ok()),
    },
    OptionSpec {
        key: "concurrency",
        kind: Kind::Integer(1, 256),
        default: "8",
        help: "Most requests in flight at once, over all targets; slow ones come on top (`slow_after_ms`).",
        apply: store!(Integer, concurrency, size),
    },
    OptionSpec {
        key: "target_concurrency",
        kind: Kind::Integer(1, 256),
        default: "1",
        help: "Most requests in flight at once for one target. Above 1 the order of its events is no longer kept.",
        apply: store!(Integer, target_concurrency, size),
    },
    OptionSpec {
        key: "flush_interval_ms",
        kind: Kind::Integer(1, 3_600_000),
        default: "5000",
        help: "Longest time that an event waits for others before its batch is sent.",
        apply: store!(Integer, flush_interval, Duration::from_millis),
    },
    OptionSpec {
        key: "buffer_max_bytes",
        kind: Kind::Integer(256 * KIB, 1024 * 1024 * MIB),
        default: "67108864",
        help: "Most memory for events, over all targets: waiting, compressed, in flight and held for a retry. Half of it is kept for targets that get through.",
        apply: store!(Integer, buffer_max_bytes, size),
    },
    OptionSpec {
        key: "target_buffer_max_bytes",
        kind: Kind::Integer(64 * KIB, 1024 * 1024 * MIB),
        default: "16777216",
        help: "Most of that memory for one target. The default is lowered to `buffer_max_bytes` where that is less.",
        apply: store!(Integer, target_buffer_max_bytes, size),
    },
    OptionSpec {
        key: "when_full",
        kind: Kind::Choice(&["block", "reject", "drop_oldest"]),
        default: "reject",
        help: "What a push does when there is no room: wait for it (`block`), return `CWL_ERR_FULL` at once (`reject`), or give up the oldest events (`drop_oldest`).",
        apply: store!(Choice, when_full, |v| match v {
            "block" => WhenFull::Block,
            "reject" => WhenFull::Reject,
            _ => WhenFull::DropOldest,
        }),
    },
    OptionSpec {
        key: "block_timeout_ms",
        kind: Kind::Integer(1, 86_400_000),
        default: "60000",
        help: "Longest wait of a push with `when_full=block`; then it returns `CWL_ERR_FULL`.",
        apply: store!(Integer, block_timeout, Duration::from_millis),
    },
    OptionSpec {
        key: "oversize",
        kind: Kind::Choice(&["truncate", "split", "reject"]),
        default: "truncate",
        help: "What is done with a message of more than 1,048,550 bytes: cut to that, ending in `[Truncated...]`; sent in several events; or refused with `CWL_ERR_TOO_LARGE`.",
        apply: store!(Choice, oversize, |v| match v {
            "truncate" => Oversize::Truncate,
            "split" => Oversize::Split,
            _ => Oversize::Reject,
        }),
    },
    OptionSpec {
        key: "emf",
        kind: Kind::Choice(&["auto", "always", "never"]),
        default: "auto",
        help: "Which messages are sent as embedded metric format: those that look like it, all, or none. They go out in requests of their own, and when there is no room the oldest of them make it, whatever `when_full` says.",
        apply: store!(Choice, emf, |v| match v {
            "auto" => Emf::Auto,
            "always" => Emf::Always,
            _ => Emf::Never,
        }),
    },
    OptionSpec {
        key: "retry_max_age_ms",
        kind: Kind::Integer(0, 1_210_200_000),
        default: "1210200000",
        help: "Longest time that a batch is tried, from its first attempt on; then it is dropped. The default and the most is 14 days and 10 minutes: past that the service would refuse its age.",
        apply: store!(Integer, retry_max_age, Duration::from_millis),
    },
    OptionSpec {
        key: "state_dir",
        kind: Kind::Text(any_text),
        default: "",
        help: "Folder in which the offsets of sources are kept, one small file each; made if it is missing. One sink at a time may use it.",
        apply: store!(Text, state_dir, Some),
    },
    OptionSpec {
        key: "compression",
        kind: Kind::Choice(&["gzip", "none"]),
        default: "gzip",
        help: "How request bodies are compressed.",
        apply: store!(Choice, gzip, |v| v == "gzip"),
    },
    OptionSpec {
        key: "compression_level",
        kind: Kind::Integer(1, 9),
        default: "1",
        help: "gzip level: 1 is fastest, 9 is smallest.",
        apply: store!(Integer, compression_level, |v| u32::try_from(v).unwrap_or(1)),
    },
    OptionSpec {
        key: "compression_min_bytes",
        kind: Kind::Integer(0, 10_485_760),
        default: "10240",
        help: "Smallest request body that is compressed: below, gzip costs more CPU than its bytes are worth. The default and the most are those of the AWS SDKs' request_min_compression_size_bytes.",
        apply: store!(Integer, compression_min_bytes, size),
    },
    OptionSpec {
        key: "connect_timeout_ms",
        kind: Kind::Integer(1, 600_000),
        default: "5000",
        help: "Longest wait for a connection, TLS included.",
        apply: store!(Integer, connect_timeout, Duration::from_millis),
    },
    OptionSpec {
        key: "request_timeout_ms",
        kind: Kind::Integer(1, 600_000),
        default: "30000",
        help: "Longest wait for the answer to one request, connecting included.",
        apply: store!(Integer, request_timeout, Duration::from_millis),
    },
    OptionSpec {
        key: "slow_after_ms",
        kind: Kind::Integer(1, 600_000),
        default: "1000",
        help: "Time after which a request gives its place among the `concurrency` up and finishes in a slow lane, so that targets that answer late, or never, hold up no other. It does so earlier when it takes much longer than others do and they wait.",
        apply: store!(Integer, slow_after, Duration::from_millis),
    },
    OptionSpec {
        key: "target_idle_ms",
        kind: Kind::Integer(1000, 31_536_000_000),
        default: "900000",
        help: "Time without an event after which a target is forgotten, with the memory that it takes; stream names with a date in them pile up otherwise. The next event makes it anew.",
        apply: store!(Integer, target_idle, Duration::from_millis),
    },
    OptionSpec {
        key: "worker_threads",
        kind: Kind::Integer(1, 64),
        default: "2",
        help: "Threads of the sink's own runtime.",
        apply: store!(Integer, worker_threads, size),
    },
];
