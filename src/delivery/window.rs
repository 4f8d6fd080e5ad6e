//! Records that were read and wait for a request, in order, and which of them may go now.
//!
//! Order is kept per *lane*. A lane with a record in a request is busy until that request is settled, and its other
//! records wait behind it; lanes never wait for each other. Records leave by number among the lanes that are free, so a
//! free lane's oldest record is never passed over. With [`Order::Key`] a lane is a key, with [`Order::Sink`] there
//! is one lane, with [`Order::None`] there is none.
//!
//! Taking a record costs the logarithm of the lanes that wait, whatever waits behind busy ones.

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, HashMap, RandomState};
use std::collections::{BinaryHeap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Order;
use crate::store::{RecordNumber, StoredRecord};

/// A lane by the hash of its key: two keys that share one keep their order and lose only a little freedom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId(u64);

/// What a batch took, in order.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The records.
    pub(super) records: Vec<Arc<StoredRecord>>,
    /// Their lanes, each once; busy until [`Window::free`].
    pub(super) lanes: Vec<LaneId>,
}

/// Records and their bytes in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Records.
    pub(super) records: usize,
    /// Bytes of their events in memory.
    pub(super) bytes: usize,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }
}

/// Which of the records that fail to get past another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overtaker {
    /// The one right behind it.
    Nearest,
    /// The one that came last: what is wrong may be wrong with the next ones, too.
    Latest,
}

#[derive(Debug)]
struct Waiting {
    record: Arc<StoredRecord>,
    since: Instant,
    bytes: usize,
}

impl Waiting {
    fn amount(&self) -> Amount {
        Amount { records: 1, bytes: self.bytes }
    }
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    busy: bool,
    /// In the batch that is being formed.
    taken: bool,
}

impl Lane {
    fn amount(&self) -> Amount {
        Amount { records: self.waiting.len(), bytes: self.bytes }
    }

    fn head(&self) -> Option<RecordNumber> {
        self.waiting.front().map(|waiting| waiting.record.number)
    }
}

#[derive(Debug)]
enum Form {
    Unordered(VecDeque<Waiting>),
    Ordered {
        lanes: HashMap<LaneId, Lane>,
        /// The head of every free lane. An entry that is not (any longer) the head of a free lane is stale.
        heads: BinaryHeap<Reverse<(RecordNumber, LaneId)>>,
    },
}

/// The records of one sink that wait in memory.
#[derive(Debug)]
pub(super) struct Window {
    form: Form,
    order: Order,
    hasher: RandomState,
    waiting: Amount,
    ready: Amount,
}

impl Window {
    /// An empty window.
    pub(super) fn new(order: Order) -> Self {
        let form = match order {
            Order::None => Form::Unordered(VecDeque::new()),
            Order::Key | Order::Sink => {
                Form::Ordered { lanes: HashMap::new(), heads: BinaryHeap::new() }
            }
        };
        let none = Amount::default();
        Self { form, order, hasher: RandomState::new(), waiting: none, ready: none }
    }

    /// Everything that waits.
    pub(super) fn waiting(&self) -> Amount {
        self.waiting
    }

    /// What may go into a request now.
    pub(super) fn ready(&self) -> Amount {
        self.ready
    }

    /// Adds the record after all that were added before.
    pub(super) fn push(&mut self, record: Arc<StoredRecord>, now: Instant) {
        let lane_id = self.lane_of(&record);
        let number = record.number;
        let bytes = record.record.memory_bytes();
        let waiting = Waiting { record, since: now, bytes };
        let amount = waiting.amount();
        self.waiting.add(amount);
        match &mut self.form {
            Form::Unordered(queue) => {
                queue.push_back(waiting);
                self.ready.add(amount);
            }
            Form::Ordered { lanes, heads } => {
                let lane = lanes.entry(lane_id).or_default();
                if !lane.busy {
                    if lane.waiting.is_empty() {
                        heads.push(Reverse((number, lane_id)));
                    }
                    self.ready.add(amount);
                }
                lane.bytes += bytes;
                lane.waiting.push_back(waiting);
            }
        }
    }

    /// The oldest record that may go now, and since when it waits here.
    pub(super) fn oldest_ready(&mut self) -> Option<(RecordNumber, Instant)> {
        let waiting = match &mut self.form {
            Form::Unordered(queue) => queue.front()?,
            Form::Ordered { lanes, heads } => {
                let lane_id = free_head(lanes, heads)?;
                lanes.get(&lane_id)?.waiting.front()?
            }
        };
        Some((waiting.record.number, waiting.since))
    }

    /// Takes the oldest records that may go, as long as `fits` takes them, up to `records_max`.
    ///
    /// Their lanes are busy afterwards.
    pub(super) fn take(
        &mut self,
        records_max: usize,
        mut fits: impl FnMut(&StoredRecord) -> bool,
    ) -> Taken {
        let mut taken = Taken::default();
        while taken.records.len() < records_max {
            let Some(record) = self.take_one(&mut fits, &mut taken.lanes) else { break };
            taken.records.push(record);
        }
        if let Form::Ordered { lanes, .. } = &mut self.form {
            for lane_id in &taken.lanes {
                let lane = lanes.get_mut(lane_id).expect("a lane stays while it is taken");
                lane.taken = false;
                lane.busy = true;
                self.ready.subtract(lane.amount());
            }
        }
        taken
    }

    fn take_one(
        &mut self,
        fits: &mut impl FnMut(&StoredRecord) -> bool,
        taken_lanes: &mut Vec<LaneId>,
    ) -> Option<Arc<StoredRecord>> {
        let waiting = match &mut self.form {
            Form::Unordered(queue) => {
                if !fits(&queue.front()?.record) {
                    return None;
                }
                queue.pop_front()?
            }
            Form::Ordered { lanes, heads } => {
                let lane_id = free_head(lanes, heads)?;
                let lane = lanes.get_mut(&lane_id)?;
                if !fits(&lane.waiting.front()?.record) {
                    return None;
                }
                let waiting = lane.waiting.pop_front()?;
                lane.bytes -= waiting.bytes;
                heads.pop();
                if let Some(next) = lane.head() {
                    heads.push(Reverse((next, lane_id)));
                }
                if !std::mem::replace(&mut lane.taken, true) {
                    taken_lanes.push(lane_id);
                }
                waiting
            }
        };
        let amount = waiting.amount();
        self.waiting.subtract(amount);
        self.ready.subtract(amount);
        Some(waiting.record)
    }

    /// The request that held these lanes is settled: their next records may go.
    pub(super) fn free(&mut self, lane_ids: &[LaneId]) {
        let Form::Ordered { lanes, heads } = &mut self.form else { return };
        for lane_id in lane_ids {
            let Entry::Occupied(mut entry) = lanes.entry(*lane_id) else {
                panic!("{lane_id:?} is freed and was never taken");
            };
            let lane = entry.get_mut();
            assert!(lane.busy, "{lane_id:?} is freed twice");
            lane.busy = false;
            self.ready.add(lane.amount());
            match lane.head() {
                Some(head) => heads.push(Reverse((head, *lane_id))),
                None => drop(entry.remove()),
            }
        }
    }

    /// Takes everything out that waits; what is in requests keeps its lanes.
    pub(super) fn clear(&mut self) -> Vec<RecordNumber> {
        let mut numbers: Vec<RecordNumber> = match &mut self.form {
            Form::Unordered(queue) => {
                queue.drain(..).map(|waiting| waiting.record.number).collect()
            }
            Form::Ordered { lanes, heads } => {
                heads.clear();
                let waiting = lanes.values_mut().flat_map(|lane| {
                    lane.bytes = 0;
                    lane.waiting.drain(..)
                });
                let numbers = waiting.map(|waiting| waiting.record.number).collect();
                lanes.retain(|_, lane| lane.busy);
                numbers
            }
        };
        numbers.sort_unstable();
        self.waiting = Amount::default();
        self.ready = Amount::default();
        numbers
    }

    /// Takes one record that waits, to see whether the service takes another than the one it fails on: of a free lane,
    /// as far from the oldest as may be without breaking the order. Its lane is busy afterwards.
    pub(super) fn take_canary(&mut self) -> Option<Taken> {
        let waiting = match &mut self.form {
            Form::Unordered(queue) => {
                let waiting = queue.pop_back()?;
                self.waiting.subtract(waiting.amount());
                self.ready.subtract(waiting.amount());
                return Some(Taken { records: vec![waiting.record], lanes: Vec::new() });
            }
            Form::Ordered { lanes, .. } => lanes,
        };
        let free = waiting.iter().filter(|(_, lane)| !lane.busy);
        let (_, lane_id) = free.filter_map(|(id, lane)| Some((lane.head()?, *id))).max()?;
        let lane = waiting.get_mut(&lane_id)?;
        self.ready.subtract(lane.amount());
        let canary = lane.waiting.pop_front()?;
        lane.bytes -= canary.bytes;
        lane.busy = true;
        self.waiting.subtract(canary.amount());
        Some(Taken { records: vec![canary.record], lanes: vec![lane_id] })
    }

    /// As [`Self::take_canary`], from behind the head of a free lane or of a busy one that is `held` by what fails: it
    /// overtakes that. The nearest one keeps the order of all others.
    pub(super) fn take_overtaking(
        &mut self,
        which: Overtaker,
        held: impl Fn(&LaneId) -> bool,
    ) -> Option<Arc<StoredRecord>> {
        let Form::Ordered { lanes, .. } = &mut self.form else { return None };
        let lanes = lanes.iter_mut().filter(|(id, lane)| !lane.busy || held(id));
        let last = |lane: &Lane| lane.waiting.back().map(|waiting| waiting.record.number);
        // All of a lane may be bad: then the latest of any.
        let is_first = |lane: &Lane| which == Overtaker::Nearest && held_first(lane);
        let (_, lane) = lanes.max_by_key(|(_, lane)| (is_first(lane), last(lane)))?;
        let behind = lane.waiting.len().checked_sub(1)?;
        let canary = lane.waiting.remove(match which {
            Overtaker::Nearest => behind.min(usize::from(!lane.busy)),
            Overtaker::Latest => behind,
        })?;
        lane.bytes -= canary.bytes;
        self.waiting.subtract(canary.amount());
        if !lane.busy {
            self.ready.subtract(canary.amount());
        }
        Some(canary.record)
    }

    /// What a record shares its order with; `None` where there is no order.
    pub(super) fn lane_of_record(&self, record: &StoredRecord) -> Option<LaneId> {
        (self.order != Order::None).then(|| self.lane_of(record))
    }

    fn lane_of(&self, record: &StoredRecord) -> LaneId {
        match self.order {
            Order::Key => LaneId(self.hasher.hash_one(record.record.event.order_key())),
            Order::Sink | Order::None => LaneId(0),
        }
    }
}

/// A lane whose head is known to fail, before one whose head is not.
fn held_first(lane: &Lane) -> bool {
    lane.busy && !lane.waiting.is_empty()
}

/// The free lane with the oldest head, which is on top of `heads` afterwards.
fn free_head(
    lanes: &HashMap<LaneId, Lane>,
    heads: &mut BinaryHeap<Reverse<(RecordNumber, LaneId)>>,
) -> Option<LaneId> {
    loop {
        let Reverse((number, lane_id)) = *heads.peek()?;
        let is_head =
            lanes.get(&lane_id).is_some_and(|lane| !lane.busy && lane.head() == Some(number));
        if is_head {
            return Some(lane_id);
        }
        heads.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tests::record;

    fn take(window: &mut Window, records_max: usize) -> (Vec<u64>, Vec<LaneId>) {
        let taken = window.take(records_max, |_| true);
        (taken.records.iter().map(|record| record.number.0).collect(), taken.lanes)
    }

    fn window(order: Order, keys: &str) -> Window {
        let mut window = Window::new(order);
        for (number, key) in (1..).zip(keys.chars()) {
            window.push(record(number, &key.to_string()), Instant::now());
        }
        window
    }

    #[test]
    fn without_an_order_records_leave_by_number_whatever_is_in_flight() {
        let mut window = window(Order::None, "aaabb");
        assert_eq!(take(&mut window, 2).0, [1, 2]);
        assert_eq!(take(&mut window, 9).0, [3, 4, 5]);
        assert_eq!(window.waiting(), Amount::default());
    }

    #[test]
    fn with_order_per_sink_nothing_leaves_while_a_request_is_in_flight() {
        let mut window = window(Order::Sink, "abcde");
        let (numbers, lanes) = take(&mut window, 2);
        assert_eq!(numbers, [1, 2]);
        assert_eq!((window.ready().records, window.waiting().records), (0, 3));
        assert!(take(&mut window, 2).0.is_empty());
        window.free(&lanes);
        assert_eq!(window.ready().records, 3);
        assert_eq!(take(&mut window, 2).0, [3, 4]);
    }

    #[test]
    fn with_order_per_key_a_batch_holds_many_of_a_key_and_no_other_batch_holds_that_key() {
        let mut window = window(Order::Key, "aabacbab");
        let (first, first_lanes) = take(&mut window, 3);
        assert_eq!((first, first_lanes.len()), (vec![1, 2, 3], 2), "keys a and b");
        assert_eq!(window.ready().records, 1);
        let (second, second_lanes) = take(&mut window, 3);
        assert_eq!(second, [5], "only key c is free");
        window.free(&second_lanes);
        assert!(take(&mut window, 3).0.is_empty());
        window.free(&first_lanes);
        assert_eq!(take(&mut window, 9).0, [4, 6, 7, 8]);
    }

    #[test]
    fn a_record_that_does_not_fit_stays_first_in_line() {
        for order in [Order::None, Order::Key, Order::Sink] {
            let mut window = window(order, "abc");
            let taken = window.take(9, |record| record.number.0 < 2);
            assert_eq!(taken.records.len(), 1, "{order:?}");
            window.free(&taken.lanes);
            assert_eq!(take(&mut window, 9).0, [2, 3], "{order:?}");
        }
    }

    #[test]
    fn a_cleared_window_keeps_the_lanes_of_what_is_in_flight_busy() {
        let mut window = window(Order::Key, "abab");
        let (_, lanes) = take(&mut window, 1);
        assert_eq!(window.clear(), [RecordNumber(2), RecordNumber(3), RecordNumber(4)]);
        assert_eq!((window.waiting(), window.ready()), (Amount::default(), Amount::default()));
        for (number, key) in [(2, "b"), (3, "a"), (4, "b")] {
            window.push(record(number, key), Instant::now());
        }
        assert_eq!(take(&mut window, 9).0, [2, 4], "key a is still in flight");
        window.free(&lanes);
        assert_eq!(take(&mut window, 9).0, [3]);
    }

    #[test]
    fn a_hot_key_costs_no_more_than_a_cold_one() {
        let started = Instant::now();
        let mut window = window(Order::Key, &"a".repeat(50_000));
        for expected in 1..=50_000 {
            let (numbers, lanes) = take(&mut window, 1);
            assert_eq!(numbers, [expected]);
            window.free(&lanes);
        }
        // Quadratic work would be 1.25 billion moves: minutes in a debug build.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
