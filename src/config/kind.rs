//! The kinds of values that options take, and the parser of each kind.

use super::choices::Secret;

/// The kind of values that an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text that is not empty, checked by the function.
    Text(fn(&str) -> Result<(), String>),
    /// Text that is not empty and never shown.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number between the two bounds, both included.
    Integer(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these numbers.
    OneOf(&'static [u32]),
}

/// A value of one of the kinds, parsed and within its bounds.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Secret(Secret),
    Bool(bool),
    Integer(u64),
    Choice(&'static str),
}

impl Kind {
    /// The allowed values in words.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Text(_) => "text".to_owned(),
            Kind::Secret => "text that is not empty".to_owned(),
            Kind::Bool => "true, false".to_owned(),
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Choice(words) => words.join(", "),
            Kind::OneOf(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    /// Parses a value. The error is the allowed values in words.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        let allowed = || self.allowed();
        match self {
            Kind::Text(_) if text.is_empty() => Err("text that is not empty".to_owned()),
            Kind::Text(_) => Ok(Value::Text(text.to_owned())),
            Kind::Secret if text.is_empty() => Err(allowed()),
            Kind::Secret => Ok(Value::Secret(Secret::new(text.to_owned()))),
            Kind::Bool => text.parse().map(Value::Bool).map_err(|_| allowed()),
            Kind::Integer(min, max) => match text.parse::<u64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(Value::Integer(number)),
                _ => Err(allowed()),
            },
            Kind::Choice(words) => {
                words.iter().find(|word| **word == text).map(|word| Value::Choice(word)).ok_or_else(allowed)
            }
            Kind::OneOf(numbers) => match text.parse::<u32>() {
                Ok(number) if numbers.contains(&number) => Ok(Value::Integer(u64::from(number))),
                _ => Err(allowed()),
            },
        }
    }
}
