//! TLS towards a broker: ring is the provider, certificates are read at every connect, so a renewed one is used.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::failure::{Failure, FailureKind};
use crate::config::{TlsClient, TlsIdentity};

/// What a TLS handshake needs. Reads files: call it where blocking is allowed.
pub(super) fn client_config(tls: &TlsClient) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unreachable(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots(tls.ca_file.as_deref())?);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                unreachable(format!(
                    "the client certificate `{}` and the key `{}` cannot be used: {error}",
                    identity.cert_file.display(),
                    identity.key_file.display()
                ))
            })?
        }
    };
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(unreachable(
                "this system has no certificate authorities: install `ca-certificates` or set `tls.ca_file`",
            ));
        }
        return Ok(roots);
    };
    for certificate in read_certificates(file)? {
        roots.add(certificate).map_err(|error| {
            unreachable(format!("`{}` is not a usable authority: {error}", file.display()))
        })?;
    }
    Ok(roots)
}

fn read_identity(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let chain = read_certificates(&identity.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file).map_err(|error| {
        unreachable(format!("cannot read a key from `{}`: {error}", identity.key_file.display()))
    })?;
    Ok((chain, key))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        unreachable(format!("cannot read certificates from `{}`: {error}", file.display()))
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot(&error))?;
    if certificates.is_empty() {
        return Err(cannot(&"there is none in it"));
    }
    Ok(certificates)
}

fn unreachable(text: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unreachable, text)
}

/// What an operator can do about a TLS error, `None` when `error` is none.
///
/// With TLS 1.3 a broker refuses a client certificate only after our handshake is done, so look at read errors too.
pub(super) fn explain(error: &io::Error, server_name: &str) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return Some(match error {
            rustls::Error::AlertReceived(alert) => format!(
                "the broker ended TLS with the alert {alert:?}: is a client certificate wanted, or another one than `tls.cert_file`?"
            ),
            rustls::Error::InvalidMessage(_) => {
                "the broker does not answer with TLS: is this its port for plain MQTT?".to_owned()
            }
            other => format!("TLS failed: {other}"),
        });
    };
    Some(match certificate {
        // A signature does not fit when the authority was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the broker's certificate comes from an authority that is not trusted here: set `tls.ca_file` to it".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired, or this machine's clock is ahead".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet: this machine's clock is probably behind".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the broker's certificate is not for `{server_name}`: set `tls.server_name` to a name in it"
            )
        }
        other => format!("the broker's certificate is not accepted: {other}"),
    })
}
