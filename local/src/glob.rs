//! Matches a name against a pattern: `*` stands for any characters or none, `?` for exactly one.

/// Returns true when the pattern fits the whole of `text`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The place to continue after a mismatch: the last asterisk then takes one character more.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&expected) if expected == '?' || expected == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_asterisk, end)) => {
                    p = after_asterisk;
                    t = end + 1;
                    retry = Some((after_asterisk, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn an_asterisk_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "/a/b"),
            ("/denied/*", "/denied/"),
            ("/denied/*", "/denied/x/y"),
            ("a?c", "aäc"),
        ] {
            assert!(matches(pattern, text), "{pattern} does not match {text}");
        }
        for (pattern, text) in [("*a*b*", "xxaxxbxx"), ("*aab", "aaaab"), ("", ""), ("a**", "a")] {
            assert!(matches(pattern, text), "{pattern} does not match {text}");
        }
        for (pattern, text) in
            [("/denied/*", "/ok"), ("a?c", "ac"), ("", "a"), ("a", ""), ("*ab", "abc"), ("A", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} matches {text}");
        }
    }
}
