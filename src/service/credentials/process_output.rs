//! The output of a `credential_process`: one JSON object of version 1.
//!
//! It holds secrets. So no error shows a part of it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::attributes::AccountId;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value};

/// Reads the credentials in the output of a `credential_process`.
pub(super) fn parse(output: &[u8]) -> Result<Credentials, String> {
    let Ok(Value::Object(object)) = serde_json::from_slice(output) else {
        return Err("its output is not a JSON object".to_owned());
    };
    if member(&object, "Version").and_then(Value::as_u64) != Some(1) {
        return Err("its output does not say \"Version\": 1".to_owned());
    }
    let text = |name| match member(&object, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{name} in its output is not text")),
    };
    let required = |name| text(name)?.ok_or_else(|| format!("{name} is missing in its output"));
    let mut credentials = Credentials::builder()
        .access_key_id(required("AccessKeyId")?)
        .secret_access_key(required("SecretAccessKey")?)
        .provider_name("CredentialProcess");
    credentials.set_session_token(text("SessionToken")?.map(str::to_owned));
    credentials.set_expiry(text("Expiration")?.map(time).transpose()?);
    credentials.set_account_id(text("AccountId")?.map(AccountId::from));
    Ok(credentials.build())
}

/// The member with this name. AWS's own SDK ignores the case of the names.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn time(text: &str) -> Result<SystemTime, String> {
    let parsed = DateTime::from_str(text, Format::DateTimeWithOffset).ok();
    parsed
        .and_then(|time| SystemTime::try_from(time).ok())
        .ok_or_else(|| "Expiration in its output is not a time such as 2030-01-31T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_output_of_version_1_is_read() {
        let output =
            br#"{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret", "SessionToken": "token",
            "Expiration": "2030-01-01T01:00:00+01:00", "AccountId": "123456789012"}"#;
        let credentials = parse(output).expect("it is complete");
        assert_eq!((credentials.access_key_id(), credentials.secret_access_key()), ("key", "secret"));
        assert_eq!(credentials.session_token(), Some("token"));
        assert_eq!(credentials.expiry(), Some(UNIX_EPOCH + Duration::from_secs(1_893_456_000)));
        assert_eq!(credentials.account_id().map(AccountId::as_str), Some("123456789012"));
    }

    #[test]
    fn credentials_without_a_token_and_an_expiration_are_for_ever() {
        for rest in
            ["", r#", "SessionToken": "", "Expiration": """#, r#", "SessionToken": null, "Expiration": null"#]
        {
            let output =
                format!(r#"{{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret"{rest}}}"#);
            let credentials = parse(output.as_bytes()).expect("it is complete");
            assert_eq!((credentials.session_token(), credentials.expiry()), (None, None), "{rest}");
        }
    }

    #[test]
    fn an_error_names_the_fault_and_never_shows_the_output() {
        for (output, why) in [
            ("", "not a JSON object"),
            ("\"hunter2\"", "not a JSON object"),
            ("{\"SecretAccessKey\": \"hunter2\"", "not a JSON object"),
            (r#"{"AccessKeyId": "key", "SecretAccessKey": "hunter2"}"#, "Version"),
            (r#"{"Version": 2, "AccessKeyId": "key", "SecretAccessKey": "hunter2"}"#, "Version"),
            (r#"{"Version": 1, "SecretAccessKey": "hunter2"}"#, "AccessKeyId is missing"),
            (r#"{"Version": 1, "AccessKeyId": "hunter2"}"#, "SecretAccessKey is missing"),
            (r#"{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": ["hunter2"]}"#, "SecretAccessKey"),
            (
                r#"{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "s", "Expiration": "hunter2"}"#,
                "Expiration",
            ),
        ] {
            let error = parse(output.as_bytes()).expect_err(output);
            assert!(error.contains(why) && !error.contains("hunter2"), "{output}: {error}");
        }
    }
}
