//! TLS towards whoever connects to a source, with ring as everywhere in Waypost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// Why a TLS listener cannot be set up: always a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not there, not readable, or not PEM.
    #[error("cannot read {what} from {}", path.display())]
    Read {
        /// What is expected in the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: rustls::pki_types::pem::Error,
    },
    /// Readable, but of no use: key and certificate do not belong together, an unknown kind of key.
    #[error("cannot use {what} from {}", path.display())]
    Use {
        /// What is in the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The authorities for client certificates are of no use.
    #[error("cannot use the client authorities from {}", path.display())]
    ClientAuthorities {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::server::VerifierBuilderError,
    },
}

/// An acceptor with the certificate, and with the demand for client certificates, of `tls`.
pub(super) fn acceptor(tls: &config::TlsServer) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config::TlsIdentity { cert_file, key_file } = &tls.identity;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3");
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier
                    .map_err(|source| TlsError::ClientAuthorities { path: path.clone(), source })?,
            )
        }
    };
    let what = "the private key";
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|source| TlsError::Read {
        what,
        path: key_file.clone(),
        source,
    })?;
    let chain = certificates("the certificate chain", cert_file)?;
    let config = builder.with_single_cert(chain, key);
    let what = "the certificate and its key";
    let config =
        config.map_err(|source| TlsError::Use { what, path: cert_file.clone(), source })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let what = "the client authorities";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Use { what, path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> =
        read.map_err(|source| TlsError::Read { what, path: path.to_owned(), source })?;
    if certificates.is_empty() {
        let source = rustls::pki_types::pem::Error::NoItemsFound;
        return Err(TlsError::Read { what, path: path.to_owned(), source });
    }
    Ok(certificates)
}
