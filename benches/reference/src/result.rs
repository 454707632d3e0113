//! The results of a subcommand: failures and figures.

use std::error::Error;

/// A failure; its text is for people.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Rounds a figure to four decimals. The measurements are not more precise.
pub fn round(figure: f64) -> f64 {
    (figure * 10_000.0).round() / 10_000.0
}
