//! When the certificates of the config expire. They may be renewed under our hands, so the files are read again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::admin::CertificateStatus;
use crate::clock::UnixMillis;
use crate::config::{Config, Listener, Source, TlsIdentity};
use crate::metrics::{CertificateMetrics, CertificateOwner};
use crate::tls;

/// The certificates, as they were when they were looked at last.
#[derive(Debug)]
pub(super) struct Certificates {
    metrics: CertificateMetrics,
    /// The first to expire of each owner, in seconds since 1970.
    expire_at: Mutex<BTreeMap<CertificateOwner, u64>>,
}

impl Certificates {
    pub(super) fn new(metrics: CertificateMetrics) -> Self {
        Self { metrics, expire_at: Mutex::default() }
    }

    /// Reads all of them. Blocks. One that cannot be read now stands as it did, or for nothing: whoever uses it says why.
    pub(super) fn look(&self, config: &Config) {
        let mut found = BTreeMap::new();
        let mut expire_at = self.expire_at.lock().unwrap_or_else(PoisonError::into_inner);
        for (owner, file) in of(config) {
            let before = expire_at.get(&owner).copied();
            if let Some(seconds) = tls::certificate_expiry(file).or(before) {
                let first = found.entry(owner).or_insert(seconds);
                *first = seconds.min(*first);
            }
        }
        self.metrics.show(&found);
        *expire_at = found;
    }

    pub(super) fn status(&self) -> Vec<CertificateStatus> {
        let now = i64::try_from(UnixMillis::now().0 / 1000).unwrap_or(i64::MAX);
        let expire_at = self.expire_at.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(owner, seconds): (&CertificateOwner, &u64)| CertificateStatus {
            of: owner.in_words(),
            expires_in_seconds: i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_sub(now),
        };
        expire_at.iter().map(status).collect()
    }
}

/// Every certificate that this gateway shows to others, with whose it is.
fn of(config: &Config) -> Vec<(CertificateOwner, &Path)> {
    let mut all: Vec<(CertificateOwner, Option<&TlsIdentity>)> = Vec::new();
    for (name, source) in &config.sources {
        let owner = || CertificateOwner::Source(name.clone());
        let listeners: &[Listener] = match source {
            Source::Mqtt(options) => {
                all.push((owner(), options.tls.identity.as_ref()));
                &[]
            }
            #[cfg(feature = "broker")]
            Source::Broker(options) => &options.listeners,
            Source::Http(options) => &options.listeners,
        };
        for listener in listeners {
            all.push((owner(), listener.tls.as_ref().map(|tls| &tls.identity)));
        }
    }
    for (name, sink) in &config.sinks {
        let owner = match &sink.connection.connector {
            Some(connector) => CertificateOwner::Connector(connector.clone()),
            None => CertificateOwner::Sink(name.clone()),
        };
        all.push((owner, sink.connection.tls.identity.as_ref()));
    }
    let with_file = all.into_iter();
    with_file.filter_map(|(owner, identity)| Some((owner, identity?.cert_file.as_path()))).collect()
}
