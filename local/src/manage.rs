//! The operations that create, change and delete log groups and streams.
//!
//! Promises: nothing is created twice, nothing is changed that was not there, and every parameter the service's model
//! bounds is checked against its bound.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ServiceError;
use crate::handler::Context;
use crate::limits::{KMS_KEY_CHARS, RETENTION_DAYS, TAG_KEY_CHARS, TAG_VALUE_CHARS, TAGS};
use crate::names::{check_group, check_stream};
use crate::store::{Group, Store};
use crate::stream::Stream;

/// The classes a log group may have.
pub(crate) const CLASSES: [&str; 4] = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"];

/// The group and the stream a request names; empty where it names none.
#[derive(Default)]
pub(crate) struct Names {
    pub group: String,
    pub stream: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateLogGroup {
    log_group_name: Option<String>,
    log_group_class: Option<String>,
    kms_key_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutRetentionPolicy {
    log_group_name: Option<String>,
    retention_in_days: Option<i64>,
}

/// Reads the parameters of an operation.
pub(crate) fn parameters<T: DeserializeOwned>(json: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(json).map_err(|error| ServiceError::serialization(error.to_string()))
}

/// What a request is about, whatever its operation.
pub(crate) fn names(json: &[u8]) -> Result<Names, ServiceError> {
    let target: Target = parameters(json)?;
    let by_identifier =
        || target.log_group_identifier.as_deref().map(|id| group_of_identifier(id).to_owned());
    Ok(Names {
        group: target.log_group_name.or_else(by_identifier).unwrap_or_default(),
        stream: target.log_stream_name.unwrap_or_default(),
    })
}

/// The name within a group's identifier, which is its name or its ARN.
pub(crate) fn group_of_identifier(identifier: &str) -> &str {
    match identifier.split_once(":log-group:") {
        Some((prefix, name)) if prefix.starts_with("arn:") => name.strip_suffix(":*").unwrap_or(name),
        _ => identifier,
    }
}

/// `CreateLogGroup`.
pub(crate) fn create_log_group(
    store: &mut Store,
    json: &[u8],
    context: &Context<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let input: CreateLogGroup = parameters(json)?;
    let name = group_name(input.log_group_name)?;
    if name.starts_with("aws/") {
        return Err(ServiceError::invalid_parameter("Log groups starting with AWS/ are reserved for AWS."));
    }
    let class = input.log_group_class.unwrap_or_else(|| "STANDARD".to_owned());
    if !CLASSES.contains(&class.as_str()) {
        return Err(ServiceError::constraint(
            "logGroupClass",
            &class,
            "Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]",
        ));
    }
    if let Some(key) = &input.kms_key_id
        && key.chars().count() > KMS_KEY_CHARS
    {
        return Err(ServiceError::constraint(
            "kmsKeyId",
            key,
            "Member must have length less than or equal to 256",
        ));
    }
    if let Some(tags) = &input.tags {
        check_tags(tags)?;
    }
    if store.groups.contains_key(&name) {
        return Err(ServiceError::already_exists("log group"));
    }
    let group = Group {
        created_ms: context.now_ms,
        region: context.region.to_owned(),
        class,
        kms_key: input.kms_key_id,
        ..Group::default()
    };
    store.groups.insert(name, group);
    Ok(Vec::new())
}

/// `CreateLogStream`.
pub(crate) fn create_log_stream(
    store: &mut Store,
    json: &[u8],
    context: &Context<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let (group, stream) = target(json)?;
    let group = store.group(&group)?;
    if group.streams.contains_key(&stream) {
        return Err(ServiceError::already_exists("log stream"));
    }
    group.streams.insert(stream, Stream::new(context.now_ms));
    Ok(Vec::new())
}

/// `PutRetentionPolicy`.
pub(crate) fn put_retention_policy(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: PutRetentionPolicy = parameters(json)?;
    let name = group_name(input.log_group_name)?;
    let days = input.retention_in_days.ok_or_else(|| ServiceError::missing("retentionInDays"))?;
    let allowed =
        RETENTION_DAYS.into_iter().find(|allowed| i64::from(*allowed) == days).ok_or_else(|| {
            let allowed = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
            ServiceError::constraint(
                "retentionInDays",
                &days.to_string(),
                &format!("Member must satisfy enum value set: [{allowed}]"),
            )
        })?;
    store.group(&name)?.retention_days = Some(allowed);
    Ok(Vec::new())
}

/// `DeleteLogGroup`.
pub(crate) fn delete_log_group(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: Target = parameters(json)?;
    let name = group_name(input.log_group_name)?;
    store.groups.remove(&name).ok_or_else(ServiceError::no_group)?;
    Ok(Vec::new())
}

/// `DeleteLogStream`.
pub(crate) fn delete_log_stream(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let (group, stream) = target(json)?;
    store.group(&group)?.streams.remove(&stream).ok_or_else(ServiceError::no_stream)?;
    Ok(Vec::new())
}

fn target(json: &[u8]) -> Result<(String, String), ServiceError> {
    let input: Target = parameters(json)?;
    let group = group_name(input.log_group_name)?;
    let stream = input.log_stream_name.ok_or_else(|| ServiceError::missing("logStreamName"))?;
    check_stream("logStreamName", &stream)?;
    Ok((group, stream))
}

fn group_name(name: Option<String>) -> Result<String, ServiceError> {
    let name = name.ok_or_else(|| ServiceError::missing("logGroupName"))?;
    check_group("logGroupName", &name)?;
    Ok(name)
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    let allowed =
        |c: char| c.is_alphabetic() || c.is_numeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    if !(1..=TAGS).contains(&tags.len()) {
        return Err(ServiceError::constraint(
            "tags",
            &format!("{} tags", tags.len()),
            "Member must have length between 1 and 50",
        ));
    }
    for (key, value) in tags {
        if !(1..=TAG_KEY_CHARS).contains(&key.chars().count()) || !key.chars().all(allowed) {
            return Err(ServiceError::constraint(
                "tags",
                key,
                "Map keys must be 1 to 128 of [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]",
            ));
        }
        if value.chars().count() > TAG_VALUE_CHARS || !value.chars().all(allowed) {
            return Err(ServiceError::constraint(
                "tags",
                value,
                "Map values must be 0 to 256 of [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: Context<'static> = Context { now_ms: 1_767_225_600_000, region: "eu-central-1" };

    fn create(store: &mut Store, body: &Value) -> Result<Vec<u8>, ServiceError> {
        create_log_group(store, body.to_string().as_bytes(), &NOW)
    }

    fn code<T>(result: Result<T, ServiceError>) -> String {
        result.err().map(|error| error.code.into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_group_is_created_once_with_its_class_key_and_tags() {
        let mut store = Store::default();
        for class in CLASSES {
            let body = json!({"logGroupName": class, "logGroupClass": class, "kmsKeyId": "arn:k", "tags": {"a b": ""}});
            assert_eq!(code(create(&mut store, &body)), "", "{class}");
            assert_eq!(store.groups[class].class, class);
            assert_eq!(code(create(&mut store, &body)), "ResourceAlreadyExistsException");
        }
    }

    #[test]
    fn what_a_group_cannot_be_is_refused() {
        let mut store = Store::default();
        let many: BTreeMap<String, String> = (0..51).map(|n| (n.to_string(), String::new())).collect();
        for body in [
            json!({}),
            json!({"logGroupName": "a b"}),
            json!({"logGroupName": "aws/mine"}),
            json!({"logGroupName": "a", "logGroupClass": "CHEAP"}),
            json!({"logGroupName": "a", "kmsKeyId": "k".repeat(257)}),
            json!({"logGroupName": "a", "tags": {}}),
            json!({"logGroupName": "a", "tags": many}),
            json!({"logGroupName": "a", "tags": {"a": "*"}}),
            json!({"logGroupName": "a", "tags": {"": "v"}}),
        ] {
            assert_eq!(code(create(&mut store, &body)), "InvalidParameterException", "{body}");
        }
        assert!(store.groups.is_empty(), "a refused group was created");
    }

    #[test]
    fn a_stream_needs_its_group_and_is_created_once() {
        let mut store = Store::default();
        let json = br#"{"logGroupName":"g","logStreamName":"s"}"#;
        assert_eq!(create_log_stream(&mut store, json, &NOW), Err(ServiceError::no_group()));
        store.ensure_group("g", 0);
        assert!(create_log_stream(&mut store, json, &NOW).is_ok());
        assert_eq!(code(create_log_stream(&mut store, json, &NOW)), "ResourceAlreadyExistsException");
    }

    #[test]
    fn retention_is_one_of_the_days_the_service_lists() {
        let mut store = Store::default();
        store.ensure_group("g", 0);
        let mut put = |group: &str, days: i64| {
            let body = json!({"logGroupName": group, "retentionInDays": days}).to_string();
            code(put_retention_policy(&mut store, body.as_bytes()))
        };
        for days in RETENTION_DAYS {
            assert_eq!(put("g", i64::from(days)), "", "{days}");
        }
        for days in [0, 2, 4, 15, 31, 366, 3654, -1] {
            assert_eq!(put("g", days), "InvalidParameterException", "{days}");
        }
        assert_eq!(put("other", 1), "ResourceNotFoundException");
    }

    #[test]
    fn what_is_deleted_is_gone_and_can_be_deleted_once() {
        let mut store = Store::default();
        store.ensure_stream("g", "s", 0);
        let json = br#"{"logGroupName":"g","logStreamName":"s"}"#;
        assert!(delete_log_stream(&mut store, json).is_ok());
        assert_eq!(delete_log_stream(&mut store, json), Err(ServiceError::no_stream()));
        assert!(delete_log_group(&mut store, json).is_ok());
        assert_eq!(delete_log_group(&mut store, json), Err(ServiceError::no_group()));
    }

    #[test]
    fn an_identifier_is_a_name_or_an_arn() {
        for identifier in ["/a", "arn:aws:logs:r:1:log-group:/a", "arn:aws:logs:r:1:log-group:/a:*"] {
            assert_eq!(group_of_identifier(identifier), "/a");
        }
    }
}
