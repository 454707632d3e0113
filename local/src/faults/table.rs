//! The rules in force, asked in their order for every request.
//!
//! Promises: rules are asked in the order in which they were set; a delay adds up and the asking goes on; the first
//! other rule that fires decides; a rule fires no more often, no earlier and no later than its bounds say.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::glob;
use super::rule::{Effect, Rule, RuleError};

/// Names a rule that was set, so that it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RuleId(pub u64);

/// A rule in force and what it has done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStatus {
    /// The rule's name.
    pub id: RuleId,
    /// How many requests fitted its patterns while it was in force.
    pub matched: u64,
    /// How many of them it did something to.
    pub fired: u64,
    /// The rule.
    pub rule: Rule,
}

/// What the rules make of one request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// How long the request waits first.
    pub delay: Duration,
    /// What then happens to it in place of, or besides, what it asked for. Never a delay.
    pub effect: Option<Effect>,
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
    /// For [`Effect::ThrottlePerSecond`]: the tokens there were at that time.
    tokens: f64,
    filled_at: Instant,
}

impl FaultTable {
    /// Sets a rule after those that are there. Its times count from `now`.
    pub fn add(&mut self, rule: Rule, now: Instant) -> Result<RuleId, RuleError> {
        rule.check()?;
        self.last_id += 1;
        let id = RuleId(self.last_id);
        let random = rule.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let tokens = match rule.effect {
            Effect::ThrottlePerSecond(rate) => capacity(rate),
            _ => 0.0,
        };
        self.rules.push(ActiveRule {
            id,
            rule,
            set_at: now,
            matched: 0,
            fired: 0,
            random,
            tokens,
            filled_at: now,
        });
        Ok(id)
    }

    /// Sets these rules in place of those that are there; when one is not sound nothing changes.
    pub fn replace(&mut self, rules: Vec<Rule>, now: Instant) -> Result<Vec<RuleId>, RuleError> {
        rules.iter().try_for_each(Rule::check)?;
        self.clear();
        rules.into_iter().map(|rule| self.add(rule, now)).collect()
    }

    /// Removes a rule; `false` when there is none of this name.
    pub fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|active| active.id != id);
        self.rules.len() < before
    }

    /// Removes every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules in their order and what each has done.
    pub fn status(&self) -> Vec<RuleStatus> {
        let status = |active: &ActiveRule| RuleStatus {
            id: active.id,
            matched: active.matched,
            fired: active.fired,
            rule: active.rule.clone(),
        };
        self.rules.iter().map(status).collect()
    }

    /// Asks the rules what is to happen to a request. An empty group or stream means that the request names none.
    pub fn plan(&mut self, operation: &str, group: &str, stream: &str, now: Instant) -> Plan {
        let mut plan = Plan::default();
        for active in &mut self.rules {
            if !active.is_about(operation, group, stream, now) {
                continue;
            }
            active.matched += 1;
            match active.fire(now) {
                Some(Effect::DelayMs(delay_ms)) => plan.delay += Duration::from_millis(delay_ms),
                Some(effect) => {
                    plan.effect = Some(effect);
                    break;
                }
                None => {}
            }
        }
        plan
    }
}

impl ActiveRule {
    fn is_about(&self, operation: &str, group: &str, stream: &str, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.set_at);
        let in_force = age >= Duration::from_millis(self.rule.after_ms)
            && self.rule.for_ms.is_none_or(|for_ms| age < Duration::from_millis(for_ms))
            && self.rule.count.is_none_or(|count| self.fired < count);
        let rejects_elsewhere = matches!(self.rule.effect, Effect::Reject(_)) && operation != "PutLogEvents";
        in_force
            && !rejects_elsewhere
            && self.rule.operation.as_deref().is_none_or(|wanted| wanted == operation)
            && glob::matches(&self.rule.group, group)
            && glob::matches(&self.rule.stream, stream)
    }

    /// Draws the share and asks the effect itself; `None` when the request goes on untouched.
    fn fire(&mut self, now: Instant) -> Option<Effect> {
        if self.rule.share < 1.0 && self.random.f64() >= self.rule.share {
            return None;
        }
        let effect = match self.rule.effect {
            Effect::ThrottlePerSecond(rate) => {
                if self.take_token(rate, now) {
                    return None;
                }
                error("ThrottlingException", "Rate exceeded")
            }
            Effect::DenyThenAllowMs { period_ms } => {
                let age_ms = now.saturating_duration_since(self.set_at).as_millis();
                if (age_ms / u128::from(period_ms)) % 2 == 1 {
                    return None;
                }
                error("AccessDeniedException", "Access is denied for now")
            }
            ref effect => effect.clone(),
        };
        self.fired += 1;
        Some(effect)
    }

    fn take_token(&mut self, rate: f64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(capacity(rate));
        self.filled_at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// One second's worth of tokens, and at least one, so that a rate below one a second lets some through.
fn capacity(rate: f64) -> f64 {
    if rate > 0.0 { rate.max(1.0) } else { 0.0 }
}

fn error(code: &str, message: &str) -> Effect {
    Effect::Error { code: code.to_owned(), status: 400, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: Vec<Rule>, now: Instant) -> FaultTable {
        let mut table = FaultTable::default();
        table.replace(rules, now).unwrap();
        table
    }

    fn code(plan: &Plan) -> &str {
        match &plan.effect {
            Some(Effect::Error { code, .. }) => code,
            Some(_) => "other",
            None => "",
        }
    }

    #[test]
    fn patterns_and_operation_pick_the_requests() {
        let now = Instant::now();
        let mut table =
            table(vec![Rule::hang().group("/denied/*").stream("s?").operation("PutLogEvents")], now);
        assert!(table.plan("PutLogEvents", "/denied/a", "s1", now).effect.is_some());
        for (operation, group, stream) in [
            ("CreateLogStream", "/denied/a", "s1"),
            ("PutLogEvents", "/ok", "s1"),
            ("PutLogEvents", "/denied/a", "other"),
            ("DescribeLogGroups", "", ""),
        ] {
            assert_eq!(table.plan(operation, group, stream, now), Plan::default());
        }
        assert_eq!((table.status()[0].matched, table.status()[0].fired), (1, 1));
    }

    #[test]
    fn delays_add_up_and_the_first_other_rule_decides() {
        let now = Instant::now();
        let rules = vec![Rule::delay_ms(5), Rule::delay_ms(7), Rule::error("A", 400), Rule::error("B", 400)];
        let mut table = table(rules, now);
        let plan = table.plan("PutLogEvents", "g", "s", now);
        assert_eq!((plan.delay, code(&plan)), (Duration::from_millis(12), "A"));
    }

    #[test]
    fn a_count_ends_a_rule_and_the_next_one_follows() {
        let now = Instant::now();
        let mut table = table(vec![Rule::error("A", 400).count(2), Rule::error("B", 400)], now);
        let codes: Vec<String> =
            (0..4).map(|_| code(&table.plan("PutLogEvents", "g", "s", now)).to_owned()).collect();
        assert_eq!(codes, ["A", "A", "B", "B"]);
    }

    #[test]
    fn a_rule_is_in_force_between_after_ms_and_for_ms() {
        let now = Instant::now();
        let mut table = table(vec![Rule::error("A", 400).after_ms(100).for_ms(200)], now);
        let mut at =
            |ms| code(&table.plan("PutLogEvents", "g", "s", now + Duration::from_millis(ms))).to_owned();
        assert_eq!([at(99), at(100), at(199), at(200)], ["", "A", "A", ""]);
    }

    #[test]
    fn a_share_fires_for_about_that_share_and_the_same_way_for_the_same_seed() {
        let now = Instant::now();
        let run = |share| {
            let mut table = table(vec![Rule::error("A", 400).share(share, 42)], now);
            (0..1000)
                .map(|_| !code(&table.plan("PutLogEvents", "g", "s", now)).is_empty())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(0.3), run(0.3));
        let fired = run(0.3).into_iter().filter(|fired| *fired).count();
        assert!((250..350).contains(&fired), "{fired} of 1000 at a share of 0.3");
        assert!(!run(0.0).contains(&true) && !run(1.0).contains(&false));
    }

    #[test]
    fn a_throttle_lets_its_rate_through_and_no_more() {
        let now = Instant::now();
        let mut table = table(vec![Rule::throttle_per_second(10.0)], now);
        let mut passed = |ms: u64, n: usize| {
            let at = now + Duration::from_millis(ms);
            (0..n).filter(|_| table.plan("PutLogEvents", "g", "s", at).effect.is_none()).count()
        };
        assert_eq!(passed(0, 30), 10, "a second's worth at once");
        assert_eq!(passed(0, 1), 0);
        assert_eq!(passed(500, 30), 5, "half a second's worth after half a second");
        assert_eq!(passed(9_000, 30), 10, "never more than a second's worth at once");
    }

    #[test]
    fn flapping_denies_in_odd_periods_and_allows_in_even_ones() {
        let now = Instant::now();
        let mut table = table(vec![Rule::deny_then_allow_ms(100)], now);
        let mut at =
            |ms| code(&table.plan("PutLogEvents", "g", "s", now + Duration::from_millis(ms))).to_owned();
        let denied = "AccessDeniedException";
        assert_eq!([at(0), at(99), at(100), at(199), at(200)], [denied, denied, "", "", denied]);
    }

    #[test]
    fn a_removed_rule_does_nothing_and_an_unsound_one_changes_nothing() {
        let now = Instant::now();
        let mut table = table(vec![Rule::hang()], now);
        assert!(table.replace(vec![Rule::html(99)], now).is_err());
        let id = table.status()[0].id;
        assert!(table.remove(id) && !table.remove(id));
        assert_eq!(table.plan("PutLogEvents", "g", "s", now), Plan::default());
    }
}
