//! The books of a queue: what waits, what is in flight, what has left and why. Pure: no disk, no threads.
//!
//! Invariant, at every moment: `recovered + enqueued = delivered + dead_lettered + dropped + queued`, where `queued` is the count of
//! numbers below `next` that are not settled. A number is settled once and never comes back. What is in flight is
//! never dropped by a policy. Memory: the ranges are bounded by the delivery window, the tail by its byte limit.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::ranges::RangeSet;
use super::{DeadLetterReason, ReadLimit, StoredRecord};
use crate::event::Record;
use crate::metrics::QueueSnapshot;

/// Why records left without being delivered: the `reason` label of `waypost_records_dropped_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DropReason {
    /// The queue reached its quota.
    QueueFull,
    /// The file system is full.
    DiskFull,
    /// The disk does not give them back: damaged or missing.
    Damaged,
    /// An operator did not want them any more.
    Operator,
}

impl DropReason {
    pub(super) const ALL: [Self; 4] =
        [Self::QueueFull, Self::DiskFull, Self::Damaged, Self::Operator];

    /// The value of the label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::Damaged => "damaged",
            Self::Operator => "operator",
        }
    }
}

/// A record in memory and its age.
#[derive(Debug, Clone)]
pub(super) struct InMemory {
    pub record: Arc<StoredRecord>,
    pub age_ms: u64,
}

/// What a read finds without the disk.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing waits from there on.
    Nothing,
    /// Records, at least one.
    Records(Vec<Arc<StoredRecord>>),
    /// The next one is this, and it is on disk only.
    OnDisk(u64),
}

/// Whether a read takes records or only looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Marks them as in flight.
    Take,
    /// Leaves them as they are.
    Peek,
}

/// The books of one queue.
#[derive(Debug)]
pub(super) struct Book {
    next: u64,
    settled: RangeSet,
    in_flight: RangeSet,
    /// The latest committed records, consecutive, up to `next`.
    tail: VecDeque<InMemory>,
    tail_bytes: usize,
    /// Records read from disk ahead of the reader, ascending.
    ahead: VecDeque<InMemory>,
    recovered: u64,
    enqueued: u64,
    replayed: u64,
    delivered: u64,
    dead_lettered: BTreeMap<DeadLetterReason, u64>,
    dropped: BTreeMap<DropReason, u64>,
    queued: u64,
    /// Of those, the ones that [`Self::begin_leaving`] took out and that have not left yet.
    leaving: u64,
    /// Last number that shares the age below, and that age on the age clock.
    head: Option<(u64, u64)>,
    is_cursor_stale: bool,
}

impl Book {
    /// Books of a queue that could not be opened: nothing is known of its records.
    pub(super) fn unopened() -> Self {
        Self::open(1, RangeSet::default())
    }

    /// Books of a queue whose numbers go on with `next`; everything below that is not settled waits.
    pub(super) fn open(next: u64, mut settled: RangeSet) -> Self {
        settled.remove(next..u64::MAX);
        settled.insert(0..1);
        let recovered = next - settled.count_in(0..next);
        Self {
            next,
            settled,
            in_flight: RangeSet::default(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            ahead: VecDeque::new(),
            recovered,
            enqueued: 0,
            replayed: 0,
            delivered: 0,
            dead_lettered: DeadLetterReason::ALL.into_iter().map(|reason| (reason, 0)).collect(),
            dropped: DropReason::ALL.into_iter().map(|reason| (reason, 0)).collect(),
            queued: recovered,
            leaving: 0,
            head: None,
            is_cursor_stale: false,
        }
    }

    /// Takes over what `before` counted while the queue could not be opened: what was refused.
    pub(super) fn after(mut self, before: &Self) -> Self {
        assert_eq!(before.next, Self::unopened().next, "a queue that is not open takes no records");
        self.enqueued += before.enqueued;
        for (reason, count) in &before.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
        self
    }

    /// The number of the next record.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// What has left, for the cursor.
    pub(super) const fn settled(&self) -> &RangeSet {
        &self.settled
    }

    /// Whether something was settled since the cursor was taken.
    pub(super) const fn is_cursor_stale(&self) -> bool {
        self.is_cursor_stale
    }

    /// Says that what is settled now is about to be written, or failed to be.
    pub(super) const fn set_cursor_stale(&mut self, stale: bool) {
        self.is_cursor_stale = stale;
    }

    /// The first waiting number from `from` on; [`Self::next`] when there is none.
    pub(super) fn next_waiting(&self, from: u64) -> u64 {
        self.settled.next_absent(from).min(self.next)
    }

    /// How many numbers of a range wait.
    pub(super) fn waiting_in(&self, range: Range<u64>) -> u64 {
        let end = range.end.min(self.next);
        let start = range.start.min(end);
        end - start - self.settled.count_in(start..end)
    }

    /// Takes records that are durable now; they get the numbers from [`Self::next`] on. Of the latest, up to
    /// `tail_bytes_max` stay in memory.
    pub(super) fn commit(
        &mut self,
        records: impl IntoIterator<Item = InMemory>,
        tail_bytes_max: usize,
    ) {
        for entry in records {
            assert_eq!(entry.record.number.0, self.next, "numbers are consecutive");
            self.next += 1;
            self.enqueued += 1;
            self.replayed += u64::from(entry.record.record.replay.is_some());
            self.queued += 1;
            self.tail_bytes += memory_bytes(&entry);
            self.tail.push_back(entry);
            while self.tail_bytes > tail_bytes_max {
                self.pop_tail();
            }
        }
        self.forget_settled();
    }

    /// Takes records that a failed commit left on disk after all.
    pub(super) fn adopt(&mut self, end: u64) {
        let count = end.saturating_sub(self.next);
        if count > 0 {
            self.tail.clear();
            self.tail_bytes = 0;
        }
        self.next += count;
        self.enqueued += count;
        self.queued += count;
    }

    /// Counts records that were dropped on arrival; they get no number.
    pub(super) fn refuse(&mut self, count: u64, reason: DropReason) {
        self.enqueued += count;
        *self.dropped.entry(reason).or_default() += count;
    }

    /// Takes delivered records out.
    pub(super) fn settle_delivered(&mut self, range: Range<u64>) {
        self.delivered += self.settle(range);
    }

    /// Takes out records whose dead letters are durable.
    pub(super) fn settle_dead_lettered(&mut self, range: Range<u64>, reason: DeadLetterReason) {
        let count = self.settle(range);
        *self.dead_lettered.entry(reason).or_default() += count;
    }

    /// Takes out records that are given up; says how many.
    pub(super) fn settle_dropped(&mut self, range: Range<u64>, reason: DropReason) -> u64 {
        let count = self.settle(range);
        *self.dropped.entry(reason).or_default() += count;
        count
    }

    /// As [`Self::settle_dropped`], but for what is in flight; says how many that is, too.
    pub(super) fn settle_dropped_but_in_flight(
        &mut self,
        range: Range<u64>,
        reason: DropReason,
    ) -> (u64, u64) {
        let (mut dropped, mut in_flight) = (0, 0);
        let mut from = range.start;
        while from < range.end {
            let free = self.in_flight.next_absent(from).min(range.end);
            in_flight += self.waiting_in(from..free);
            let end = (free..range.end).find(|number| self.in_flight.contains(*number));
            let end = end.unwrap_or(range.end);
            dropped += self.settle_dropped(free..end, reason);
            from = end;
        }
        (dropped, in_flight)
    }

    /// Takes out what waits of a range, to be given up; says which, ascending. They count as queued until
    /// [`Self::left_as_dead_letters`] or [`Self::left_dropped`] says where they went.
    pub(super) fn begin_leaving(&mut self, range: Range<u64>) -> Vec<u64> {
        let end = range.end.min(self.next);
        let leaving = (range.start..end).filter(|number| !self.settled.contains(*number)).collect();
        let count = self.settle(range);
        self.queued += count;
        self.leaving += count;
        leaving
    }

    /// So many that were leaving have dead letters now.
    pub(super) fn left_as_dead_letters(&mut self, count: u64, reason: DeadLetterReason) {
        self.leave(count);
        *self.dead_lettered.entry(reason).or_default() += count;
    }

    /// So many that were leaving are dropped.
    pub(super) fn left_dropped(&mut self, count: u64, reason: DropReason) {
        self.leave(count);
        *self.dropped.entry(reason).or_default() += count;
    }

    fn leave(&mut self, count: u64) {
        assert!(count <= self.leaving, "{count} of {} that are leaving have left", self.leaving);
        self.leaving -= count;
        self.queued -= count;
    }

    fn settle(&mut self, range: Range<u64>) -> u64 {
        let range = range.start..range.end.min(self.next);
        self.in_flight.remove(range.clone());
        let count = self.settled.insert(range);
        self.queued -= count;
        if count > 0 {
            self.is_cursor_stale = true;
            self.forget_settled();
        }
        count
    }

    /// Records that are no longer in flight.
    pub(super) fn release(&mut self, range: Range<u64>) {
        self.in_flight.remove(range);
    }

    /// Whether a record of a range is in flight.
    pub(super) fn has_in_flight(&self, range: &Range<u64>) -> bool {
        self.in_flight.overlaps(range)
    }

    /// Reads from memory, where the records are there.
    pub(super) fn read(&mut self, from: u64, limit: ReadLimit, intent: Intent) -> Found {
        let first = self.next_waiting(from);
        if first >= self.next {
            return Found::Nothing;
        }
        let in_tail = self.tail.front().is_some_and(|front| front.record.number.0 <= first);
        let source = if in_tail { &self.tail } else { &self.ahead };
        let Ok(start) = source.binary_search_by_key(&first, |entry| entry.record.number.0) else {
            return Found::OnDisk(first);
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        for entry in source.range(start..) {
            let number = entry.record.number.0;
            if self.settled.contains(number) {
                continue;
            }
            bytes += memory_bytes(entry);
            let full = records.len() >= limit.records_max.get() || bytes > limit.bytes_max.get();
            if full && !records.is_empty() {
                break;
            }
            records.push(Arc::clone(&entry.record));
            if intent == Intent::Take {
                self.in_flight.insert(number..number + 1);
            }
        }
        Found::Records(records)
    }

    /// Replaces what was read ahead.
    pub(super) fn set_ahead(&mut self, ahead: VecDeque<InMemory>) {
        self.ahead = ahead;
    }

    /// Notes the age of the oldest waiting record, shared by the numbers up to `last`.
    pub(super) const fn set_head(&mut self, last: u64, age_ms: u64) {
        self.head = Some((last, age_ms));
    }

    /// Whether the age of the oldest waiting record is not known in memory.
    pub(super) fn is_head_unknown(&self) -> bool {
        let first = self.next_waiting(0);
        first < self.next && self.known_age(first).is_none()
    }

    fn known_age(&self, first: u64) -> Option<u64> {
        if let Some((last, age_ms)) = self.head
            && first <= last
        {
            return Some(age_ms);
        }
        let in_memory = |records: &VecDeque<InMemory>| {
            let at = records.binary_search_by_key(&first, |entry| entry.record.number.0).ok()?;
            records.get(at).map(|entry| entry.age_ms)
        };
        in_memory(&self.tail).or_else(|| in_memory(&self.ahead))
    }

    /// The counts of this moment. `now_ms` is the age clock.
    pub(super) fn snapshot(&self, now_ms: u64) -> QueueSnapshot {
        let first = self.next_waiting(0);
        // Until the committer has looked the age up, that of the record before it: older, never younger.
        let age_ms = if first < self.next {
            let since = self.known_age(first).or(self.head.map(|(_, age_ms)| age_ms));
            since.map_or(0, |since| now_ms.saturating_sub(since))
        } else {
            0
        };
        QueueSnapshot {
            recovered: self.recovered,
            enqueued: self.enqueued,
            replayed: self.replayed,
            delivered: self.delivered,
            dead_lettered: self
                .dead_lettered
                .iter()
                .map(|(reason, count)| (reason.label(), *count))
                .collect(),
            dropped: self.dropped.iter().map(|(reason, count)| (reason.label(), *count)).collect(),
            queued: self.queued,
            bytes: 0,
            bytes_max: 0,
            available: true,
            oldest_age_seconds: std::time::Duration::from_millis(age_ms).as_secs_f64(),
        }
    }

    fn pop_tail(&mut self) {
        let Some(popped) = self.tail.pop_front() else { return };
        self.tail_bytes -= memory_bytes(&popped);
        let number = popped.record.number.0;
        if number == self.next_waiting(0) {
            // Nobody may read it back for a long time.
            self.set_head(number, popped.age_ms);
        }
    }

    fn forget_settled(&mut self) {
        let first = self.settled.next_absent(0);
        let is_settled =
            |front: Option<&InMemory>| front.is_some_and(|it| it.record.number.0 < first);
        while is_settled(self.tail.front()) {
            self.pop_tail();
        }
        while is_settled(self.ahead.front()) {
            self.ahead.pop_front();
        }
    }
}

fn memory_bytes(entry: &InMemory) -> usize {
    entry.record.record.memory_bytes()
}

/// Bytes in memory of records that are not in a queue yet.
pub(super) fn records_bytes(records: &[Record]) -> usize {
    records.iter().map(Record::memory_bytes).sum()
}
