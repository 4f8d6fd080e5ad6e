//! The task of one sink: waits for what can happen, and lets [`Core`] decide.
//!
//! It owns the requests in flight and drops them when it is stopped; their records stay in the queue.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{FutureExt as _, OptionFuture};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use prometheus::{Histogram, IntCounter};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::client::{Answer, Client};
use super::core::{AgeNow, Attempt, Burial, Core, Effects, Event};
use super::health::SinkHealth;
use super::outcome::{TransportError, classify};
use super::request::Renderer;
use super::steering::Wishes;
use super::telling::{Telling, tell_of_letters};
use crate::clock::UnixMillis;
use crate::config;
use crate::name::SinkName;
use crate::store::{
    DeadLetter, DeadLetterReason, DeadLetters, Queue, RecordNumber, StoreError, StoredRecord,
};
use crate::tail::Tail;
use crate::units::period_text;

/// Waits before dead letters that could not be written are tried again.
const BURY_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// How long a worker that finishes waits for dead letters to be written; their records stay queued otherwise.
const LETTERS_MAX: Duration = Duration::from_secs(5);

/// Answers applied before the queue is told and the next requests leave.
const ANSWERS_AT_ONCE_MAX: usize = 64;

/// What the worker of a sink is given.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// Its name in the config.
    pub name: SinkName,
    /// Its part of the config.
    pub config: Arc<config::Sink>,
    /// Sends its requests.
    pub client: Client,
    /// Its queue.
    pub queue: Queue,
    /// Where records go that are given up.
    pub dead_letters: DeadLetters,
    /// The id of the store: the first part of every record id.
    pub store_id: Arc<str>,
    /// The gateway's name: the `node` column of bodies.
    pub node: Arc<str>,
    /// Its state for `status`, its metrics, its log lines.
    pub health: Arc<SinkHealth>,
    /// Who looks on.
    pub tail: Tail,
    /// Cancelled when the worker shall finish: it sends nothing more and ends when what is in flight has ended.
    pub finish: CancellationToken,
    /// Cancelled when the worker shall stop.
    pub stop: CancellationToken,
}

/// Delivers the queue of one sink until it is stopped or the store closes.
///
/// When it is told to finish, what is in flight may end, and nothing is sent twice because of that. When it is told to stop it
/// stops at once, whatever the service does: what is in flight is dropped and stays in the queue. Cancel safe for
/// the same reason.
pub async fn run(context: SinkContext) {
    context.health.begin();
    let mut worker = Worker::new(context);
    worker.follow(now());
    while let Some(happening) = worker.next_happening().await {
        worker.apply(happening);
    }
    worker.core.give_back_all();
    worker.pass_on_effects();
}

type Burying = Pin<Box<dyn Future<Output = (Vec<RecordNumber>, DeadLetterReason)> + Send>>;
type InFlight = Pin<Box<dyn Future<Output = Ended> + Send>>;
type Read = Pin<Box<dyn Future<Output = Result<Vec<Arc<StoredRecord>>, StoreError>> + Send>>;

/// An attempt that is over.
struct Ended {
    attempt: Attempt,
    result: Result<Answer, TransportError>,
    took: Duration,
}

/// What can wake the worker.
enum Happening {
    Ended(Ended),
    Read(Result<Vec<Arc<StoredRecord>>, StoreError>),
    /// The dead letters of these records are durable.
    Buried(Vec<RecordNumber>, DeadLetterReason),
    /// There may be more to read, or a moment has come.
    Look,
    /// An operator asks for something.
    Steered,
}

struct Worker {
    core: Core,
    client: Client,
    queue: Queue,
    appended: watch::Receiver<RecordNumber>,
    in_flight: FuturesUnordered<InFlight>,
    reading: Option<Read>,
    read_fails: bool,
    burying: FuturesUnordered<Burying>,
    dead_letters: DeadLetters,
    store_id: Arc<str>,
    age_max: Option<Duration>,
    policy: config::StatusPolicy,
    health: Arc<SinkHealth>,
    wishes: watch::Receiver<Wishes>,
    /// What was followed last.
    followed: Wishes,
    tail: Tail,
    requests: RequestCounters,
    request_duration: Histogram,
    delivery_latency: Histogram,
    finish: CancellationToken,
    /// When to wait no longer for dead letters, once it is finishing.
    finish_by: Option<Instant>,
    stop: CancellationToken,
}

impl Worker {
    fn new(context: SinkContext) -> Self {
        let SinkContext { name, config, client, queue, dead_letters, .. } = context;
        let SinkContext { store_id, node, health, tail, finish, stop, .. } = context;
        let metrics = &health.metrics;
        let dropped_headers = metrics.headers_dropped.clone();
        let renderer = Renderer::new(&name, &config, &store_id, node, dropped_headers);
        Self {
            core: Core::new(&config, renderer),
            client,
            appended: queue.appended(),
            queue,
            in_flight: FuturesUnordered::new(),
            reading: None,
            read_fails: false,
            burying: FuturesUnordered::new(),
            dead_letters,
            store_id,
            age_max: config.retry.age_max,
            policy: config.on_status.clone(),
            requests: RequestCounters::new(&health),
            request_duration: metrics.request_duration.clone(),
            delivery_latency: metrics.delivery_latency.clone(),
            wishes: health.steering.wishes(),
            followed: Wishes::default(),
            health,
            tail,
            finish,
            finish_by: None,
            stop,
        }
    }

    /// Sends and reads what is due, then waits. `None` when it is time to stop.
    async fn next_happening(&mut self) -> Option<Happening> {
        let now = now();
        if self.finish.is_cancelled() {
            return self.next_to_finish(now).await;
        }
        self.send(now);
        // What is given back must be before it is read again.
        self.pass_on_effects();
        self.read(now);
        let wants_records = self.reading.is_none() && self.core.wants_records();
        let wake_at = self.core.wake_at(now).into_iter().chain(self.health.tell_at()).min();
        let due = wake_at.map(|at| tokio::time::sleep_until(at.into()));
        // Every branch may be dropped: requests, letters and the read go on when they are polled again, the others are
        // looked up anew.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            Ok(()) = self.wishes.changed() => Some(Happening::Steered),
            () = self.finish.cancelled() => Some(Happening::Look),
            Some(ended) = self.in_flight.next() => Some(Happening::Ended(ended)),
            Some(read) = OptionFuture::from(self.reading.as_mut()) => Some(Happening::Read(read)),
            Some((numbers, reason)) = self.burying.next() => Some(Happening::Buried(numbers, reason)),
            Ok(()) = self.appended.changed(), if wants_records => Some(Happening::Look),
            Some(()) = OptionFuture::from(due) => Some(Happening::Look),
        }
    }

    /// As [`Self::next_happening`], sending and reading no more. `None` when nothing is left to wait for.
    async fn next_to_finish(&mut self, now: Instant) -> Option<Happening> {
        let by = *self.finish_by.get_or_insert(now + LETTERS_MAX);
        if self.in_flight.is_empty() && self.burying.is_empty() {
            return None;
        }
        // Requests end by themselves; a disk without room for letters does not.
        let late = self.in_flight.is_empty().then(|| tokio::time::sleep_until(by.into()));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            Some(ended) = self.in_flight.next() => Some(Happening::Ended(ended)),
            Some((numbers, reason)) = self.burying.next() => Some(Happening::Buried(numbers, reason)),
            Some(()) = OptionFuture::from(late) => None,
        }
    }

    fn apply(&mut self, happening: Happening) {
        let now = now();
        match happening {
            Happening::Ended(ended) => {
                self.ended(ended, now);
                for _ in 1..ANSWERS_AT_ONCE_MAX {
                    let Some(Some(ended)) = self.in_flight.next().now_or_never() else { break };
                    self.ended(ended, now);
                }
            }
            Happening::Read(read) => self.read_ended(read, now),
            Happening::Buried(numbers, reason) => {
                self.core.apply(Event::Buried(numbers, reason), now);
            }
            Happening::Look => self.health.tell_late(now),
            Happening::Steered => self.follow(now),
        }
        self.pass_on_effects();
    }

    fn follow(&mut self, now: Instant) {
        let wishes = *self.wishes.borrow_and_update();
        self.core.set_paused(wishes.paused);
        if wishes.retries != self.followed.retries {
            self.core.retry_now(now);
        }
        self.followed = wishes;
    }

    fn send(&mut self, now: Instant) {
        while let Some(attempt) = self.core.next_attempt(now) {
            let client = self.client.clone();
            self.in_flight.push(Box::pin(async move {
                let started = Instant::now();
                let result = client.send(&attempt.batch.message).await;
                Ended { attempt, result, took: started.elapsed() }
            }));
        }
    }

    fn read(&mut self, now: Instant) {
        let appended = *self.appended.borrow_and_update();
        if let Some(read) = self.core.next_read(appended, now) {
            let queue = self.queue.clone();
            self.reading = Some(Box::pin(async move { queue.read(read.from, read.limit).await }));
        }
    }

    fn ended(&mut self, ended: Ended, now: Instant) {
        self.request_duration.observe(ended.took.as_secs_f64());
        let (status, outcome) = match ended.result {
            Ok(answer) => {
                self.requests.count(answer.status);
                let Answer { status, headers, excerpt } = answer;
                let outcome = classify(&self.policy, status, &headers, excerpt, UnixMillis::now());
                (Some(status.as_u16()), outcome)
            }
            Err(error) => {
                self.requests.error.inc();
                (None, error.outcome())
            }
        };
        let sink = self.health.name();
        let telling = self.tail.audience().map(|audience| {
            let (whose, answer) = ((sink, &*self.store_id), (status, &outcome));
            Telling::begin(audience, &self.core, &ended.attempt, whose, answer, ended.took)
        });
        self.core.apply(Event::Answered(ended.attempt, outcome), now);
        if let Some(telling) = telling {
            telling.end(sink, self.core.next_probe_in(now));
        }
    }

    fn read_ended(&mut self, read: Result<Vec<Arc<StoredRecord>>, StoreError>, now: Instant) {
        self.reading = None;
        let event = match read {
            Ok(records) => Event::Read(records),
            Err(error) => {
                if !self.read_fails {
                    warn!(sink = %self.health.name(), %error, "queue cannot be read");
                }
                self.read_fails = true;
                self.core.apply(Event::ReadFailed, now);
                return;
            }
        };
        self.read_fails = false;
        if let Some(age_ms) = self.queue.age_now_ms() {
            self.core.set_age_clock(AgeNow { age_ms, at: now });
        }
        self.core.apply(event, now);
    }

    fn pass_on_effects(&mut self) {
        let effects = self.core.take_effects();
        let Effects { mut settled, accepted_at, released, burials, dead_lettered, standings } =
            effects;
        if !settled.is_empty() {
            // The queue takes runs of numbers at once.
            settled.sort_unstable();
            self.queue.settle_delivered(&settled);
            let delivered_at = UnixMillis::now();
            for accepted_at in accepted_at {
                // The wall clock may have jumped back in between.
                let millis = delivered_at.0.saturating_sub(accepted_at.0);
                self.delivery_latency.observe(Duration::from_millis(millis).as_secs_f64());
            }
        }
        if !released.is_empty() {
            self.queue.release(&released);
        }
        for (mut numbers, reason) in dead_lettered {
            numbers.sort_unstable();
            self.queue.settle_dead_lettered(&numbers, reason);
        }
        for burial in burials {
            self.bury(burial);
        }
        let suspects = i64::try_from(self.core.suspects()).unwrap_or(i64::MAX);
        self.health.metrics.suspects.set(suspects);
        for standing in standings {
            self.health.change(standing, now());
        }
    }
}

impl Worker {
    /// Writes dead letters, for as long as it takes. Dropped with the worker: then the records stay in the queue.
    fn bury(&mut self, burial: Burial) {
        let (reason, now) = (burial.reason, now());
        let numbers: Vec<_> = burial.records.iter().map(|record| record.number).collect();
        let letters = self.letters(burial, now);
        let (dead_letters, health) = (self.dead_letters.clone(), Arc::clone(&self.health));
        let tail = self.tail.clone();
        self.burying.push(Box::pin(async move {
            let [mut delay, delay_max] = BURY_AGAIN;
            while let Err(error) = dead_letters.append(letters.clone()).await {
                health.letters_fail(&error.to_string());
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(delay_max);
            }
            health.letters_written(&letters, self::now());
            tell_of_letters(&tail, &letters);
            (numbers, reason)
        }));
    }

    fn letters(&self, burial: Burial, now: Instant) -> Vec<DeadLetter> {
        let Burial { records, reason, trouble, attempts, first_left_at } = burial;
        let wall = UnixMillis::now();
        let ago = |at: Instant| {
            let ago = u64::try_from(now.saturating_duration_since(at).as_millis());
            UnixMillis(wall.0.saturating_sub(ago.unwrap_or(u64::MAX)))
        };
        // What has become too old failed some time ago.
        let has_just_failed = trouble.is_some() && reason != DeadLetterReason::MaxAge;
        let last_attempt_at = has_just_failed.then_some(wall);
        let status = trouble.as_ref().and_then(|trouble| trouble.kind.status());
        let (last, answer) = match trouble {
            Some(trouble) => (Some(trouble.why), Bytes::from(trouble.excerpt)),
            None => (None, Bytes::new()),
        };
        let why = match (reason, last) {
            (DeadLetterReason::MaxAge, last) => {
                let age_max = self.age_max.map(period_text).unwrap_or_default();
                let last =
                    last.map_or_else(String::new, |why| format!("; the last attempt: {why}"));
                format!("older than `retry.max_age` ({age_max}){last}")
            }
            (_, last) => last.unwrap_or_default(),
        };
        let sink = self.health.name();
        let letter = |record: Arc<StoredRecord>| DeadLetter {
            sink: sink.clone(),
            record_id: record.record_id(&self.store_id, sink),
            record: record.record.clone(),
            accepted_at: record.accepted_at,
            reason,
            why: why.clone(),
            status,
            answer: answer.clone(),
            attempts,
            first_attempt_at: first_left_at.map(ago),
            last_attempt_at,
            edited_from: record.record.replay.as_ref().and_then(|it| it.edited_from.clone()),
        };
        records.into_iter().map(letter).collect()
    }
}

/// Follows a paused test clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Requests by class of their status.
struct RequestCounters {
    by_class: [IntCounter; 5],
    error: IntCounter,
}

impl RequestCounters {
    fn new(health: &SinkHealth) -> Self {
        let class = |class| health.metrics.requests(class);
        Self { by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class), error: class("error") }
    }

    /// A status that HTTP does not know counts as no answer.
    fn count(&self, status: http::StatusCode) {
        let hundreds = usize::from(status.as_u16() / 100);
        let class = hundreds.checked_sub(1).and_then(|index| self.by_class.get(index));
        class.unwrap_or(&self.error).inc();
    }
}
