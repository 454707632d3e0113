//! One fault rule: the requests that it matches, its bounds and its effect.
//!
//! [`Rule::check`] refuses a value that is out of range. The error names the value and the allowed range.

use super::effect::{Effect, Reject, ResetWhen};
use crate::operation::OPERATIONS;

/// A rule that matches some requests and has an effect on them.
///
/// Make one with the constructor named after the effect and narrow it with the methods that follow:
/// `Rule::error("AccessDeniedException", 400).group("/denied/*").count(3)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Pattern of the log group, with `*` and `?`. `*` also matches requests that name no group.
    pub group: String,
    /// Pattern of the log stream, with `*` and `?`. `*` also matches requests that name no stream.
    pub stream: String,
    /// The operation, such as `PutLogEvents`; `None` matches every operation.
    pub operation: Option<String>,
    /// The rule matches only requests whose body, decompressed, contains this text; `None` matches every body.
    pub body_contains: Option<String>,
    /// The rule matches only requests whose body has more than this number of bytes on the wire; `None` matches every
    /// size.
    pub body_over_bytes: Option<usize>,
    /// The effect on the requests that the rule fires for.
    pub effect: Effect,
    /// The rule fires at most this number of times; `None` means no limit.
    pub count: Option<u64>,
    /// The share of the matching requests for which the rule fires, 0.0 to 1.0, drawn at random.
    pub share: f64,
    /// Seed of those draws, for a repeatable run; `None` takes a random seed.
    pub seed: Option<u64>,
    /// The rule ends this number of milliseconds after it was set; `None` means that it does not end.
    pub for_ms: Option<u64>,
    /// The rule begins this number of milliseconds after it was set.
    pub after_ms: u64,
}

/// A rule has a wrong value. The message names the key, its value and the allowed values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub(super) String);

impl Rule {
    /// Makes a rule that has `effect` on every request.
    pub fn new(effect: Effect) -> Self {
        Self {
            group: "*".to_owned(),
            stream: "*".to_owned(),
            operation: None,
            body_contains: None,
            body_over_bytes: None,
            effect,
            count: None,
            share: 1.0,
            seed: None,
            for_ms: None,
            after_ms: 0,
        }
    }

    /// See [`Effect::Error`]; without a message.
    pub fn error(code: &str, status: u16) -> Self {
        Self::new(Effect::Error { code: code.to_owned(), status, message: String::new() })
    }

    /// See [`Effect::DelayMs`].
    pub fn delay_ms(delay_ms: u64) -> Self {
        Self::new(Effect::DelayMs(delay_ms))
    }

    /// See [`Effect::DateOffsetMs`].
    pub fn date_offset_ms(offset_ms: i64) -> Self {
        Self::new(Effect::DateOffsetMs(offset_ms))
    }

    /// See [`Effect::Hang`].
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// See [`ResetWhen::Before`].
    pub fn reset_before() -> Self {
        Self::new(Effect::Reset(ResetWhen::Before))
    }

    /// See [`ResetWhen::After`].
    pub fn reset_after() -> Self {
        Self::new(Effect::Reset(ResetWhen::After))
    }

    /// See [`Effect::CutResponse`].
    pub fn cut_response() -> Self {
        Self::new(Effect::CutResponse)
    }

    /// See [`Effect::Garbled`].
    pub fn garbled() -> Self {
        Self::new(Effect::Garbled)
    }

    /// See [`Effect::Html`].
    pub fn html(status: u16) -> Self {
        Self::new(Effect::Html(status))
    }

    /// See [`Effect::Empty`].
    pub fn empty(status: u16) -> Self {
        Self::new(Effect::Empty(status))
    }

    /// See [`Effect::ThrottlePerSecond`].
    pub fn throttle_per_second(rate: f64) -> Self {
        Self::new(Effect::ThrottlePerSecond(rate))
    }

    /// See [`Effect::Reject`].
    pub fn reject(reject: Reject) -> Self {
        Self::new(Effect::Reject(reject))
    }

    /// See [`Effect::DenyThenAllowMs`].
    pub fn deny_then_allow_ms(period_ms: u64) -> Self {
        Self::new(Effect::DenyThenAllowMs { period_ms })
    }

    /// Limits the rule to log groups that match this pattern.
    pub fn group(mut self, pattern: &str) -> Self {
        self.group = pattern.to_owned();
        self
    }

    /// Limits the rule to log streams that match this pattern.
    pub fn stream(mut self, pattern: &str) -> Self {
        self.stream = pattern.to_owned();
        self
    }

    /// Limits the rule to this operation.
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// Limits the rule to requests whose body, decompressed, contains this text.
    pub fn body_contains(mut self, text: &str) -> Self {
        self.body_contains = Some(text.to_owned());
        self
    }

    /// Limits the rule to requests whose body has more than this number of bytes on the wire.
    pub fn body_over_bytes(mut self, bytes: usize) -> Self {
        self.body_over_bytes = Some(bytes);
        self
    }

    /// Lets the rule fire at most `count` times.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Lets the rule fire for this share of the matching requests, drawn with this seed.
    pub fn share(mut self, share: f64, seed: u64) -> Self {
        self.share = share;
        self.seed = Some(seed);
        self
    }

    /// Ends the rule `for_ms` milliseconds after it was set.
    pub fn for_ms(mut self, for_ms: u64) -> Self {
        self.for_ms = Some(for_ms);
        self
    }

    /// Begins the rule `after_ms` milliseconds after it was set.
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.after_ms = after_ms;
        self
    }

    /// Checks that every value is in its range.
    pub fn check(&self) -> Result<(), RuleError> {
        check_effect(&self.effect)?;
        if !(0.0..=1.0).contains(&self.share) {
            return Err(RuleError(format!("share is {}; allowed is 0.0 to 1.0", self.share)));
        }
        if let Some(operation) = &self.operation
            && !OPERATIONS.contains(&operation.as_str())
        {
            let allowed = OPERATIONS.join(", ");
            return Err(RuleError(format!("operation is \"{operation}\"; allowed is one of {allowed}")));
        }
        if self.body_contains.as_deref() == Some("") {
            return Err(RuleError("body_contains is empty; allowed is a text, or no such key".to_owned()));
        }
        match self.for_ms {
            Some(for_ms) if for_ms <= self.after_ms => Err(RuleError(format!(
                "for_ms is {for_ms} and after_ms is {}; for_ms counts from when the rule was set and must be greater",
                self.after_ms
            ))),
            _ => Ok(()),
        }
    }
}

/// The greatest difference of a `Date` header to the endpoint's clock: ten years.
const DATE_OFFSET_MAX_MS: u64 = 10 * 365 * 86_400_000;

fn check_effect(effect: &Effect) -> Result<(), RuleError> {
    let check_status = |name: &str, status: u16| match status {
        200..=599 => Ok(()),
        _ => Err(RuleError(format!("{name} is {status}; allowed is a status from 200 to 599"))),
    };
    match effect {
        Effect::Error { code, .. } if code.is_empty() => {
            Err(RuleError("error.code is empty; allowed is the name of an exception".to_owned()))
        }
        Effect::Error { status, .. } => check_status("error.status", *status),
        Effect::Html(status) => check_status("html", *status),
        Effect::Empty(status) => check_status("empty", *status),
        Effect::DateOffsetMs(offset_ms) if offset_ms.unsigned_abs() > DATE_OFFSET_MAX_MS => Err(RuleError(
            format!("date_offset_ms is {offset_ms}; allowed are {DATE_OFFSET_MAX_MS} ms ahead or behind"),
        )),
        Effect::ThrottlePerSecond(rate) if !(rate.is_finite() && *rate >= 0.0) => {
            Err(RuleError(format!("throttle_per_second is {rate}; allowed is 0 or more")))
        }
        Effect::DenyThenAllowMs { period_ms: 0 } => {
            Err(RuleError("deny_then_allow_ms.period_ms is 0; allowed is 1 or more".to_owned()))
        }
        _ => Ok(()),
    }
}
