//! A message on its way into JSON: any bytes in, the content of a JSON string out.
//!
//! Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid sequence, as with [`String::from_utf8_lossy`].
//! Everything else arrives unchanged.
//!
//! A small message is written straight into the body of the batch while the lock of the target is free. If other threads
//! hold the lock, the message is written to a buffer of the thread before the lock is taken, and only copied under the lock.
//! A large message is measured before the lock is taken, and written under the lock into room that is known to suffice.

use std::cell::Cell;
use std::str::from_utf8;

use crate::json::{self, ESCAPE_BYTES_MAX, ROOM_BEHIND};
use crate::memory::Buffer;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// The JSON between the timestamp of an event and its message.
pub const BEFORE: &[u8; 12] = br#","message":""#;

/// The JSON after the message of an event, with the comma.
const BEHIND: &[u8; 3] = br#""},"#;

/// The length of the JSON around one message, between its timestamp and the next event.
pub const AROUND_BYTES: usize = BEFORE.len() + BEHIND.len();

/// The size up to which a message is written before the lock is taken, in bytes: most log lines. The buffer of a thread for
/// them takes 12 KiB.
const SMALL_BYTES_MAX: usize = 2048;

thread_local! {
    /// The buffer for the next small message of the thread. Empty while it is in use, and before the first message.
    static SCRATCH: Cell<Box<[u8]>> = Cell::default();
}

/// The buffer of a thread for small messages, until this is dropped.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Scratch {
    /// The buffer of the calling thread. Another one while that is in use: a callback of the host may push while its thread does.
    #[inline]
    pub fn of_thread() -> Self {
        let scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        Scratch(if scratch.is_empty() { Self::make() } else { scratch })
    }

    #[cold]
    fn make() -> Box<[u8]> {
        vec![0; AROUND_BYTES + SMALL_BYTES_MAX * ESCAPE_BYTES_MAX + ROOM_BEHIND].into()
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.0);
        // A thread that ends keeps no buffer.
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
}

/// A message and the room that it will take.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    text_bytes: usize,
    json_bytes: usize,
    form: Form<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    /// The JSON of the message and the JSON around it.
    Written(&'a [u8]),
    /// The bytes of the message, which are UTF-8.
    Text(&'a [u8]),
    /// The bytes of the message, which are not UTF-8.
    Other(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Measures a message.
    pub fn measure(bytes: &'a [u8]) -> Self {
        if from_utf8(bytes).is_ok() {
            let json_bytes = bytes.len() + json::growth(bytes);
            return Message { text_bytes: bytes.len(), json_bytes, form: Form::Text(bytes) };
        }
        let (mut text_bytes, mut json_bytes) = (0, 0);
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().as_bytes();
            let replaced = if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() };
            text_bytes += valid.len() + replaced;
            json_bytes += valid.len() + json::growth(valid) + replaced;
        }
        Message { text_bytes, json_bytes, form: Form::Other(bytes) }
    }

    /// Writes a small message to the buffer of the thread. A message that is not small or not UTF-8 is only measured.
    #[inline]
    pub fn write(bytes: &'a [u8], scratch: &'a mut Scratch) -> Self {
        match write_small(bytes, &mut scratch.0) {
            Some(json_bytes) => Message {
                text_bytes: bytes.len(),
                json_bytes,
                form: Form::Written(&scratch.0[..AROUND_BYTES + json_bytes]),
            },
            None => Self::measure(bytes),
        }
    }

    /// The size of the message as UTF-8, in bytes. The service counts these.
    #[inline]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The size of the message as the content of a JSON string, in bytes.
    #[inline]
    pub fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// Appends the message with the JSON around it, from the end of the timestamp on: [`AROUND_BYTES`] and
    /// [`Message::json_bytes`] bytes.
    #[inline]
    pub fn append(&self, out: &mut Buffer) {
        match self.form {
            Form::Written(written) => out.append(written),
            _ => self.append_measured(out),
        }
    }

    fn append_measured(&self, out: &mut Buffer) {
        out.append(BEFORE);
        match self.form {
            Form::Written(_) => unreachable!("a written message is copied"),
            Form::Text(text) if self.json_bytes == text.len() => out.append(text),
            Form::Text(text) => json::append(text, |json| out.append(json)),
            Form::Other(bytes) => {
                for chunk in bytes.utf8_chunks() {
                    json::append(chunk.valid().as_bytes(), |json| out.append(json));
                    if !chunk.invalid().is_empty() {
                        out.append(REPLACEMENT);
                    }
                }
            }
        }
        out.append(BEHIND);
    }
}

/// Writes a small message with the JSON around it to the beginning of `out`. Returns the size of the JSON of the message.
/// Returns `None` for a message that is not small or not UTF-8, and when `out` has no room for the message with every byte
/// escaped. The content of `out` has no meaning then.
#[inline]
pub fn write_small(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    if bytes.len() > SMALL_BYTES_MAX {
        return None;
    }
    let (before, json) = out.split_first_chunk_mut()?;
    if json.len() < bytes.len() * ESCAPE_BYTES_MAX + ROOM_BEHIND {
        return None;
    }
    *before = *BEFORE;
    let escaped = json::escape(bytes, json);
    if !escaped.ascii && from_utf8(bytes).is_err() {
        return None;
    }
    json[escaped.bytes..][..BEHIND.len()].copy_from_slice(BEHIND);
    Some(escaped.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Buffers;
    use proptest::prelude::*;

    fn round_trip(bytes: &[u8]) -> String {
        let measured = appended(&Message::measure(bytes));
        let written = appended(&Message::write(bytes, &mut Scratch::of_thread()));
        assert_eq!(measured, written, "measured or written before makes a difference for {bytes:?}");
        measured
    }

    fn appended(message: &Message<'_>) -> String {
        let mut out = Buffer::new();
        out.grow_to(AROUND_BYTES + message.json_bytes(), &Buffers::new(1 << 20)).expect("memory");
        message.append(&mut out);
        let out = out.bytes();
        assert_eq!(
            out.len(),
            AROUND_BYTES + message.json_bytes(),
            "measured and written differ: {message:?}"
        );
        let json = out.strip_prefix(BEFORE).and_then(|json| json.strip_suffix(BEHIND)).expect("around it");
        let text: String = serde_json::from_slice(&[b"\"", json, b"\""].concat()).expect("valid JSON");
        assert_eq!(text.len(), message.text_bytes(), "counted bytes differ: {message:?}");
        text
    }

    #[test]
    fn a_push_inside_a_push_of_the_same_thread_finds_its_message_too() {
        let (mut outer, mut inner) = (Scratch::of_thread(), Scratch::of_thread());
        let outer = Message::write(b"outer \"1\"", &mut outer);
        let inner = Message::write(b"inner \"2\"", &mut inner);
        let both = (appended(&outer), appended(&inner));
        assert_eq!(both, ("outer \"1\"".into(), "inner \"2\"".into()));
    }

    #[test]
    fn long_messages_survive_too() {
        for length in [SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 100_000] {
            for character in ["x", "\"", "\u{1}", "\u{20AC}"] {
                let text = character.repeat(length / character.len());
                assert_eq!(round_trip(text.as_bytes()), text);
            }
        }
    }

    #[test]
    fn every_single_byte_survives_or_becomes_the_replacement_character() {
        for byte in 0..=255u8 {
            for bytes in [vec![byte], vec![b'a', byte, b'"'], vec![byte; 100]] {
                assert_eq!(round_trip(&bytes), String::from_utf8_lossy(&bytes));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_their_lossy_text(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(round_trip(&bytes), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_text_comes_back_as_it_was(text in "\\PC{0,50}[\\x00-\\x7f]{0,50}\\PC{0,50}") {
            prop_assert_eq!(round_trip(text.as_bytes()), text);
        }
    }
}
