//! TLS: a certificate that is made at each start.
//!
//! The certificate is valid for `localhost`, for 127.0.0.1 and for the address that the endpoint listens on. It signs
//! itself, so a client must be configured to trust it. Its key never leaves the process. Inside TLS, only HTTP/1.1 is
//! offered.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The certificate and its key.
pub(crate) struct Tls {
    /// Does the handshakes.
    pub acceptor: TlsAcceptor,
    /// The certificate in the form that a client needs to trust it.
    pub certificate_pem: String,
}

/// The certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Config(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Makes a key and a self-signed certificate.
    pub fn new(listen: IpAddr) -> Result<Self, TlsError> {
        let mut names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), listen.to_string()];
        names.dedup();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "cwl-local");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;

        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: certificate.pem() })
    }
}
