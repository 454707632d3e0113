//! The JSON form of a fault rule. It is the same in a rules file and over HTTP.
//!
//! A rule that was read from JSON has passed [`Rule::check`]. Unknown keys and more or fewer than one effect are
//! refused with an error that names them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::effect::{Effect, Reject, ResetWhen};
use super::rule::{Rule, RuleError};

/// Reads a JSON array of rules. The error names the wrong rule, counted from 1, and the wrong value.
pub fn parse_rules(json: &str) -> Result<Vec<Rule>, RuleError> {
    let values: Vec<serde_json::Value> = serde_json::from_str(json)
        .map_err(|error| RuleError(format!("not a JSON array of rules: {error}")))?;
    let rule = |(index, value)| {
        serde_json::from_value(value).map_err(|error| RuleError(format!("rule {}: {error}", index + 1)))
    };
    values.into_iter().enumerate().map(rule).collect()
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RuleJson::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RuleJson::from(self.clone()).serialize(serializer)
    }
}

/// The JSON object of a rule. Each effect has a key of its own, and exactly one of these keys must be present.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuleJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_over_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_offset_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hang: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<ResetWhen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_response: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    garbled: Option<bool>,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorJson {
    code: String,
    #[serde(default = "default_error_status")]
    status: u16,
    #[serde(default)]
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodJson {
    period_ms: u64,
}

fn default_error_status() -> u16 {
    400
}

impl RuleJson {
    /// Returns the one effect of the rule.
    fn take_effect(&mut self) -> Result<Effect, RuleError> {
        let flag = |name: &'static str, value: Option<bool>, effect| match value {
            Some(false) => Err(RuleError(format!("{name} is false; allowed is true, or no such key"))),
            Some(true) => Ok(Some((name, effect))),
            None => Ok(None),
        };
        let error = |error: ErrorJson| Effect::Error {
            code: error.code,
            status: error.status,
            message: error.message,
        };
        let deny_then_allow = |period: PeriodJson| Effect::DenyThenAllowMs { period_ms: period.period_ms };
        let mut effects = [
            self.error.take().map(|value| ("error", error(value))),
            self.delay_ms.map(|value| ("delay_ms", Effect::DelayMs(value))),
            self.date_offset_ms.map(|value| ("date_offset_ms", Effect::DateOffsetMs(value))),
            flag("hang", self.hang, Effect::Hang)?,
            self.reset.map(|value| ("reset", Effect::Reset(value))),
            flag("cut_response", self.cut_response, Effect::CutResponse)?,
            flag("garbled", self.garbled, Effect::Garbled)?,
            self.html.map(|value| ("html", Effect::Html(value))),
            self.empty.map(|value| ("empty", Effect::Empty(value))),
            self.throttle_per_second.map(|value| ("throttle_per_second", Effect::ThrottlePerSecond(value))),
            self.reject.map(|value| ("reject", Effect::Reject(value))),
            self.deny_then_allow_ms.take().map(|value| ("deny_then_allow_ms", deny_then_allow(value))),
        ]
        .into_iter()
        .flatten();
        let Some((first, effect)) = effects.next() else {
            return Err(RuleError(
                "no effect; allowed is exactly one of error, delay_ms, date_offset_ms, hang, reset, cut_response, garbled, \
                 html, empty, throttle_per_second, reject, deny_then_allow_ms"
                    .to_owned(),
            ));
        };
        if let Some((second, _)) = effects.next() {
            return Err(RuleError(format!(
                "both {first} and {second}; allowed is exactly one effect per rule"
            )));
        }
        Ok(effect)
    }
}

impl TryFrom<RuleJson> for Rule {
    type Error = RuleError;

    fn try_from(mut json: RuleJson) -> Result<Self, RuleError> {
        let effect = json.take_effect()?;
        let rule = Self {
            group: json.group.unwrap_or_else(|| "*".to_owned()),
            stream: json.stream.unwrap_or_else(|| "*".to_owned()),
            operation: json.operation,
            body_contains: json.body_contains,
            body_over_bytes: json.body_over_bytes,
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
            body_contains: rule.body_contains,
            body_over_bytes: rule.body_over_bytes,
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
            Effect::DateOffsetMs(value) => json.date_offset_ms = Some(value),
            Effect::Hang => json.hang = Some(true),
            Effect::Reset(when) => json.reset = Some(when),
            Effect::CutResponse => json.cut_response = Some(true),
            Effect::Garbled => json.garbled = Some(true),
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
            r#"{"date_offset_ms":-1500}"#,
            r#"{"stream":"s?","hang":true}"#,
            r#"{"body_contains":"POISON","body_over_bytes":1200000,"empty":413}"#,
            r#"{"reset":"before"}"#,
            r#"{"reset":"after","for_ms":500,"after_ms":100}"#,
            r#"{"cut_response":true}"#,
            r#"{"garbled":true}"#,
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
    fn the_error_for_a_wrong_rule_names_its_number_key_value_and_the_allowed_values() {
        for (json, named) in [
            (r#"{}"#, "not a JSON array"),
            (r#"[{"hang":true},{"hangs":true}]"#, "rule 2: unknown field `hangs`"),
            (r#"[{"group":"a"}]"#, "rule 1: no effect; allowed is exactly one of error"),
            (r#"[{"hang":true,"delay_ms":1}]"#, "rule 1: both delay_ms and hang"),
            (r#"[{"hang":false}]"#, "hang is false"),
            (r#"[{"hang":true,"share":1.5}]"#, "share is 1.5; allowed is 0.0 to 1.0"),
            (r#"[{"date_offset_ms":9223372036854775807}]"#, "date_offset_ms is 9223372036854775807"),
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
            (r#"[{"hang":true,"body_contains":""}]"#, "body_contains is empty"),
            (r#"[{"reset":"during"}]"#, "unknown variant `during`"),
        ] {
            let error = parse_rules(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn the_rules_in_the_readme_are_valid() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(parse_rules(example).unwrap().len(), 3);
    }
}
