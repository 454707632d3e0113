//! Reads and checks parameters that several operations have in common.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ServiceError;
use crate::names::check_group;

/// The classes of log groups.
pub(super) const CLASSES: [&str; 4] = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"];

/// The group and the stream that a call names; empty where it names none.
pub(crate) struct Names {
    pub group: String,
    pub stream: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NameParameters {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
}

/// Reads the parameters of an operation.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(json).map_err(|error| ServiceError::serialization(error.to_string()))
}

/// Reads the group and the stream that a call of any operation names, without a check of the names.
pub(super) fn names(json: &[u8]) -> Result<Names, ServiceError> {
    let input: NameParameters = parse(json)?;
    let by_identifier =
        || input.log_group_identifier.as_deref().map(|identifier| group_of_identifier(identifier).to_owned());
    Ok(Names {
        group: input.log_group_name.or_else(by_identifier).unwrap_or_default(),
        stream: input.log_stream_name.unwrap_or_default(),
    })
}

/// Returns the name of the group that an identifier stands for. The identifier is the name or the ARN of the group.
pub(super) fn group_of_identifier(identifier: &str) -> &str {
    match identifier.split_once(":log-group:") {
        Some((prefix, name)) if prefix.starts_with("arn:") => name.strip_suffix(":*").unwrap_or(name),
        _ => identifier,
    }
}

/// Returns the group of a call that takes either its name or its identifier.
pub(super) fn group_of_name_or_identifier<'a>(
    name: Option<&'a str>,
    identifier: Option<&'a str>,
) -> Result<&'a str, ServiceError> {
    match (name, identifier) {
        (Some(name), None) => {
            check_group("logGroupName", name)?;
            Ok(name)
        }
        (None, Some(identifier)) => {
            let name = group_of_identifier(identifier);
            check_group("logGroupIdentifier", name)?;
            Ok(name)
        }
        (None, None) => Err(ServiceError::missing("logGroupName")),
        (Some(_), Some(_)) => Err(ServiceError::invalid_parameter(
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )),
    }
}

/// Refuses a class of log groups that does not exist.
pub(super) fn check_class(class: &str) -> Result<(), ServiceError> {
    if CLASSES.contains(&class) {
        return Ok(());
    }
    Err(ServiceError::constraint(
        "logGroupClass",
        class,
        "Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]",
    ))
}

/// Returns the number of items on a page: the parameter `limit`, or `max` without it.
pub(super) fn page_limit(limit: Option<i64>, max: usize) -> Result<usize, ServiceError> {
    let Some(limit) = limit else { return Ok(max) };
    usize::try_from(limit).ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        let constraint = format!("Member must have value between 1 and {max}");
        ServiceError::constraint("limit", &limit.to_string(), &constraint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_name_or_an_arn() {
        for identifier in ["/a", "arn:aws:logs:r:1:log-group:/a", "arn:aws:logs:r:1:log-group:/a:*"] {
            assert_eq!(group_of_identifier(identifier), "/a");
        }
    }
}
