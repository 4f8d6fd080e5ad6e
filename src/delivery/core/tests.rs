//! The core against a model of the queue and of a service that fails at random. No runtime, no socket.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;
use crate::config::Order;
use crate::delivery::tests::{batch_config, record, renderer, sink_config};

/// A queue that knows what is unsettled and what is marked as in flight.
#[derive(Default)]
struct ModelQueue {
    unsettled: BTreeMap<RecordNumber, Arc<StoredRecord>>,
    marked: BTreeSet<RecordNumber>,
    appended: u64,
}

impl ModelQueue {
    fn append(&mut self, key: &str) {
        self.appended = self.appended.max(1);
        self.unsettled.insert(RecordNumber(self.appended), record(self.appended, key));
        self.appended += 1;
    }

    fn read(&mut self, read: &Read) -> Vec<Arc<StoredRecord>> {
        let records = self.unsettled.range(read.from..).take(read.limit.records_max.get());
        let records: Vec<_> = records.map(|(_, record)| Arc::clone(record)).collect();
        self.marked.extend(records.iter().map(|record| record.number));
        records
    }

    fn take(&mut self, effects: &Effects) {
        for number in &effects.settled {
            assert!(self.unsettled.remove(number).is_some(), "{number:?} is settled twice");
            self.marked.remove(number);
        }
        for number in &effects.released {
            self.marked.remove(number);
        }
    }
}

/// Everything around the core, driven by one seed.
struct Simulation {
    random: Rng,
    core: Core,
    queue: ModelQueue,
    now: Instant,
    in_flight: Vec<Attempt>,
    /// A read that has not come back: its records are those of the moment it began.
    read: Option<Vec<Arc<StoredRecord>>>,
    /// The last record of each key that the service accepted.
    accepted: BTreeMap<String, u64>,
    /// The body that each id was first sent with.
    bodies: BTreeMap<String, bytes::Bytes>,
    order: Order,
    concurrency: usize,
    /// Probes sent since the last answer, while the sink fails.
    probes: usize,
}

impl Simulation {
    fn new(seed: u64, order: Order, records_max: usize, concurrency: usize) -> Self {
        let mut config = sink_config("http://127.0.0.1/");
        config.order = order;
        config.concurrency = NonZeroUsize::new(concurrency).unwrap();
        config.batch = batch_config(records_max, Duration::from_millis(20));
        Self {
            random: Rng::with_seed(seed),
            core: Core::new(&config, renderer(&config)),
            queue: ModelQueue::default(),
            now: Instant::now(),
            in_flight: Vec::new(),
            read: None,
            accepted: BTreeMap::new(),
            bodies: BTreeMap::new(),
            order,
            concurrency,
            probes: 0,
        }
    }

    fn step(&mut self, failing_percent: u8) {
        let was_failing = self.core.pace.is_failing();
        while let Some(attempt) = self.core.next_attempt(self.now) {
            self.check_departure(&attempt);
            self.probes += usize::from(was_failing);
            assert!(self.probes <= 1, "one probe while the sink fails");
            self.in_flight.push(attempt);
        }
        if self.read.is_none() {
            let appended = RecordNumber(self.queue.appended);
            if let Some(read) = self.core.next_read(appended, self.now) {
                if self.random.u8(..20) == 0 {
                    self.core.apply(Event::ReadFailed, self.now);
                } else {
                    self.read = Some(self.queue.read(&read));
                }
            }
        }
        let wake_at = self.core.wake_at(self.now);
        assert!(wake_at.is_none_or(|at| at > self.now), "the worker would spin");
        match self.random.u8(..4) {
            0 if !self.in_flight.is_empty() => self.answer(failing_percent),
            1 => {
                if let Some(records) = self.read.take() {
                    self.core.apply(Event::Read(records), self.now);
                }
            }
            _ => self.now += Duration::from_millis(self.random.u64(..30)),
        }
        let effects = self.core.take_effects();
        self.queue.take(&effects);
        self.check_conservation();
    }

    fn answer(&mut self, failing_percent: u8) {
        let attempt = self.in_flight.swap_remove(self.random.usize(..self.in_flight.len()));
        self.probes = 0;
        let why = || "because".to_owned();
        let fails = self.random.u8(..100) < failing_percent;
        // A request may have arrived although no answer came back.
        if !fails || self.random.bool() {
            self.check_arrival(&attempt);
        }
        let outcome = match (fails, self.random.u8(..8)) {
            (false, _) => Outcome::Delivered,
            (true, 0) => Outcome::Suspend { why: why() },
            (true, 1) => Outcome::Reject { why: why() },
            (true, 2) => Outcome::Retry { after: Some(Duration::from_millis(70)), why: why() },
            (true, _) => Outcome::Retry { after: None, why: why() },
        };
        self.core.apply(Event::Answered(attempt, outcome), self.now);
    }

    fn check_departure(&mut self, attempt: &Attempt) {
        let message = &attempt.batch.message;
        let id = message.id.to_str().unwrap().to_owned();
        let before = self.bodies.entry(id.clone()).or_insert_with(|| message.body.clone());
        assert_eq!(*before, message.body, "`{id}` has the same body on every attempt");
        for number in &attempt.batch.numbers {
            assert!(self.queue.unsettled.contains_key(number), "{number:?} was delivered before");
            assert!(self.queue.marked.contains(number), "{number:?} is sent and not marked");
        }
        assert!(self.in_flight.len() < self.concurrency + 1, "requests in flight are bounded");
        let mine = self.keys(&attempt.batch);
        for other in &self.in_flight {
            let theirs = self.keys(&other.batch);
            let shared: Vec<_> = mine.intersection(&theirs).collect();
            assert!(shared.is_empty(), "keys {shared:?} are in two requests");
        }
    }

    /// What order is kept for.
    fn keys(&self, batch: &Batch) -> BTreeSet<String> {
        let key = |number: &RecordNumber| match self.order {
            Order::Key => self.queue.unsettled[number].record.event.order_key().to_owned(),
            Order::Sink => String::new(),
            Order::None => number.0.to_string(),
        };
        batch.numbers.iter().map(key).collect()
    }

    /// A receiver that takes what it has seen for a repeat sees each key's records in order, none left out.
    fn check_arrival(&mut self, attempt: &Attempt) {
        if self.order == Order::None {
            return;
        }
        for number in &attempt.batch.numbers {
            let key = self.queue.unsettled[number].record.event.order_key().to_owned();
            let of_key = |record: &&Arc<StoredRecord>| record.record.event.order_key() == key;
            let mut unsettled = self.queue.unsettled.values().filter(of_key);
            let last = self.accepted.get(&key).copied().unwrap_or(0);
            let next = unsettled.find(|record| record.number.0 > last).map(|r| r.number);
            assert!(
                *number <= RecordNumber(last) || Some(*number) == next,
                "key {key}: {number:?} arrives after {last}, {next:?} was due"
            );
            self.accepted.insert(key, last.max(number.0));
        }
    }

    /// What is marked as in flight is held: a record that nobody holds could never be dropped by a policy.
    fn check_conservation(&self) {
        let batches = self.core.in_flight.values().chain(self.core.retries.values());
        let in_batches: usize = batches.map(|batch| batch.numbers.len()).sum();
        let read = self.read.as_ref().map_or(0, Vec::len);
        let held = in_batches + self.core.window.waiting().records + read;
        let marked = self.queue.marked.len();
        assert!(marked <= held, "{marked} records are marked as in flight, {held} are held");
    }
}

#[test]
fn under_random_faults_every_record_arrives_in_order_and_nothing_is_sent_beside_a_probe() {
    for seed in 0..300_u64 {
        let order = [Order::Key, Order::Sink, Order::None][usize::try_from(seed % 3).unwrap()];
        let records_max = [1, 3, 7][usize::try_from(seed / 3 % 3).unwrap()];
        println!("seed {seed}: {order:?}, batches of {records_max}");
        let mut simulation = Simulation::new(seed, order, records_max, 4);
        let mut appended = 0;
        let mut steps = 0;
        while appended < 200 || !simulation.queue.unsettled.is_empty() {
            if appended < 200 && simulation.random.u8(..3) == 0 {
                let key = simulation.random.u8(..6).to_string();
                simulation.queue.append(&key);
                appended += 1;
            }
            // Some runs of failures, some of success.
            simulation.step([0, 30, 95][(steps / 200) % 3]);
            steps += 1;
            assert!(steps < 200_000, "it delivers in the end");
        }
        assert!(simulation.queue.marked.is_empty(), "{:?}", simulation.queue.marked);
    }
}

#[test]
fn the_waiting_records_go_back_to_the_queue_while_the_sink_fails_and_are_read_again() {
    let mut simulation = Simulation::new(1, Order::None, 1, 2);
    for _ in 0..50 {
        simulation.queue.append("a");
    }
    let now = simulation.now;
    let core = &mut simulation.core;
    let read = core.next_read(RecordNumber(51), now).unwrap();
    core.apply(Event::Read(simulation.queue.read(&read)), now);
    let (first, second) = (core.next_attempt(now).unwrap(), core.next_attempt(now).unwrap());
    let fails = || Outcome::Retry { after: None, why: "because".into() };

    core.apply(Event::Answered(first, fails()), now);
    let released = core.take_effects().released;
    assert_eq!(released, (3..=50).map(RecordNumber).collect::<Vec<_>>());
    assert!(core.next_read(RecordNumber(51), now).is_none(), "nothing is read while it fails");

    core.apply(Event::Answered(second, fails()), now);
    let due = now + Duration::from_secs(1);
    let probe = core.next_attempt(due).unwrap();
    assert_eq!(probe.batch.numbers, [RecordNumber(1)]);
    assert!(core.next_attempt(due).is_none());
    core.apply(Event::Answered(probe, Outcome::Delivered), due);
    let read = core.next_read(RecordNumber(51), due).unwrap();
    assert_eq!(read.from, RecordNumber(3));
    assert_eq!(core.next_attempt(due).unwrap().batch.numbers, [RecordNumber(2)]);
}

#[test]
fn records_of_a_read_that_comes_back_after_a_failure_are_given_back() {
    let mut simulation = Simulation::new(1, Order::None, 1, 4);
    for _ in 0..3000 {
        simulation.queue.append("a");
    }
    let now = simulation.now;
    let core = &mut simulation.core;
    let appended = RecordNumber(3001);
    let read = core.next_read(appended, now).unwrap();
    core.apply(Event::Read(simulation.queue.read(&read)), now);
    let mut attempts = Vec::new();
    while let Some(attempt) = core.next_attempt(now) {
        attempts.push(attempt);
        if attempts.len() < 600 {
            core.apply(Event::Answered(attempts.pop().unwrap(), Outcome::Delivered), now);
            let settled = core.take_effects();
            simulation.queue.take(&settled);
        }
        if core.window.waiting().records < 500 {
            break;
        }
    }
    let late = core.next_read(appended, now).expect("the window is half empty");
    let late = simulation.queue.read(&late);
    let count = late.len();
    let attempt = attempts.pop().or_else(|| core.next_attempt(now)).unwrap();
    let fails = Outcome::Retry { after: None, why: "because".into() };
    core.apply(Event::Answered(attempt, fails), now);
    core.take_effects();
    core.apply(Event::Read(late), now);
    assert_eq!(core.take_effects().released.len(), count);
    assert_eq!(core.window.waiting().records, 0);
}

#[test]
fn a_batch_waits_for_company_until_it_is_full_or_its_first_record_has_lingered() {
    let mut simulation = Simulation::new(1, Order::None, 3, 4);
    let now = simulation.now;
    let core = &mut simulation.core;
    let mut append_and_read = |core: &mut Core, now| {
        simulation.queue.append("a");
        let read = core.next_read(RecordNumber(simulation.queue.appended), now).unwrap();
        core.apply(Event::Read(simulation.queue.read(&read)), now);
    };
    append_and_read(core, now);
    append_and_read(core, now + Duration::from_millis(15));
    assert!(core.next_attempt(now + Duration::from_millis(19)).is_none());
    assert_eq!(core.wake_at(now), Some(now + Duration::from_millis(20)));
    let batch = core.next_attempt(now + Duration::from_millis(20)).unwrap().batch;
    assert_eq!(batch.numbers, [RecordNumber(1), RecordNumber(2)]);

    for _ in 0..3 {
        append_and_read(core, now);
    }
    assert_eq!(core.next_attempt(now).unwrap().batch.numbers.len(), 3, "full: nothing to wait for");
}

#[test]
fn reading_stays_within_a_span_of_the_oldest_record_that_hangs() {
    let mut simulation = Simulation::new(1, Order::None, 100, 4);
    let now = simulation.now;
    let core = &mut simulation.core;
    for _ in 0..SPAN_MAX + 5000 {
        simulation.queue.append("a");
    }
    let appended = RecordNumber(simulation.queue.appended);
    let mut hanging = None;
    loop {
        if let Some(read) = core.next_read(appended, now) {
            core.apply(Event::Read(simulation.queue.read(&read)), now);
        }
        let Some(attempt) = core.next_attempt(now) else { break };
        if hanging.is_none() {
            hanging = Some(attempt);
        } else {
            core.apply(Event::Answered(attempt, Outcome::Delivered), now);
            let effects = core.take_effects();
            simulation.queue.take(&effects);
        }
    }
    assert_eq!(hanging.unwrap().batch.first(), RecordNumber(1));
    assert!(core.from.0 >= SPAN_MAX, "it reads ahead: {:?}", core.from);
    assert!(core.from.0 <= SPAN_MAX + 2048, "and not for ever: {:?}", core.from);
}
