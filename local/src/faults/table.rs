//! The rules in force. For each request they are evaluated in the order in which they were set.
//!
//! Delays and differences of the date add up, and the evaluation continues after them. The first rule with another effect decides. A rule fires
//! within its bounds only: `count`, `share`, `after_ms` and `for_ms`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::effect::{Effect, Reject, ResetWhen};
use super::rule::{Rule, RuleError};
use super::token_bucket::TokenBucket;
use crate::glob;
use crate::operation::PUT_LOG_EVENTS;

/// The id of a rule that was set. It serves to remove the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RuleId(pub u64);

/// A rule in force and its counters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStatus {
    /// The rule's id.
    pub id: RuleId,
    /// Requests that the rule matched while it was in force.
    pub matched: u64,
    /// Matched requests that the rule had an effect on.
    pub fired: u64,
    /// The rule.
    pub rule: Rule,
}

/// The parts of a request that rules look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultRequest<'a> {
    /// The operation, such as `PutLogEvents`.
    pub operation: &'a str,
    /// The log group; empty when the request names none.
    pub group: &'a str,
    /// The log stream; empty when the request names none.
    pub stream: &'a str,
    /// The size of the body on the wire, in bytes.
    pub body_bytes: usize,
    /// The body, decompressed. Empty unless a rule looks into bodies.
    pub body: &'a [u8],
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The decision of all rules about one request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// The delay before the action.
    pub delay: Duration,
    /// Milliseconds by which the date of the response is ahead of the endpoint's clock.
    pub date_offset_ms: i64,
    /// The action after the delay.
    pub action: Action,
}

/// The action on one request after all delays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Action {
    /// Carries the operation out and sends its response.
    #[default]
    Proceed,
    /// See [`Effect::Error`].
    Error { code: String, status: u16, message: String },
    /// See [`Effect::Hang`].
    Hang,
    /// See [`Effect::Reset`].
    Reset(ResetWhen),
    /// See [`Effect::CutResponse`].
    CutResponse,
    /// See [`Effect::Garbled`].
    Garbled,
    /// See [`Effect::Html`].
    Html(u16),
    /// See [`Effect::Empty`].
    Empty(u16),
    /// See [`Effect::Reject`].
    Reject(Reject),
}

/// The result of one rule that matched a request.
enum RuleResult {
    /// The rule does nothing to this request.
    NotFired,
    /// The request waits, and the following rules are evaluated.
    Delay(Duration),
    /// The date of the response is wrong by this number of milliseconds, and the following rules are evaluated.
    DateOffset(i64),
    /// The rule decides.
    Act(Action),
}

/// All rules in force.
#[derive(Default)]
pub(crate) struct FaultTable {
    rules: Vec<ActiveRule>,
    last_id: u64,
}

struct ActiveRule {
    id: RuleId,
    rule: Rule,
    set_at: Instant,
    matched: u64,
    fired: u64,
    random: fastrand::Rng,
    /// The limiter of [`Effect::ThrottlePerSecond`]; empty for every other effect.
    throttle: TokenBucket,
}

impl FaultTable {
    /// Adds a rule at the end. Its times count from `now`.
    pub fn add(&mut self, rule: Rule, now: Instant) -> Result<RuleId, RuleError> {
        rule.check()?;
        self.last_id += 1;
        let id = RuleId(self.last_id);
        let random = rule.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let tokens_per_second = match rule.effect {
            Effect::ThrottlePerSecond(rate) => rate,
            _ => 0.0,
        };
        let throttle = TokenBucket::new(tokens_per_second, now);
        self.rules.push(ActiveRule { id, rule, set_at: now, matched: 0, fired: 0, random, throttle });
        Ok(id)
    }

    /// Replaces all rules. When one of the new rules is wrong, nothing changes.
    pub fn replace(&mut self, rules: Vec<Rule>, now: Instant) -> Result<Vec<RuleId>, RuleError> {
        rules.iter().try_for_each(Rule::check)?;
        self.clear();
        rules.into_iter().map(|rule| self.add(rule, now)).collect()
    }

    /// Removes a rule; returns false when no rule has this id.
    pub fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|active| active.id != id);
        self.rules.len() < before
    }

    /// Removes every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns the rules in their order, with their counters.
    pub fn status(&self) -> Vec<RuleStatus> {
        let status = |active: &ActiveRule| RuleStatus {
            id: active.id,
            matched: active.matched,
            fired: active.fired,
            rule: active.rule.clone(),
        };
        self.rules.iter().map(status).collect()
    }

    /// Returns whether a rule looks into the bodies of requests.
    pub fn reads_bodies(&self) -> bool {
        self.rules.iter().any(|active| active.rule.body_contains.is_some())
    }

    /// Decides what happens to a request.
    pub fn plan(&mut self, request: &FaultRequest<'_>, now: Instant) -> Plan {
        let mut plan = Plan::default();
        for active in &mut self.rules {
            if !active.matches(request, now) {
                continue;
            }
            active.matched += 1;
            match active.fire(now) {
                RuleResult::NotFired => {}
                RuleResult::Delay(delay) => plan.delay += delay,
                RuleResult::DateOffset(offset_ms) => plan.date_offset_ms += offset_ms,
                RuleResult::Act(action) => {
                    plan.action = action;
                    break;
                }
            }
        }
        plan
    }
}

impl ActiveRule {
    fn matches(&self, request: &FaultRequest<'_>, now: Instant) -> bool {
        let FaultRequest { operation, group, stream, body_bytes, body } = *request;
        let age = now.saturating_duration_since(self.set_at);
        let in_force = age >= Duration::from_millis(self.rule.after_ms)
            && self.rule.for_ms.is_none_or(|for_ms| age < Duration::from_millis(for_ms))
            && self.rule.count.is_none_or(|count| self.fired < count);
        let has_nothing_to_reject =
            matches!(self.rule.effect, Effect::Reject(_)) && operation != PUT_LOG_EVENTS;
        in_force
            && !has_nothing_to_reject
            && self.rule.operation.as_deref().is_none_or(|required| required == operation)
            && glob::matches(&self.rule.group, group)
            && glob::matches(&self.rule.stream, stream)
            && self.rule.body_over_bytes.is_none_or(|bytes| body_bytes > bytes)
            && self.rule.body_contains.as_deref().is_none_or(|text| contains(body, text))
    }

    /// Draws the share and evaluates the effect.
    fn fire(&mut self, now: Instant) -> RuleResult {
        if self.rule.share < 1.0 && self.random.f64() >= self.rule.share {
            return RuleResult::NotFired;
        }
        let action = match &self.rule.effect {
            Effect::DelayMs(delay_ms) => {
                self.fired += 1;
                return RuleResult::Delay(Duration::from_millis(*delay_ms));
            }
            Effect::DateOffsetMs(offset_ms) => {
                self.fired += 1;
                return RuleResult::DateOffset(*offset_ms);
            }
            Effect::ThrottlePerSecond(_) if self.throttle.try_take(now) => return RuleResult::NotFired,
            Effect::ThrottlePerSecond(_) => error("ThrottlingException", "Rate exceeded"),
            Effect::DenyThenAllowMs { period_ms } => {
                let age_ms = now.saturating_duration_since(self.set_at).as_millis();
                if (age_ms / u128::from(*period_ms)) % 2 == 1 {
                    return RuleResult::NotFired;
                }
                error("AccessDeniedException", "Access is denied for now")
            }
            Effect::Error { code, status, message } => {
                Action::Error { code: code.clone(), status: *status, message: message.clone() }
            }
            Effect::Hang => Action::Hang,
            Effect::Reset(when) => Action::Reset(*when),
            Effect::CutResponse => Action::CutResponse,
            Effect::Garbled => Action::Garbled,
            Effect::Html(status) => Action::Html(*status),
            Effect::Empty(status) => Action::Empty(*status),
            Effect::Reject(reject) => Action::Reject(*reject),
        };
        self.fired += 1;
        RuleResult::Act(action)
    }
}

fn error(code: &str, message: &str) -> Action {
    Action::Error { code: code.to_owned(), status: 400, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put<'a>(group: &'a str, stream: &'a str) -> FaultRequest<'a> {
        FaultRequest { operation: PUT_LOG_EVENTS, group, stream, ..FaultRequest::default() }
    }

    #[test]
    fn a_rule_can_look_at_the_size_and_the_text_of_a_body() {
        let mut table = FaultTable::default();
        let now = Instant::now();
        table.add(Rule::empty(413).body_over_bytes(100), now).expect("a rule");
        assert!(!table.reads_bodies());
        table.add(Rule::hang().body_contains("POISON"), now).expect("a rule");
        assert!(table.reads_bodies());
        for (body_bytes, body, action) in [
            (100, &b"plain"[..], Action::Proceed),
            (101, b"plain", Action::Empty(413)),
            (5, b"a POISON b", Action::Hang),
            (5, b"POISO", Action::Proceed),
        ] {
            assert_eq!(table.plan(&FaultRequest { body_bytes, body, ..put("g", "s") }, now).action, action);
        }
    }

    fn table(rules: Vec<Rule>, now: Instant) -> FaultTable {
        let mut table = FaultTable::default();
        table.replace(rules, now).unwrap();
        table
    }

    fn code(plan: &Plan) -> &str {
        match &plan.action {
            Action::Error { code, .. } => code,
            Action::Proceed => "",
            _ => "other",
        }
    }

    #[test]
    fn patterns_and_operation_select_the_requests() {
        let now = Instant::now();
        let mut table =
            table(vec![Rule::hang().group("/denied/*").stream("s?").operation("PutLogEvents")], now);
        assert_eq!(table.plan(&put("/denied/a", "s1"), now).action, Action::Hang);
        for (operation, group, stream) in [
            ("CreateLogStream", "/denied/a", "s1"),
            ("PutLogEvents", "/ok", "s1"),
            ("PutLogEvents", "/denied/a", "other"),
            ("DescribeLogGroups", "", ""),
        ] {
            assert_eq!(
                table.plan(&FaultRequest { operation, group, stream, ..FaultRequest::default() }, now),
                Plan::default()
            );
        }
        assert_eq!((table.status()[0].matched, table.status()[0].fired), (1, 1));
    }

    #[test]
    fn delays_add_up_and_the_first_other_rule_decides() {
        let now = Instant::now();
        let rules = vec![
            Rule::delay_ms(5),
            Rule::date_offset_ms(-3),
            Rule::delay_ms(7),
            Rule::error("A", 400),
            Rule::error("B", 400),
        ];
        let mut table = table(rules, now);
        let plan = table.plan(&put("g", "s"), now);
        assert_eq!((plan.delay, plan.date_offset_ms, code(&plan)), (Duration::from_millis(12), -3, "A"));
    }

    #[test]
    fn a_count_ends_a_rule_and_the_next_one_follows() {
        let now = Instant::now();
        let mut table = table(vec![Rule::error("A", 400).count(2), Rule::error("B", 400)], now);
        let codes: Vec<String> = (0..4).map(|_| code(&table.plan(&put("g", "s"), now)).to_owned()).collect();
        assert_eq!(codes, ["A", "A", "B", "B"]);
    }

    #[test]
    fn a_rule_is_in_force_between_after_ms_and_for_ms() {
        let now = Instant::now();
        let mut table = table(vec![Rule::error("A", 400).after_ms(100).for_ms(200)], now);
        let mut at = |ms| code(&table.plan(&put("g", "s"), now + Duration::from_millis(ms))).to_owned();
        assert_eq!([at(99), at(100), at(199), at(200)], ["", "A", "A", ""]);
    }

    #[test]
    fn a_share_fires_for_about_that_share_and_repeats_with_the_same_seed() {
        let now = Instant::now();
        let run = |share| {
            let mut table = table(vec![Rule::error("A", 400).share(share, 42)], now);
            (0..1000).map(|_| !code(&table.plan(&put("g", "s"), now)).is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(run(0.3), run(0.3));
        let fired = run(0.3).into_iter().filter(|fired| *fired).count();
        assert!((250..350).contains(&fired), "{fired} of 1000 at a share of 0.3");
        assert!(!run(0.0).contains(&true) && !run(1.0).contains(&false));
    }

    #[test]
    fn a_throttle_passes_its_rate_and_no_more() {
        let now = Instant::now();
        let mut table = table(vec![Rule::throttle_per_second(10.0)], now);
        let mut passed = |ms: u64, n: usize| {
            let at = now + Duration::from_millis(ms);
            (0..n).filter(|_| table.plan(&put("g", "s"), at).action == Action::Proceed).count()
        };
        assert_eq!(passed(0, 30), 10, "a second's worth at once");
        assert_eq!(passed(0, 1), 0);
        assert_eq!(passed(500, 30), 5, "half a second's worth after half a second");
        assert_eq!(passed(9_000, 30), 10, "never more than a second's worth at once");
    }

    #[test]
    fn deny_then_allow_denies_in_odd_periods_and_allows_in_even_ones() {
        let now = Instant::now();
        let mut table = table(vec![Rule::deny_then_allow_ms(100)], now);
        let mut at = |ms| code(&table.plan(&put("g", "s"), now + Duration::from_millis(ms))).to_owned();
        let denied = "AccessDeniedException";
        assert_eq!([at(0), at(99), at(100), at(199), at(200)], [denied, denied, "", "", denied]);
    }

    #[test]
    fn a_removed_rule_does_nothing_and_a_wrong_one_changes_nothing() {
        let now = Instant::now();
        let mut table = table(vec![Rule::hang()], now);
        assert!(table.replace(vec![Rule::html(99)], now).is_err());
        let id = table.status()[0].id;
        assert!(table.remove(id) && !table.remove(id));
        assert_eq!(table.plan(&put("g", "s"), now), Plan::default());
    }
}
