//! TLS: what the endpoint shows to its clients, made anew at each start.
//!
//! Promises: the certificate is good for `localhost`, for 127.0.0.1 and for the address listened on, and for whoever
//! trusts it alone; its key never leaves the process. HTTP/1.1 is all that is spoken inside.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// One certificate and its key.
pub(crate) struct Tls {
    /// Does the handshakes.
    pub acceptor: TlsAcceptor,
    /// The certificate as a client wants it, to trust it.
    pub certificate_pem: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Config(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Makes a key and a certificate that it signs itself.
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
