//! The configuration: every option in one table, with its key, kind, bounds, default and help.
//!
//! The table parses a value, refuses a wrong one, and is the source of the documentation, so the three cannot disagree.
//! Every value comes in as text, so that a binding passes an option on without knowing it. A wrong key, value or
//! combination is refused with a message that names it. The value of a secret never stands in a message or in `Debug`
//! output.

pub mod choices;
pub mod documentation;
pub mod error;
pub mod kind;
pub mod options;

mod checks;
mod set;

pub use choices::{Compression, Emf, Oversize, Secret, WhenFull};
pub use documentation::{configuration_page, readme_table};
pub use error::ConfigError;
pub use kind::Kind;
pub use options::{Config, OPTIONS, OptionSpec};
