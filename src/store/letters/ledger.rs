//! How many letters there are, how much they take, and what left them. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::letter::{DeadLetterHead, DeadLetterReason};
use crate::metrics::{DeadLetterCounts, DeadLetterSnapshot};
use crate::name::SinkName;

/// Of the quota on disk the letters themselves get a third: sled's file has gaps, and giving space back needs some.
const SHARE_OF_DISK: u64 = 3;

/// The counts, by sink.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes_max: NonZeroU64,
    sinks: BTreeMap<SinkName, Tally>,
    /// As long as the database cannot be used.
    pub unavailable: Option<String>,
}

#[derive(Debug, Default)]
struct Tally {
    letters: BTreeMap<DeadLetterReason, u64>,
    bytes: u64,
    dropped: u64,
    purged: u64,
}

impl Ledger {
    /// Of no letters, which may take `bytes_max` on disk.
    pub(super) const fn new(bytes_max: NonZeroU64) -> Self {
        Self { bytes_max, sinks: BTreeMap::new(), unavailable: None }
    }

    /// Forgets the letters, not what left them: they are counted again.
    pub(super) fn recount(&mut self) {
        for tally in self.sinks.values_mut() {
            tally.letters.clear();
            tally.bytes = 0;
        }
    }

    pub(super) fn add(&mut self, head: &DeadLetterHead, bytes: u64) {
        let tally = self.sinks.entry(head.sink.clone()).or_default();
        *tally.letters.entry(head.reason).or_default() += 1;
        tally.bytes += bytes;
    }

    /// A letter is gone, or replaced.
    pub(super) fn remove(&mut self, head: &DeadLetterHead, bytes: u64) {
        let tally = self.sinks.entry(head.sink.clone()).or_default();
        let letters = tally.letters.entry(head.reason).or_default();
        *letters = letters.saturating_sub(1);
        tally.bytes = tally.bytes.saturating_sub(bytes);
    }

    /// Counts a letter that the quota dropped.
    pub(super) fn drop_one(&mut self, sink: &SinkName) {
        self.sinks.entry(sink.clone()).or_default().dropped += 1;
    }

    /// Counts a letter that an operator did not want.
    pub(super) fn purge_one(&mut self, sink: &SinkName) {
        self.sinks.entry(sink.clone()).or_default().purged += 1;
    }

    /// Bytes of all letters.
    pub(super) fn bytes(&self) -> u64 {
        self.sinks.values().map(|tally| tally.bytes).sum()
    }

    /// Bytes beyond which nothing comes in without something going out.
    pub(super) const fn letter_bytes_max(&self) -> u64 {
        self.bytes_max.get() / SHARE_OF_DISK
    }

    /// Every sink that has letters or had some.
    pub(super) fn sinks(&self) -> Vec<SinkName> {
        self.sinks.keys().cloned().collect()
    }

    /// The sink whose letters take most.
    pub(super) fn largest(&self) -> Option<SinkName> {
        let largest = self.sinks.iter().max_by_key(|(_, tally)| tally.bytes)?;
        (largest.1.bytes > 0).then(|| largest.0.clone())
    }

    /// Whether there is no letter at all.
    pub(super) fn is_empty(&self) -> bool {
        self.sinks.values().all(|tally| tally.letters.values().all(|count| *count == 0))
    }

    pub(super) fn snapshot(&self) -> DeadLetterSnapshot {
        let counts = |tally: &Tally| DeadLetterCounts {
            letters: DeadLetterReason::ALL
                .into_iter()
                .map(|reason| (reason.label(), tally.letters.get(&reason).copied().unwrap_or(0)))
                .collect(),
            bytes: tally.bytes,
            dropped: tally.dropped,
            purged: tally.purged,
        };
        DeadLetterSnapshot {
            sinks: self.sinks.iter().map(|(sink, tally)| (sink.clone(), counts(tally))).collect(),
            letter_bytes_max: self.letter_bytes_max(),
            unavailable: self.unavailable.clone(),
        }
    }
}
