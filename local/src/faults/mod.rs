//! Faults on demand: rules that make requests fail.
//!
//! - `effect.rs`: the effects that a rule can have.
//! - `rule.rs`: one rule, made of patterns, bounds and an effect, and the check of its values.
//! - `rule_json.rs`: the JSON form of a rule.
//! - `token_bucket.rs`: the rate limit of a throttling rule.
//! - `table.rs`: the rules in force; it decides what happens to a request.

mod effect;
mod rule;
mod rule_json;
mod table;
mod token_bucket;

pub use effect::{Effect, Reject, ResetWhen};
pub use rule::{Rule, RuleError};
pub use rule_json::parse_rules;
pub(crate) use table::{Action, FaultRequest, FaultTable};
pub use table::{RuleId, RuleStatus};
