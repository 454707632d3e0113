//! Patterns over names: `*` stands for any characters or none, `?` for exactly one.

/// Whether the whole of `text` fits the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last asterisk did not fit: it swallows one character more.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, swallowed)) => {
                    p = after;
                    t = swallowed + 1;
                    retry = Some((after, t));
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
            assert!(matches(pattern, text), "{pattern} did not fit {text}");
        }
        for (pattern, text) in [("*a*b*", "xxaxxbxx"), ("*aab", "aaaab"), ("", ""), ("a**", "a")] {
            assert!(matches(pattern, text), "{pattern} did not fit {text}");
        }
        for (pattern, text) in
            [("/denied/*", "/ok"), ("a?c", "ac"), ("", "a"), ("a", ""), ("*ab", "abc"), ("A", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} fitted {text}");
        }
    }
}
