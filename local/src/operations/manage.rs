//! Creates, changes and deletes log groups and log streams.
//!
//! Nothing is created twice, and nothing is changed or deleted that does not exist. Every parameter is checked against
//! the bounds of the service's API model.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::context::CallContext;
use super::parameters::{self, Names};
use crate::error::ServiceError;
use crate::limits::{KMS_KEY_CHARS, RETENTION_DAYS, TAG_KEY_CHARS, TAG_VALUE_CHARS, TAGS};
use crate::names::{check_group, check_stream};
use crate::store::{Group, Store, Stream};

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteLogGroup {
    log_group_name: Option<String>,
}

/// The parameters of `CreateLogStream` and `DeleteLogStream`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamParameters {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
}

/// `CreateLogGroup`.
pub(super) fn create_log_group(
    store: &mut Store,
    json: &[u8],
    context: &CallContext<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let input: CreateLogGroup = parameters::parse(json)?;
    let name = group_name(input.log_group_name)?;
    if name.starts_with("aws/") {
        return Err(ServiceError::invalid_parameter("Log groups starting with AWS/ are reserved for AWS."));
    }
    let class = input.log_group_class.unwrap_or_else(|| "STANDARD".to_owned());
    parameters::check_class(&class)?;
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
pub(super) fn create_log_stream(
    store: &mut Store,
    json: &[u8],
    context: &CallContext<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let Names { group, stream } = stream_names(json)?;
    let group = store.group(&group)?;
    if group.streams.contains_key(&stream) {
        return Err(ServiceError::already_exists("log stream"));
    }
    group.streams.insert(stream, Stream::new(context.now_ms));
    Ok(Vec::new())
}

/// `PutRetentionPolicy`.
pub(super) fn put_retention_policy(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: PutRetentionPolicy = parameters::parse(json)?;
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
pub(super) fn delete_log_group(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: DeleteLogGroup = parameters::parse(json)?;
    let name = group_name(input.log_group_name)?;
    store.groups.remove(&name).ok_or_else(ServiceError::no_group)?;
    Ok(Vec::new())
}

/// `DeleteLogStream`.
pub(super) fn delete_log_stream(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let Names { group, stream } = stream_names(json)?;
    store.group(&group)?.streams.remove(&stream).ok_or_else(ServiceError::no_stream)?;
    Ok(Vec::new())
}

fn stream_names(json: &[u8]) -> Result<Names, ServiceError> {
    let input: StreamParameters = parameters::parse(json)?;
    let group = group_name(input.log_group_name)?;
    let stream = input.log_stream_name.ok_or_else(|| ServiceError::missing("logStreamName"))?;
    check_stream("logStreamName", &stream)?;
    Ok(Names { group, stream })
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

    const CONTEXT: CallContext<'static> = CallContext { now_ms: 1_767_225_600_000, region: "eu-central-1" };

    fn create(store: &mut Store, body: &Value) -> Result<Vec<u8>, ServiceError> {
        create_log_group(store, body.to_string().as_bytes(), &CONTEXT)
    }

    fn code<T>(result: Result<T, ServiceError>) -> String {
        result.err().map(|error| error.code.into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_group_is_created_once_with_its_class_key_and_tags() {
        let mut store = Store::default();
        for class in parameters::CLASSES {
            let body = json!({"logGroupName": class, "logGroupClass": class, "kmsKeyId": "arn:k", "tags": {"a b": ""}});
            assert_eq!(code(create(&mut store, &body)), "", "{class}");
            assert_eq!(store.groups[class].class, class);
            assert_eq!(code(create(&mut store, &body)), "ResourceAlreadyExistsException");
        }
    }

    #[test]
    fn wrong_parameters_of_a_group_are_refused() {
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
        assert_eq!(create_log_stream(&mut store, json, &CONTEXT), Err(ServiceError::no_group()));
        store.ensure_group("g", 0);
        assert!(create_log_stream(&mut store, json, &CONTEXT).is_ok());
        assert_eq!(code(create_log_stream(&mut store, json, &CONTEXT)), "ResourceAlreadyExistsException");
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
    fn a_deleted_group_or_stream_is_gone_and_cannot_be_deleted_again() {
        let mut store = Store::default();
        store.ensure_stream("g", "s", 0);
        let json = br#"{"logGroupName":"g","logStreamName":"s"}"#;
        assert!(delete_log_stream(&mut store, json).is_ok());
        assert_eq!(delete_log_stream(&mut store, json), Err(ServiceError::no_stream()));
        assert!(delete_log_group(&mut store, json).is_ok());
        assert_eq!(delete_log_group(&mut store, json), Err(ServiceError::no_group()));
    }
}
