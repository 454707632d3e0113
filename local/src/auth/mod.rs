//! Authentication: Signature Version 4 and the one access key that is known.
//!
//! - `sigv4.rs`: the algorithm, without keys or clock.
//! - `signature_verifier.rs`: verifies a request against the known access key.

mod signature_verifier;
mod sigv4;

#[cfg(test)]
pub(crate) use signature_verifier::format_date_time;
pub(crate) use signature_verifier::{SignatureVerifier, SignedRequest};
#[cfg(test)]
pub(crate) use sigv4::{CanonicalRequest, CredentialScope, signing_key};
