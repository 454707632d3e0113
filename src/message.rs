//! A message on its way into JSON: any bytes in, a JSON string's content out.
//!
//! Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid sequence, as
//! [`String::from_utf8_lossy`] does it. Everything else survives as it is. A message is measured before the
//! target's lock is taken and written under it, into room that is known to suffice.

use std::str::from_utf8;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// A message and what it will take.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    text_bytes: usize,
    json_bytes: usize,
    valid: bool,
}

impl<'a> Message<'a> {
    /// Measures a message.
    pub fn measure(bytes: &'a [u8]) -> Self {
        if from_utf8(bytes).is_ok() {
            let json_bytes = bytes.len() + escape_growth(bytes);
            return Message { bytes, text_bytes: bytes.len(), json_bytes, valid: true };
        }
        let (mut text_bytes, mut json_bytes) = (0, 0);
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().as_bytes();
            let replaced = if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() };
            text_bytes += valid.len() + replaced;
            json_bytes += valid.len() + escape_growth(valid) + replaced;
        }
        Message { bytes, text_bytes, json_bytes, valid: false }
    }

    /// UTF-8 bytes of the message, which is what the service counts.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Bytes of the message as the content of a JSON string.
    pub fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// Appends the message as the content of a JSON string: [`Message::json_bytes`] bytes.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        if self.json_bytes == self.bytes.len() && self.valid {
            out.extend_from_slice(self.bytes);
        } else if self.valid {
            escape(self.bytes, out);
        } else {
            for chunk in self.bytes.utf8_chunks() {
                escape(chunk.valid().as_bytes(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice(REPLACEMENT);
                }
            }
        }
    }
}

/// What JSON puts in the place of a byte: nothing (0), a backslash and this letter, or `u` for \u00XX.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[0x08] = b'b';
    table[0x0C] = b'f';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Bytes that escaping adds. Plain comparisons without branches, which the compiler turns into SIMD.
fn escape_growth(text: &[u8]) -> usize {
    text.chunks(32).map(|chunk| chunk.iter().map(|&byte| byte_growth(byte)).sum::<u8>() as usize).sum()
}

/// Bytes that escaping adds to one byte: at most 5, so that 32 of them fit a `u8`.
fn byte_growth(byte: u8) -> u8 {
    let control = u8::from(byte < 0x20);
    let short =
        u8::from((byte == b'\n') | (byte == b'\r') | (byte == b'\t') | (byte == 0x08) | (byte == 0x0C));
    let quoted = u8::from((byte == b'"') | (byte == b'\\'));
    control * 5 - short * 4 + quoted
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape = ESCAPES[byte as usize];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[copied..at]);
        copied = at + 1;
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// Text as a JSON string with its quotes.
pub fn json_string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    escape(text.as_bytes(), &mut out);
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(bytes: &[u8]) -> String {
        let message = Message::measure(bytes);
        let mut out = vec![b'"'];
        message.write_json(&mut out);
        assert_eq!(out.len() - 1, message.json_bytes(), "measured and written differ for {bytes:?}");
        out.push(b'"');
        let text: String = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(text.len(), message.text_bytes(), "counted bytes differ for {bytes:?}");
        text
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
