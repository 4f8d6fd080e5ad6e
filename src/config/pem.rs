//! Files with certificates and keys, looked into when the config is read rather than at the first connection.

use std::path::PathBuf;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsIdentity;
use super::reader::{Table, Value};

impl Value<'_> {
    /// A PEM file with at least one certificate.
    pub(super) fn certificates(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let certificates =
            CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match certificates {
            Ok(certificates) if certificates.is_empty() => self.pem_error(pem::Error::NoItemsFound),
            Ok(_) => Some(path),
            Err(error) => self.pem_error(error),
        }
    }

    /// A PEM file with a private key.
    fn private_key(&self) -> Option<PathBuf> {
        let path = self.path()?;
        match PrivateKeyDer::from_pem_file(&path) {
            Ok(_) => Some(path),
            Err(error) => self.pem_error(error),
        }
    }

    fn pem_error<T>(&self, error: pem::Error) -> Option<T> {
        let path = self.path()?;
        let path = path.display();
        self.wrong(match error {
            pem::Error::Io(error) => format!("cannot read {path}: {error}"),
            pem::Error::NoItemsFound => format!("{path} has none in it (PEM, `-----BEGIN ...`)"),
            _ => format!("{path} is damaged: {error}"),
        })
    }
}

impl Table<'_> {
    /// `cert_file` and `key_file`, of which each needs the other.
    pub(super) fn tls_identity(&mut self) -> Option<TlsIdentity> {
        match (self.get("cert_file"), self.get("key_file")) {
            (Some(cert_file), Some(key_file)) => {
                let (cert_file, key_file) = (cert_file.certificates(), key_file.private_key());
                Some(TlsIdentity { cert_file: cert_file?, key_file: key_file? })
            }
            (None, None) => None,
            (Some(one), None) => one.wrong("needs `key_file`, the private key of the certificate"),
            (None, Some(one)) => one.wrong("needs `cert_file`, the certificate of the key"),
        }
    }
}
