//! How fast everything goes: the counters of sources, rules and sinks, sampled every few seconds (`look`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::{Meter, Rates};
use crate::name::{RuleName, SinkName, SourceName};

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    Received(SourceName),
    Acknowledged(SourceName),
    Matched(RuleName),
    Passed(RuleName),
    Failed(RuleName),
    Enqueued(SinkName),
    Delivered(SinkName),
}

/// A meter for each counter.
#[derive(Debug, Default)]
pub(super) struct RateBook(Mutex<BTreeMap<Counted, Meter>>);

impl RateBook {
    /// Takes a sample of each; a counter that is not among them is gone.
    pub(super) fn sample(&self, counts: Vec<(Counted, u64)>) {
        let now = Instant::now();
        let mut meters = self.lock();
        let mut before = std::mem::take(&mut *meters);
        for (counted, count) in counts {
            let mut meter = before.remove(&counted).unwrap_or_default();
            meter.sample(count, now);
            meters.insert(counted, meter);
        }
    }

    /// The rates of a counter that stands at `count`.
    pub(super) fn of(&self, counted: &Counted, count: u64) -> Rates {
        let meters = self.lock();
        meters.get(counted).map(|meter| meter.rates(count, Instant::now())).unwrap_or_default()
    }

    /// How long ago it grew; `None` when it never did.
    pub(super) fn quiet_for(&self, counted: &Counted, count: u64) -> Option<Duration> {
        self.lock().get(counted)?.quiet_for(count, Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Counted, Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
