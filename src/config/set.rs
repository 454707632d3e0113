//! Setting options and checking their combination.

use super::choices::{Compression, HIDDEN, WhenFull};
use super::error::ConfigError;
use super::kind::{Kind, Value};
use super::options::{Config, OPTIONS};

impl Config {
    /// Sets one option from text. A refused value leaves the configuration as it was.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let option = OPTIONS
            .iter()
            .find(|option| option.key == key)
            .ok_or_else(|| ConfigError::UnknownKey { key: key.to_owned(), suggestion: nearest_key(key) })?;
        let secret = matches!(option.kind, Kind::Secret);
        let parsed = option.kind.parse(value).map_err(|allowed| ConfigError::BadValue {
            key: option.key,
            value: if secret { HIDDEN.to_owned() } else { format!("{value:?}") },
            allowed,
        })?;
        if let (Kind::Text(check), Value::Text(text)) = (option.kind, &parsed) {
            check(text).map_err(|why| ConfigError::BadText { key: option.key, why })?;
        }
        (option.apply)(self, parsed);
        self.given.insert(option.key, if secret { HIDDEN.to_owned() } else { value.to_owned() });
        Ok(())
    }

    /// Checks the combination of the options, and sets the defaults that depend on other options.
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

    /// The compression of request bodies.
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

/// The option whose key is nearest to the typed one, at most three edits away.
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
    use std::time::Duration;

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
