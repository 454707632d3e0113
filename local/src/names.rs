//! Checks the names of log groups and log streams.

use crate::error::ServiceError;
use crate::limits::NAME_CHARS;

/// Refuses a wrong name of a log group. Allowed are 1 to 512 of `[.\-_/#A-Za-z0-9]`.
pub(crate) fn check_group(member: &str, name: &str) -> Result<(), ServiceError> {
    check_length(member, name)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#');
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err(ServiceError::constraint(
        member,
        name,
        "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
    ))
}

/// Refuses a wrong name of a log stream. Allowed are 1 to 512 characters except `:` and `*`.
pub(crate) fn check_stream(member: &str, name: &str) -> Result<(), ServiceError> {
    check_length(member, name)?;
    if name.contains([':', '*']) {
        return Err(ServiceError::constraint(
            member,
            name,
            "Member must satisfy regular expression pattern: [^:*]*",
        ));
    }
    Ok(())
}

fn check_length(member: &str, name: &str) -> Result<(), ServiceError> {
    if name.is_empty() {
        return Err(ServiceError::constraint(
            member,
            name,
            "Member must have length greater than or equal to 1",
        ));
    }
    if name.chars().count() > NAME_CHARS {
        return Err(ServiceError::constraint(
            member,
            name,
            "Member must have length less than or equal to 512",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_name_has_1_to_512_characters_of_the_allowed_set() {
        for valid in ["a", "/aws/lambda/x_1.2-3#", &"g".repeat(512)] {
            assert!(check_group("logGroupName", valid).is_ok(), "{valid} was refused");
        }
        for wrong in ["", "a b", "a:b", "a*", "ä", "a$", &"g".repeat(513)] {
            assert!(check_group("logGroupName", wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_stream_name_has_1_to_512_characters_without_colon_and_asterisk() {
        for valid in ["s", "2026/01/01/[$LATEST] ä", &"ü".repeat(512)] {
            assert!(check_stream("logStreamName", valid).is_ok(), "{valid} was refused");
        }
        for wrong in ["", "a:b", "a*", &"ü".repeat(513)] {
            assert!(check_stream("logStreamName", wrong).is_err(), "{wrong} was accepted");
        }
    }
}
