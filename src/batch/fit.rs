//! The rules of the service about a message, applied before the event goes into a queue.
//!
//! A message that is too long is cut, split or refused. It is cut between two characters, never within one. A message in the
//! embedded metric format is recognized, so that its request can say so.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::message::Message;
use crate::config::{Emf, Oversize};
use crate::limits::MESSAGE_BYTES_MAX;

/// The end of a message that was cut. AWS's own agent writes the same.
pub const TRUNCATED: &str = "[Truncated...]";

/// Finds the key without which a message is not in the embedded metric format. Only a message with it is parsed.
static EMF_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""CloudWatchMetrics""#));

/// The part of a message that makes it embedded metric format: a JSON object whose root has `_aws`, which has
/// `CloudWatchMetrics`. Source: the specification of the format.
#[derive(Deserialize)]
struct EmfDocument {
    #[serde(rename = "_aws")]
    _metadata: EmfMetadata,
}

#[derive(Deserialize)]
struct EmfMetadata {
    #[serde(rename = "CloudWatchMetrics")]
    _metrics: IgnoredAny,
}

/// Returns whether a message is to be sent as embedded metric format.
pub fn is_emf(emf: Emf, message: &[u8]) -> bool {
    match emf {
        Emf::Never => false,
        Emf::Always => true,
        Emf::Auto => {
            message.trim_ascii_start().first() == Some(&b'{')
                && EMF_KEY.find(message).is_some()
                && serde_json::from_slice::<EmfDocument>(message).is_ok()
        }
    }
}

/// A message that was made to fit the limits of the service.
#[derive(Debug)]
pub enum Fitted<'a> {
    /// The message fits as it is.
    Whole(Message<'a>),
    /// The message was cut. Holds the text with its new end.
    Cut(String),
    /// The message goes out in pieces. Holds the text, and the places at which its pieces begin and end.
    Pieces(String, Vec<usize>),
    /// The message is refused. Holds its size as UTF-8, in bytes.
    TooLong(usize),
    /// The message takes more memory than one target may ever hold.
    NeverFits {
        /// The least memory that it takes, in bytes.
        needs: usize,
        /// The most memory that a target may hold, in bytes.
        limit: usize,
    },
}

/// Makes a message fit. `limit` is the most memory that a target may ever hold, in bytes.
pub fn fit(oversize: Oversize, limit: usize, bytes: &[u8]) -> Fitted<'_> {
    let message = Message::measure(bytes);
    if message.text_bytes() <= MESSAGE_BYTES_MAX {
        return Fitted::Whole(message);
    }
    match oversize {
        Oversize::Reject => Fitted::TooLong(message.text_bytes()),
        Oversize::Truncate => {
            // Lossy text is never shorter than its bytes, so no more of them is needed.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_BYTES_MAX)]);
            let end = text.floor_char_boundary(MESSAGE_BYTES_MAX - TRUNCATED.len());
            Fitted::Cut([&text[..end], TRUNCATED].concat())
        }
        Oversize::Split if message.json_bytes() > limit => {
            Fitted::NeverFits { needs: message.json_bytes(), limit }
        }
        Oversize::Split => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let mut places = vec![0];
            let mut place = 0;
            while place < text.len() {
                place = text.floor_char_boundary((place + MESSAGE_BYTES_MAX).min(text.len()));
                places.push(place);
            }
            Fitted::Pieces(text, places)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_message_ends_at_a_characters_boundary_and_says_so() {
        for character in ["x", "ü", "\u{20AC}", "\u{1F600}"] {
            let message = character.repeat(MESSAGE_BYTES_MAX / character.len() + 1);
            let Fitted::Cut(cut) = fit(Oversize::Truncate, usize::MAX, message.as_bytes()) else {
                panic!("{character} is cut")
            };
            let kept = cut.strip_suffix(TRUNCATED).expect("it says so");
            assert!(message.starts_with(kept));
            assert!((MESSAGE_BYTES_MAX - 3..=MESSAGE_BYTES_MAX).contains(&cut.len()), "{}", cut.len());
        }
        let Fitted::Cut(cut) = fit(Oversize::Truncate, usize::MAX, &vec![0xFF; MESSAGE_BYTES_MAX]) else {
            panic!("cut")
        };
        assert!(cut.len() <= MESSAGE_BYTES_MAX && cut.starts_with("\u{FFFD}\u{FFFD}"));
    }

    #[test]
    fn pieces_make_up_the_whole_and_each_fits() {
        let message = "a\u{1F600}".repeat(MESSAGE_BYTES_MAX / 2);
        let Fitted::Pieces(text, places) = fit(Oversize::Split, usize::MAX, message.as_bytes()) else {
            panic!("split")
        };
        let pieces: Vec<_> = places.windows(2).map(|place| &text[place[0]..place[1]]).collect();
        assert_eq!(pieces.concat(), message);
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= MESSAGE_BYTES_MAX));
        assert_eq!(pieces.len(), message.len().div_ceil(MESSAGE_BYTES_MAX));
    }

    #[test]
    fn metrics_are_recognized_by_their_key_in_a_json_object() {
        let metrics = br#" {"_aws":{"CloudWatchMetrics":[]},"latency":1}"#;
        assert!(is_emf(Emf::Auto, metrics) && is_emf(Emf::Always, b"x") && !is_emf(Emf::Never, metrics));
        for other in [
            &b"no json \"CloudWatchMetrics\""[..],
            b"{\"metrics\":1}",
            b"",
            b"{CloudWatchMetrics}",
            br#"{"msg":"policy","x":{"CloudWatchMetrics":1}}"#,
            br#"{"msg":"policy","CloudWatchMetrics":1}"#,
            br#"{"msg":"policy","x":{"_aws":{"CloudWatchMetrics":[]}}}"#,
            br#"{"_aws":"\"CloudWatchMetrics\""}"#,
            br#"{"_aws":{"CloudWatchMetrics":[]}"#,
        ] {
            assert!(!is_emf(Emf::Auto, other), "{}", String::from_utf8_lossy(other));
        }
    }
}
