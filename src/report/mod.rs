//! Reports to an operator: statistics, and sentences about targets that fail and recover.

pub mod stats;
pub mod transitions;
