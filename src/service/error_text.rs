//! The text of an error: one line of bounded length, whatever a server or a library put into it.
//!
//! Each target keeps its last error, and an ack carries it. So an error page of a megabyte must not become the text of an error.

use std::error::Error as StdError;
use std::fmt;
use std::iter;
use std::ops::Deref;

use super::http_client::is_wrapper;

/// The most characters of a text.
pub const ERROR_TEXT_CHARS_MAX: usize = 500;

/// Stands at the end of a text that was cut.
const CUT: char = '…';

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorText(Box<str>);

impl ErrorText {
    /// The texts of an error and of what caused it, from the outermost to the innermost, without those that show the fields of
    /// a struct: an operator cannot read them.
    pub fn of_chain<'a>(chain: impl Iterator<Item = &'a (dyn StdError + 'static)>) -> Self {
        let mut all = String::new();
        for error in chain.filter(|error| !is_wrapper(*error)) {
            let text = error.to_string();
            let text = without_debug_output(&text);
            // Some errors repeat what caused them.
            if text.is_empty() || all.contains(text) {
                continue;
            }
            if !all.is_empty() {
                all.push_str(": ");
            }
            all.push_str(text);
        }
        all.as_str().into()
    }
}

impl From<&str> for ErrorText {
    /// Takes the text in one line, and no more of it than may be kept. White space and control characters become one space.
    fn from(text: &str) -> Self {
        let is_gap = |character: char| character.is_whitespace() || character.is_control();
        let mut kept = String::with_capacity(text.len().min(ERROR_TEXT_CHARS_MAX));
        let mut chars = 0;
        for word in text.split(is_gap).filter(|word| !word.is_empty()) {
            for character in (chars > 0).then_some(' ').into_iter().chain(word.chars()) {
                if chars == ERROR_TEXT_CHARS_MAX {
                    kept.pop();
                    kept.push(CUT);
                    return ErrorText(kept.into());
                }
                kept.push(character);
                chars += 1;
            }
        }
        ErrorText(kept.into())
    }
}

impl From<String> for ErrorText {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Deref for ErrorText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The error and its sources, from the outermost to the innermost.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// The part of a text before the first struct with its fields, such as `DispatchFailure(DispatchFailure { source: …`.
fn without_debug_output(text: &str) -> &str {
    let is_of_name = |character: char| character.is_alphanumeric() || "_:(".contains(character);
    for (place, _) in text.match_indices(" {") {
        let before = text[..place].trim_end_matches(is_of_name);
        let name = text[before.len()..place].trim_start_matches(['(', ':']);
        let fields = text[place + " {".len()..].trim_start();
        let field =
            fields.trim_start_matches(|character: char| character.is_alphanumeric() || character == '_');
        let has_field = field.len() < fields.len() && field.starts_with(": ");
        if name.starts_with(|first: char| first.is_ascii_uppercase()) && has_field {
            return before.trim_end_matches(|character: char| " :(,".contains(character));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[test]
    fn a_text_is_one_line_of_500_characters_at_most() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("<html>\r\n\t<title>502</title>\n\n</html>\n", "<html> <title>502</title> </html>"),
            ("a\0b\u{1b}[31mred\u{7f}\u{85}c\u{2028}d", "a b [31mred c d"),
        ] {
            assert_eq!(&*ErrorText::from(text), expected);
        }
        for character in ["x", "ü", "\u{1F600}", "x "] {
            let text = ErrorText::from(character.repeat(1_000_000));
            assert_eq!(text.chars().count(), ERROR_TEXT_CHARS_MAX, "{character:?}");
            assert!(text.ends_with(CUT), "{text}");
        }
        let exact = "x".repeat(ERROR_TEXT_CHARS_MAX);
        assert_eq!(*ErrorText::from(exact.as_str()), *exact, "nothing is cut that fits");
    }

    #[derive(Debug, Error)]
    #[error("{text}")]
    struct Caused {
        text: &'static str,
        source: Option<Box<Caused>>,
    }

    #[test]
    fn a_chain_of_errors_names_each_cause_once_and_shows_no_struct() {
        let of = |texts: &[&'static str]| {
            let chain = texts.iter().rev().fold(None, |source, text| Some(Box::new(Caused { text, source })));
            let outermost = chain.expect("a text");
            let outermost: &(dyn StdError + 'static) = &*outermost;
            ErrorText::of_chain(std::iter::successors(Some(outermost), |&error| error.source())).to_string()
        };
        let debug = "DispatchFailure(DispatchFailure {\n    source: ConnectorError { kind: Io },\n})";
        assert_eq!(of(&["dispatch failure", "io error", "refused"]), "dispatch failure: io error: refused");
        assert_eq!(of(&["no token: refused", "refused", "refused"]), "no token: refused");
        assert_eq!(of(&["no token", debug, "refused"]), "no token: refused");
        assert_eq!(of(&["no token (DispatchFailure { source: Io })", "refused"]), "no token: refused");
        let json = "the answer {\"a\": 1} is no Answer { }";
        assert_eq!(of(&[json]), json, "a text with braces is no struct");
    }
}
