//! Verifies the signature of a request against the one access key that is known.
//!
//! A request passes only when all of this holds:
//!
//! - It is signed with the known key, for the service `logs`.
//! - The signature covers at least `host`, `x-amz-date` and `x-amz-target`, and the body as received.
//! - Its date is at most 15 minutes from the given time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use hyper::{HeaderMap, header};
use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::sigv4::{self, Authorization, CanonicalRequest, CredentialScope};
use crate::error::ServiceError;
use crate::limits::CLOCK_SKEW;

/// A request as received, before its signature is verified.
pub(crate) struct SignedRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// SHA-256 of the body as received.
    pub body_hash: [u8; 32],
}

/// Verifies signatures against the one access key that is known.
pub(crate) struct SignatureVerifier {
    access_key: String,
    secret_key: String,
    /// Guards the cache of signing keys, by date and region. It saves four HMACs per request. Never held across an
    /// await.
    signing_keys: Mutex<HashMap<(String, String), [u8; 32]>>,
}

impl SignatureVerifier {
    /// Makes a verifier for this access key.
    pub fn new(access_key: String, secret_key: String) -> Self {
        Self { access_key, secret_key, signing_keys: Mutex::default() }
    }

    /// Verifies a request and returns the region that it was signed for.
    pub fn verify<'a>(&self, request: &SignedRequest<'a>, now: SystemTime) -> Result<&'a str, ServiceError> {
        let authorization =
            header_text(request.headers, header::AUTHORIZATION.as_str()).ok_or_else(|| {
                ServiceError::new(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
            })?;
        let incomplete = |message| ServiceError::new(400, "IncompleteSignatureException", message);
        let authorization = Authorization::parse(authorization).map_err(incomplete)?;
        let date_time = header_text(request.headers, "x-amz-date").ok_or_else(|| {
            incomplete("Authorization header requires existence of 'X-Amz-Date' header.".to_owned())
        })?;
        if authorization.access_key != self.access_key {
            return Err(ServiceError::new(
                400,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ));
        }
        check_scope(&authorization, date_time)?;
        check_signed_headers(&authorization.signed_headers, request.headers)?;
        check_age(date_time, now)?;
        let expected = CanonicalRequest {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            signed_headers: &authorization.signed_headers,
            body_hash: request.body_hash,
        }
        .signature(&self.signing_key(authorization.scope), date_time, authorization.scope);
        if expected != authorization.signature {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        Ok(authorization.scope.region)
    }

    fn signing_key(&self, scope: CredentialScope<'_>) -> [u8; 32] {
        let mut signing_keys = self.signing_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (scope.date.to_owned(), scope.region.to_owned());
        *signing_keys.entry(key).or_insert_with(|| sigv4::signing_key(&self.secret_key, scope))
    }
}

fn check_scope(authorization: &Authorization<'_>, date_time: &str) -> Result<(), ServiceError> {
    let scope = authorization.scope;
    if scope.terminator != "aws4_request" {
        return Err(invalid("Credential should be scoped with a valid terminator: 'aws4_request'."));
    }
    if scope.service != "logs" {
        return Err(invalid("Credential should be scoped to correct service: 'logs'."));
    }
    if scope.region.is_empty() {
        return Err(invalid("Credential should be scoped to a valid region."));
    }
    if date_time.get(..8) != Some(scope.date) {
        return Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}'.",
            scope.date,
            date_time.get(..8).unwrap_or(date_time)
        )));
    }
    Ok(())
}

fn check_signed_headers(signed: &[&str], headers: &HeaderMap) -> Result<(), ServiceError> {
    let is_signed = |name: &str| signed.iter().any(|signed| signed.eq_ignore_ascii_case(name));
    for name in ["host", "x-amz-date", "x-amz-target"] {
        if !is_signed(name) {
            return Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    if headers.contains_key("x-amz-security-token") && !is_signed("x-amz-security-token") {
        return Err(invalid("'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization."));
    }
    match signed.iter().find(|name| !headers.contains_key(**name)) {
        Some(name) => Err(invalid(format!("'{name}' is a 'SignedHeader' and is not in the request."))),
        None => Ok(()),
    }
}

fn check_age(date_time: &str, now: SystemTime) -> Result<(), ServiceError> {
    let signed = parse_date_time(date_time)
        .ok_or_else(|| invalid(format!("Date must be in ISO-8601 'basic format'. Got '{date_time}'.")))?;
    let now = UtcDateTime::from(now).truncate_to_second();
    let (earliest, latest) = (now - CLOCK_SKEW, now + CLOCK_SKEW);
    if signed < earliest {
        return Err(invalid(format!(
            "Signature expired: {date_time} is now earlier than {} ({} - 15 min.)",
            format_date_time(earliest),
            format_date_time(now)
        )));
    }
    if signed > latest {
        return Err(invalid(format!(
            "Signature not yet current: {date_time} is still later than {} ({} + 15 min.)",
            format_date_time(latest),
            format_date_time(now)
        )));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "InvalidSignatureException", message)
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The format of `X-Amz-Date`.
const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Parses a date and time in UTC; returns `None` for any other format.
fn parse_date_time(text: &str) -> Option<UtcDateTime> {
    UtcDateTime::parse(text, DATE_TIME).ok()
}

/// Formats a time as `YYYYMMDDTHHMMSSZ`.
pub(crate) fn format_date_time(time: UtcDateTime) -> String {
    time.format(DATE_TIME).expect("a year of four digits fits the format")
}

#[cfg(test)]
#[path = "signature_verifier_tests.rs"]
mod tests;
