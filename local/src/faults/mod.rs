//! Faults on demand: what a rule may say, which requests it is about, and what it makes of them.
//!
//! `rule.rs` is the vocabulary, in Rust and in JSON; `glob.rs` the patterns; `table.rs` the rules in force, which
//! it asks in their order for every request.

mod glob;
mod rule;
mod table;

pub(crate) use glob::matches as glob_matches;
pub use rule::{Effect, Reject, ResetWhen, Rule, RuleError, parse_rules};
pub(crate) use table::FaultTable;
pub use table::{RuleId, RuleStatus};
