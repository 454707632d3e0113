//! Requests that pass the verification and requests that do not.

use super::*;
use hyper::header::{HeaderName, HeaderValue};

use std::time::{Duration, UNIX_EPOCH};

/// 2015-08-30 12:36:00.9 UTC.
const NOW: Duration = Duration::from_millis(1_440_938_160_900);
const NAMES: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// The parts of a signed request that a test may change.
struct Signer {
    access_key: &'static str,
    secret_key: &'static str,
    date_time: &'static str,
    service: &'static str,
    signed: Vec<&'static str>,
    extra: Vec<(&'static str, &'static str)>,
}

impl Default for Signer {
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

impl Signer {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:1"));
        headers.insert("x-amz-date", HeaderValue::from_static(self.date_time));
        headers.insert("x-amz-target", HeaderValue::from_static("Logs_20140328.PutLogEvents"));
        for (name, value) in &self.extra {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let scope = CredentialScope {
            date: &self.date_time[..8],
            region: "us-east-1",
            service: self.service,
            terminator: "aws4_request",
        };
        let canonical = CanonicalRequest {
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

    /// Verifies the request; returns the region, or the name and the message of the exception.
    fn verify(&self) -> Result<String, (String, String)> {
        verify(&self.headers(), [7; 32])
    }
}

fn verify(headers: &HeaderMap, body_hash: [u8; 32]) -> Result<String, (String, String)> {
    let verifier = SignatureVerifier::new("test".to_owned(), "test".to_owned());
    let request = SignedRequest { method: "POST", path: "/", query: "", headers, body_hash };
    verifier
        .verify(&request, UNIX_EPOCH + NOW)
        .map(str::to_owned)
        .map_err(|error| (error.code.into_owned(), error.message))
}

#[test]
fn a_request_signed_with_the_known_key_passes_with_its_region() {
    assert_eq!(Signer::default().verify(), Ok("us-east-1".to_owned()));
}

#[test]
fn an_unknown_key_id_is_unrecognized_and_a_wrong_secret_is_an_invalid_signature() {
    let unknown = Signer { access_key: "other", ..Signer::default() };
    assert_eq!(
        unknown.verify().unwrap_err(),
        (
            "UnrecognizedClientException".to_owned(),
            "The security token included in the request is invalid.".to_owned()
        )
    );
    let wrong = Signer { secret_key: "other", ..Signer::default() };
    assert_eq!(wrong.verify().unwrap_err().0, "InvalidSignatureException");
}

#[test]
fn the_body_and_every_signed_header_are_covered() {
    let headers = Signer::default().headers();
    assert_eq!(
        verify(&headers, [8; 32]).unwrap_err().0,
        "InvalidSignatureException",
        "a request with another body passed"
    );
    let mut headers = Signer::default().headers();
    headers.insert("x-amz-target", HeaderValue::from_static("Logs_20140328.DeleteLogGroup"));
    assert_eq!(
        verify(&headers, [7; 32]).unwrap_err().0,
        "InvalidSignatureException",
        "a request with another operation passed"
    );
}

#[test]
fn no_signature_is_a_missing_authentication_token() {
    let mut headers = Signer::default().headers();
    headers.remove("authorization");
    assert_eq!(verify(&headers, [7; 32]).unwrap_err().0, "MissingAuthenticationTokenException");
}

#[test]
fn the_date_may_be_15_minutes_off_and_not_a_second_more() {
    for (date_time, expected) in [
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
        let result = Signer { date_time, ..Signer::default() }.verify();
        match expected {
            None => assert!(result.is_ok(), "{date_time}: {result:?}"),
            Some(text) => {
                let (code, message) = result.unwrap_err();
                assert_eq!(code, "InvalidSignatureException");
                assert!(message.starts_with(text), "{message}");
            }
        }
    }
}

#[test]
fn host_date_target_and_a_session_token_must_be_signed() {
    for omitted in NAMES {
        let signed = NAMES.into_iter().filter(|name| *name != omitted).collect();
        let (code, message) = Signer { signed, ..Signer::default() }.verify().unwrap_err();
        assert_eq!(code, "InvalidSignatureException");
        assert!(message.contains(omitted), "{message}");
    }
    let token = vec![("x-amz-security-token", "t")];
    let unsigned = Signer { extra: token.clone(), ..Signer::default() };
    assert!(unsigned.verify().unwrap_err().1.contains("x-amz-security-token"));
    let signed = vec!["host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    assert!(Signer { extra: token, signed, ..Signer::default() }.verify().is_ok());
}

#[test]
fn another_service_in_the_scope_is_refused() {
    let result = Signer { service: "s3", ..Signer::default() }.verify().unwrap_err();
    assert_eq!(result.0, "InvalidSignatureException");
}

#[test]
fn a_parsed_date_is_formatted_as_before() {
    for text in ["20150830T123600Z", "20240229T235959Z", "20261231T000000Z"] {
        assert_eq!(format_date_time(parse_date_time(text).unwrap()), text);
    }
    for bad in ["", "20150830 123600Z", "20151330T123600Z", "2015083aT123600Z", "20150830T123600+"] {
        assert_eq!(parse_date_time(bad), None, "{bad}");
    }
}
