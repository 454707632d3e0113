//! What passes and what does not pass for a request of the known key.

use super::*;
use hyper::header::{HeaderName, HeaderValue};

use std::time::{Duration, UNIX_EPOCH};

/// 2015-08-30 12:36:00.9 UTC.
const NOW: Duration = Duration::from_millis(1_440_938_160_900);
const NAMES: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// A request signed as a client would, with what the test changes.
struct Client {
    access_key: &'static str,
    secret_key: &'static str,
    date_time: &'static str,
    service: &'static str,
    signed: Vec<&'static str>,
    extra: Vec<(&'static str, &'static str)>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            access_key: "test",
            secret_key: "test",
            date_time: "20150830T123600Z",
            service: "logs",
            signed: NAMES.to_vec(),
            extra: Vec::new(),
        }
    }
}

impl Client {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:1"));
        headers.insert("x-amz-date", HeaderValue::from_static(self.date_time));
        headers.insert("x-amz-target", HeaderValue::from_static("Logs_20140328.PutLogEvents"));
        for (name, value) in &self.extra {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let scope = sigv4::Scope {
            date: &self.date_time[..8],
            region: "us-east-1",
            service: self.service,
            terminator: "aws4_request",
        };
        let canonical = Canonical {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            signed_headers: &self.signed,
            body_hash: [7; 32],
        };
        let signature =
            canonical.signature(&sigv4::signing_key(self.secret_key, scope), self.date_time, scope);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/us-east-1/{}/aws4_request, SignedHeaders={}, Signature={signature}",
            self.access_key,
            scope.date,
            self.service,
            self.signed.join(";")
        );
        headers.insert("authorization", HeaderValue::try_from(authorization).unwrap());
        headers
    }

    /// `Ok(region)` or the refusal's name and message.
    fn verdict(&self) -> Result<String, (String, String)> {
        verdict(&self.headers(), [7; 32])
    }
}

fn verdict(headers: &HeaderMap, body_hash: [u8; 32]) -> Result<String, (String, String)> {
    let keys = Keys::new("test".to_owned(), "test".to_owned());
    let request = Signed { method: "POST", path: "/", query: "", headers, body_hash };
    keys.verify(&request, UNIX_EPOCH + NOW)
        .map(str::to_owned)
        .map_err(|error| (error.code.into_owned(), error.message))
}

#[test]
fn a_request_of_the_known_key_passes_and_tells_its_region() {
    assert_eq!(Client::default().verdict(), Ok("us-east-1".to_owned()));
}

#[test]
fn an_unknown_key_id_is_unrecognized_and_a_wrong_secret_is_an_invalid_signature() {
    let unknown = Client { access_key: "other", ..Client::default() };
    assert_eq!(
        unknown.verdict().unwrap_err(),
        (
            "UnrecognizedClientException".to_owned(),
            "The security token included in the request is invalid.".to_owned()
        )
    );
    let wrong = Client { secret_key: "other", ..Client::default() };
    assert_eq!(wrong.verdict().unwrap_err().0, "InvalidSignatureException");
}

#[test]
fn the_body_and_every_signed_header_are_covered() {
    let headers = Client::default().headers();
    assert_eq!(verdict(&headers, [8; 32]).unwrap_err().0, "InvalidSignatureException", "another body passed");
    let mut headers = Client::default().headers();
    headers.insert("x-amz-target", HeaderValue::from_static("Logs_20140328.DeleteLogGroup"));
    assert_eq!(
        verdict(&headers, [7; 32]).unwrap_err().0,
        "InvalidSignatureException",
        "another operation passed"
    );
}

#[test]
fn no_signature_is_a_missing_authentication_token() {
    let mut headers = Client::default().headers();
    headers.remove("authorization");
    assert_eq!(verdict(&headers, [7; 32]).unwrap_err().0, "MissingAuthenticationTokenException");
}

#[test]
fn the_date_may_be_15_minutes_off_and_not_a_second_more() {
    for (date_time, wanted) in [
        ("20150830T122100Z", None),
        (
            "20150830T122059Z",
            Some("Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z"),
        ),
        ("20150830T125100Z", None),
        (
            "20150830T125101Z",
            Some("Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z"),
        ),
    ] {
        let verdict = Client { date_time, ..Client::default() }.verdict();
        match wanted {
            None => assert!(verdict.is_ok(), "{date_time}: {verdict:?}"),
            Some(text) => {
                let (code, message) = verdict.unwrap_err();
                assert_eq!(code, "InvalidSignatureException");
                assert!(message.starts_with(text), "{message}");
            }
        }
    }
}

#[test]
fn host_date_target_and_a_session_token_must_be_signed() {
    for left_out in NAMES {
        let signed = NAMES.into_iter().filter(|name| *name != left_out).collect();
        let (code, message) = Client { signed, ..Client::default() }.verdict().unwrap_err();
        assert_eq!(code, "InvalidSignatureException");
        assert!(message.contains(left_out), "{message}");
    }
    let token = vec![("x-amz-security-token", "t")];
    let unsigned = Client { extra: token.clone(), ..Client::default() };
    assert!(unsigned.verdict().unwrap_err().1.contains("x-amz-security-token"));
    let signed = vec!["host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    assert!(Client { extra: token, signed, ..Client::default() }.verdict().is_ok());
}

#[test]
fn another_service_in_the_scope_is_refused() {
    let verdict = Client { service: "s3", ..Client::default() }.verdict().unwrap_err();
    assert_eq!(verdict.0, "InvalidSignatureException");
}

#[test]
fn dates_survive_their_way_there_and_back() {
    for text in ["20150830T123600Z", "20240229T235959Z", "20261231T000000Z"] {
        assert_eq!(format_date_time(parse_date_time(text).unwrap()), text);
    }
    for bad in ["", "20150830 123600Z", "20151330T123600Z", "2015083aT123600Z", "20150830T123600+"] {
        assert_eq!(parse_date_time(bad), None, "{bad}");
    }
}
