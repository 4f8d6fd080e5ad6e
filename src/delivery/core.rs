//! Which records go out, when, and what becomes of them. Plain and synchronous: the worker waits, this decides.
//!
//! A record that was read is in exactly one place: in the window (waits), or in a lot. A lot is in flight, in
//! `retries` (to be sent as soon as the sink's clock allows), or a suspect with a clock of its own; a record that was
//! given up is being buried until its dead letter is durable. All others were handed back in [`Effects`].
//!
//! `sending` says what leaves next, `answers` what an answer leads to, `reading` what is kept in memory, `steering` what an
//! operator may ask for.

mod answers;
mod reading;
mod sending;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, BatchLimits};
use super::health::Standing;
use super::lot::{Lot, Suspect, Watch};
use super::outcome::{Outcome, Trouble};
use super::request::Renderer;
use super::retry::{Delays, Epoch, Pace};
use super::size::BatchSize;
use super::window::{LaneId, Window};
use crate::clock::UnixMillis;
use crate::config;
use crate::store::{DeadLetterReason, ReadLimit, RecordNumber, StoredRecord};

/// How far reading may run ahead of the oldest unsettled record: what the queue's cursor must remember.
const SPAN_MAX: u64 = 65_536;

/// Lots with a clock of their own, and the bytes of their events. With more of them the sink fails as a whole.
const SUSPECTS_MAX: usize = 256;
const SUSPECTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Records whose dead letters are being written, in bytes of their events. Past that nothing is given up.
const BURYING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far behind the oldest record a canary is looked for at most.
const CANARY_REACH_MAX: usize = 1024;

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
    /// The dead letters of these records are durable.
    Buried(Vec<RecordNumber>, DeadLetterReason),
}

/// Records that are given up, for the same reason: each needs a dead letter.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) records: Vec<Arc<StoredRecord>>,
    pub(super) reason: DeadLetterReason,
    /// The last failure, where there was one.
    pub(super) trouble: Option<Trouble>,
    /// Failed attempts that the service got; those that never reached it or its credentials do not count.
    pub(super) attempts: u32,
    pub(super) first_left_at: Option<Instant>,
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
    /// Records to be given up. When their letters are durable, [`Event::Buried`] must say so; until then they stay
    /// held.
    pub(super) burials: Vec<Burial>,
    /// Records whose letters are durable.
    pub(super) dead_lettered: Vec<(Vec<RecordNumber>, DeadLetterReason)>,
    /// How the sink is doing, after each failure and recovery.
    pub(super) standings: Vec<Standing>,
}

/// A read that the caller runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) from: RecordNumber,
    pub(super) limit: ReadLimit,
}

/// The queue's clock of ages at one moment of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgeNow {
    pub(super) age_ms: u64,
    pub(super) at: Instant,
}

#[derive(Debug)]
struct Reading {
    /// What the queue's next record would have been called when the read began.
    appended: RecordNumber,
    /// Its records were given back before they came.
    stale: bool,
}

/// What a lot in flight is for.
#[derive(Debug)]
enum Role {
    /// To be delivered.
    Ordinary,
    /// The first of a lot, while the oldest lot fails.
    CanaryOfLot,
    /// A record from the queue, while the only lot fails. Goes back there when it fails, too.
    CanaryOfQueue,
    /// The same of the lane that the failing lot holds.
    Overtaking,
    /// To see whether it is guilty.
    Suspect(Watch),
}

#[derive(Debug)]
struct Flight {
    lot: Lot,
    role: Role,
}

/// Whose turn it is to probe a sink that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The oldest lot.
    Head,
    /// Another record, to see whether the sink fails or only the oldest lot.
    Canary,
}

/// The state of one sink's delivery.
#[derive(Debug)]
pub(super) struct Core {
    limits: BatchLimits,
    size: BatchSize,
    waiting_records_max: usize,
    waiting_bytes_max: usize,
    retry: config::Retry,
    canary: config::Canary,
    reject_storm: u32,
    pace: Pace,
    window: Window,
    renderer: Renderer,
    /// By first record.
    in_flight: BTreeMap<RecordNumber, Flight>,
    /// By first record.
    retries: BTreeMap<RecordNumber, Lot>,
    /// By first record.
    suspects: BTreeMap<RecordNumber, Suspect>,
    suspects_in_flight: usize,
    /// Lanes that suspects hold: their records are left in the queue.
    shut: BTreeSet<LaneId>,
    /// The first record that was left in the queue because its lane is shut.
    skipped_from: Option<RecordNumber>,
    /// Records that wait for their dead letters, and their bytes.
    burying: BTreeMap<RecordNumber, usize>,
    /// Their sum.
    burying_bytes: usize,
    turn: Turn,
    /// Canaries so far.
    canaries: u32,
    /// Canaries that broke no order and failed, in a row.
    canaries_failed: u32,
    /// Records that the next read for a canary looks at.
    canary_reach: usize,
    /// Rejects since the last delivery.
    rejects: u32,
    /// Times that the sink failed.
    failures: u64,
    /// Of them until a request was delivered last.
    failures_at_delivery: u64,
    age_now: Option<AgeNow>,
    expire_at: Option<Instant>,
    /// The next record to read.
    from: RecordNumber,
    /// Records from `from` on that are in lots or being buried: a read may bring them once more.
    held_ahead: BTreeSet<RecordNumber>,
    /// `from` went back: `held_ahead` is gathered anew before the next read.
    is_rewound: bool,
    /// A read found nothing although the queue had got this far.
    exhausted_at: RecordNumber,
    reading: Option<Reading>,
    read_again_at: Option<Instant>,
    is_paused: bool,
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
            size: BatchSize::new(limits.records_max),
            waiting_records_max: limits.records_max.saturating_mul(4).max(RECORDS_MIN),
            waiting_bytes_max: limits.bytes_max.saturating_mul(4).max(BYTES_MIN),
            retry: config.retry,
            canary: config.canary,
            reject_storm: config.reject_storm.get(),
            pace: Pace::new(&config.retry, config.concurrency.get()),
            window: Window::new(config.order),
            renderer,
            in_flight: BTreeMap::new(),
            retries: BTreeMap::new(),
            suspects: BTreeMap::new(),
            suspects_in_flight: 0,
            shut: BTreeSet::new(),
            skipped_from: None,
            burying: BTreeMap::new(),
            burying_bytes: 0,
            turn: Turn::Head,
            canaries: 0,
            canaries_failed: 0,
            canary_reach: 2,
            rejects: 0,
            failures: 0,
            failures_at_delivery: 0,
            age_now: None,
            expire_at: None,
            from: RecordNumber(0),
            held_ahead: BTreeSet::new(),
            is_rewound: false,
            exhausted_at: RecordNumber(0),
            reading: None,
            read_again_at: None,
            is_paused: false,
            effects: Effects::default(),
        }
    }

    /// When to look again although nothing happened; later than `now` once everything that may be sent and read
    /// now has been asked for.
    pub(super) fn wake_at(&mut self, now: Instant) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        let send_at = if self.pace.is_failing() {
            // A probe that is due and did not leave waits for a record.
            self.pace.probe_at().filter(|at| *at > now)
        } else if self.pace.may_leave(self.ordinary_in_flight(), now) {
            self.window.oldest_ready().map(|(_, since)| since + self.limits.linger)
        } else {
            None
        };
        let suspect_at = self.next_suspect_at().filter(|at| *at > now);
        // A moment to read that has come waits for room, not for time.
        let read_at = self.read_again_at.filter(|at| *at > now);
        let expire_at = self.expire_at.filter(|at| *at > now && self.pace.is_failing());
        send_at.into_iter().chain(suspect_at).chain(read_at).chain(expire_at).min()
    }

    /// Takes in what happened. What follows from it is in [`Self::take_effects`] and in what may be sent and
    /// read next.
    pub(super) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Read(records) => self.take_in(records, now),
            Event::ReadFailed => self.read_failed(now),
            Event::Answered(attempt, outcome) => self.answered(&attempt, outcome, now),
            Event::Buried(numbers, reason) => {
                for number in &numbers {
                    self.burying_bytes -= self.burying.remove(number).unwrap_or(0);
                }
                self.effects.dead_lettered.push((numbers, reason));
            }
        }
    }

    /// What the caller must pass on; empty afterwards.
    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// The records of an attempt that is not answered yet.
    pub(super) fn records_of(&self, attempt: &Attempt) -> impl Iterator<Item = &Arc<StoredRecord>> {
        let flight = self.in_flight.get(&attempt.batch.first());
        let count = attempt.batch.numbers.len();
        flight.into_iter().flat_map(move |flight| flight.lot.records().take(count))
    }

    /// How long until the next probe may leave, while the sink waits for one.
    pub(super) fn next_probe_in(&self, now: Instant) -> Option<Duration> {
        self.pace.probe_at().map(|at| at.saturating_duration_since(now))
    }

    /// Lots that fail while others are delivered.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len() + self.suspects_in_flight
    }

    /// Gives back everything that is held: the sink stops.
    pub(super) fn give_back_all(&mut self) {
        self.give_back_waiting();
        let held = self.held();
        self.effects.released.extend(held);
        self.in_flight.clear();
        self.retries.clear();
        self.suspects.clear();
        self.burying.clear();
        self.burying_bytes = 0;
    }

    fn held(&self) -> Vec<RecordNumber> {
        let mut held = self.held_in_lots();
        held.extend(self.burying.keys());
        held
    }

    fn held_in_lots(&self) -> Vec<RecordNumber> {
        let in_flight = self.in_flight.values().map(|flight| &flight.lot);
        let suspects = self.suspects.values().map(|suspect| &suspect.lot);
        let lots = in_flight.chain(self.retries.values()).chain(suspects);
        lots.flat_map(Lot::numbers).collect()
    }

    fn ordinary_in_flight(&self) -> usize {
        self.in_flight.len() - self.suspects_in_flight
    }

    /// Whether a record may be given up now: there is room to hold it until its letter is durable.
    fn may_bury(&self) -> bool {
        self.burying_bytes < BURYING_BYTES_MAX
    }

    fn bury(&mut self, burial: Burial) {
        for record in &burial.records {
            let bytes = record.record.event.memory_bytes();
            let before = self.burying.insert(record.number, bytes).unwrap_or(0);
            self.burying_bytes = self.burying_bytes + bytes - before;
        }
        self.effects.burials.push(burial);
    }

    /// Sets our clock by that of the queue.
    pub(super) fn set_age_clock(&mut self, age_now: AgeNow) {
        self.age_now.get_or_insert(age_now);
        if self.retry.age_max.is_some() {
            self.expire_at.get_or_insert(age_now.at);
        }
    }

    fn is_expired(&self, record: &StoredRecord, now: Instant) -> bool {
        let (Some(age_max), Some(clock)) = (self.retry.age_max, self.age_now) else { return false };
        let at_reading = Duration::from_millis(clock.age_ms.saturating_sub(record.age_ms));
        at_reading + now.saturating_duration_since(clock.at) >= age_max
    }

    /// The lot without what has become too old; `None` when that is all of it, and it has let go of its lanes.
    fn without_expired(&mut self, mut lot: Lot, now: Instant) -> Option<Lot> {
        if self.retry.age_max.is_none() || !self.may_bury() {
            return Some(lot);
        }
        let expired = lot.take_expired(|record| self.is_expired(record, now));
        if !expired.is_empty() {
            self.bury(Burial {
                records: expired,
                reason: DeadLetterReason::MaxAge,
                trouble: lot.trouble.clone(),
                attempts: lot.attempts,
                first_left_at: lot.first_left_at,
            });
        }
        if lot.is_empty() {
            self.let_go(&lot);
            return None;
        }
        Some(lot)
    }

    /// The lanes of a lot that is done are free.
    fn let_go(&mut self, lot: &Lot) {
        self.window.free(&lot.lanes);
        self.reopen(&lot.lanes);
    }

    /// These lanes are no longer held by a suspect: what was left in the queue because of them is read again.
    fn reopen(&mut self, lanes: &[LaneId]) {
        if self.shut.is_empty() {
            return;
        }
        let mut was_shut = false;
        for lane in lanes {
            was_shut |= self.shut.remove(lane);
        }
        if let (true, Some(skipped_from)) = (was_shut, self.skipped_from) {
            self.rewind(skipped_from);
        }
    }
}

#[cfg(test)]
mod tests;
