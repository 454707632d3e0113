//! The table of options, in the order of the documentation.
//!
//! Each row defines an option and the field of [`Config`] that holds its value, so there is no option without a field and
//! no field without an option. The table parses values, refuses wrong ones, and is the source of `docs/CONFIGURATION.md`
//! and of the README's table: `make docs` writes both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::checks::{any_text, check_endpoint, check_region};
use super::choices::{Emf, Oversize, Secret, WhenFull};
use super::kind::{Kind, Value};
use crate::limits::{RETENTION_DAYS, check_group_name, check_stream_name};

/// One option: a row of the table.
#[derive(Debug)]
pub struct OptionSpec {
    /// The key, as `cwl_config_set` takes it. The unit of a number is part of the key.
    pub key: &'static str,
    /// The kind of its values.
    pub kind: Kind,
    /// The default as text. Empty: no default.
    pub default: &'static str,
    /// The purpose, in a few sentences.
    pub help: &'static str,
    pub(super) apply: fn(&mut Config, Value),
}

/// Defines the options and [`Config`]. A row reads: key, kind, default; field, its type, the conversion of the value.
macro_rules! options {
    ($(
        $key:literal: $kind:ident $(($($argument:expr),*))?, $default:literal, $help:literal;
        $field:ident: $type:ty = $convert:expr;
    )*) => {
        /// A configuration. Each option is checked as it is set, and all of them together by [`Config::check`].
        #[derive(Clone, Debug)]
        pub struct Config {
            $(
                #[doc = $help]
                pub $field: $type,
            )*
            /// The values that were set, by key. They tell a default from a choice of the user.
            pub(super) given: BTreeMap<&'static str, String>,
        }

        /// The options, in the order of the documentation.
        pub const OPTIONS: &[OptionSpec] = &[$(
            OptionSpec {
                key: $key,
                kind: Kind::$kind $(($($argument),*))?,
                default: $default,
                help: $help,
                apply: |config, value| match value {
                    options!(@value $kind value) => config.$field = ($convert)(value),
                    _ => unreachable!("the kind of the row decides the kind of the value"),
                },
            },
        )*];

        impl Default for Config {
            /// Every option at its default.
            fn default() -> Self {
                let mut config = Config { $($field: Default::default(),)* given: BTreeMap::new() };
                for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
                    if let Ok(value) = option.kind.parse(option.default) {
                        (option.apply)(&mut config, value);
                    }
                }
                config
            }
        }
    };
    (@value OneOf $value:ident) => { Value::Integer($value) };
    (@value $kind:ident $value:ident) => { Value::$kind($value) };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

options! {
    "region": Text(check_region), "",
        "AWS region, such as `eu-central-1`. Default: the region of the option `profile`, `AWS_REGION`, `AWS_DEFAULT_REGION`, the default profile, or the metadata of the instance.";
        region: Option<String> = Some;
    "endpoint_url": Text(check_endpoint), "",
        "Endpoint to use instead of that of the region, such as a VPC endpoint or a test server. Default: `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`, `AWS_ENDPOINT_URL`, or `endpoint_url` of the profile. Log events go over plain HTTP only when the URL begins with `http://`, wherever it comes from.";
        endpoint_url: Option<String> = |v: String| Some(v.trim_end_matches('/').to_owned());
    "ca_bundle": Text(any_text), "",
        "File of the certificates to trust over HTTPS, in PEM, in place of those of the system. Default: `AWS_CA_BUNDLE`, then `ca_bundle` of the profile, then `SSL_CERT_FILE` and `SSL_CERT_DIR`, then the system's own. A file that is replaced counts for the connections after that, within a minute.";
        ca_bundle: Option<PathBuf> = |v: String| Some(v.into());
    "profile": Text(any_text), "",
        "Profile of the AWS configuration files, instead of that of `AWS_PROFILE`. Its credentials and its region count more than those of the environment.";
        profile: Option<String> = Some;
    "access_key_id": Text(any_text), "",
        "Access key. Set it together with `secret_access_key`. Without both, credentials come from AWS's default chain: environment, profile, web identity, container, instance.";
        access_key_id: Option<String> = Some;
    "secret_access_key": Secret, "",
        "Secret key of `access_key_id`. Never shown in a message, a statistic or a log line.";
        secret_access_key: Option<Secret> = Some;
    "session_token": Secret, "",
        "Session token of a temporary `access_key_id`. Never shown.";
        session_token: Option<Secret> = Some;
    "log_group": Text(check_group_name), "",
        "Log group of events that name no group.";
        log_group: Option<String> = Some;
    "log_stream": Text(check_stream_name), "",
        "Log stream of events that name no stream.";
        log_stream: Option<String> = Some;
    "create_log_group": Bool, "true",
        "Create a log group that is missing.";
        create_log_group: bool = |v| v;
    "create_log_stream": Bool, "true",
        "Create a log stream that is missing. With `false`, no group is created either.";
        create_log_stream: bool = |v| v;
    "retention_days": OneOf(&RETENTION_DAYS), "",
        "Retention of log groups that the sink creates, in days. Without it, such a group keeps its events for ever.";
        retention_days: Option<u32> = |v| u32::try_from(v).ok();
    "concurrency": Integer(1, 256), "8",
        "The most requests in flight at once, over all targets. Requests in the slow lane come on top (see `slow_after_ms`): 8 for each of these, at least 64 and at most 256. So the library never uses more than about 512 connections at once.";
        concurrency: usize = size;
    "target_concurrency": Integer(1, 256), "1",
        "The most requests in flight at once for one target. Above 1, the events of a target are not kept in order.";
        target_concurrency: usize = size;
    "flush_interval_ms": Integer(1, 3_600_000), "5000",
        "The longest time that an event waits for others before its batch is sent.";
        flush_interval: Duration = Duration::from_millis;
    "buffer_max_bytes": Integer(256 * KIB, 1024 * 1024 * MIB), "67108864",
        "The most memory for events, over all targets: waiting, compressed, in flight, and kept for a retry. A push to a target that fails is refused when it would take the used memory beyond half. A target without an answer so far gets little beyond that half.";
        buffer_max_bytes: usize = size;
    "target_buffer_max_bytes": Integer(64 * KIB, 1024 * 1024 * MIB), "16777216",
        "The most of that memory for one target. The default is lowered to `buffer_max_bytes` if that is less.";
        target_buffer_max_bytes: usize = size;
    "when_full": Choice(&["block", "reject", "drop_oldest"]), "reject",
        "Behaviour of a push when there is no room: wait for room (`block`), return `CWL_ERR_FULL` at once (`reject`), or drop the oldest events (`drop_oldest`). With `drop_oldest` a push still returns `CWL_ERR_FULL` when dropping would not make the room.";
        when_full: WhenFull = |v| match v { "block" => WhenFull::Block, "reject" => WhenFull::Reject, _ => WhenFull::DropOldest, };
    "block_timeout_ms": Integer(1, 86_400_000), "60000",
        "The longest wait of a push with `when_full=block`. After it the push returns `CWL_ERR_FULL`.";
        block_timeout: Duration = Duration::from_millis;
    "oversize": Choice(&["truncate", "split", "reject"]), "truncate",
        "Treatment of a message of more than 1,048,550 bytes: cut it, so that it ends in `[Truncated...]`; send it in several events; or refuse it with `CWL_ERR_TOO_LARGE`.";
        oversize: Oversize = |v| match v { "truncate" => Oversize::Truncate, "split" => Oversize::Split, _ => Oversize::Reject, };
    "emf": Choice(&["auto", "always", "never"]), "auto",
        "Messages that are sent as embedded metric format: those that are (a JSON object whose root has `_aws` with `CloudWatchMetrics`), all, or none. A metric document is never cut: one that is too long is refused. They go out in requests of their own. When there is no room, the oldest waiting metrics are dropped first. If that is not enough, `when_full` decides.";
        emf: Emf = |v| match v { "auto" => Emf::Auto, "always" => Emf::Always, _ => Emf::Never, };
    "retry_max_age_ms": Integer(0, 1_210_200_000), "1210200000",
        "The longest time that a batch is tried, from its first attempt on. After it the batch is dropped. The default and the maximum is 14 days and 10 minutes: after that the service would refuse the age of the events.";
        retry_max_age: Duration = Duration::from_millis;
    "state_dir": Text(any_text), "",
        "Folder in which the offsets of sources are kept, one small file each. It is created if it is missing. One sink at a time may use it.";
        state_dir: Option<String> = Some;
    "compression": Choice(&["gzip", "none"]), "gzip",
        "Compression of request bodies.";
        gzip: bool = |v| v == "gzip";
    "compression_level": Integer(1, 9), "1",
        "gzip level: 1 is the fastest, 9 gives the smallest bodies.";
        compression_level: u32 = |v| u32::try_from(v).unwrap_or(1);
    "compression_min_bytes": Integer(0, 10_485_760), "10240",
        "Size of the smallest request body that is compressed. Below it, gzip costs more CPU than the saved bytes are worth. The default and the maximum are those of the AWS SDKs' `request_min_compression_size_bytes`.";
        compression_min_bytes: usize = size;
    "connect_timeout_ms": Integer(1, 600_000), "5000",
        "The longest wait for a connection, TLS included.";
        connect_timeout: Duration = Duration::from_millis;
    "request_timeout_ms": Integer(1, 600_000), "30000",
        "The longest wait for the answer to one request, connecting included. The wait for credentials does not count.";
        request_timeout: Duration = Duration::from_millis;
    "credentials_timeout_ms": Integer(1, 600_000), "20000",
        "The longest wait for credentials from their source: a `credential_process`, STS, SSO, a container or an instance. A `credential_process` that takes longer is killed. Valid credentials stay in use meanwhile. The AWS SDKs allow 22 s (Rust) to 60 s (Go, for a process).";
        credentials_timeout: Duration = Duration::from_millis;
    "slow_after_ms": Integer(1, 600_000), "1000",
        "Time after which a request gives up its place among the `concurrency` and ends in the slow lane, so that targets that answer late or never delay no other target. It moves earlier when it takes much longer than other requests and others wait.";
        slow_after: Duration = Duration::from_millis;
    "target_idle_ms": Integer(1000, 31_536_000_000), "900000",
        "Time without an event after which a target and its memory are forgotten. Without that, stream names with a date in them would pile up. The next event creates the target again.";
        target_idle: Duration = Duration::from_millis;
    "worker_threads": Integer(1, 64), "2",
        "Threads of the sink's own runtime.";
        worker_threads: usize = size;
}
