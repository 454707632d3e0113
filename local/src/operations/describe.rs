//! `DescribeLogGroups` and `DescribeLogStreams`: the log groups and log streams, page by page.
//!
//! A token names the last item of its page, not a number. So a client that reads page after page gets every item
//! exactly once, as long as the item exists all the time.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::parameters;
use crate::error::ServiceError;
use crate::limits::DESCRIBE_ITEMS;
use crate::names::{check_group, check_stream};
use crate::store::{Group, Store, Stream};

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum OrderBy {
    LogStreamName,
    LastEventTime,
}

/// The key that orders the items: the time of the last event, or 0 when the order is by name; then the name.
///
/// A token is the key of the last item of its page, as a JSON array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SortKey(i64, String);

impl SortKey {
    fn from_token(token: &str) -> Result<Self, ServiceError> {
        serde_json::from_str(token)
            .map_err(|_| ServiceError::invalid_parameter("The specified nextToken is invalid."))
    }

    fn to_token(&self) -> String {
        serde_json::to_string(self).expect("a number and a string can be written as JSON")
    }
}

/// `DescribeLogGroups`.
pub(super) fn log_groups(store: &Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: DescribeLogGroups = parameters::parse(json)?;
    let limit = parameters::page_limit(input.limit, DESCRIBE_ITEMS)?;
    let after = input.next_token.as_deref().map(SortKey::from_token).transpose()?;
    check_filters(&input)?;
    let identified = input.log_group_identifiers.as_deref().map(identified_groups).transpose()?;
    let is_selected = |name: &str, group: &Group| match &identified {
        Some(identified) => identified.contains(&name),
        None => {
            input.log_group_name_prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix))
                && input.log_group_name_pattern.as_deref().is_none_or(|pattern| name.contains(pattern))
                && input.log_group_class.as_deref().is_none_or(|class| is_of_class(group, class))
        }
    };
    let rest = store
        .groups
        .iter()
        .filter(|(name, group)| is_selected(name, group))
        .filter(|(name, _)| after.as_ref().is_none_or(|after| **name > after.1));
    let items = rest.map(|(name, group)| (SortKey(0, name.clone()), group_json(name, group)));
    Ok(page("logGroups", items, limit))
}

/// `DescribeLogStreams`.
pub(super) fn log_streams(store: &mut Store, json: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: DescribeLogStreams = parameters::parse(json)?;
    let limit = parameters::page_limit(input.limit, DESCRIBE_ITEMS)?;
    let after = input.next_token.as_deref().map(SortKey::from_token).transpose()?;
    let name = parameters::group_of_name_or_identifier(
        input.log_group_name.as_deref(),
        input.log_group_identifier.as_deref(),
    )?;
    let prefix = input.log_stream_name_prefix.as_deref().unwrap_or("");
    let order_by = order_of(&input)?;
    let group = store.group(name)?;
    let arn = group.arn(name);
    let key = |name: &String, stream: &Stream| match order_by {
        OrderBy::LogStreamName => SortKey(0, name.clone()),
        OrderBy::LastEventTime => SortKey(stream.last_event_ms.unwrap_or(0), name.clone()),
    };
    let mut streams: Vec<(SortKey, &Stream)> = group
        .streams
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, stream)| (key(name, stream), stream))
        .collect();
    streams.sort_by(|(left, _), (right, _)| left.cmp(right));
    let descending = input.descending.unwrap_or(false);
    if descending {
        streams.reverse();
    }
    let is_left =
        |key: &SortKey| after.as_ref().is_none_or(|after| if descending { key < after } else { key > after });
    let items = streams.into_iter().filter(|(key, _)| is_left(key)).map(|(key, stream)| {
        let json = stream_json(&key.1, stream, &arn);
        (key, json)
    });
    Ok(page("logStreams", items, limit))
}

/// Checks the prefix and returns the order.
fn order_of(input: &DescribeLogStreams) -> Result<OrderBy, ServiceError> {
    if let Some(prefix) = &input.log_stream_name_prefix {
        check_stream("logStreamNamePrefix", prefix)?;
    }
    let order_by = match input.order_by.as_deref() {
        None | Some("LogStreamName") => OrderBy::LogStreamName,
        Some("LastEventTime") => OrderBy::LastEventTime,
        Some(other) => {
            return Err(ServiceError::constraint(
                "orderBy",
                other,
                "Member must satisfy enum value set: [LogStreamName, LastEventTime]",
            ));
        }
    };
    if order_by == OrderBy::LastEventTime && input.log_stream_name_prefix.is_some() {
        return Err(ServiceError::invalid_parameter(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    Ok(order_by)
}

/// Checks the filters and their combination.
fn check_filters(input: &DescribeLogGroups) -> Result<(), ServiceError> {
    if let Some(prefix) = &input.log_group_name_prefix {
        check_group("logGroupNamePrefix", prefix)?;
    }
    if let Some(pattern) = input.log_group_name_pattern.as_deref()
        && !pattern.is_empty()
    {
        check_group("logGroupNamePattern", pattern)?;
    }
    if let Some(class) = &input.log_group_class {
        parameters::check_class(class)?;
    }
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(ServiceError::invalid_parameter(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let Some(identifiers) = &input.log_group_identifiers else { return Ok(()) };
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
    Ok(())
}

/// Returns the names of the groups that the identifiers stand for.
fn identified_groups(identifiers: &[String]) -> Result<Vec<&str>, ServiceError> {
    let mut names = Vec::with_capacity(identifiers.len());
    for identifier in identifiers {
        let name = parameters::group_of_identifier(identifier);
        check_group("logGroupIdentifiers", name)?;
        names.push(name);
    }
    Ok(names)
}

/// Returns true when a filter by class selects the group. A filter by one of the two cheaper classes selects both, as
/// the API reference says.
fn is_of_class(group: &Group, class: &str) -> bool {
    match class {
        "INFREQUENT_ACCESS" | "ESSENTIALS" => {
            matches!(group.class.as_str(), "INFREQUENT_ACCESS" | "ESSENTIALS")
        }
        _ => group.class == class,
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

fn page(key: &str, mut items: impl Iterator<Item = (SortKey, Value)>, limit: usize) -> Vec<u8> {
    let mut on_page = Vec::new();
    let mut last = None;
    for (sort_key, json) in items.by_ref().take(limit) {
        on_page.push(json);
        last = Some(sort_key);
    }
    let mut output = json!({ key: on_page });
    if let (Some(last), Some(_)) = (last, items.next()) {
        output["nextToken"] = last.to_token().into();
    }
    output.to_string().into_bytes()
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
    fn all_pages_together_hold_every_group_once() {
        let store = store(123);
        let (mut read, mut token) = (Vec::new(), Value::Null);
        loop {
            let body = if token.is_null() { json!({}) } else { json!({"nextToken": token}) };
            let (names, next) = groups(&store, &body).unwrap();
            assert!(names.len() <= DESCRIBE_ITEMS);
            read.extend(names);
            token = next;
            if token.is_null() {
                break;
            }
        }
        assert!(read.is_sorted() && read.len() == 123, "{} groups read", read.len());
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
            store.ensure_stream("g", name, 1).count_accepted(1, 27, last_ms, last_ms, last_ms);
        }
        let mut names = |body: Value| {
            let mut read = String::new();
            let mut body = body;
            body["logGroupName"] = "g".into();
            body["limit"] = 2.into();
            loop {
                let json = log_streams(&mut store, body.to_string().as_bytes()).unwrap();
                let page: Value = serde_json::from_slice(&json).unwrap();
                read.extend(
                    page["logStreams"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|s| s["logStreamName"].as_str().unwrap()),
                );
                if page["nextToken"].is_null() {
                    return read;
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
