//! A model of the queue and of a service, and everything around the core, driven by one seed.

use fastrand::Rng;

use super::super::*;
use crate::config::{Order, StatusPolicy};
use crate::delivery::outcome::{TransportError, classify};
use crate::delivery::tests::{batch_config, record, renderer, sink_config};

/// A queue that knows what is unsettled and what is marked as in flight.
#[derive(Default)]
pub(super) struct ModelQueue {
    pub(super) unsettled: BTreeMap<RecordNumber, Arc<StoredRecord>>,
    pub(super) marked: BTreeSet<RecordNumber>,
    pub(super) appended: u64,
}

impl ModelQueue {
    pub(super) fn append(&mut self, key: &str) {
        self.appended = self.appended.max(1);
        self.unsettled.insert(RecordNumber(self.appended), record(self.appended, key));
        self.appended += 1;
    }

    pub(super) fn read(&mut self, read: &Read) -> Vec<Arc<StoredRecord>> {
        let records = self.unsettled.range(read.from..).take(read.limit.records_max.get());
        let records: Vec<_> = records.map(|(_, record)| Arc::clone(record)).collect();
        self.marked.extend(records.iter().map(|record| record.number));
        records
    }

    fn settle(&mut self, number: RecordNumber) {
        assert!(self.unsettled.remove(&number).is_some(), "{number:?} is settled twice");
        self.marked.remove(&number);
    }

    pub(super) fn take(&mut self, effects: &Effects) {
        for number in &effects.settled {
            self.settle(*number);
        }
        for (numbers, _) in &effects.dead_lettered {
            for number in numbers {
                self.settle(*number);
            }
        }
        for number in &effects.released {
            self.marked.remove(number);
        }
    }
}

/// Ways in which a service misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Status(u16),
    /// Asks to wait, no time in particular.
    Busy,
    /// Asks to wait for half a minute.
    BusyForLong,
    Hang,
    Reset,
    Refused,
}

impl Fault {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Status(status) => answer(status, &[]),
            Self::Busy => answer(503, &[("retry-after", "0")]),
            Self::BusyForLong => answer(503, &[("retry-after", "30")]),
            Self::Hang => TransportError::RequestTimeout.outcome(),
            Self::Reset => TransportError::Closed.outcome(),
            Self::Refused => TransportError::Refused.outcome(),
        }
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Outcome {
    let headers = headers.iter().map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    });
    let status = http::StatusCode::from_u16(status).unwrap();
    classify(&StatusPolicy::default(), status, &headers.collect(), Vec::new(), UnixMillis(0))
}

/// What the service does.
#[derive(Default)]
pub(super) struct Service {
    /// To everybody.
    pub(super) broken: Option<Fault>,
    /// To a request with this record.
    pub(super) poison: BTreeMap<u64, Fault>,
    /// To a request with more records than this.
    pub(super) too_many: Option<(usize, Fault)>,
}

impl Service {
    fn outcome(&self, batch: &Batch) -> Outcome {
        let mut numbers = batch.numbers.iter();
        let poison = numbers.find_map(|number| self.poison.get(&number.0).copied());
        let too_many = self.too_many.filter(|(max, _)| batch.numbers.len() > *max);
        let fault = self.broken.or(poison).or(too_many.map(|(_, fault)| fault));
        fault.map_or(Outcome::Delivered, Fault::outcome)
    }
}

/// Everything around the core.
pub(super) struct Simulation {
    pub(super) random: Rng,
    pub(super) core: Core,
    pub(super) queue: ModelQueue,
    pub(super) now: Instant,
    pub(super) service: Service,
    /// A share of requests that fail at random.
    pub(super) failing_percent: u8,
    /// What was given up, with whether its letter is durable.
    pub(super) given_up: BTreeMap<u64, (DeadLetterReason, bool)>,
    /// Letters become durable.
    pub(super) letters_work: bool,
    pub(super) requests: usize,
    /// By records in them.
    pub(super) sizes: BTreeMap<usize, usize>,
    /// Requests that carried one record alone.
    pub(super) requests_of_one: BTreeMap<u64, usize>,
    /// How often each record was in a request that was delivered.
    pub(super) arrivals: BTreeMap<u64, usize>,
    /// Records that overtook another one of their key.
    pub(super) overtaken: usize,
    /// Records in the order in which they were delivered, by what order is kept for.
    pub(super) delivered: BTreeMap<String, Vec<u64>>,
    burials: Vec<(Vec<RecordNumber>, DeadLetterReason)>,
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
    pub(super) fn new(seed: u64, order: Order, records_max: usize) -> Self {
        Self::with(seed, order, records_max, |_| ())
    }

    pub(super) fn with(
        seed: u64,
        order: Order,
        records_max: usize,
        change: impl FnOnce(&mut config::Sink),
    ) -> Self {
        // What the core draws, too.
        fastrand::seed(seed);
        let mut config = sink_config("http://127.0.0.1/");
        config.order = order;
        config.batch = batch_config(records_max, Duration::from_millis(20));
        change(&mut config);
        let now = Instant::now();
        let mut core = Core::new(&config, renderer(&config));
        core.set_age_clock(AgeNow { age_ms: 0, at: now });
        Self {
            random: Rng::with_seed(seed),
            core,
            queue: ModelQueue::default(),
            now,
            service: Service::default(),
            failing_percent: 0,
            given_up: BTreeMap::new(),
            letters_work: true,
            requests: 0,
            sizes: BTreeMap::new(),
            requests_of_one: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            overtaken: 0,
            delivered: BTreeMap::new(),
            burials: Vec::new(),
            in_flight: Vec::new(),
            read: None,
            accepted: BTreeMap::new(),
            bodies: BTreeMap::new(),
            order,
            concurrency: config.concurrency.get(),
            probes: 0,
        }
    }

    /// Records of `keys` clients, in turns.
    pub(super) fn append(&mut self, count: u64, keys: u64) {
        for number in 0..count {
            self.queue.append(&(number % keys).to_string());
        }
    }

    pub(super) fn step(&mut self) {
        let was_failing = self.core.pace.is_failing();
        while let Some(attempt) = self.core.next_attempt(self.now) {
            self.check_departure(&attempt);
            self.requests += 1;
            *self.sizes.entry(attempt.batch.numbers.len()).or_default() += 1;
            if let [number] = attempt.batch.numbers.as_slice() {
                *self.requests_of_one.entry(number.0).or_default() += 1;
            }
            self.probes += usize::from(was_failing);
            assert!(self.probes <= 1, "one probe while the sink fails");
            self.in_flight.push(attempt);
        }
        self.take_effects();
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
        match self.random.u8(..5) {
            0 if !self.in_flight.is_empty() => self.answer(),
            1 => {
                if let Some(records) = self.read.take() {
                    self.core.apply(Event::Read(records), self.now);
                }
            }
            2 => self.write_letters(),
            _ => self.now += Duration::from_millis(self.random.u64(..30)),
        }
        self.take_effects();
        self.check_conservation();
    }

    /// Steps until nothing waits; says after how long.
    #[track_caller]
    pub(super) fn drain(&mut self) -> Duration {
        let start = self.now;
        let mut steps = 0;
        while !self.queue.unsettled.is_empty() {
            self.step();
            steps += 1;
            if steps > 100_000 {
                let left: Vec<_> = self.queue.unsettled.keys().take(9).collect();
                let core = &self.core;
                let lots = |lots: Vec<&Lot>| {
                    let shown =
                        lots.iter().map(|lot| format!("{:?} {:?}", lot.first(), lot.streak));
                    shown.collect::<Vec<_>>()
                };
                panic!(
                    "{left:?} are left: {:?} turn {:?} retries {:?} suspects {:?} shut {} from {:?} skipped {:?} \
                     waiting {:?} reading {:?} rejects {} stuck {} exhausted {:?}",
                    core.pace,
                    core.turn,
                    lots(core.retries.values().collect()),
                    lots(core.suspects.values().map(|suspect| &suspect.lot).collect()),
                    core.shut.len(),
                    core.from,
                    core.skipped_from,
                    core.window.waiting(),
                    core.reading,
                    core.rejects,
                    core.is_head_stuck(self.now),
                    core.exhausted_at,
                );
            }
        }
        self.now - start
    }

    /// Steps until nothing of what is there waits, with a new record now and then, which tells a service that works
    /// from one that does not; and until these are delivered. Says how many there were.
    #[track_caller]
    pub(super) fn drain_with_news(&mut self) -> usize {
        const NEWS_MAX: usize = 2000;
        let last = RecordNumber(self.queue.appended);
        let mut news = 0;
        while self.queue.unsettled.range(..last).next().is_some() && news < NEWS_MAX {
            self.run_for(Duration::from_millis(200));
            self.append(1, 1);
            news += 1;
        }
        self.drain();
        news
    }

    /// Steps for some time.
    pub(super) fn run_for(&mut self, period: Duration) {
        let until = self.now + period;
        while self.now < until {
            self.step();
        }
    }

    pub(super) fn given_up(&self) -> Vec<u64> {
        self.given_up.keys().copied().collect()
    }

    fn write_letters(&mut self) {
        if !self.letters_work || self.burials.is_empty() {
            return;
        }
        let (numbers, reason) = self.burials.swap_remove(self.random.usize(..self.burials.len()));
        for number in &numbers {
            self.given_up.insert(number.0, (reason, true));
        }
        self.core.apply(Event::Buried(numbers, reason), self.now);
    }

    fn take_effects(&mut self) {
        let effects = self.core.take_effects();
        for burial in &effects.burials {
            let numbers: Vec<_> = burial.records.iter().map(|record| record.number).collect();
            for number in &numbers {
                assert!(self.queue.marked.contains(number), "{number:?} is given up and not held");
                let before = self.given_up.insert(number.0, (burial.reason, false));
                assert!(before.is_none(), "{number:?} is given up twice");
            }
            self.burials.push((numbers, burial.reason));
        }
        for number in effects.dead_lettered.iter().flat_map(|(numbers, _)| numbers) {
            assert!(self.given_up[&number.0].1, "{number:?} left before its letter was durable");
        }
        for number in &effects.settled {
            *self.arrivals.entry(number.0).or_default() += 1;
        }
        self.queue.take(&effects);
    }

    fn answer(&mut self) {
        let attempt = self.in_flight.swap_remove(self.random.usize(..self.in_flight.len()));
        self.probes = 0;
        let fails = self.random.u8(..100) < self.failing_percent;
        let outcome = match (fails, self.random.u8(..8)) {
            (false, _) => self.service.outcome(&attempt.batch),
            (true, 0) => Fault::Status(403).outcome(),
            (true, 1) => Fault::Busy.outcome(),
            (true, 2) => Fault::Hang.outcome(),
            (true, _) => Fault::Status(500).outcome(),
        };
        // A request may have arrived although no success came back.
        if outcome == Outcome::Delivered || self.random.bool() {
            self.check_arrival(&attempt);
        }
        if outcome == Outcome::Delivered {
            for number in &attempt.batch.numbers {
                let key = self.key(*number);
                self.delivered.entry(key).or_default().push(number.0);
            }
        }
        self.core.apply(Event::Answered(attempt, outcome), self.now);
    }

    fn check_departure(&mut self, attempt: &Attempt) {
        let message = &attempt.batch.message;
        let id = message.id.to_str().unwrap().to_owned();
        let before = self.bodies.entry(id.clone()).or_insert_with(|| message.body.clone());
        assert_eq!(*before, message.body, "`{id}` has the same body on every attempt");
        for number in &attempt.batch.numbers {
            assert!(self.queue.unsettled.contains_key(number), "{number:?} was settled before");
            assert!(self.queue.marked.contains(number), "{number:?} is sent and not marked");
            assert!(!self.given_up.contains_key(&number.0), "{number:?} was given up before");
        }
        let bound = self.concurrency + 2;
        assert!(self.in_flight.len() < bound, "requests in flight are bounded");
        let mine = self.keys(&attempt.batch);
        for other in &self.in_flight {
            let theirs = self.keys(&other.batch);
            let shared: Vec<_> = mine.intersection(&theirs).collect();
            assert!(shared.is_empty(), "keys {shared:?} are in two requests");
        }
    }

    fn keys(&self, batch: &Batch) -> BTreeSet<String> {
        batch.numbers.iter().map(|number| self.key(*number)).collect()
    }

    /// What order is kept for.
    fn key(&self, number: RecordNumber) -> String {
        match self.order {
            Order::Key => self.queue.unsettled[&number].record.event.order_key().to_owned(),
            Order::Sink => String::new(),
            Order::None => number.0.to_string(),
        }
    }

    /// A receiver that takes what it has seen for a repeat sees each key's records in order, none left out but what
    /// was given up.
    fn check_arrival(&mut self, attempt: &Attempt) {
        if self.order == Order::None {
            return;
        }
        let flight = &self.core.in_flight[&attempt.batch.first()];
        if matches!(flight.role, Role::Overtaking) {
            self.overtaken += 1;
            return;
        }
        for number in &attempt.batch.numbers {
            let key = self.queue.unsettled[number].record.event.order_key().to_owned();
            let of_key = |record: &&Arc<StoredRecord>| record.record.event.order_key() == key;
            let mut unsettled = self.queue.unsettled.values().filter(of_key);
            let last = self.accepted.get(&key).copied().unwrap_or(0);
            let is_next = |number: u64| number > last && !self.given_up.contains_key(&number);
            let next = unsettled.find(|record| is_next(record.number.0)).map(|r| r.number);
            assert!(
                *number <= RecordNumber(last) || Some(*number) == next,
                "key {key}: {number:?} arrives after {last}, {next:?} was due"
            );
            self.accepted.insert(key, last.max(number.0));
        }
    }

    /// What is marked as in flight is held: a record that nobody holds could never be dropped by a policy.
    fn check_conservation(&self) {
        let read = self.read.as_ref().map_or(0, Vec::len);
        let held = self.core.held().len() + self.core.window.waiting().records + read;
        let marked = self.queue.marked.len();
        assert!(marked <= held, "{marked} records are marked as in flight, {held} are held");
    }
}
