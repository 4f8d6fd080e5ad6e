//! Which records go out, when, and what becomes of them. Plain and synchronous: the worker waits, this decides.
//!
//! A record that was read is in exactly one place: in the window (waits), in flight, in `retries` (failed, to be sent
//! again as it was), or handed back in [`Effects`] as settled or released. While the sink fails only what failed is kept; the
//! window is given back to the queue, so that its overload policy may work, and is read again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, BatchLimits};
use super::health::Standing;
use super::outcome::Outcome;
use super::request::Renderer;
use super::retry::{Epoch, Failed, Failure, Pace};
use super::window::Window;
use crate::clock::UnixMillis;
use crate::config;
use crate::store::{ReadLimit, RecordNumber, StoredRecord};

/// How far reading may run ahead of the oldest unsettled record: what the queue's cursor must remember.
const SPAN_MAX: u64 = 65_536;

/// How long to leave a queue alone that cannot be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One request on its way, once.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What is sent.
    pub(super) batch: Arc<Batch>,
    epoch: Epoch,
}

/// What can happen to a sink.
#[derive(Debug)]
pub(super) enum Event {
    /// The read that was asked for.
    Read(Vec<Arc<StoredRecord>>),
    /// The queue cannot be read now.
    ReadFailed,
    /// An attempt ended.
    Answered(Attempt, Outcome),
}

/// What the caller must tell the queue, the metrics and the log.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Delivered records.
    pub(super) settled: Vec<RecordNumber>,
    /// When each of them was accepted.
    pub(super) accepted_at: Vec<UnixMillis>,
    /// Records that are no longer held.
    pub(super) released: Vec<RecordNumber>,
    /// How the sink is doing, after each failure and recovery.
    pub(super) standings: Vec<Standing>,
}

/// A read that the caller runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) from: RecordNumber,
    pub(super) limit: ReadLimit,
}

#[derive(Debug)]
struct Reading {
    /// What the queue's next record would have been called when the read began.
    appended: RecordNumber,
    /// Its records were given back before they came.
    stale: bool,
}

/// The state of one sink's delivery.
#[derive(Debug)]
pub(super) struct Core {
    limits: BatchLimits,
    waiting_records_max: usize,
    waiting_bytes_max: usize,
    pace: Pace,
    window: Window,
    renderer: Renderer,
    /// By first record.
    in_flight: BTreeMap<RecordNumber, Arc<Batch>>,
    /// By first record.
    retries: BTreeMap<RecordNumber, Arc<Batch>>,
    /// The next record to read.
    from: RecordNumber,
    /// Records from `from` on that are in flight or in `retries`: a read may bring them once more.
    held_ahead: BTreeSet<RecordNumber>,
    /// A read found nothing although the queue had got this far.
    exhausted_at: RecordNumber,
    reading: Option<Reading>,
    read_again_at: Option<Instant>,
    effects: Effects,
}

impl Core {
    /// Starts at the beginning of the queue.
    pub(super) fn new(config: &config::Sink, renderer: Renderer) -> Self {
        // Enough for the next batches while some are on their way and a read is under way.
        const RECORDS_MIN: usize = 1024;
        const BYTES_MIN: usize = 4 * 1024 * 1024;
        let limits = BatchLimits::new(&config.batch);
        Self {
            limits,
            waiting_records_max: limits.records_max.saturating_mul(4).max(RECORDS_MIN),
            waiting_bytes_max: limits.bytes_max.saturating_mul(4).max(BYTES_MIN),
            pace: Pace::new(&config.retry, config.concurrency.get()),
            window: Window::new(config.order),
            renderer,
            in_flight: BTreeMap::new(),
            retries: BTreeMap::new(),
            from: RecordNumber(0),
            held_ahead: BTreeSet::new(),
            exhausted_at: RecordNumber(0),
            reading: None,
            read_again_at: None,
            effects: Effects::default(),
        }
    }

    /// The next request to send now, if one may leave. Its answer must come back as [`Event::Answered`].
    pub(super) fn next_attempt(&mut self, now: Instant) -> Option<Attempt> {
        if !self.pace.may_leave(self.in_flight.len(), now) {
            return None;
        }
        let batch = match self.retries.pop_first() {
            Some((_, batch)) => batch,
            None if self.batch_is_due(now) => {
                Batch::form(&mut self.window, &self.limits, &mut self.renderer)?
            }
            None => return None,
        };
        let epoch = self.pace.leaves();
        let before = self.in_flight.insert(batch.first(), Arc::clone(&batch));
        assert!(before.is_none(), "record {:?} is in flight twice", batch.first());
        Some(Attempt { batch, epoch })
    }

    /// The read to run now, if there is something to read and room for it. Its result must come back as
    /// [`Event::Read`] or [`Event::ReadFailed`]; there is one at a time.
    pub(super) fn next_read(&mut self, appended: RecordNumber, now: Instant) -> Option<Read> {
        let is_news = appended > self.from && appended > self.exhausted_at;
        let may_read = self.read_again_at.is_none_or(|at| at <= now);
        if self.reading.is_some() || !is_news || !may_read || !self.wants_records() {
            return None;
        }
        self.reading = Some(Reading { appended, stale: false });
        self.read_again_at = None;
        let waiting = self.window.waiting();
        let room = |max: usize, taken: usize| {
            NonZeroUsize::new(max.saturating_sub(taken)).unwrap_or(NonZeroUsize::MIN)
        };
        let limit = ReadLimit {
            records_max: room(self.waiting_records_max, waiting.records),
            bytes_max: room(self.waiting_bytes_max, waiting.bytes),
        };
        Some(Read { from: self.from, limit })
    }

    /// Whether more records would be read if the queue had them: the window is half empty, the sink works, and the
    /// oldest unsettled record is not too far behind.
    pub(super) fn wants_records(&mut self) -> bool {
        let waiting = self.window.waiting();
        let has_room = waiting.records <= self.waiting_records_max / 2
            && waiting.bytes <= self.waiting_bytes_max / 2;
        has_room && !self.pace.is_failing() && self.span() < SPAN_MAX
    }

    /// When to look again although nothing happened; later than `now` once everything that may be sent and read
    /// now has been asked for.
    pub(super) fn wake_at(&mut self, now: Instant) -> Option<Instant> {
        let send_at = if self.pace.is_failing() {
            self.pace.probe_at()
        } else if self.pace.may_leave(self.in_flight.len(), now) {
            self.window.oldest_ready().map(|(_, since)| since + self.limits.linger)
        } else {
            None
        };
        // A moment to read that has come waits for room, not for time.
        let read_at = self.read_again_at.filter(|at| *at > now);
        send_at.into_iter().chain(read_at).min()
    }

    /// Takes in what happened. What follows from it is in [`Self::take_effects`] and in what may be sent and
    /// read next.
    pub(super) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Read(records) => self.take_in(records, now),
            Event::ReadFailed => {
                self.reading = None;
                self.read_again_at = Some(now + READ_AGAIN_AFTER);
            }
            Event::Answered(attempt, Outcome::Delivered) => self.delivered(&attempt),
            Event::Answered(attempt, Outcome::Retry { after, why }) => {
                self.failed(attempt, Failure::Transient { after }, why, now);
            }
            Event::Answered(attempt, Outcome::Reject { why } | Outcome::Suspend { why }) => {
                self.failed(attempt, Failure::Lasting, why, now);
            }
        }
    }

    /// What the caller must pass on; empty afterwards.
    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Gives back everything that is held: the sink stops.
    pub(super) fn give_back_all(&mut self) {
        self.give_back_waiting();
        let in_flight = std::mem::take(&mut self.in_flight);
        let retries = std::mem::take(&mut self.retries);
        for batch in in_flight.into_values().chain(retries.into_values()) {
            self.effects.released.extend_from_slice(&batch.numbers);
        }
    }

    fn take_in(&mut self, records: Vec<Arc<StoredRecord>>, now: Instant) {
        let reading = self.reading.take().expect("a read was asked for");
        if reading.stale {
            let numbers = records.iter().map(|record| record.number);
            let not_held = numbers.filter(|number| !self.held_ahead.contains(number));
            self.effects.released.extend(not_held);
            return;
        }
        if records.is_empty() {
            self.exhausted_at = reading.appended;
        }
        for record in records {
            let number = record.number;
            assert!(number >= self.from, "asked from {:?}, got {number:?}", self.from);
            self.from = RecordNumber(number.0 + 1);
            if !self.held_ahead.remove(&number) {
                self.window.push(record, now);
            }
        }
        if !self.held_ahead.is_empty() {
            self.held_ahead = self.held_ahead.split_off(&self.from);
        }
    }

    fn delivered(&mut self, attempt: &Attempt) {
        let batch = &attempt.batch;
        self.in_flight.remove(&batch.first());
        self.window.free(&batch.lanes);
        self.effects.settled.extend_from_slice(&batch.numbers);
        self.effects.accepted_at.extend_from_slice(&batch.accepted_at);
        if let Some(attempts) = self.pace.succeeded(attempt.epoch) {
            self.effects.standings.push(Standing::Ok { attempts });
        }
    }

    fn failed(&mut self, attempt: Attempt, failure: Failure, why: String, now: Instant) {
        let batch = attempt.batch;
        self.in_flight.remove(&batch.first());
        self.retries.insert(batch.first(), batch);
        let was_failing = self.pace.is_failing();
        let Failed::Waits { delay, attempts } = self.pace.failed(attempt.epoch, failure, now)
        else {
            return;
        };
        if !was_failing {
            self.give_back_waiting();
        }
        self.effects.standings.push(match failure {
            Failure::Transient { .. } => Standing::Retrying { why, attempts, delay },
            Failure::Lasting => Standing::Suspended { why, attempts, delay },
        });
    }

    fn give_back_waiting(&mut self) {
        let numbers = self.window.clear();
        if let Some(first) = numbers.first() {
            self.from = self.from.min(*first);
            self.exhausted_at = RecordNumber(0);
        }
        if let Some(reading) = &mut self.reading {
            reading.stale = true;
        }
        let held = self.in_flight.values().chain(self.retries.values());
        let from = self.from;
        self.held_ahead = held
            .flat_map(|batch| &batch.numbers)
            .copied()
            .filter(|number| *number >= from)
            .collect();
        self.effects.released.extend(numbers);
    }

    fn batch_is_due(&mut self, now: Instant) -> bool {
        let ready = self.window.ready();
        let is_full =
            ready.records >= self.limits.records_max || ready.bytes >= self.limits.bytes_max;
        // What cannot be read cannot be waited for.
        is_full
            || !self.wants_records()
            || self
                .window
                .oldest_ready()
                .is_some_and(|(_, since)| since + self.limits.linger <= now)
    }

    /// Records between the oldest unsettled one and the next to read.
    fn span(&mut self) -> u64 {
        let batches = [self.in_flight.first_key_value(), self.retries.first_key_value()];
        let held = batches.into_iter().flatten().map(|(first, _)| *first);
        let waiting = self.window.oldest_ready().map(|(number, _)| number);
        let oldest = held.chain(waiting).min().unwrap_or(self.from);
        self.from.0.saturating_sub(oldest.0)
    }
}

#[cfg(test)]
mod tests;
