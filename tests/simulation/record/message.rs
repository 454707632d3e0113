//! The messages that the host pushes.

/// The length from which a message is filled with a short ASCII text, so that it can be cut anywhere.
pub const LONG_BYTES: usize = 500_000;

/// The message of an event. The same numbers give the same message, so the service can check what arrives. Every
/// message begins with its token, and only the second piece of a long message has none.
pub fn message(token: usize, bytes: usize, emf: bool) -> Vec<u8> {
    let begin = match emf {
        true => format!("{{\"id\":{token},\"_aws\":{{\"CloudWatchMetrics\":[]}},\"x\":\""),
        false => format!("<{token}>"),
    };
    let mut message = begin.into_bytes();
    let room = bytes.saturating_sub(message.len());
    if emf {
        // Metrics are valid JSON, so no escape and no character is cut.
        let filler = match token % 5 {
            0 => "\u{fc}\u{20ac}",
            1 => "say \\\"x\\\"\\n\\t\\\\",
            _ => "plain text ",
        };
        message.extend(filler.repeat(room / filler.len()).bytes());
        message.extend(std::iter::repeat_n(b'.', room % filler.len()));
        message.extend_from_slice(b"\"}");
        return message;
    }
    let filler: &[u8] = match token % 5 {
        _ if bytes > LONG_BYTES => b"long",
        0 => "\u{fc}\u{20ac}".as_bytes(),
        1 => b"say \"x\"\n\t\\",
        2 => &[0xff, b'z', 0xc3],
        _ => b"plain text ",
    };
    message.extend(filler.iter().cycle().take(room));
    message
}

/// The token in a message.
pub fn token_of(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("<").or_else(|| text.strip_prefix("{\"id\":"))?;
    digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
