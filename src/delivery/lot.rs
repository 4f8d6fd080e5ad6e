//! Records that were taken together and hold their lanes until the last of them has left.
//!
//! A lot goes out as one request. When that fails for what may be one record's fault it is *narrowed*: the first half
//! of those among which the guilty record must be goes alone, always from the front, so that order is kept. A half
//! that is delivered clears its records and leaves the other half suspected; a half that fails is narrowed again.
//! What is behind the guilty record goes out in one request afterwards. One guilty record among n costs at most
//! 2 log2 n requests that would not have been needed without it, for every n (a test tries them all).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::outcome::{Kind, Trouble};
use super::request::Renderer;
use super::retry::Delays;
use super::window::LaneId;
use crate::config;
use crate::store::{RecordNumber, StoredRecord};

/// Sizes of requests while a lot was narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The largest that was delivered.
    pub(super) delivered_max: usize,
    /// The smallest that failed.
    pub(super) failed_min: usize,
    /// All of the sink may have been failing.
    pub(super) is_blind: bool,
}

/// Failures of one kind in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streak {
    pub(super) kind: Kind,
    pub(super) failures: u32,
    pub(super) since: Instant,
}

impl Streak {
    /// One more failure, in a row with those `before` when they are of its kind.
    pub(super) fn after(before: Option<Self>, kind: Kind, now: Instant) -> Self {
        match before.filter(|streak| streak.kind.is_like(kind)) {
            Some(streak) => Self { kind, failures: streak.failures + 1, since: streak.since },
            None => Self { kind, failures: 1, since: now },
        }
    }

    /// Whether they are as many as `canary` asks for, and lasted as long `at` this time.
    pub(super) fn is_long(&self, canary: &config::Canary, at: Instant) -> bool {
        self.failures >= canary.failures.get() && at >= self.since + canary.period
    }
}

/// Records that were delivered before one that holds them back, one after each of its failures.
#[derive(Debug, Clone, Copy)]
struct Overtaken {
    times: u32,
    /// The one that holds them back has failed once more since.
    has_failed: bool,
}

/// Records on their way together.
#[derive(Debug)]
pub(super) struct Lot {
    /// Not settled, in order.
    records: VecDeque<Arc<StoredRecord>>,
    /// What no other lot may carry until this one is done.
    pub(super) lanes: Vec<LaneId>,
    /// The guilty record is among so many of the first; 0 when nothing is known of one.
    suspected: usize,
    sizes: Option<Sizes>,
    /// The last request, for as long as the same records go.
    request: Option<Arc<Batch>>,
    /// Attempts that reached the service and failed.
    pub(super) attempts: u32,
    pub(super) first_left_at: Option<Instant>,
    /// Of a suspect those that tell it from the sink: each was between two deliveries of other records.
    pub(super) streak: Option<Streak>,
    /// What its last failure was.
    pub(super) trouble: Option<Trouble>,
    /// Records behind it that were delivered before it.
    overtaken: Option<Overtaken>,
    /// Records behind it that were tried before it and failed, too.
    pub(super) overtakings_failed: u32,
}

impl Lot {
    /// A lot of at least one record; `request` carries all of them, when it was rendered already.
    pub(super) fn new(
        records: Vec<Arc<StoredRecord>>,
        lanes: Vec<LaneId>,
        request: Option<Arc<Batch>>,
    ) -> Self {
        Self {
            records: records.into(),
            lanes,
            suspected: 0,
            sizes: None,
            request,
            attempts: 0,
            first_left_at: None,
            streak: None,
            trouble: None,
            overtaken: None,
            overtakings_failed: 0,
        }
    }

    /// Records that have not left.
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<StoredRecord>> {
        self.records.iter()
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RecordNumber> {
        self.records.iter().map(|record| record.number)
    }

    /// How many have not left.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of their events in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.records.iter().map(|record| record.record.event.memory_bytes()).sum()
    }

    /// Whether all have left.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The oldest of its records. It must have one.
    pub(super) fn first(&self) -> RecordNumber {
        self.records.front().expect("a lot that is kept has a record").number
    }

    /// Records of the last request, while the same may go again.
    pub(super) fn last_size(&self) -> Option<usize> {
        self.request.as_ref().map(|request| request.numbers.len())
    }

    /// Whether a guilty record is looked for.
    pub(super) fn is_narrowed(&self) -> bool {
        self.suspected > 0
    }

    /// The next request, of at most `records_max` records. The same as the last one while the same records go.
    pub(super) fn request(&mut self, records_max: usize, renderer: &mut Renderer) -> Arc<Batch> {
        let size = match self.suspected {
            0 => self.len(),
            1 => 1,
            suspected => suspected / 2,
        };
        let size = size.min(records_max).max(1);
        if let Some(request) = self.request.as_ref().filter(|it| it.numbers.len() == size) {
            return Arc::clone(request);
        }
        let fitting = self.records.iter().take(size).take_while(|record| renderer.add(record));
        let numbers: Vec<RecordNumber> = fitting.map(|record| record.number).collect();
        let message = renderer.finish(&numbers);
        let request = Arc::new(Batch { numbers, message });
        self.request = Some(Arc::clone(&request));
        request
    }

    /// Takes out the first `count` records, which were delivered. When that clears the last suspect, no record was
    /// guilty: then says which sizes went through and which did not.
    pub(super) fn delivered(&mut self, count: usize) -> Option<Sizes> {
        drop(self.take(count));
        self.suspected = self.suspected.saturating_sub(count);
        if let Some(sizes) = &mut self.sizes {
            sizes.delivered_max = sizes.delivered_max.max(count);
        }
        if self.suspected > 0 {
            return None;
        }
        self.forget();
        self.sizes.take()
    }

    /// The request of the first `count` records, at least two, failed: the guilty one is among them.
    pub(super) fn narrow(&mut self, count: usize) {
        self.narrow_to(count, false);
    }

    /// As [`Self::narrow`], while all of the sink may be failing.
    pub(super) fn narrow_blindly(&mut self, count: usize) {
        self.narrow_to(count, true);
    }

    fn narrow_to(&mut self, count: usize, is_blind: bool) {
        assert!(count > 1, "one record cannot be narrowed");
        self.suspected = count;
        let sizes =
            self.sizes.get_or_insert(Sizes { delivered_max: 0, failed_min: count, is_blind });
        sizes.failed_min = sizes.failed_min.min(count);
    }

    /// Takes out the first `count` records, found guilty; of the others nothing is known.
    pub(super) fn take_guilty(&mut self, count: usize) -> Vec<Arc<StoredRecord>> {
        self.suspected = 0;
        self.sizes = None;
        self.forget();
        self.take(count)
    }

    /// Takes out all but the first record; that one is suspected.
    pub(super) fn take_rest(&mut self) -> Vec<Arc<StoredRecord>> {
        self.suspected = 1;
        self.sizes = None;
        self.records.split_off(1).into()
    }

    /// Takes out what `is_expired`.
    pub(super) fn take_expired(
        &mut self,
        mut is_expired: impl FnMut(&StoredRecord) -> bool,
    ) -> Vec<Arc<StoredRecord>> {
        if !self.records.iter().any(|record| is_expired(record)) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.records);
        let (expired, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|record| is_expired(record));
        self.records = rest.into();
        self.suspected = self.suspected.min(self.records.len());
        self.request = None;
        expired
    }

    /// Notes one more failure, in a row when the ones before were of its kind.
    pub(super) fn note(&mut self, kind: Kind, now: Instant) -> Streak {
        if let Some(overtaken) = &mut self.overtaken {
            overtaken.has_failed = true;
        }
        *self.streak.insert(Streak::after(self.streak, kind, now))
    }

    /// What failed is out of it.
    fn forget(&mut self) {
        self.streak = None;
        self.trouble = None;
        self.overtaken = None;
        self.overtakings_failed = 0;
        self.attempts = 0;
        self.first_left_at = None;
    }

    /// A record that it holds back was delivered. Says how often that was, each time after one more failure, without
    /// another that was not.
    pub(super) fn note_overtaken(&mut self) -> u32 {
        let before = self.overtaken.unwrap_or(Overtaken { times: 0, has_failed: true });
        let times = before.times + u32::from(before.has_failed);
        self.overtaken = Some(Overtaken { times, has_failed: false });
        times
    }

    /// Whether a record that it holds back was delivered, and none tried in vain since.
    pub(super) fn is_overtaken(&self) -> bool {
        self.overtaken.is_some()
    }

    /// Another record was tried that was not delivered; one that it holds back where it `would_overtake`.
    pub(super) fn note_not_overtaken(&mut self, would_overtake: bool) {
        self.overtaken = None;
        self.overtakings_failed += u32::from(would_overtake);
    }

    fn take(&mut self, count: usize) -> Vec<Arc<StoredRecord>> {
        self.request = None;
        self.records.drain(..count).collect()
    }
}

/// A lot that fails while others are delivered: it has a clock of its own, and what it does says nothing of the sink.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) lot: Lot,
    pub(super) watch: Watch,
}

/// What is known of a suspect.
///
/// A failure counts when it lies between two deliveries of other records, and nothing says that the sink failed in
/// between; several in a row without a delivery count once. So nothing is found guilty while nothing is delivered.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) delays: Delays,
    /// When it may leave again.
    pub(super) not_before: Instant,
    /// Times that the sink had failed when it left last, if the last thing known of the sink was a delivery.
    pub(super) worked: Option<u64>,
    /// Its failures since another record was delivered.
    pub(super) alone: Option<Alone>,
}

impl Watch {
    /// Of a record that has not failed alone.
    pub(super) fn new(delays: Delays, now: Instant) -> Self {
        Self { delays, not_before: now, worked: None, alone: None }
    }

    /// It is about another record now, which may leave at once.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.not_before = now;
        self.worked = None;
        self.alone = None;
    }

    /// A request was delivered, and the sink has failed `failures` times until now. Says when the record had failed
    /// last, if it has since the delivery before; counts it in the streak of its `lot`, if it counts.
    pub(super) fn witness(&mut self, lot: &mut Lot, failures: u64) -> Option<Instant> {
        let alone = self.alone.take()?;
        if self.worked == Some(failures) {
            lot.note(alone.streak.kind, alone.at);
        }
        Some(alone.at)
    }

    /// It fails with `kind`.
    pub(super) fn note_alone(&mut self, kind: Kind, now: Instant) -> Streak {
        let streak = Streak::after(self.alone.map(|alone| alone.streak), kind, now);
        self.alone = Some(Alone { streak, at: now });
        streak
    }
}

/// Failures of a suspect without a delivery of another record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alone {
    pub(super) streak: Streak,
    /// When the last one was.
    pub(super) at: Instant,
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::delivery::tests::{batch_config, record, renderer, sink_config};

    /// Requests until `count` records have left, when those for which `is_guilty` spoil their requests; and what was
    /// found guilty.
    fn requests(count: u64, is_guilty: impl Fn(u64) -> bool) -> (usize, Vec<u64>) {
        let mut config = sink_config("http://127.0.0.1/");
        config.batch = batch_config(10_000, Duration::ZERO);
        let mut renderer = renderer(&config);
        let records = (0..count).map(|number| record(number, "a")).collect();
        let mut lot = Lot::new(records, Vec::new(), None);
        let (mut requests, mut guilty, mut next) = (0, Vec::new(), 0);
        while !lot.is_empty() {
            let request = lot.request(usize::MAX, &mut renderer);
            requests += 1;
            let size = request.numbers.len();
            assert_eq!(request.numbers[0].0, next, "in order, nothing left out");
            if !request.numbers.iter().any(|number| is_guilty(number.0)) {
                next += u64::try_from(size).unwrap();
                lot.delivered(size);
            } else if size > 1 {
                lot.narrow(size);
            } else {
                next += 1;
                guilty.extend(lot.take_guilty(1).iter().map(|record| record.number.0));
            }
        }
        (requests, guilty)
    }

    #[test]
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the bound is a logarithm"
    )]
    fn one_guilty_record_among_n_is_found_with_at_most_two_log2_n_extra_requests() {
        let sizes = (2..130).chain([255, 256, 257, 999, 1000, 1001, 1024]);
        for count in sizes {
            let step = if count < 130 { 1 } else { 37 };
            let positions = (0..count).step_by(step).chain([count - 1]);
            for position in positions {
                let (requests, guilty) = requests(count, |number| number == position);
                assert_eq!(guilty, [position], "of {count}");
                let extra = requests - 1;
                let bound = (2.0 * (count as f64).log2()).floor() as usize;
                assert!(
                    extra <= bound,
                    "{extra} extra requests for {position} of {count}: {bound}"
                );
            }
        }
    }

    #[test]
    fn every_set_of_guilty_records_is_found_and_the_others_are_delivered_in_order() {
        for count in 1..=9_u64 {
            for set in 0..1_u64 << count {
                let is_guilty = |number: u64| set >> number & 1 == 1;
                let (requests, guilty) = requests(count, is_guilty);
                assert_eq!(guilty, (0..count).filter(|it| is_guilty(*it)).collect::<Vec<_>>());
                let bound = 1 + guilty.len() * 8;
                assert!(requests <= bound, "{requests} for {set:b} of {count}");
            }
        }
    }

    #[test]
    fn a_lot_without_a_guilty_record_tells_which_size_went_through() {
        let mut config = sink_config("http://127.0.0.1/");
        config.batch = batch_config(10_000, Duration::ZERO);
        let mut renderer = renderer(&config);
        let records = (0..1000).map(|number| record(number, "a")).collect();
        let mut lot = Lot::new(records, Vec::new(), None);
        loop {
            let size = lot.request(usize::MAX, &mut renderer).numbers.len();
            if size > 300 {
                lot.narrow(size);
            } else if let Some(sizes) = lot.delivered(size) {
                assert_eq!(sizes, Sizes { delivered_max: 250, failed_min: 500, is_blind: false });
                break;
            }
        }
        assert_eq!(lot.len(), 500, "the rest was not touched");
    }

    #[test]
    fn failures_are_in_a_row_while_they_are_of_one_kind() {
        let start = Instant::now();
        let mut lot = Lot::new(vec![record(1, "a")], Vec::new(), None);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lot.note(Kind::Status(500), after(0)).failures, 1);
        assert_eq!(lot.note(Kind::Status(502), after(9)).failures, 2, "of one class");
        assert_eq!(lot.note(Kind::Timeout, after(10)).failures, 1);
        let streak = lot.note(Kind::Timeout, after(70));
        assert_eq!((streak.failures, streak.since), (2, after(10)));
        let (failures, period) = (NonZeroU32::new(2).unwrap(), Duration::from_secs(40));
        let canary = config::Canary { failures, period };
        assert!(streak.is_long(&canary, after(50)));
        assert!(!streak.is_long(&canary, after(49)), "long enough");
        let one = Streak { failures: 1, ..streak };
        assert!(!one.is_long(&canary, after(70)), "and often enough");
    }
}
