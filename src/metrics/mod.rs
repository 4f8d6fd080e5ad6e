//! Every metric, in one file.
//!
//! Labels come from the config or from closed lists in the code, never from topics, client ids, URLs or payloads. Every series
//! exists at zero from the start. The counts of a queue are read under the queue's own lock, so that one scrape
//! always satisfies `recovered_at_start + enqueued = delivered + dead_lettered + dropped + queued`.

mod config;
mod letters;
mod meter;
mod queues;
mod rules;

use std::fmt;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use config::{CertificateMetrics, CertificateOwner, ConfigInfo, ConfigMetrics};
pub use letters::{DeadLetterCounts, DeadLetterReader, DeadLetterSnapshot};
pub use meter::{Meter, Rates, SAMPLE_PERIOD};
pub use queues::{QueueReader, QueueSnapshot};
pub use rules::{RuleFailure, RuleMetrics};

use crate::name::{RuleName, SinkName, SourceName};

/// Handles of one source.
#[derive(Debug, Clone)]
pub struct SourceMetrics {
    /// Events taken from the source.
    pub received: IntCounter,
    /// Events acknowledged to it.
    pub acknowledged: IntCounter,
    /// Events that came with the DUP flag: sent before, taken as new records.
    pub redelivered: IntCounter,
    /// QoS 0 events dropped because the intake was full.
    pub dropped: IntCounter,
    /// 1 while connected.
    pub connected: IntGauge,
    /// Connections after the first.
    pub reconnects: IntCounter,
    problems: IntCounterVec,
    name: SourceName,
}

impl SourceMetrics {
    /// The counter of one kind of problem.
    #[must_use]
    pub fn problem(&self, reason: &str) -> IntCounter {
        self.problems.with_label_values(&[self.name.as_str(), reason])
    }
}

/// Handles of one sink.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// Accepted to success answer.
    pub delivery_latency: Histogram,
    /// Duration of each request.
    pub request_duration: Histogram,
    /// Upper bound of the wait before the next attempt; zero when none is due.
    pub retry_delay: Gauge,
    /// Configured headers left out of a request because their value cannot stand in one.
    pub headers_dropped: IntCounter,
    /// Lots of records that fail while others are delivered.
    pub suspects: IntGauge,
    requests: IntCounterVec,
    state: IntGaugeVec,
    name: SinkName,
}

/// Outcomes of a request, the `class` label of `waypost_http_requests_total`.
pub const REQUEST_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "error"];

/// States of a sink, the `state` label of `waypost_sink_state`; exactly one is 1.
pub const SINK_STATES: [&str; 4] = ["ok", "retrying", "suspended", "paused"];

impl SinkMetrics {
    /// The counter of requests that ended with `class`.
    #[must_use]
    pub fn requests(&self, class: &str) -> IntCounter {
        self.requests.with_label_values(&[self.name.as_str(), class])
    }

    /// Marks the one state the sink is in.
    pub fn set_state(&self, current: &str) {
        for state in SINK_STATES {
            let value = i64::from(state == current);
            self.state.with_label_values(&[self.name.as_str(), state]).set(value);
        }
    }
}

/// Handles of the store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Duration of each commit, sync included.
    pub commit_duration: Histogram,
    /// Records of each commit.
    pub commit_records: Histogram,
    /// Bytes handed to the file system.
    pub written_bytes: IntCounter,
    /// What the data directory takes on the disk, as it was looked at last.
    pub disk_bytes: IntGauge,
    repairs: IntCounterVec,
}

/// Kinds of repair, the `reason` label of `waypost_store_repairs_total`.
pub const REPAIR_REASONS: [&str; 6] = [
    "unfinished_snapshot",
    "damaged_snapshot",
    "damaged_chunk",
    "damaged_letter",
    "lost_records",
    "set_aside",
];

impl StoreMetrics {
    /// The counter of one kind of repair.
    #[must_use]
    pub fn repairs(&self, reason: &str) -> IntCounter {
        self.repairs.with_label_values(&[reason])
    }
}

/// Families with a `source` label.
struct SourceFamilies {
    received: IntCounterVec,
    acknowledged: IntCounterVec,
    redelivered: IntCounterVec,
    dropped: IntCounterVec,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    problems: IntCounterVec,
}

/// Families with a `sink` label that the delivery writes.
struct SinkFamilies {
    delivery_latency: HistogramVec,
    request_duration: HistogramVec,
    requests: IntCounterVec,
    state: IntGaugeVec,
    retry_delay: GaugeVec,
    headers_dropped: IntCounterVec,
    suspects: IntGaugeVec,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    sources: SourceFamilies,
    sinks: SinkFamilies,
    rules: rules::RuleFamilies,
    /// Handles of the store.
    pub store: StoreMetrics,
    /// Which config is in use.
    pub config_info: ConfigInfo,
    /// When certificates expire.
    pub certificates: CertificateMetrics,
    /// Handles of the config.
    pub config: ConfigMetrics,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Seconds from a loopback answer to a week-long outage.
const LATENCY_BUCKETS: [f64; 14] = [
    0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0,
    604_800.0,
];
const REQUEST_BUCKETS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];
const COMMIT_BUCKETS: [f64; 11] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
const RECORDS_BUCKETS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// What the names, labels and help texts of this file promise: they never clash.
const VALID: &str = "metric names are valid and registered once";

struct Builder(Registry);

impl Builder {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect(VALID);
        collector
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels).expect(VALID))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels).expect(VALID))
    }

    fn sources(&self) -> SourceFamilies {
        let counters = |name, help| self.counters(name, help, &["source"]);
        SourceFamilies {
            received: counters("waypost_events_received_total", "Events taken from a source."),
            acknowledged: counters(
                "waypost_events_acknowledged_total",
                "Events acknowledged to a source.",
            ),
            redelivered: counters(
                "waypost_events_redelivered_total",
                "Events that a source marked as sent before; each is a record of its own.",
            ),
            dropped: counters(
                "waypost_events_dropped_total",
                "QoS 0 events dropped because the intake was full.",
            ),
            connected: self.gauges(
                "waypost_source_connected",
                "1 while the source is connected or listening.",
                &["source"],
            ),
            reconnects: counters("waypost_source_reconnects_total", "Connections after the first."),
            problems: self.counters(
                "waypost_source_problems_total",
                "What went wrong with a source.",
                &["source", "reason"],
            ),
        }
    }

    fn sinks(&self) -> SinkFamilies {
        let retry_delay = Opts::new(
            "waypost_sink_retry_delay_seconds",
            "Wait before the next attempt; 0 when none is due.",
        );
        SinkFamilies {
            delivery_latency: self.histograms(
                "waypost_delivery_latency_seconds",
                "Time from acceptance to the success answer.",
                &LATENCY_BUCKETS,
                &["sink"],
            ),
            request_duration: self.histograms(
                "waypost_http_request_duration_seconds",
                "Duration of a request, answer included.",
                &REQUEST_BUCKETS,
                &["sink"],
            ),
            requests: self.counters(
                "waypost_http_requests_total",
                "Requests by status class; `error` is no answer.",
                &["sink", "class"],
            ),
            state: self.gauges(
                "waypost_sink_state",
                "1 for the state the sink is in.",
                &["sink", "state"],
            ),
            retry_delay: self.add(GaugeVec::new(retry_delay, &["sink"]).expect(VALID)),
            headers_dropped: self.counters(
                "waypost_request_headers_dropped_total",
                "Configured headers left out because their value cannot stand in a header.",
                &["sink"],
            ),
            suspects: self.gauges(
                "waypost_sink_suspects",
                "Records, or batches with one among them, that fail while others are delivered.",
                &["sink"],
            ),
        }
    }

    fn store(&self) -> StoreMetrics {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            self.add(Histogram::with_opts(options).expect(VALID))
        };
        let repairs = self.counters(
            "waypost_store_repairs_total",
            "Damage found and dealt with when a queue was opened or read.",
            &["reason"],
        );
        for reason in REPAIR_REASONS {
            repairs.with_label_values(&[reason]).inc_by(0);
        }
        let written = IntCounter::new(
            "waypost_store_written_bytes_total",
            "Bytes of chunks handed to the file system.",
        );
        StoreMetrics {
            commit_duration: histogram(
                "waypost_store_commit_duration_seconds",
                "Time to make a group of records durable.",
                &COMMIT_BUCKETS,
            ),
            commit_records: histogram(
                "waypost_store_commit_records",
                "Records made durable by one commit.",
                &RECORDS_BUCKETS,
            ),
            written_bytes: self.add(written.expect(VALID)),
            disk_bytes: self.add(
                IntGauge::new(
                    "waypost_store_disk_bytes",
                    "What the data directory takes on disk; looked at once a minute.",
                )
                .expect(VALID),
            ),
            repairs,
        }
    }
}

/// What was not there needs no removal.
fn gone(removed: prometheus::Result<()>) {
    drop(removed);
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own with everything that has no label from the config.
    #[must_use]
    pub fn new() -> Self {
        let build = Builder(Registry::new());
        let info = build.gauges("waypost_build_info", "Always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        build.0.register(Box::new(process)).expect(VALID);
        Self {
            sources: build.sources(),
            sinks: build.sinks(),
            rules: rules::RuleFamilies::new(&build),
            store: build.store(),
            config_info: ConfigInfo::new(&build),
            certificates: CertificateMetrics::new(&build),
            config: ConfigMetrics::new(&build),
            registry: build.0,
        }
    }

    /// Handles for a source, each series at zero.
    #[must_use]
    pub fn source(&self, name: &SourceName, problems: &[&'static str]) -> SourceMetrics {
        let (families, label) = (&self.sources, &[name.as_str()]);
        for reason in problems {
            families.problems.with_label_values(&[name.as_str(), reason]).inc_by(0);
        }
        SourceMetrics {
            received: families.received.with_label_values(label),
            acknowledged: families.acknowledged.with_label_values(label),
            redelivered: families.redelivered.with_label_values(label),
            dropped: families.dropped.with_label_values(label),
            connected: families.connected.with_label_values(label),
            reconnects: families.reconnects.with_label_values(label),
            problems: families.problems.clone(),
            name: name.clone(),
        }
    }

    /// Handles for a rule, each series at zero.
    #[must_use]
    pub fn rule(&self, name: &RuleName) -> RuleMetrics {
        self.rules.of(name)
    }

    /// Handles for a sink, each series at zero and the sink `ok` unless it has a state already.
    #[must_use]
    pub fn sink(&self, name: &SinkName) -> SinkMetrics {
        let (families, label) = (&self.sinks, &[name.as_str()]);
        for class in REQUEST_CLASSES {
            families.requests.with_label_values(&[name.as_str(), class]).inc_by(0);
        }
        let metrics = SinkMetrics {
            delivery_latency: families.delivery_latency.with_label_values(label),
            request_duration: families.request_duration.with_label_values(label),
            retry_delay: families.retry_delay.with_label_values(label),
            headers_dropped: families.headers_dropped.with_label_values(label),
            suspects: families.suspects.with_label_values(label),
            requests: families.requests.clone(),
            state: families.state.clone(),
            name: name.clone(),
        };
        let state = |state| metrics.state.with_label_values(&[name.as_str(), state]).get();
        if SINK_STATES.into_iter().all(|one| state(one) == 0) {
            metrics.set_state("ok");
        }
        metrics
    }

    /// Shows a source no more: it is gone.
    pub fn forget_source(&self, name: &SourceName, problems: &[&'static str]) {
        let SourceFamilies {
            received,
            acknowledged,
            redelivered,
            dropped,
            connected,
            reconnects,
            problems: families,
        } = &self.sources;
        let name = name.as_str();
        for family in [received, acknowledged, redelivered, dropped, reconnects] {
            gone(family.remove_label_values(&[name]));
        }
        gone(connected.remove_label_values(&[name]));
        for reason in problems {
            gone(families.remove_label_values(&[name, reason]));
        }
    }

    /// Shows a rule no more: it is gone.
    pub fn forget_rule(&self, name: &RuleName) {
        self.rules.forget(name);
    }

    /// Shows a sink no more: it is gone.
    pub fn forget_sink(&self, name: &SinkName) {
        let SinkFamilies {
            delivery_latency,
            request_duration,
            requests,
            state,
            retry_delay,
            headers_dropped,
            suspects,
        } = &self.sinks;
        let name = name.as_str();
        gone(delivery_latency.remove_label_values(&[name]));
        gone(request_duration.remove_label_values(&[name]));
        gone(retry_delay.remove_label_values(&[name]));
        gone(headers_dropped.remove_label_values(&[name]));
        gone(suspects.remove_label_values(&[name]));
        for class in REQUEST_CLASSES {
            gone(requests.remove_label_values(&[name, class]));
        }
        for one in SINK_STATES {
            gone(state.remove_label_values(&[name, one]));
        }
    }

    /// Shows the counts of all queues, each read in one moment per scrape.
    pub fn register_queues(&self, read: QueueReader) {
        self.registry.register(Box::new(queues::QueueCollector::new(read))).expect(VALID);
    }

    /// Shows the counts of the dead letters.
    pub fn register_dead_letters(&self, read: DeadLetterReader) {
        let collector = letters::DeadLetterCollector::new(read);
        self.registry.register(Box::new(collector)).expect(VALID);
    }

    /// The text exposition format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing into memory");
        String::from_utf8(text).expect("the exposition format is UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_a_sink_again_leaves_its_state_alone() {
        let (metrics, name) = (Metrics::new(), SinkName::new("cloud").unwrap());
        let states = || {
            let shown = metrics.render();
            let lines = shown.lines().filter(|line| line.starts_with("waypost_sink_state{"));
            let current = lines.filter(|line| line.ends_with(" 1")).map(str::to_owned);
            current.collect::<Vec<_>>()
        };
        let sink = metrics.sink(&name);
        assert_eq!(states(), ["waypost_sink_state{sink=\"cloud\",state=\"ok\"} 1"]);
        sink.set_state("retrying");
        drop(metrics.sink(&name));
        assert_eq!(states(), ["waypost_sink_state{sink=\"cloud\",state=\"retrying\"} 1"]);
    }
}
