//! The counts of the dead letters, all in one moment per scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts};

use super::VALID;
use super::queues::{float, set};
use crate::name::SinkName;

/// Counts of one sink's letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterCounts {
    /// Letters that there are, by reason. Every reason, also at zero.
    pub letters: BTreeMap<&'static str, u64>,
    /// Bytes of them.
    pub bytes: u64,
    /// Letters that the quota dropped since the start.
    pub dropped: u64,
    /// Letters that an operator purged since the start.
    pub purged: u64,
}

/// Counts of all letters, taken in one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterSnapshot {
    /// Every sink that has letters or had some since the start, also one that the config no longer names; a reader adds those
    /// that have none.
    pub sinks: BTreeMap<SinkName, DeadLetterCounts>,
    /// Bytes of letters beyond which the oldest go.
    pub letter_bytes_max: u64,
    /// Why letters cannot be kept now.
    pub unavailable: Option<String>,
}

/// Reads the counts of the letters in one moment.
pub type DeadLetterReader = Arc<dyn Fn() -> DeadLetterSnapshot + Send + Sync>;

pub(super) struct DeadLetterCollector {
    /// Two scrapes at once must not both add the same difference.
    collecting: Mutex<()>,
    read: DeadLetterReader,
    letters: GaugeVec,
    bytes: GaugeVec,
    limit: Gauge,
    dropped: IntCounterVec,
    purged: IntCounterVec,
}

impl DeadLetterCollector {
    pub(super) fn new(read: DeadLetterReader) -> Self {
        let letters = Opts::new("waypost_dead_letters", "Dead letters there are.");
        let bytes = Opts::new("waypost_dead_letter_bytes", "Bytes of dead letters.");
        let limit = Opts::new(
            "waypost_dead_letter_limit_bytes",
            "Bytes of all dead letters together beyond which the oldest are dropped.",
        );
        let dropped = Opts::new(
            "waypost_dead_letters_dropped_total",
            "Dead letters dropped because there were too many.",
        );
        let purged = Opts::new(
            "waypost_dead_letters_purged_total",
            "Dead letters removed by `waypost dead-letter purge`.",
        );
        Self {
            collecting: Mutex::new(()),
            read,
            letters: GaugeVec::new(letters, &["sink", "reason"]).expect(VALID),
            bytes: GaugeVec::new(bytes, &["sink"]).expect(VALID),
            limit: Gauge::with_opts(limit).expect(VALID),
            dropped: IntCounterVec::new(dropped, &["sink"]).expect(VALID),
            purged: IntCounterVec::new(purged, &["sink"]).expect(VALID),
        }
    }
}

impl Collector for DeadLetterCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.letters.desc().into_iter().chain(self.bytes.desc());
        let counters = self.dropped.desc().into_iter().chain(self.purged.desc());
        gauges.chain(self.limit.desc()).chain(counters).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one_at_a_time = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = (self.read)();
        self.letters.reset();
        self.bytes.reset();
        self.dropped.reset();
        self.purged.reset();
        self.limit.set(float(snapshot.letter_bytes_max));
        for (sink, counts) in &snapshot.sinks {
            let label = &[sink.as_str()];
            for (reason, count) in &counts.letters {
                self.letters.with_label_values(&[sink.as_str(), reason]).set(float(*count));
            }
            self.bytes.with_label_values(label).set(float(counts.bytes));
            set(&self.dropped.with_label_values(label), counts.dropped);
            set(&self.purged.with_label_values(label), counts.purged);
        }
        let gauges = self.letters.collect().into_iter().chain(self.bytes.collect());
        let counters = self.dropped.collect().into_iter().chain(self.purged.collect());
        gauges.chain(self.limit.collect()).chain(counters).collect()
    }
}
