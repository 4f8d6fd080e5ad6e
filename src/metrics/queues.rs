//! The counts of the queues, each queue's in one moment per scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, Opts};

use super::VALID;
use crate::name::SinkName;

/// Counts of one queue, taken in one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueSnapshot {
    /// Records found at the start of the process.
    pub recovered: u64,
    /// Records taken since, those dropped on arrival included.
    pub enqueued: u64,
    /// Of those, the ones that were dead letters.
    pub replayed: u64,
    /// Records a success answer was given for.
    pub delivered: u64,
    /// Records that became dead letters, by reason. Every reason, also at zero.
    pub dead_lettered: BTreeMap<&'static str, u64>,
    /// Records given up, by reason. Every reason the queue knows, also at zero.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Records that wait or are in flight.
    pub queued: u64,
    /// What the queue takes on disk.
    pub bytes: u64,
    /// What it may take.
    pub bytes_max: u64,
    /// It takes records: it is open, and the disk has room.
    pub available: bool,
    /// Age of the oldest record that waits; zero when there is none.
    pub oldest_age_seconds: f64,
}

/// Reads the counts of the queues that there are, each queue's in one moment.
pub type QueueReader = Arc<dyn Fn() -> BTreeMap<SinkName, QueueSnapshot> + Send + Sync>;

/// Metric families, each with what it shows of a snapshot.
type Shown<F, V, const N: usize> = [(F, fn(&QueueSnapshot) -> V); N];

/// Turns queue snapshots into metric families, all of a queue from one snapshot.
pub(super) struct QueueCollector {
    /// Two scrapes at once must not both add the same difference.
    collecting: Mutex<()>,
    read: QueueReader,
    counters: Shown<IntCounterVec, u64, 4>,
    dead_lettered: IntCounterVec,
    dropped: IntCounterVec,
    gauges: Shown<GaugeVec, f64, 5>,
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "Prometheus values are f64")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(VALID)
}

/// The counters that have a series for each sink.
fn counters_by_sink() -> Shown<IntCounterVec, u64, 4> {
    let sink = &["sink"];
    [
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
                "waypost_records_replayed_total",
                "Dead letters put into a queue again; counted as taken, too.",
                sink,
            ),
            |q| q.replayed,
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
    ]
}

impl QueueCollector {
    /// A queue that is gone is not shown, and one that is there again begins anew.
    fn forget(&self) {
        self.counters.iter().for_each(|(family, _)| family.reset());
        self.gauges.iter().for_each(|(family, _)| family.reset());
        self.dead_lettered.reset();
        self.dropped.reset();
    }

    pub(super) fn new(read: QueueReader) -> Self {
        let sink = &["sink"];
        let gauges =
            |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), sink).expect(VALID);
        Self {
            collecting: Mutex::new(()),
            read,
            counters: counters_by_sink(),
            dead_lettered: counters(
                "waypost_records_dead_lettered_total",
                "Records that became dead letters.",
                &["sink", "reason"],
            ),
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
                        "waypost_queue_available",
                        "1 while a queue takes records: it is open, and the disk has room.",
                    ),
                    |q| f64::from(u8::from(q.available)),
                ),
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
        let given_up = self.dead_lettered.desc().into_iter().chain(self.dropped.desc());
        counters.chain(given_up).chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one_at_a_time = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget();
        for (sink, snapshot) in &(self.read)() {
            let label = &[sink.as_str()];
            for (family, value) in &self.counters {
                set(&family.with_label_values(label), value(snapshot));
            }
            let given_up = [
                (&self.dead_lettered, &snapshot.dead_lettered),
                (&self.dropped, &snapshot.dropped),
            ];
            for (family, counts) in given_up {
                for (reason, value) in counts {
                    set(&family.with_label_values(&[sink.as_str(), reason]), *value);
                }
            }
            for (family, value) in &self.gauges {
                family.with_label_values(label).set(value(snapshot));
            }
        }
        let counters = self.counters.iter().flat_map(|(family, _)| family.collect());
        let gauges = self.gauges.iter().flat_map(|(family, _)| family.collect());
        let given_up = self.dead_lettered.collect().into_iter().chain(self.dropped.collect());
        counters.chain(given_up).chain(gauges).collect()
    }
}

/// Brings a counter to a value that only ever grows.
pub(super) fn set(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}
