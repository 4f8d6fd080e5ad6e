//! What is kept in memory, and when more is read.

use super::{
    Arc, BTreeSet, Burial, CANARY_REACH_MAX, Core, DeadLetterReason, Duration, Instant, Lot,
    NonZeroUsize, Read, ReadLimit, Reading, RecordNumber, SPAN_MAX, StoredRecord, Turn,
};

/// How long to leave a queue alone that cannot be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often the oldest records are looked at while the sink fails: within these bounds, a tenth of `max_age`.
const EXPIRE_EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_mins(1)];

/// Records looked at then.
const EXPIRE_RECORDS: usize = 1024;

impl Core {
    /// The read to run now, if there is something to read and room for it. Its result must come back as
    /// [`super::Event::Read`] or [`super::Event::ReadFailed`]; there is one at a time.
    pub(in crate::delivery) fn next_read(
        &mut self,
        appended: RecordNumber,
        now: Instant,
    ) -> Option<Read> {
        let is_news = appended > self.from && appended > self.exhausted_at;
        let may_read = self.read_again_at.is_none_or(|at| at <= now);
        if self.reading.is_some() || !is_news || !may_read || self.is_paused {
            return None;
        }
        let records = if self.wants_records() {
            if self.pace.is_failing() { self.canary_reach } else { self.waiting_records_max }
        } else if self.pace.is_failing() && self.expire_at.is_some_and(|at| at <= now) {
            EXPIRE_RECORDS
        } else {
            return None;
        };
        if std::mem::take(&mut self.is_rewound) {
            let held = self.held().into_iter();
            self.held_ahead = held.filter(|number| *number >= self.from).collect();
        }
        self.reading = Some(Reading { appended, stale: false });
        self.read_again_at = None;
        let waiting = self.window.waiting();
        let room = |max: usize, taken: usize| {
            NonZeroUsize::new(max.saturating_sub(taken)).unwrap_or(NonZeroUsize::MIN)
        };
        let limit = ReadLimit {
            records_max: room(records, waiting.records),
            bytes_max: room(self.waiting_bytes_max, waiting.bytes),
        };
        Some(Read { from: self.from, limit })
    }

    /// Whether more records would be read if the queue had them: the window is half empty, the sink works, and the
    /// oldest unsettled record is not too far behind; or it fails, and there is no other record to try.
    pub(in crate::delivery) fn wants_records(&mut self) -> bool {
        if self.is_paused {
            return false;
        }
        let waiting = self.window.waiting();
        if self.pace.is_failing() {
            return waiting.records == 0
                && self.needs_another()
                && self.pace.is_waiting()
                && self.span() < SPAN_MAX;
        }
        let has_room = waiting.records <= self.waiting_records_max / 2
            && waiting.bytes <= self.waiting_bytes_max / 2;
        has_room && self.span() < SPAN_MAX
    }

    /// The queue cannot be read now.
    pub(super) fn read_failed(&mut self, now: Instant) {
        self.reading = None;
        self.read_again_at = Some(now + READ_AGAIN_AFTER);
    }

    /// Takes in what was read.
    pub(super) fn take_in(&mut self, records: Vec<Arc<StoredRecord>>, now: Instant) {
        let reading = self.reading.take().expect("a read was asked for");
        if reading.stale {
            let held: BTreeSet<_> = self.held().into_iter().collect();
            let numbers = records.iter().map(|record| record.number);
            self.effects.released.extend(numbers.filter(|number| !held.contains(number)));
            return;
        }
        if records.is_empty() {
            self.exhausted_at = reading.appended;
        }
        // To be overtaken they may be read.
        let skips = !(self.pace.is_failing() && self.is_head_stuck(now));
        let mut expired = Vec::new();
        for record in records {
            let number = record.number;
            assert!(number >= self.from, "asked from {:?}, got {number:?}", self.from);
            self.from = RecordNumber(number.0 + 1);
            if self.held_ahead.remove(&number) {
                continue;
            }
            let lane = self.window.lane_of_record(&record);
            if skips && lane.is_some_and(|lane| self.shut.contains(&lane)) {
                self.skipped_from = Some(self.skipped_from.map_or(number, |from| from.min(number)));
                self.effects.released.push(number);
            } else if self.is_expired(&record, now) && self.may_bury() {
                expired.push(record);
            } else {
                self.window.push(record, now);
            }
        }
        if !self.held_ahead.is_empty() {
            self.held_ahead = self.held_ahead.split_off(&self.from);
        }
        self.expire(expired, now);
    }

    fn expire(&mut self, expired: Vec<Arc<StoredRecord>>, now: Instant) {
        let Some(age_max) = self.retry.age_max else { return };
        let found_some = !expired.is_empty();
        if found_some {
            self.bury(Burial {
                records: expired,
                reason: DeadLetterReason::MaxAge,
                trouble: None,
                attempts: 0,
                first_left_at: None,
            });
        }
        if self.pace.is_failing() && self.expire_at.is_some_and(|at| at <= now) {
            let [least, most] = EXPIRE_EVERY;
            let period = if found_some { least } else { (age_max / 10).clamp(least, most) };
            self.expire_at = Some(now + period);
            if !self.wants_to_keep_waiting() {
                self.give_back_waiting();
            }
        }
    }

    /// While the sink fails, a record waits only to be the next probe.
    fn wants_to_keep_waiting(&self) -> bool {
        self.needs_another() && self.window.waiting().records <= CANARY_REACH_MAX
    }

    /// Whether the next probe may be a record that is not in memory.
    fn needs_another(&self) -> bool {
        self.turn == Turn::Canary || self.retries.is_empty()
    }

    /// Gives the waiting records back to the queue, so that its overload policy may work; they are read again.
    pub(super) fn give_back_waiting(&mut self) {
        let numbers = self.window.clear();
        if let Some(first) = numbers.first() {
            self.from = self.from.min(*first);
        }
        self.exhausted_at = RecordNumber(0);
        if let Some(reading) = &mut self.reading {
            reading.stale = true;
        }
        let from = self.from;
        if self.skipped_from.is_some_and(|skipped| skipped >= from) {
            self.skipped_from = None;
        }
        self.is_rewound = true;
        self.effects.released.extend(numbers);
    }

    /// Reads again from `number` on.
    pub(super) fn rewind(&mut self, number: RecordNumber) {
        self.from = self.from.min(number);
        self.give_back_waiting();
    }

    /// Gives all but the first record of a lot back to the queue. Only the first's lane stays busy.
    pub(super) fn give_back_rest(&mut self, lot: &mut Lot) {
        let first = lot.records().next().and_then(|first| self.window.lane_of_record(first));
        let (kept, freed): (Vec<_>, Vec<_>) =
            lot.lanes.iter().partition(|lane| first == Some(**lane));
        lot.lanes = kept;
        self.window.free(&freed);
        for lane in &freed {
            self.shut.remove(lane);
        }
        let rest = lot.take_rest();
        self.effects.released.extend(rest.iter().map(|record| record.number));
        if let Some(first) = rest.first() {
            self.rewind(first.number);
        }
    }

    /// Whether the next batch is full, has waited long enough, or cannot get fuller.
    pub(super) fn batch_is_due(&mut self, now: Instant) -> bool {
        let ready = self.window.ready();
        let is_full = ready.records >= self.size.limit() || ready.bytes >= self.limits.bytes_max;
        // What cannot be read cannot be waited for.
        is_full
            || !self.wants_records()
            || self
                .window
                .oldest_ready()
                .is_some_and(|(_, since)| since + self.limits.linger <= now)
    }

    /// Records between the oldest unsettled one and the next to read. Suspects and what is being buried leave no more
    /// than a few gaps, and do not count.
    fn span(&mut self) -> u64 {
        let in_flight = self.in_flight.iter().find(|(_, flight)| !flight.is_suspect());
        let in_flight = in_flight.map(|(first, _)| *first);
        let held = in_flight.into_iter().chain(self.retries.first_key_value().map(|(it, _)| *it));
        let waiting = self.window.oldest_ready().map(|(number, _)| number);
        let oldest = held.chain(waiting).chain(self.skipped_from).min().unwrap_or(self.from);
        self.from.0.saturating_sub(oldest.0)
    }
}
