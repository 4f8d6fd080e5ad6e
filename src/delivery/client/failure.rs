//! Why an attempt failed, sorted by what an operator would do about it.

use std::error::Error;

use rustls::CertificateError;

use super::dial::{DialError, Unresolved};
use crate::delivery::outcome::TransportError;
use crate::tls;

/// The reason in the chain of `error`.
pub(super) fn in_words(error: &(dyn Error + 'static)) -> TransportError {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return TransportError::Tls(tls_in_words(tls));
    }
    if cause::<Unresolved>(error).is_some() {
        return TransportError::NameNotResolved;
    }
    match cause::<DialError>(error) {
        Some(DialError::Timeout) => return TransportError::ConnectTimeout,
        Some(DialError::Proxy(why)) => return TransportError::Other(why.clone()),
        Some(DialError::Setup(why)) => return TransportError::Tls(why.clone()),
        Some(error @ DialError::NoHttp2) => return TransportError::Other(error.to_string()),
        Some(DialError::Handshake(_)) => {
            let why = "the connection ended during the handshake: does this port speak TLS?";
            return TransportError::Tls(why.to_owned());
        }
        Some(DialError::Tcp(_)) | None => {}
    }
    if let Some(io) = cause::<std::io::Error>(error) {
        use std::io::ErrorKind;
        match io.kind() {
            ErrorKind::ConnectionRefused => return TransportError::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                return TransportError::Unreachable;
            }
            ErrorKind::TimedOut if cause::<DialError>(error).is_some() => {
                return TransportError::ConnectTimeout;
            }
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => return TransportError::Closed,
            _ => {}
        }
    }
    match cause::<hyper::Error>(error) {
        Some(http) if http.is_parse() => TransportError::NotHttp,
        Some(http) if http.is_incomplete_message() || http.is_closed() || http.is_canceled() => {
            TransportError::Closed
        }
        _ => TransportError::Other(innermost(error)),
    }
}

pub(super) fn tls_in_words(error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InvalidCertificate(why) => why,
        rustls::Error::AlertReceived(alert) => {
            return format!(
                "the service ended TLS with the alert {alert:?}: is a client certificate wanted, or another one than \
                 `tls.cert_file`?"
            );
        }
        rustls::Error::InvalidMessage(_) => {
            return "the service does not answer with TLS: is this its port for plain HTTP?"
                .to_owned();
        }
        other => return other.to_string(),
    };
    let why = match why {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is this machine's clock right?"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or this machine's clock is wrong"
        }
        // A signature does not fit when the authority was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "comes from an authority that is not trusted here: set `tls.ca_file` to it"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host name: set `tls.server_name` to a name in it"
        }
        why if tls::is_of_authority(why) => tls::OF_AUTHORITY,
        other => return format!("the server's certificate: {other}"),
    };
    format!("the server's certificate {why}")
}

/// The outermost cause of a type, also inside `std::io::Error`, which hides what it wraps.
fn cause<'error, T: Error + 'static>(error: &'error (dyn Error + 'static)) -> Option<&'error T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
