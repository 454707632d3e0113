//! `DescribeLogGroups` and `DescribeLogStreams`: what there is, page by page.
//!
//! Promises: a walk over the pages meets everything that was there all along exactly once, because a token names
//! the last item of its page rather than a number.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::limits::DESCRIBE_ITEMS;
use crate::manage::{CLASSES, group_of_identifier, parameters};
use crate::names::{check_group, check_stream};
use crate::store::{Group, Store};
use crate::stream::Stream;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    log_group_class: Option<String>,
    limit: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeLogStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    #[serde(default)]
    descending: Option<bool>,
    limit: Option<i64>,
    next_token: Option<String>,
}

/// Where the next page begins: after this item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct After(i64, String);

/// `DescribeLogGroups`.
pub(crate) fn log_groups(store: &Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: DescribeLogGroups = parameters(json)?;
    let limit = page_limit(input.limit)?;
    let after = input.next_token.as_deref().map(read_token).transpose()?;
    let identifiers = wanted_groups(&input)?;
    let wanted = |name: &str, group: &Group| match &identifiers {
        Some(identifiers) => identifiers.contains(&name),
        None => {
            input.log_group_name_prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix))
                && input.log_group_name_pattern.as_deref().is_none_or(|pattern| name.contains(pattern))
                && input.log_group_class.as_deref().is_none_or(|class| is_of_class(group, class))
        }
    };
    let rest = store
        .groups
        .iter()
        .filter(|(name, group)| wanted(name, group))
        .filter(|(name, _)| after.as_ref().is_none_or(|after| **name > after.1));
    let items = rest.map(|(name, group)| (After(0, name.clone()), group_json(name, group)));
    Ok(page("logGroups", items, limit))
}

/// `DescribeLogStreams`.
pub(crate) fn log_streams(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: DescribeLogStreams = parameters(json)?;
    let limit = page_limit(input.limit)?;
    let after = input.next_token.as_deref().map(read_token).transpose()?;
    let name = group_parameter(input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    if let Some(prefix) = &input.log_stream_name_prefix {
        check_stream("logStreamNamePrefix", prefix)?;
    }
    let by_time = match input.order_by.as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => {
            return Err(ServiceError::constraint(
                "orderBy",
                other,
                "Member must satisfy enum value set: [LogStreamName, LastEventTime]",
            ));
        }
    };
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(ServiceError::invalid_parameter(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let group = store.group(name)?;
    let arn = group.arn(name);
    let place = |name: &String, stream: &Stream| {
        After(if by_time { stream.last_event_ms.unwrap_or(0) } else { 0 }, name.clone())
    };
    let mut rest: Vec<(After, &Stream)> = group
        .streams
        .iter()
        .filter(|(name, _)| {
            input.log_stream_name_prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix))
        })
        .map(|(name, stream)| (place(name, stream), stream))
        .collect();
    rest.sort_by(|(left, _), (right, _)| left.cmp(right));
    let descending = input.descending.unwrap_or(false);
    if descending {
        rest.reverse();
    }
    let is_left = |place: &After| {
        after.as_ref().is_none_or(|after| if descending { place < after } else { place > after })
    };
    let items = rest.into_iter().filter(|(place, _)| is_left(place)).map(|(place, stream)| {
        let json = stream_json(&place.1, stream, &arn);
        (place, json)
    });
    Ok(page("logStreams", items, limit))
}

/// The group of a call that takes either its name or its identifier.
pub(crate) fn group_parameter<'a>(
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

/// Checks the filters, and returns the names that are asked for one by one, if they are.
fn wanted_groups(input: &DescribeLogGroups) -> Result<Option<Vec<&str>>, ServiceError> {
    if let Some(prefix) = &input.log_group_name_prefix {
        check_group("logGroupNamePrefix", prefix)?;
    }
    if let Some(pattern) = input.log_group_name_pattern.as_deref()
        && !pattern.is_empty()
    {
        check_group("logGroupNamePattern", pattern)?;
    }
    if let Some(class) = input.log_group_class.as_deref()
        && !CLASSES.contains(&class)
    {
        return Err(ServiceError::constraint(
            "logGroupClass",
            class,
            "Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]",
        ));
    }
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(ServiceError::invalid_parameter(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let Some(identifiers) = &input.log_group_identifiers else { return Ok(None) };
    if !(1..=DESCRIBE_ITEMS).contains(&identifiers.len()) {
        return Err(ServiceError::constraint(
            "logGroupIdentifiers",
            &format!("{} identifiers", identifiers.len()),
            "Member must have length between 1 and 50",
        ));
    }
    let other_filters = [&input.log_group_name_prefix, &input.log_group_name_pattern, &input.log_group_class];
    if other_filters.into_iter().any(Option::is_some) {
        return Err(ServiceError::invalid_parameter(
            "Log group identifiers cannot be combined with another filter.",
        ));
    }
    let name = |identifier| {
        let name = group_of_identifier(identifier);
        check_group("logGroupIdentifiers", name).map(|()| name)
    };
    identifiers.iter().map(|identifier| name(identifier)).collect::<Result<_, _>>().map(Some)
}

/// Asking for one of the two cheaper classes returns both, as the API reference says.
fn is_of_class(group: &Group, wanted: &str) -> bool {
    match wanted {
        "INFREQUENT_ACCESS" | "ESSENTIALS" => {
            matches!(group.class.as_str(), "INFREQUENT_ACCESS" | "ESSENTIALS")
        }
        _ => group.class == wanted,
    }
}

fn group_json(name: &str, group: &Group) -> Value {
    let arn = group.arn(name);
    let mut json = json!({
        "logGroupName": name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "logGroupArn": arn,
        "logGroupClass": group.class,
        "storedBytes": group.streams.values().map(|stream| stream.stored_bytes).sum::<usize>(),
    });
    if let Some(days) = group.retention_days {
        json["retentionInDays"] = days.into();
    }
    if let Some(key) = &group.kms_key {
        json["kmsKeyId"] = key.as_str().into();
    }
    json
}

fn stream_json(name: &str, stream: &Stream, group_arn: &str) -> Value {
    let mut json = json!({
        "logStreamName": name,
        "creationTime": stream.created_ms,
        "arn": format!("{group_arn}:log-stream:{name}"),
        "storedBytes": 0,
    });
    for (key, time) in [
        ("firstEventTimestamp", stream.first_event_ms),
        ("lastEventTimestamp", stream.last_event_ms),
        ("lastIngestionTime", stream.last_ingestion_ms),
    ] {
        if let Some(time) = time {
            json[key] = time.into();
        }
    }
    json
}

fn page(key: &str, mut items: impl Iterator<Item = (After, Value)>, limit: usize) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut last = None;
    for (place, json) in items.by_ref().take(limit) {
        shown.push(json);
        last = Some(place);
    }
    let mut output = json!({ key: shown });
    if let (Some(last), Some(_)) = (last, items.next()) {
        output["nextToken"] = write_token(&last).into();
    }
    output.to_string().into_bytes()
}

fn page_limit(limit: Option<i64>) -> Result<usize, ServiceError> {
    match limit {
        None => Ok(DESCRIBE_ITEMS),
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=DESCRIBE_ITEMS).contains(limit))
            .ok_or_else(|| {
                ServiceError::constraint(
                    "limit",
                    &limit.to_string(),
                    "Member must have value between 1 and 50",
                )
            }),
    }
}

fn write_token(after: &After) -> String {
    serde_json::to_string(after).expect("a number and a string are JSON")
}

fn read_token(token: &str) -> Result<After, ServiceError> {
    serde_json::from_str(token)
        .map_err(|_| ServiceError::invalid_parameter("The specified nextToken is invalid."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DESCRIBE_ITEMS;

    fn store(groups: usize) -> Store {
        let mut store = Store::default();
        for n in 0..groups {
            store.ensure_group(&format!("/g/{n:03}"), 1);
        }
        store
    }

    fn groups(store: &Store, body: &Value) -> Result<(Vec<String>, Value), String> {
        let json = log_groups(store, body.to_string().as_bytes()).map_err(|error| error.message)?;
        let page: Value = serde_json::from_slice(&json).unwrap();
        let names = page["logGroups"].as_array().unwrap().iter();
        Ok((
            names.map(|g| g["logGroupName"].as_str().unwrap().to_owned()).collect(),
            page["nextToken"].clone(),
        ))
    }

    #[test]
    fn a_walk_over_the_pages_meets_every_group_once() {
        let store = store(123);
        let (mut met, mut token) = (Vec::new(), Value::Null);
        loop {
            let body = if token.is_null() { json!({}) } else { json!({"nextToken": token}) };
            let (names, next) = groups(&store, &body).unwrap();
            assert!(names.len() <= DESCRIBE_ITEMS);
            met.extend(names);
            token = next;
            if token.is_null() {
                break;
            }
        }
        assert!(met.is_sorted() && met.len() == 123, "{} groups met", met.len());
    }

    #[test]
    fn groups_are_found_by_prefix_by_part_by_identifier_and_by_class() {
        let mut store = store(20);
        store.ensure_group("/other", 1).class = "ESSENTIALS".to_owned();
        let found = |body: Value| groups(&store, &body).unwrap().0;
        assert_eq!(found(json!({"logGroupNamePrefix": "/g/00"})).len(), 10);
        assert_eq!(found(json!({"logGroupNamePattern": "oth"})), ["/other"]);
        let identifiers =
            json!(["/g/001", "arn:aws:logs:us-east-1:000000000000:log-group:/g/002:*", "/missing"]);
        assert_eq!(found(json!({"logGroupIdentifiers": identifiers})), ["/g/001", "/g/002"]);
        assert_eq!(found(json!({"logGroupClass": "INFREQUENT_ACCESS"})), ["/other"]);
        assert_eq!(found(json!({"limit": 3})).len(), 3);
    }

    #[test]
    fn parameters_out_of_bounds_are_refused() {
        let store = store(1);
        for body in [
            json!({"limit": 0}),
            json!({"limit": 51}),
            json!({"logGroupIdentifiers": []}),
            json!({"logGroupIdentifiers": vec!["/g"; 51]}),
            json!({"logGroupIdentifiers": ["/g"], "logGroupNamePrefix": "/g"}),
            json!({"logGroupNamePattern": "g", "logGroupNamePrefix": "/g"}),
            json!({"nextToken": "nonsense"}),
            json!({"logGroupNamePrefix": ""}),
        ] {
            assert!(groups(&store, &body).is_err(), "{body}");
        }
        assert!(groups(&store, &json!({"logGroupIdentifiers": vec!["/g"; 50]})).is_ok());
    }

    #[test]
    fn streams_are_ordered_by_name_or_by_their_last_event_either_way() {
        let mut store = Store::default();
        for (name, last_ms) in [("a", 30), ("b", 10), ("c", 20)] {
            store.ensure_stream("g", name, 1).count_taken(1, 27, last_ms, last_ms, last_ms);
        }
        let mut names = |body: Value| {
            let mut met = String::new();
            let mut body = body;
            body["logGroupName"] = "g".into();
            body["limit"] = 2.into();
            loop {
                let json = log_streams(&mut store, body.to_string().as_bytes()).unwrap();
                let page: Value = serde_json::from_slice(&json).unwrap();
                met.extend(
                    page["logStreams"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|s| s["logStreamName"].as_str().unwrap()),
                );
                if page["nextToken"].is_null() {
                    return met;
                }
                body["nextToken"] = page["nextToken"].clone();
            }
        };
        assert_eq!(names(json!({})), "abc");
        assert_eq!(names(json!({"descending": true})), "cba");
        assert_eq!(names(json!({"orderBy": "LastEventTime"})), "bca");
        assert_eq!(names(json!({"orderBy": "LastEventTime", "descending": true})), "acb");
        assert_eq!(names(json!({"logStreamNamePrefix": "b"})), "b");
        let both = br#"{"logGroupName":"g","orderBy":"LastEventTime","logStreamNamePrefix":"a"}"#;
        assert!(log_streams(&mut store, both).is_err());
        assert_eq!(log_streams(&mut store, br#"{"logGroupName":"h"}"#), Err(ServiceError::no_group()));
    }
}
