//! Every option in one table: key, type, default, bounds, help.
//!
//! The table is what parses a value, what refuses one and what README's option table is made from, so the
//! three cannot disagree. All values come in as text, so that a binding passes an option through without
//! knowing it. A wrong key, value or combination is refused with a message that names it; the value of a
//! secret never stands in a message or in `Debug` output.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use options::OPTIONS;

mod options;

/// What a push does when there is no room for its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room, at most [`Config::block_timeout`].
    Block,
    /// Refuse the event at once.
    Reject,
    /// Give up the oldest events to make room.
    DropOldest,
}

/// What is done with a message that is longer than the service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// It is cut, and ends in `[Truncated...]`.
    Truncate,
    /// It goes out in several events.
    Split,
    /// Its push is refused.
    Reject,
}

/// Which messages are sent as embedded metric format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emf {
    /// Those that look like it: a JSON object that holds `"CloudWatchMetrics"`.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// How request bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Sent as they are.
    None,
    /// gzip for what is not too small for it.
    Gzip {
        /// 1 to 9.
        level: u32,
        /// Smallest body that is compressed.
        min_bytes: usize,
    },
}

/// A value that must not be shown: `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no option of that name.
    #[error("there is no option {key:?}{}", suggestion.map(|s| format!("; did you mean {s:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// The option whose name is nearest, when one is near.
        suggestion: Option<&'static str>,
    },
    /// The value is not one that the option takes.
    #[error("option {key}: {value} is not allowed; allowed: {allowed}")]
    BadValue {
        /// The option.
        key: &'static str,
        /// The value in quotes, or "(hidden)" for a secret.
        value: String,
        /// What the option takes.
        allowed: String,
    },
    /// The text is not one that the option takes.
    #[error("option {key}: {why}")]
    BadText {
        /// The option.
        key: &'static str,
        /// What is wrong with the text, and what is allowed.
        why: String,
    },
    /// Two options do not go together.
    #[error("{0}")]
    Combination(String),
}

/// What values an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text that is not empty, checked by the function.
    Text(fn(&str) -> Result<(), String>),
    /// Like text, but never shown.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number between the two, ends included.
    Integer(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these numbers.
    OneOf(&'static [u32]),
}

/// A value of one of the [`Kind`]s, parsed and within its bounds.
enum Value {
    Text(String),
    Secret(Secret),
    Bool(bool),
    Integer(u64),
    Choice(&'static str),
}

/// One option: a row of the table.
pub struct OptionSpec {
    /// Its name, as `cwl_config_set` takes it.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as text; empty: none.
    pub default: &'static str,
    /// What it does, in a sentence or two. The unit stands in the key.
    pub help: &'static str,
    apply: fn(&mut Config, Value),
}

/// A configuration, checked option by option as it is made and as a whole by [`Config::check`].
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the option of its name; the table below holds their help
pub struct Config {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub profile: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
    pub log_group: Option<String>,
    pub log_stream: Option<String>,
    pub create_log_group: bool,
    pub create_log_stream: bool,
    pub retention_days: Option<u32>,
    pub concurrency: usize,
    pub target_concurrency: usize,
    pub flush_interval: Duration,
    pub buffer_max_bytes: usize,
    pub target_buffer_max_bytes: usize,
    pub when_full: WhenFull,
    pub block_timeout: Duration,
    pub gzip: bool,
    pub compression_level: u32,
    pub compression_min_bytes: usize,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub slow_after: Duration,
    pub target_idle: Duration,
    pub worker_threads: usize,
    pub retry_max_age: Duration,
    pub oversize: Oversize,
    pub emf: Emf,
    pub state_dir: Option<String>,
    /// What was set, by key, in order to tell a default from a wish.
    given: BTreeMap<&'static str, String>,
}

impl Kind {
    /// What the kind takes, in words.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Text(_) => "text".to_owned(),
            Kind::Secret => "text that is not empty".to_owned(),
            Kind::Bool => "true, false".to_owned(),
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Choice(words) => words.join(", "),
            Kind::OneOf(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    /// The value that the text stands for, or what would be allowed.
    fn parse(&self, text: &str) -> Result<Value, String> {
        let allowed = || self.allowed();
        match self {
            Kind::Text(_) if text.is_empty() => Err("text that is not empty".to_owned()),
            Kind::Text(_) => Ok(Value::Text(text.to_owned())),
            Kind::Secret if text.is_empty() => Err(allowed()),
            Kind::Secret => Ok(Value::Secret(Secret(text.to_owned()))),
            Kind::Bool => text.parse().map(Value::Bool).map_err(|_| allowed()),
            Kind::Integer(min, max) => match text.parse::<u64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(Value::Integer(number)),
                _ => Err(allowed()),
            },
            Kind::Choice(words) => {
                words.iter().find(|word| **word == text).map(|word| Value::Choice(word)).ok_or_else(allowed)
            }
            Kind::OneOf(numbers) => match text.parse::<u32>() {
                Ok(number) if numbers.contains(&number) => Ok(Value::Integer(u64::from(number))),
                _ => Err(allowed()),
            },
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Config {
            region: None,
            endpoint_url: None,
            profile: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            log_group: None,
            log_stream: None,
            create_log_group: false,
            create_log_stream: false,
            retention_days: None,
            concurrency: 0,
            target_concurrency: 0,
            flush_interval: Duration::ZERO,
            buffer_max_bytes: 0,
            target_buffer_max_bytes: 0,
            when_full: WhenFull::Reject,
            block_timeout: Duration::ZERO,
            gzip: false,
            compression_level: 0,
            compression_min_bytes: 0,
            connect_timeout: Duration::ZERO,
            request_timeout: Duration::ZERO,
            slow_after: Duration::ZERO,
            target_idle: Duration::ZERO,
            worker_threads: 0,
            retry_max_age: Duration::ZERO,
            oversize: Oversize::Truncate,
            emf: Emf::Auto,
            state_dir: None,
            given: BTreeMap::new(),
        };
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            if let Ok(value) = option.kind.parse(option.default) {
                (option.apply)(&mut config, value);
            }
        }
        config
    }
}

impl Config {
    /// Sets one option from text. A value that is refused leaves the configuration as it was.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let option = OPTIONS
            .iter()
            .find(|option| option.key == key)
            .ok_or_else(|| ConfigError::UnknownKey { key: key.to_owned(), suggestion: nearest_key(key) })?;
        let secret = matches!(option.kind, Kind::Secret);
        let parsed = option.kind.parse(value).map_err(|allowed| ConfigError::BadValue {
            key: option.key,
            value: if secret { "(hidden)".to_owned() } else { format!("{value:?}") },
            allowed,
        })?;
        if let (Kind::Text(check), Value::Text(text)) = (option.kind, &parsed) {
            check(text).map_err(|why| ConfigError::BadText { key: option.key, why })?;
        }
        (option.apply)(self, parsed);
        self.given.insert(option.key, if secret { "(hidden)".to_owned() } else { value.to_owned() });
        Ok(())
    }

    /// Checks what only the whole shows, and settles the defaults that depend on other options.
    pub fn check(&mut self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Combination(text));
        for (one, other) in [("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")] {
            if self.given(one) && !self.given(other) {
                return refuse(format!("option {one} is set without {other}; set both or neither"));
            }
        }
        if self.given("session_token") && !self.given("access_key_id") {
            return refuse("option session_token is set without access_key_id and secret_access_key".into());
        }
        if self.given("profile") && self.given("access_key_id") {
            return refuse(
                "options profile and access_key_id are both set; credentials come from one".into(),
            );
        }
        if !self.create_log_stream {
            if self.given("create_log_group") && self.create_log_group {
                return refuse(
                    "create_log_group=true goes with create_log_stream=true: a new group has no stream"
                        .into(),
                );
            }
            self.create_log_group = false;
        }
        if self.given("retention_days") && !self.create_log_group {
            return refuse("option retention_days is set, but no group is created: it needs create_log_group=true and create_log_stream=true".into());
        }
        if self.given("block_timeout_ms") && self.when_full != WhenFull::Block {
            return refuse("option block_timeout_ms is set, but when_full is not block".into());
        }
        for key in ["compression_level", "compression_min_bytes"] {
            if self.given(key) && !self.gzip {
                return refuse(format!("option {key} is set, but compression is not gzip"));
            }
        }
        if self.target_concurrency > self.concurrency {
            return refuse(format!(
                "target_concurrency={} is more than concurrency={}",
                self.target_concurrency, self.concurrency
            ));
        }
        if self.target_buffer_max_bytes > self.buffer_max_bytes {
            if self.given("target_buffer_max_bytes") {
                return refuse(format!(
                    "target_buffer_max_bytes={} is more than buffer_max_bytes={}",
                    self.target_buffer_max_bytes, self.buffer_max_bytes
                ));
            }
            self.target_buffer_max_bytes = self.buffer_max_bytes;
        }
        Ok(())
    }

    /// The compression that the options about it ask for.
    pub fn compression(&self) -> Compression {
        match self.gzip {
            true => {
                Compression::Gzip { level: self.compression_level, min_bytes: self.compression_min_bytes }
            }
            false => Compression::None,
        }
    }

    fn given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }
}

/// README's option table.
pub fn options_table() -> String {
    let mut table = String::from("| option | values | default | what it does |\n| --- | --- | --- | --- |\n");
    for option in OPTIONS {
        let default = if option.default.is_empty() { "none".into() } else { format!("`{}`", option.default) };
        let allowed = option.kind.allowed();
        table += &format!("| `{}` | {allowed} | {default} | {} |\n", option.key, option.help);
    }
    table
}

fn check_region(region: &str) -> Result<(), String> {
    let fits = region.len() <= 63
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && region.starts_with(|c: char| c.is_ascii_lowercase());
    if fits { Ok(()) } else { Err(format!("{region:?} is not a region's name, such as eu-central-1")) }
}

/// An endpoint is a scheme, a host and perhaps a port. User, path and query have no meaning here.
fn check_endpoint(url: &str) -> Result<(), String> {
    let allowed = || format!("{url:?} is not allowed; allowed: http://HOST[:PORT] or https://HOST[:PORT]");
    let uri: http::Uri = url.parse().map_err(|_| allowed())?;
    let scheme_fits = matches!(uri.scheme_str(), Some("http" | "https"));
    let host_fits = uri.host().is_some_and(|host| !host.is_empty());
    let port_fits = match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => false,
        Some(authority) => !authority.as_str().ends_with(':') && authority.port_u16() != Some(0),
        None => false,
    };
    let bare = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
    if scheme_fits && host_fits && port_fits && bare { Ok(()) } else { Err(allowed()) }
}

/// The option whose key is at most three edits away from what was typed.
fn nearest_key(typed: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|option| (edit_distance(typed, option.key), option.key))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, key)| key)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate().take(64) {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for (key, value) in pairs {
            config.set(key, value)?;
        }
        config.check()?;
        Ok(config)
    }

    #[test]
    fn every_default_is_a_value_that_its_own_option_takes() {
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            assert!(option.kind.parse(option.default).is_ok(), "{}={}", option.key, option.default);
        }
        let config = configured(&[]).expect("the defaults go together");
        assert_eq!(config.concurrency, 8);
        assert_eq!(config.flush_interval, Duration::from_secs(5));
        assert_eq!(config.compression(), Compression::Gzip { level: 1, min_bytes: 10_240 });
    }

    #[test]
    fn a_refusal_names_the_option_the_value_and_what_is_allowed() {
        for (key, value, must_hold) in [
            ("concurrency", "0", "a whole number from 1 to 256"),
            ("concurrency", "-1", "\"-1\""),
            ("concurrency", "8 ", "concurrency"),
            ("when_full", "wait", "block, reject, drop_oldest"),
            ("retention_days", "2", "1, 3, 5"),
            ("log_group", "a:b", "log group"),
            ("log_stream", "", "not empty"),
            ("endpoint_url", "ftp://x", "https://HOST"),
            ("endpoint_url", "http://user@x", "https://HOST"),
            ("endpoint_url", "http://x/path", "https://HOST"),
            ("endpoint_url", "http://x:0", "https://HOST"),
            ("create_log_group", "yes", "true, false"),
            ("region", "eu central", "eu-central-1"),
        ] {
            let error = configured(&[(key, value)]).expect_err(&format!("{key}={value}")).to_string();
            assert!(error.contains(must_hold) && error.contains(key), "{key}={value}: {error}");
        }
    }

    #[test]
    fn a_mistyped_key_is_refused_with_the_nearest_one() {
        let error = configured(&[("log_gruop", "g")]).expect_err("no such option").to_string();
        assert!(error.contains("log_gruop") && error.contains("\"log_group\""), "{error}");
        let error = configured(&[("colour", "red")]).expect_err("no such option").to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_by_name() {
        for pairs in [
            &[("access_key_id", "a")][..],
            &[("secret_access_key", "a")],
            &[("session_token", "a")],
            &[("access_key_id", "a"), ("secret_access_key", "b"), ("profile", "p")],
            &[("create_log_stream", "false"), ("create_log_group", "true")],
            &[("create_log_group", "false"), ("retention_days", "7")],
            &[("block_timeout_ms", "5")],
            &[("compression", "none"), ("compression_level", "2")],
            &[("compression", "none"), ("compression_min_bytes", "0")],
            &[("concurrency", "2"), ("target_concurrency", "3")],
            &[("buffer_max_bytes", "1048576"), ("target_buffer_max_bytes", "2097152")],
        ] {
            let error = configured(pairs).expect_err(&format!("{pairs:?}")).to_string();
            assert!(error.contains(pairs[0].0) || error.contains(pairs[1].0), "{pairs:?}: {error}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = configured(&[
            ("access_key_id", "AKIA1"),
            ("secret_access_key", "hunter2"),
            ("session_token", "tok3n"),
        ])
        .expect("goes together");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("tok3n"), "{shown}");
        let error = configured(&[("secret_access_key", "")]).expect_err("empty").to_string();
        assert!(error.contains("(hidden)"), "{error}");
    }

    #[test]
    fn a_lower_total_bound_lowers_the_default_of_the_targets() {
        let config = configured(&[("buffer_max_bytes", "1048576")]).expect("goes together");
        assert_eq!(config.target_buffer_max_bytes, 1_048_576);
    }
}
