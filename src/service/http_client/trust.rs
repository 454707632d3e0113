//! The certificates that the client trusts.
//!
//! They are read when the first connection is opened, and again when they are a minute old or a server's certificate was
//! refused: a file that was missing or is replaced counts from the next connections on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::sync::lock;

/// The time for which certificates count without being read again. A CA that is taken out is trusted for as long.
const VALID_FOR: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Trust {
    /// The file to read in place of those of the system.
    ca_bundle: Option<PathBuf>,
    read: Mutex<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    tls_config: Arc<ClientConfig>,
    at: Instant,
}

impl Trust {
    /// Trusts the certificates in `ca_bundle`, a file in PEM. Without one it trusts those in `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`, or those of the system.
    pub fn new(ca_bundle: Option<PathBuf>) -> Self {
        Trust { ca_bundle, read: Mutex::default() }
    }

    /// The TLS configuration for the next connection.
    pub fn tls_config(&self) -> Result<Arc<ClientConfig>, BoxError> {
        let mut read = lock(&self.read);
        if let Some(read) = read.as_ref().filter(|read| read.at.elapsed() < VALID_FOR) {
            return Ok(read.tls_config.clone());
        }
        let tls_config = Arc::new(self.read_tls_config()?);
        *read = Some(Read { tls_config: tls_config.clone(), at: Instant::now() });
        Ok(tls_config)
    }

    /// Reads the certificates again before the next connection.
    pub fn read_again(&self) {
        *lock(&self.read) = None;
    }

    fn read_tls_config(&self) -> Result<ClientConfig, BoxError> {
        let roots = match &self.ca_bundle {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let why = |error: &dyn std::fmt::Display| {
                    format!("the CA bundle {} cannot be read: {error}", path.display())
                };
                for certificate in CertificateDer::pem_file_iter(path).map_err(|error| why(&error))? {
                    roots.add(certificate.map_err(|error| why(&error))?).map_err(|error| why(&error))?;
                }
                if roots.is_empty() {
                    return Err(format!("the CA bundle {} has no certificate", path.display()).into());
                }
                roots
            }
            None => {
                let mut roots = RootCertStore::empty();
                // A system has certificates that nobody can parse. They are left out, as everywhere else.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let mut tls_config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls_config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls_config)
    }
}
