//! TLS towards a broker, and what an operator can do when it fails.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig};

use super::failure::{Failure, FailureKind};
use crate::config::TlsClient;
use crate::tls;

/// What a TLS handshake needs. Reads files: call it where blocking is allowed.
pub(super) fn client_config(tls: &TlsClient) -> Result<Arc<ClientConfig>, Failure> {
    tls::client_config(tls)
        .map(Arc::new)
        .map_err(|error| Failure::new(FailureKind::Unreachable, error.to_string()))
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
        why if tls::is_of_authority(why) => {
            format!("the broker's certificate {}", tls::OF_AUTHORITY)
        }
        other => format!("the broker's certificate is not accepted: {other}"),
    })
}
