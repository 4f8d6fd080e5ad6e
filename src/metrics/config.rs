//! The config and the certificates that it names.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Opts};

use super::queues::float;
use super::{Builder, VALID};
use crate::clock::UnixMillis;
use crate::name::{ConnectorName, SinkName, SourceName};

/// Whose certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateOwner {
    /// Of a source: towards a broker, or towards devices.
    Source(SourceName),
    /// Of a sink.
    Sink(SinkName),
    /// Of all sinks with this connector.
    Connector(ConnectorName),
}

impl CertificateOwner {
    /// `source local`
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Source(name) => format!("source {name}"),
            Self::Sink(name) => format!("sink {name}"),
            Self::Connector(name) => format!("connector {name}"),
        }
    }

    /// Values of the labels `source`, `sink` and `connector`; an empty label is none.
    fn labels(&self) -> [&str; 3] {
        match self {
            Self::Source(name) => [name.as_str(), "", ""],
            Self::Sink(name) => ["", name.as_str(), ""],
            Self::Connector(name) => ["", "", name.as_str()],
        }
    }
}

/// When certificates expire.
#[derive(Debug, Clone)]
pub struct CertificateMetrics(GaugeVec);

impl CertificateMetrics {
    pub(super) fn new(build: &Builder) -> Self {
        let options = Opts::new(
            "waypost_certificate_expiry_timestamp_seconds",
            "When the first certificate of a source, a sink or a connector expires, in seconds since 1970.",
        );
        let labels = &["source", "sink", "connector"];
        Self(build.add(GaugeVec::new(options, labels).expect(VALID)))
    }

    /// Shows these and no others.
    pub fn show(&self, expire_at: &BTreeMap<CertificateOwner, u64>) {
        self.0.reset();
        for (owner, seconds) in expire_at {
            self.0.with_label_values(&owner.labels()).set(float(*seconds));
        }
    }
}

/// Which config is in use.
#[derive(Debug, Clone)]
pub struct ConfigInfo(IntGaugeVec);

impl ConfigInfo {
    pub(super) fn new(build: &Builder) -> Self {
        let help =
            "Always 1; the label is the SHA-256 of the config file in use, its first 16 digits.";
        Self(build.gauges("waypost_config_info", help, &["hash"]))
    }

    /// Shows this one and no other.
    pub fn show(&self, hash: &str) {
        self.0.reset();
        self.0.with_label_values(&[hash]).set(1);
    }
}

/// Whether the config file is in use.
#[derive(Debug, Clone)]
pub struct ConfigMetrics {
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
}

impl ConfigMetrics {
    pub(super) fn new(build: &Builder) -> Self {
        let successful = IntGauge::new(
            "waypost_config_last_reload_successful",
            "1 when the config that was read last is in use, 0 when it was wrong or could not be taken over.",
        );
        let timestamp = Gauge::new(
            "waypost_config_last_reload_success_timestamp_seconds",
            "When the config that is in use was read, in seconds since 1970.",
        );
        Self {
            reload_successful: build.add(successful.expect(VALID)),
            reload_timestamp: build.add(timestamp.expect(VALID)),
        }
    }

    /// Notes that the config was read, or that it was tried; the start counts.
    pub fn note_reload(&self, is_successful: bool) {
        self.reload_successful.set(is_successful.into());
        if is_successful {
            let now = Duration::from_millis(UnixMillis::now().0);
            self.reload_timestamp.set(now.as_secs_f64());
        }
    }
}
