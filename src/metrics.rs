//! Every metric, in one file.
//!
//! Labels come from the config or from closed lists in the code, never from topics, client ids, URLs or payloads. Every series
//! exists at zero from the start. The counts of a queue are read under the queue's own lock, so that one scrape
//! always satisfies `recovered_at_start + enqueued = delivered + dead_lettered + dropped + queued`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::name::{RuleName, SinkName, SourceName};

/// Counts of one queue, taken in one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueSnapshot {
    /// Records found at the start of the process.
    pub recovered: u64,
    /// Records taken since, those dropped on arrival included.
    pub enqueued: u64,
    /// Records a success answer was given for.
    pub delivered: u64,
    /// Records given up, by reason. Every reason the queue knows, also at zero.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Records that wait or are in flight.
    pub queued: u64,
    /// What the queue takes on disk.
    pub bytes: u64,
    /// What it may take.
    pub bytes_max: u64,
    /// Age of the oldest record that waits; zero when there is none.
    pub oldest_age_seconds: f64,
}

/// Reads the counts of a queue in one moment.
pub type QueueReader = Arc<dyn Fn() -> QueueSnapshot + Send + Sync>;

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
    requests: IntCounterVec,
    state: IntGaugeVec,
    name: SinkName,
}

/// Outcomes of a request, the `class` label of `waypost_http_requests_total`.
pub const REQUEST_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "error"];

/// States of a sink, the `state` label of `waypost_sink_state`; exactly one is 1.
pub const SINK_STATES: [&str; 3] = ["ok", "retrying", "suspended"];

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
    repairs: IntCounterVec,
}

/// Kinds of repair, the `reason` label of `waypost_store_repairs_total`.
pub const REPAIR_REASONS: [&str; 5] =
    ["unfinished_snapshot", "damaged_snapshot", "damaged_chunk", "lost_records", "set_aside"];

impl StoreMetrics {
    /// The counter of one kind of repair.
    #[must_use]
    pub fn repairs(&self, reason: &str) -> IntCounter {
        self.repairs.with_label_values(&[reason])
    }
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    acknowledged: IntCounterVec,
    redelivered: IntCounterVec,
    source_dropped: IntCounterVec,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    problems: IntCounterVec,
    matched: IntCounterVec,
    delivery_latency: HistogramVec,
    request_duration: HistogramVec,
    requests: IntCounterVec,
    sink_state: IntGaugeVec,
    retry_delay: GaugeVec,
    /// Handles of the store.
    pub store: StoreMetrics,
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
            repairs,
        }
    }
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
        let source = &["source"];
        let info = build.gauges("waypost_build_info", "Always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        build.0.register(Box::new(process)).expect(VALID);
        let store = build.store();
        Self {
            received: build.counters(
                "waypost_events_received_total",
                "Events taken from a source.",
                source,
            ),
            acknowledged: build.counters(
                "waypost_events_acknowledged_total",
                "Events acknowledged to a source.",
                source,
            ),
            redelivered: build.counters(
                "waypost_events_redelivered_total",
                "Events that a source marked as sent before; each is a record of its own.",
                source,
            ),
            source_dropped: build.counters(
                "waypost_events_dropped_total",
                "QoS 0 events dropped because the intake was full.",
                source,
            ),
            connected: build.gauges(
                "waypost_source_connected",
                "1 while the source is connected or listening.",
                source,
            ),
            reconnects: build.counters(
                "waypost_source_reconnects_total",
                "Connections after the first.",
                source,
            ),
            problems: build.counters(
                "waypost_source_problems_total",
                "What went wrong with a source.",
                &["source", "reason"],
            ),
            matched: build.counters(
                "waypost_rule_matched_total",
                "Events that a rule selected.",
                &["rule"],
            ),
            delivery_latency: build.histograms(
                "waypost_delivery_latency_seconds",
                "Time from acceptance to the success answer.",
                &LATENCY_BUCKETS,
                &["sink"],
            ),
            request_duration: build.histograms(
                "waypost_http_request_duration_seconds",
                "Duration of a request, answer included.",
                &REQUEST_BUCKETS,
                &["sink"],
            ),
            requests: build.counters(
                "waypost_http_requests_total",
                "Requests by status class; `error` is no answer.",
                &["sink", "class"],
            ),
            sink_state: build.gauges(
                "waypost_sink_state",
                "1 for the state the sink is in.",
                &["sink", "state"],
            ),
            retry_delay: {
                let options = Opts::new(
                    "waypost_sink_retry_delay_seconds",
                    "Wait before the next attempt; 0 when none is due.",
                );
                build.add(GaugeVec::new(options, &["sink"]).expect(VALID))
            },
            store,
            registry: build.0,
        }
    }

    /// Handles for a source, each series at zero.
    #[must_use]
    pub fn source(&self, name: &SourceName, problems: &[&'static str]) -> SourceMetrics {
        let label = &[name.as_str()];
        for reason in problems {
            self.problems.with_label_values(&[name.as_str(), reason]).inc_by(0);
        }
        SourceMetrics {
            received: self.received.with_label_values(label),
            acknowledged: self.acknowledged.with_label_values(label),
            redelivered: self.redelivered.with_label_values(label),
            dropped: self.source_dropped.with_label_values(label),
            connected: self.connected.with_label_values(label),
            reconnects: self.reconnects.with_label_values(label),
            problems: self.problems.clone(),
            name: name.clone(),
        }
    }

    /// The counter of events that a rule selected.
    #[must_use]
    pub fn rule_matched(&self, name: &RuleName) -> IntCounter {
        self.matched.with_label_values(&[name.as_str()])
    }

    /// Handles for a sink, each series at zero and the sink `ok`.
    #[must_use]
    pub fn sink(&self, name: &SinkName) -> SinkMetrics {
        let label = &[name.as_str()];
        for class in REQUEST_CLASSES {
            self.requests.with_label_values(&[name.as_str(), class]).inc_by(0);
        }
        let metrics = SinkMetrics {
            delivery_latency: self.delivery_latency.with_label_values(label),
            request_duration: self.request_duration.with_label_values(label),
            retry_delay: self.retry_delay.with_label_values(label),
            requests: self.requests.clone(),
            state: self.sink_state.clone(),
            name: name.clone(),
        };
        metrics.set_state("ok");
        metrics
    }

    /// Shows the counts of all queues, each read in one moment per scrape.
    pub fn register_queues(&self, readers: BTreeMap<SinkName, QueueReader>) {
        self.registry.register(Box::new(QueueCollector::new(readers))).expect(VALID);
    }

    /// The text exposition format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing into memory");
        String::from_utf8(text).expect("the exposition format is UTF-8")
    }
}

/// Turns queue snapshots into metric families, all of a queue from one snapshot.
struct QueueCollector {
    /// Two scrapes at once must not both add the same difference.
    collecting: Mutex<()>,
    readers: BTreeMap<SinkName, QueueReader>,
    counters: [(IntCounterVec, fn(&QueueSnapshot) -> u64); 3],
    dropped: IntCounterVec,
    gauges: [(GaugeVec, fn(&QueueSnapshot) -> f64); 4],
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "Prometheus values are f64")]
fn float(value: u64) -> f64 {
    value as f64
}

impl QueueCollector {
    fn new(readers: BTreeMap<SinkName, QueueReader>) -> Self {
        let sink = &["sink"];
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect(VALID)
        };
        let gauges =
            |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), sink).expect(VALID);
        Self {
            collecting: Mutex::new(()),
            readers,
            counters: [
                (
                    counters(
                        "waypost_queue_enqueued_total",
                        "Records taken into a queue, those dropped on arrival included.",
                        sink,
                    ),
                    |q| q.enqueued,
                ),
                (
                    counters(
                        "waypost_records_delivered_total",
                        "Records that a success answer was given for.",
                        sink,
                    ),
                    |q| q.delivered,
                ),
                (
                    counters(
                        "waypost_queue_recovered_total",
                        "Records found in a queue when the process started.",
                        sink,
                    ),
                    |q| q.recovered,
                ),
            ],
            dropped: counters(
                "waypost_records_dropped_total",
                "Records given up by a policy.",
                &["sink", "reason"],
            ),
            gauges: [
                (gauges("waypost_queue_records", "Records that wait or are in flight."), |q| {
                    float(q.queued)
                }),
                (gauges("waypost_queue_bytes", "What a queue takes on disk."), |q| float(q.bytes)),
                (gauges("waypost_queue_limit_bytes", "What a queue may take on disk."), |q| {
                    float(q.bytes_max)
                }),
                (
                    gauges(
                        "waypost_queue_oldest_record_age_seconds",
                        "Age of the oldest record that waits; 0 when there is none.",
                    ),
                    |q| q.oldest_age_seconds,
                ),
            ],
        }
    }
}

impl Collector for QueueCollector {
    fn desc(&self) -> Vec<&Desc> {
        let counters = self.counters.iter().flat_map(|(family, _)| family.desc());
        let gauges = self.gauges.iter().flat_map(|(family, _)| family.desc());
        counters.chain(self.dropped.desc()).chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one_at_a_time = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        for (sink, read) in &self.readers {
            let snapshot = read();
            let label = &[sink.as_str()];
            for (family, value) in &self.counters {
                set(&family.with_label_values(label), value(&snapshot));
            }
            for (reason, value) in &snapshot.dropped {
                set(&self.dropped.with_label_values(&[sink.as_str(), reason]), *value);
            }
            for (family, value) in &self.gauges {
                family.with_label_values(label).set(value(&snapshot));
            }
        }
        let counters = self.counters.iter().flat_map(|(family, _)| family.collect());
        let gauges = self.gauges.iter().flat_map(|(family, _)| family.collect());
        counters.chain(self.dropped.collect()).chain(gauges).collect()
    }
}

/// Brings a counter to a value that only ever grows.
fn set(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}
