//! Signature Version 4, computed from the request as received.
//!
//! This module knows the algorithm only: no access key, no clock, no response. [`CanonicalRequest::signature`] is the
//! signature that AWS documents for the given request, key and date.

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use sha2::{Digest, Sha256};

/// The name of the algorithm, at the beginning of the `Authorization` header.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of an `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authorization<'a> {
    /// Access key id.
    pub access_key: &'a str,
    /// Credential scope: date, region, service and terminator.
    pub scope: CredentialScope<'a>,
    /// Names of the signed headers, as sent.
    pub signed_headers: Vec<&'a str>,
    /// The signature, in hexadecimal.
    pub signature: &'a str,
}

/// The scope that a signing key is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CredentialScope<'a> {
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// Region, such as `us-east-1`.
    pub region: &'a str,
    /// Service, such as `logs`.
    pub service: &'a str,
    /// Always `aws4_request`.
    pub terminator: &'a str,
}

impl<'a> Authorization<'a> {
    /// Parses the header. The error names the part that is missing or malformed.
    pub fn parse(header: &'a str) -> Result<Self, String> {
        let fields = header
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| format!("Authorization header requires the algorithm '{ALGORITHM}'."))?;
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {
                    return Err(format!(
                        "'{}' not a valid key=value pair in Authorization header.",
                        field.trim()
                    ));
                }
            }
        }
        let missing = |name| format!("Authorization header requires '{name}' parameter.");
        let credential = credential.ok_or_else(|| missing("Credential"))?;
        // The scope is the last four parts; the access key id is before them.
        let mut parts = credential.rsplitn(5, '/');
        let (terminator, service, region, date, access_key) =
            match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(t), Some(s), Some(r), Some(d), Some(k)) => (t, s, r, d, k),
                _ => {
                    return Err(format!(
                        "Credential '{credential}' is not KEY/DATE/REGION/SERVICE/aws4_request."
                    ));
                }
            };
        Ok(Self {
            access_key,
            scope: CredentialScope { date, region, service, terminator },
            signed_headers: headers.ok_or_else(|| missing("SignedHeaders"))?.split(';').collect(),
            signature: signature.ok_or_else(|| missing("Signature"))?,
        })
    }
}

/// The parts of a request that the signature covers.
pub(crate) struct CanonicalRequest<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path as received.
    pub path: &'a str,
    /// Query as received, without the `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Names of the headers that are signed.
    pub signed_headers: &'a [&'a str],
    /// SHA-256 of the body as received.
    pub body_hash: [u8; 32],
}

impl CanonicalRequest<'_> {
    /// Returns the canonical request, as AWS documents it.
    pub fn text(&self) -> String {
        let mut names: Vec<String> =
            self.signed_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        let mut text =
            format!("{}\n{}\n{}\n", self.method, canonical_path(self.path), canonical_query(self.query));
        for name in &names {
            let values: Vec<String> = self
                .headers
                .get_all(name.as_str())
                .iter()
                .map(|value| collapse_spaces(&String::from_utf8_lossy(value.as_bytes())))
                .collect();
            text.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        text.push_str(&format!("\n{}\n{}", names.join(";"), hex(&self.body_hash)));
        text
    }

    /// Returns the signature in hexadecimal. `date_time` is `YYYYMMDDTHHMMSSZ`.
    pub fn signature(&self, signing_key: &[u8; 32], date_time: &str, scope: CredentialScope<'_>) -> String {
        let CredentialScope { date, region, service, terminator } = scope;
        let request_hash = hex(&Sha256::digest(self.text()));
        let to_sign =
            format!("{ALGORITHM}\n{date_time}\n{date}/{region}/{service}/{terminator}\n{request_hash}");
        hex(&hmac_sha256(signing_key, to_sign.as_bytes()))
    }
}

/// Derives the key that signs the requests of one day to one service in one region.
pub(crate) fn signing_key(secret_key: &str, scope: CredentialScope<'_>) -> [u8; 32] {
    let date = hmac_sha256(format!("AWS4{secret_key}").as_bytes(), scope.date.as_bytes());
    let region = hmac_sha256(&date, scope.region.as_bytes());
    let service = hmac_sha256(&region, scope.service.as_bytes());
    hmac_sha256(&service, scope.terminator.as_bytes())
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| DIGITS[usize::from(nibble)] as char)
        .collect()
}

/// Encodes every segment of the received path once more, as for every service except S3.
fn canonical_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len().max(1));
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(byte as char)
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    if encoded.is_empty() { "/".to_owned() } else { encoded }
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

fn collapse_spaces(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_list_users_example_of_the_aws_documentation_gets_the_published_signature() {
        let headers = headers(&[
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ]);
        let request = CanonicalRequest {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &headers,
            signed_headers: &["content-type", "host", "x-amz-date"],
            body_hash: Sha256::digest(b"").into(),
        };
        let scope = CredentialScope {
            date: "20150830",
            region: "us-east-1",
            service: "iam",
            terminator: "aws4_request",
        };
        let key = signing_key(SECRET, scope);
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
        assert_eq!(
            hex(&Sha256::digest(request.text())),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        assert_eq!(
            request.signature(&key, "20150830T123600Z", scope),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn get_vanilla_of_the_aws_test_suite_gets_the_published_signature() {
        let headers = headers(&[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")]);
        let request = CanonicalRequest {
            method: "GET",
            path: "/",
            query: "",
            headers: &headers,
            signed_headers: &["host", "x-amz-date"],
            body_hash: Sha256::digest(b"").into(),
        };
        let scope = CredentialScope {
            date: "20150830",
            region: "us-east-1",
            service: "service",
            terminator: "aws4_request",
        };
        assert_eq!(
            request.signature(&signing_key(SECRET, scope), "20150830T123600Z", scope),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn an_authorization_header_is_parsed_and_its_errors_name_the_part() {
        let header = "AWS4-HMAC-SHA256 Credential=AK/20150830/eu-west-1/logs/aws4_request,SignedHeaders=host;x-amz-date, Signature=ab";
        let parsed = Authorization::parse(header).unwrap();
        assert_eq!(
            (parsed.access_key, parsed.scope.region, parsed.scope.service),
            ("AK", "eu-west-1", "logs")
        );
        assert_eq!((parsed.signed_headers, parsed.signature), (vec!["host", "x-amz-date"], "ab"));
        for (bad, part) in [
            ("AWS Credential=a/b", "algorithm"),
            ("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=ab", "Credential"),
            ("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=ab", "a/b/c"),
            ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=ab", "SignedHeaders"),
            ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host", "Signature"),
        ] {
            let error = Authorization::parse(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
