//! JSON strings: escapes text, sixteen bytes at a time, and eight at its end.
//!
//! Most bytes of a log line are copied as they are, so whole vectors are copied at once. The bytes after the first one that
//! needs an escape are looked at again, after that escape. On access-log lines of 126 bytes that takes a third of the time
//! of a table look-up for each byte (`make bench`: `push.escape_loop_ns`).

use wide::u8x16;

/// The length of the longest escape, `\u0000`.
pub const ESCAPE_BYTES_MAX: usize = 6;

/// Room that [`escape`] needs after the longest text that it could write, in bytes.
pub const ROOM_BEHIND: usize = VECTOR;

const VECTOR: usize = 16;
const WORD: usize = 8;

const EACH_BYTE: u64 = u64::MAX / 255;
const EACH_HIGH_BIT: u64 = EACH_BYTE << 7;

/// The escape of each byte: 0 for none, a letter for a backslash and that letter, `u` for `\u00XX`.
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

/// The result of [`escape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped {
    /// The number of bytes that were written.
    pub bytes: usize,
    /// The whole text is ASCII.
    pub ascii: bool,
}

/// Writes the escaped text to the beginning of `out`. `out` has room for [`ESCAPE_BYTES_MAX`] bytes for each byte of the
/// text and [`ROOM_BEHIND`] more. Bytes beyond ASCII are copied: the caller knows whether they are UTF-8.
pub fn escape(text: &[u8], out: &mut [u8]) -> Escaped {
    let mut written = 0;
    let mut rest = text;
    let mut seen = u8x16::ZERO;
    while let Some(vector) = rest.first_chunk::<VECTOR>() {
        out[written..][..VECTOR].copy_from_slice(vector);
        let vector_seen = u8x16::from(*vector);
        seen |= vector_seen;
        let special = special(vector_seen);
        if special == 0 {
            written += VECTOR;
            rest = &rest[VECTOR..];
            continue;
        }
        let plain = special.trailing_zeros() as usize;
        written += plain;
        written += write_byte(rest[plain], &mut out[written..]);
        rest = &rest[plain + 1..];
    }
    let mut beyond_ascii = 0;
    while let Some(word) = rest.first_chunk::<WORD>() {
        out[written..][..WORD].copy_from_slice(word);
        let word_seen = u64::from_le_bytes(*word);
        beyond_ascii |= (word_seen & EACH_HIGH_BIT != 0) as u8 * 0x80;
        let plain = (special_in_word(word_seen).trailing_zeros() / 8) as usize;
        written += plain;
        if plain == WORD {
            rest = &rest[WORD..];
            continue;
        }
        written += write_byte(rest[plain], &mut out[written..]);
        rest = &rest[plain + 1..];
    }
    for &byte in rest {
        beyond_ascii |= byte;
        written += write_byte(byte, &mut out[written..]);
    }
    Escaped { bytes: written, ascii: beyond_ascii < 0x80 && high_bits(seen) == 0 }
}

/// Sets a bit for each byte that needs an escape.
#[inline]
fn special(vector: u8x16) -> u32 {
    let control = vector.min(u8x16::splat(0x1F)).simd_eq(vector);
    let quoted = vector.simd_eq(u8x16::splat(b'"')) | vector.simd_eq(u8x16::splat(b'\\'));
    (control | quoted).to_bitmask()
}

/// Sets the high bit of the first byte that needs an escape, and of some bytes after it. Zero when no byte needs one.
#[inline]
fn special_in_word(word: u64) -> u64 {
    let zero_bytes = |word: u64| word.wrapping_sub(EACH_BYTE) & !word;
    let control = word.wrapping_sub(EACH_BYTE * 0x20) & !word;
    let quote = zero_bytes(word ^ (EACH_BYTE * u64::from(b'"')));
    let backslash = zero_bytes(word ^ (EACH_BYTE * u64::from(b'\\')));
    (control | quote | backslash) & EACH_HIGH_BIT
}

#[inline]
fn high_bits(vector: u8x16) -> u32 {
    vector.to_bitmask()
}

/// Writes one byte, escaped if necessary. Returns the number of bytes written.
#[inline]
fn write_byte(byte: u8, out: &mut [u8]) -> usize {
    match ESCAPES[byte as usize] {
        0 => {
            out[0] = byte;
            1
        }
        b'u' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out[..6].copy_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            6
        }
        letter => {
            out[..2].copy_from_slice(&[b'\\', letter]);
            2
        }
    }
}

/// The number of bytes that escaping adds. Comparisons without branches, which the compiler turns into SIMD.
pub fn growth(text: &[u8]) -> usize {
    text.chunks(32).map(|chunk| chunk.iter().map(|&byte| byte_growth(byte)).sum::<u8>() as usize).sum()
}

/// The number of bytes that escaping adds to one byte: at most 5, so that the sum for 32 bytes fits a `u8`.
fn byte_growth(byte: u8) -> u8 {
    let control = u8::from(byte < 0x20);
    let short =
        u8::from((byte == b'\n') | (byte == b'\r') | (byte == b'\t') | (byte == 0x08) | (byte == 0x0C));
    let quoted = u8::from((byte == b'"') | (byte == b'\\'));
    control * 5 - short * 4 + quoted
}

/// Passes the escaped text to `out`, part by part.
pub fn append(text: &[u8], mut out: impl FnMut(&[u8])) {
    // As much at once as fits the room on the stack, whatever the text is.
    const AT_ONCE: usize = 128;
    let mut room = [0; AT_ONCE * ESCAPE_BYTES_MAX + ROOM_BEHIND];
    for part in text.chunks(AT_ONCE) {
        let escaped = escape(part, &mut room);
        out(&room[..escaped.bytes]);
    }
}

/// The length of the text whose escaped form this is, in bytes. The escapes are those that [`escape`] writes.
pub fn unescaped_bytes(json: &[u8]) -> usize {
    let (mut bytes, mut rest) = (0, json);
    while let Some(place) = memchr::memchr(b'\\', rest) {
        let escape_bytes = if rest.get(place + 1) == Some(&b'u') { ESCAPE_BYTES_MAX } else { 2 };
        bytes += place + 1;
        rest = rest.get(place + escape_bytes..).unwrap_or_default();
    }
    bytes + rest.len()
}

/// Text as a JSON string with its quotes.
pub fn json_string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    append(text.as_bytes(), |json| out.extend_from_slice(json));
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &[u8]) -> (Vec<u8>, bool) {
        let mut out = vec![0xAA; text.len() * ESCAPE_BYTES_MAX + ROOM_BEHIND];
        let escaped = escape(text, &mut out);
        out.truncate(escaped.bytes);
        (out, escaped.ascii)
    }

    #[test]
    fn every_byte_is_escaped_as_json_asks_wherever_it_stands() {
        for byte in 0..0x80_u8 {
            for place in 0..40 {
                let mut text = vec![b'x'; 40];
                text[place] = byte;
                let (json, ascii) = escaped(&text);
                let quoted = [b"\"", &json[..], b"\""].concat();
                let back: String = serde_json::from_slice(&quoted).expect("JSON");
                assert_eq!((back.as_bytes(), ascii), (&text[..], true));
                assert_eq!(json.len(), text.len() + growth(&text));
            }
        }
    }

    #[test]
    fn what_is_not_ascii_is_seen_wherever_it_stands() {
        for place in 0..40 {
            let mut text = vec![b'"'; 40];
            text[place] = 0x80;
            assert!(!escaped(&text).1, "at {place}");
        }
    }

    proptest! {
        #[test]
        fn appended_or_escaped_at_once_it_is_the_same(text in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (json, ascii) = escaped(&text);
            let mut appended = Vec::new();
            append(&text, |json| appended.extend_from_slice(json));
            prop_assert_eq!(ascii, text.is_ascii());
            prop_assert_eq!(json.len(), text.len() + growth(&text));
            prop_assert_eq!(appended, json);
        }
    }
}
