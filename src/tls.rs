//! TLS towards a server: ring is the provider, the system's authorities or an operator's own are trusted, and there is
//! no way to trust everybody.
//!
//! Files are read when a connection is made, so a renewed certificate is used without a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::config::{TlsClient, TlsIdentity};

/// What is wrong with a file or with the system, in an operator's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsSetupError(String);

/// What the files of a [`TlsClient`] looked like: length and time of change of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(Vec<Option<(u64, Option<SystemTime>)>>);

/// What a TLS handshake needs. Reads files: call it where blocking is allowed.
pub fn client_config(tls: &TlsClient) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsSetupError(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots(tls.ca_file.as_deref())?);
    let Some(identity) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = read_identity(identity)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        TlsSetupError(format!(
            "the client certificate `{}` and the key `{}` cannot be used: {error}",
            identity.cert_file.display(),
            identity.key_file.display()
        ))
    })
}

/// Changes when [`client_config`] has to be made anew. Looks at files: call it where blocking is allowed.
#[must_use]
pub fn version(tls: &TlsClient) -> Version {
    let identity =
        tls.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
    let look = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    };
    Version(tls.ca_file.iter().chain(identity).map(|path| look(path)).collect())
}

/// The version of TLS that the two ends of a connection have agreed on.
#[must_use]
pub fn version_in_words(session: &rustls::ClientConnection) -> &'static str {
    match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    }
}

/// Whether a server shows the certificate of an authority as its own. The library has no variant of its own for it.
#[must_use]
pub fn is_of_authority(why: &CertificateError) -> bool {
    matches!(why, CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity")
}

/// What to do then, after what is wrong.
pub const OF_AUTHORITY: &str = "is that of an authority (`openssl req -x509` makes such): give the server one of its own, \
                                with CA:FALSE, issued by that authority";

/// When the first certificate of a PEM file expires, in seconds since 1970; `None` when that cannot be said. Reads the file:
/// call it where blocking is allowed.
#[must_use]
pub fn certificate_expiry(cert_file: &Path) -> Option<u64> {
    read_certificates(cert_file).ok()?.iter().filter_map(expiry).min()
}

/// The library that reads certificates says when one expired, and nothing before that: so it is asked at the end of time.
/// It looks at that first, whatever else there is to say.
fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let (nobody, at) = (RootCertStore::empty(), UnixTime::since_unix_epoch(YEAR_9999));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let verified =
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, algorithms.all);
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsSetupError(
                "this system has no certificate authorities: install `ca-certificates` or set `tls.ca_file`".to_owned(),
            ));
        }
        return Ok(roots);
    };
    for certificate in read_certificates(file)? {
        roots.add(certificate).map_err(|error| {
            TlsSetupError(format!("`{}` is not a usable authority: {error}", file.display()))
        })?;
    }
    Ok(roots)
}

fn read_identity(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsSetupError> {
    let chain = read_certificates(&identity.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file).map_err(|error| {
        let file = identity.key_file.display();
        TlsSetupError(format!("cannot read a key from `{file}`: {error}"))
    })?;
    Ok((chain, key))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let cannot = |error: &dyn std::fmt::Display| {
        TlsSetupError(format!("cannot read certificates from `{}`: {error}", file.display()))
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot(&error))?;
    if certificates.is_empty() {
        return Err(cannot(&"there is none in it"));
    }
    Ok(certificates)
}
