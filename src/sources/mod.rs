//! Sources: a host that reads a file or a queue learns how far it need not read again, after a restart too.

pub mod open_sources;
pub mod source;
pub mod state_dir;

pub use open_sources::Sources;
pub use source::{Source, SourceRange};
pub use state_dir::{StateDir, StateError};
