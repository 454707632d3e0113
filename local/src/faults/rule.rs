//! One fault rule: whom it is about, what happens to them, and within which bounds.
//!
//! Its JSON form is the same in a rules file and over HTTP. It promises that a rule that came from JSON is sound:
//! unknown keys, more or fewer than one effect and values out of range are refused with an error that names them.

use serde::{Deserialize, Serialize};

/// A rule that is about some requests and does something to them.
///
/// Make one with the constructor named after the effect and narrow it with the methods that follow:
/// `Rule::error("AccessDeniedException", 400).group("/denied/*").count(3)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RuleJson", into = "RuleJson")]
pub struct Rule {
    /// Pattern of the log group, with `*` and `?`. `*` also fits requests that name no group.
    pub group: String,
    /// Pattern of the log stream, with `*` and `?`. `*` also fits requests that name no stream.
    pub stream: String,
    /// The operation, such as `PutLogEvents`; `None` is any.
    pub operation: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// The rule fires at most this many times; `None` is without end.
    pub count: Option<u64>,
    /// The share of the matching requests for which the rule fires, 0.0 to 1.0, drawn at random.
    pub share: f64,
    /// Seed of those draws, for a repeatable run; `None` takes a random one.
    pub seed: Option<u64>,
    /// The rule is in force until so many milliseconds after it was set; `None` is without end.
    pub for_ms: Option<u64>,
    /// The rule is in force from so many milliseconds after it was set.
    pub after_ms: u64,
}

/// What a rule does to a request it fires for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The service's answer is this error; the data is not taken.
    Error {
        /// Exception name.
        code: String,
        /// HTTP status, 200 to 599.
        status: u16,
        /// Text for people.
        message: String,
    },
    /// The request waits so many milliseconds and then goes on, with the rules that follow.
    DelayMs(u64),
    /// The request is read and never answered, until the client goes away or the endpoint stops. The data is not taken.
    Hang,
    /// The connection is reset.
    Reset(ResetWhen),
    /// The data is taken; the answer breaks off in the middle and the connection is closed.
    CutResponse,
    /// The answer is an HTML page of this status, as a proxy in between would give it. The data is not taken.
    Html(u16),
    /// The answer is this status without a body. The data is not taken.
    Empty(u16),
    /// Beyond so many matching requests a second (a token bucket that holds one second's worth, at least one token) the
    /// answer is `ThrottlingException`; within it the rule does nothing.
    ThrottlePerSecond(f64),
    /// So many events at the matching ends of a batch are rejected, and the rest taken. `PutLogEvents` only.
    Reject(Reject),
    /// `AccessDeniedException` in the first, third, fifth … period since the rule was set; nothing in the others.
    DenyThenAllowMs {
        /// Milliseconds of one period.
        period_ms: u64,
    },
}

/// When a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetWhen {
    /// Before the data is taken.
    Before,
    /// After the data is taken, in place of the answer.
    After,
}

/// How many events of a batch are rejected although nothing is wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reject {
    /// Events at the beginning, as too old.
    pub too_old: usize,
    /// Events at the end, as too new.
    pub too_new: usize,
    /// Events at the beginning, after those that are too old, as expired.
    pub expired: usize,
}

/// Why a rule is not sound. The message names the key, its value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

/// The operations a rule may name.
const OPERATIONS: [&str; 9] = crate::server::OPERATIONS;

impl Rule {
    /// A rule that does `effect` to every request.
    pub fn new(effect: Effect) -> Self {
        Self {
            group: "*".to_owned(),
            stream: "*".to_owned(),
            operation: None,
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

    /// Only for log groups that fit this pattern.
    pub fn group(mut self, pattern: &str) -> Self {
        self.group = pattern.to_owned();
        self
    }

    /// Only for log streams that fit this pattern.
    pub fn stream(mut self, pattern: &str) -> Self {
        self.stream = pattern.to_owned();
        self
    }

    /// Only for this operation.
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// At most so many times.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// For this share of the matching requests, drawn with this seed.
    pub fn share(mut self, share: f64, seed: u64) -> Self {
        self.share = share;
        self.seed = Some(seed);
        self
    }

    /// Until so many milliseconds after the rule was set.
    pub fn for_ms(mut self, for_ms: u64) -> Self {
        self.for_ms = Some(for_ms);
        self
    }

    /// From so many milliseconds after the rule was set.
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.after_ms = after_ms;
        self
    }

    /// Whether every value is in range.
    pub fn check(&self) -> Result<(), RuleError> {
        let status = |name: &str, status: u16| match status {
            200..=599 => Ok(()),
            _ => Err(RuleError(format!("{name} is {status}; allowed is a status from 200 to 599"))),
        };
        match &self.effect {
            Effect::Error { code, status: number, .. } => {
                if code.is_empty() {
                    return Err(RuleError("error.code is empty; allowed is an exception's name".to_owned()));
                }
                status("error.status", *number)?;
            }
            Effect::Html(number) => status("html", *number)?,
            Effect::Empty(number) => status("empty", *number)?,
            Effect::ThrottlePerSecond(rate) if !(rate.is_finite() && *rate >= 0.0) => {
                return Err(RuleError(format!("throttle_per_second is {rate}; allowed is 0 or more")));
            }
            Effect::DenyThenAllowMs { period_ms: 0 } => {
                return Err(RuleError("deny_then_allow_ms.period_ms is 0; allowed is 1 or more".to_owned()));
            }
            _ => {}
        }
        if !(0.0..=1.0).contains(&self.share) {
            return Err(RuleError(format!("share is {}; allowed is 0.0 to 1.0", self.share)));
        }
        if let Some(operation) = &self.operation
            && !OPERATIONS.contains(&operation.as_str())
        {
            let allowed = OPERATIONS.join(", ");
            return Err(RuleError(format!("operation is \"{operation}\"; allowed is one of {allowed}")));
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

/// Reads a JSON array of rules; the error says which rule (counted from 1) is wrong and how.
pub fn parse_rules(json: &str) -> Result<Vec<Rule>, RuleError> {
    let values: Vec<serde_json::Value> = serde_json::from_str(json)
        .map_err(|error| RuleError(format!("not a JSON array of rules: {error}")))?;
    let rule = |(index, value)| {
        serde_json::from_value(value).map_err(|error| RuleError(format!("rule {}: {error}", index + 1)))
    };
    values.into_iter().enumerate().map(rule).collect()
}

fn bad_request() -> u16 {
    400
}

/// A rule as it stands in JSON: the effects side by side, of which exactly one is there.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuleJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hang: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<ResetWhen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_response: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reject: Option<Reject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_then_allow_ms: Option<PeriodJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorJson {
    code: String,
    #[serde(default = "bad_request")]
    status: u16,
    #[serde(default)]
    message: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodJson {
    period_ms: u64,
}

impl TryFrom<RuleJson> for Rule {
    type Error = RuleError;

    fn try_from(json: RuleJson) -> Result<Self, RuleError> {
        let flag = |name: &'static str, value: Option<bool>, effect| match value {
            Some(false) => Err(RuleError(format!("{name} is false; allowed is true, or to leave it out"))),
            Some(true) => Ok(Some((name, effect))),
            None => Ok(None),
        };
        let error = |e: ErrorJson| Effect::Error { code: e.code, status: e.status, message: e.message };
        let flapping = |p: PeriodJson| Effect::DenyThenAllowMs { period_ms: p.period_ms };
        let mut effects = [
            json.error.map(|value| ("error", error(value))),
            json.delay_ms.map(|value| ("delay_ms", Effect::DelayMs(value))),
            flag("hang", json.hang, Effect::Hang)?,
            json.reset.map(|value| ("reset", Effect::Reset(value))),
            flag("cut_response", json.cut_response, Effect::CutResponse)?,
            json.html.map(|value| ("html", Effect::Html(value))),
            json.empty.map(|value| ("empty", Effect::Empty(value))),
            json.throttle_per_second.map(|value| ("throttle_per_second", Effect::ThrottlePerSecond(value))),
            json.reject.map(|value| ("reject", Effect::Reject(value))),
            json.deny_then_allow_ms.map(|value| ("deny_then_allow_ms", flapping(value))),
        ]
        .into_iter()
        .flatten();
        let Some((first, effect)) = effects.next() else {
            return Err(RuleError(
                "no effect; allowed is exactly one of error, delay_ms, hang, reset, cut_response, html, empty, \
                 throttle_per_second, reject, deny_then_allow_ms"
                    .to_owned(),
            ));
        };
        if let Some((second, _)) = effects.next() {
            return Err(RuleError(format!(
                "both {first} and {second}; allowed is exactly one effect a rule"
            )));
        }
        let rule = Self {
            group: json.group.unwrap_or_else(|| "*".to_owned()),
            stream: json.stream.unwrap_or_else(|| "*".to_owned()),
            operation: json.operation,
            effect,
            count: json.count,
            share: json.share.unwrap_or(1.0),
            seed: json.seed,
            for_ms: json.for_ms,
            after_ms: json.after_ms.unwrap_or(0),
        };
        rule.check()?;
        Ok(rule)
    }
}

impl From<Rule> for RuleJson {
    fn from(rule: Rule) -> Self {
        let mut json = Self {
            group: (rule.group != "*").then_some(rule.group),
            stream: (rule.stream != "*").then_some(rule.stream),
            operation: rule.operation,
            count: rule.count,
            share: (rule.share != 1.0).then_some(rule.share),
            seed: rule.seed,
            for_ms: rule.for_ms,
            after_ms: (rule.after_ms != 0).then_some(rule.after_ms),
            ..Self::default()
        };
        match rule.effect {
            Effect::Error { code, status, message } => json.error = Some(ErrorJson { code, status, message }),
            Effect::DelayMs(value) => json.delay_ms = Some(value),
            Effect::Hang => json.hang = Some(true),
            Effect::Reset(when) => json.reset = Some(when),
            Effect::CutResponse => json.cut_response = Some(true),
            Effect::Html(status) => json.html = Some(status),
            Effect::Empty(status) => json.empty = Some(status),
            Effect::ThrottlePerSecond(rate) => json.throttle_per_second = Some(rate),
            Effect::Reject(reject) => json.reject = Some(reject),
            Effect::DenyThenAllowMs { period_ms } => json.deny_then_allow_ms = Some(PeriodJson { period_ms }),
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_one_json_form_that_reads_back_as_itself() {
        for json in [
            r#"{"group":"/denied/*","operation":"PutLogEvents","error":{"code":"AccessDeniedException","status":400,"message":"no"}}"#,
            r#"{"delay_ms":250,"count":3}"#,
            r#"{"stream":"s?","hang":true}"#,
            r#"{"reset":"before"}"#,
            r#"{"reset":"after","for_ms":500,"after_ms":100}"#,
            r#"{"cut_response":true}"#,
            r#"{"html":502}"#,
            r#"{"empty":503}"#,
            r#"{"throttle_per_second":10.5,"share":0.5,"seed":7}"#,
            r#"{"reject":{"too_old":1,"too_new":2,"expired":3}}"#,
            r#"{"deny_then_allow_ms":{"period_ms":100}}"#,
        ] {
            let rule: Rule = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(serde_json::to_string(&rule).unwrap(), json);
        }
    }

    #[test]
    fn a_wrong_rule_is_named_by_place_key_value_and_what_is_allowed() {
        for (json, named) in [
            (r#"{}"#, "not a JSON array"),
            (r#"[{"hang":true},{"hangs":true}]"#, "rule 2: unknown field `hangs`"),
            (r#"[{"group":"a"}]"#, "rule 1: no effect; allowed is exactly one of error"),
            (r#"[{"hang":true,"delay_ms":1}]"#, "rule 1: both delay_ms and hang"),
            (r#"[{"hang":false}]"#, "hang is false"),
            (r#"[{"hang":true,"share":1.5}]"#, "share is 1.5; allowed is 0.0 to 1.0"),
            (r#"[{"html":99}]"#, "html is 99"),
            (r#"[{"empty":600}]"#, "empty is 600"),
            (r#"[{"error":{"code":"","status":400}}]"#, "error.code is empty"),
            (r#"[{"error":{"code":"X","status":4000}}]"#, "error.status is 4000"),
            (r#"[{"throttle_per_second":-1}]"#, "throttle_per_second is -1"),
            (r#"[{"deny_then_allow_ms":{"period_ms":0}}]"#, "period_ms is 0"),
            (
                r#"[{"hang":true,"operation":"PutLogEvent"}]"#,
                "operation is \"PutLogEvent\"; allowed is one of PutLogEvents,",
            ),
            (r#"[{"hang":true,"for_ms":5,"after_ms":5}]"#, "for_ms is 5 and after_ms is 5"),
            (r#"[{"reset":"during"}]"#, "unknown variant `during`"),
        ] {
            let error = parse_rules(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn the_readme_shows_rules_that_are_taken() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(parse_rules(example).unwrap().len(), 3);
    }
}
