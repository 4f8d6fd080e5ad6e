//! One sink from its queue on disk to a service on a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http::{Reply, Request, Server};
use super::{batch_config, client, event, sink_config, sink_name};
use crate::clock::UnixMillis;
use crate::config::{self, Order, QUEUE_BYTES_MIN};
use crate::delivery::{SinkContext, SinkHealth, SinkState, SinkStatus, run};
use crate::event::Record;
use crate::metrics::Metrics;
use crate::name::RuleName;
use crate::store::{Queue, Store, StoreConfig};
use crate::tail::Tail;
use crate::template::Template;

const PATIENCE: Duration = Duration::from_secs(30);

/// A sink with its queue and the task that delivers it.
struct Rig {
    dir: TempDir,
    store: Store,
    queue: Queue,
    metrics: Metrics,
    health: Arc<SinkHealth>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    appended: u64,
}

fn open(dir: &Path, metrics: &Metrics, config: &config::Sink) -> (Store, Queue) {
    let store_config = StoreConfig {
        data_dir: dir.to_owned(),
        commit_window_max: Duration::from_millis(1),
        dead_letters_bytes_max: std::num::NonZeroU64::new(64 << 20).unwrap(),
    };
    let store = Store::open(store_config, metrics.store.clone()).unwrap();
    let queue = store.open_queue(&sink_name(), &config.queue).unwrap();
    (store, queue)
}

impl Rig {
    fn start(config: config::Sink) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    fn start_in(dir: TempDir, config: config::Sink) -> Self {
        let metrics = Metrics::new();
        let (store, queue) = open(dir.path(), &metrics, &config);
        let health = Arc::new(SinkHealth::new(sink_name(), metrics.sink(&sink_name())));
        let stop = CancellationToken::new();
        let context = SinkContext {
            finish: CancellationToken::new(),
            name: sink_name(),
            client: client(&config),
            config: Arc::new(config),
            queue: queue.clone(),
            dead_letters: store.dead_letters().clone(),
            store_id: store.id().into(),
            node: "plant-7".into(),
            health: Arc::clone(&health),
            tail: Tail::default(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(run(context));
        Self { dir, store, queue, metrics, health, stop, task, appended: 0 }
    }

    /// Appends one record for each key; its payload is the record's number.
    async fn append(&mut self, keys: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut records = Vec::new();
        for key in keys {
            self.appended += 1;
            let event = event(self.appended, key.as_ref());
            records.push(Record {
                rule: RuleName::new("rule").unwrap(),
                event,
                output: None,
                replay: None,
            });
        }
        self.queue.append(records).await.unwrap().unwrap();
    }

    async fn until<T: std::fmt::Debug>(&self, what: &str, look: impl Fn(&Self) -> (T, bool)) {
        let started = Instant::now();
        loop {
            let (seen, holds) = look(self);
            if holds {
                return;
            }
            let status = self.health.status();
            assert!(started.elapsed() < PATIENCE, "not {what}: {seen:?}, {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn drained(&self) {
        self.until("drained", |rig| {
            let queued = rig.queue.snapshot().queued;
            (queued, queued == 0)
        })
        .await;
    }

    async fn in_state(&self, state: SinkState) -> SinkStatus {
        self.until("in this state", |rig| (state, rig.health.status().state == state)).await;
        self.health.status()
    }

    fn count(&self, class: &str) -> u64 {
        self.health.metrics.requests(class).get()
    }

    /// Stops the worker; says how long that took.
    async fn stop(self) -> (TempDir, Duration) {
        let started = Instant::now();
        self.stop.cancel();
        self.task.await.unwrap();
        let took = started.elapsed();
        self.queue.close().await;
        drop((self.queue, self.store));
        (self.dir, took)
    }
}

fn ids(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| &*request.headers["webhook-id"]).collect()
}

/// The payloads accepted, as numbers, in order of arrival.
fn accepted(server: &Server) -> Vec<u64> {
    let records = server.records().into_iter();
    records.map(|record| record["payload"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_passes_delays_a_record_and_neither_loses_nor_changes_it() {
    let faults = [
        (Reply::Status(500), "5xx", "status 500 (Internal Server Error)"),
        (Reply::Status(503), "5xx", "status 503 (Service Unavailable)"),
        (Reply::Status(429), "4xx", "status 429 (Too Many Requests)"),
        (Reply::Status(408), "4xx", "status 408 (Request Timeout)"),
        (Reply::Hang, "error", "no answer within the request timeout"),
        (Reply::Slow(Duration::from_secs(1)), "error", "no answer within the request timeout"),
        (Reply::Cut, "error", "connection closed before the answer was complete"),
        (Reply::Close, "error", "connection closed before the answer was complete"),
    ];
    for (fault, class, words) in faults {
        let mut faults = vec![fault.clone(); 3];
        let server = Server::scripted(move |_| faults.pop().unwrap_or(Reply::Status(204)));
        let mut config = sink_config(&server.url());
        config.timeouts.request = Duration::from_millis(300);
        let mut rig = Rig::start(config);
        rig.append(["a", "a"]).await;
        rig.drained().await;
        let requests = server.requests();
        let status = rig.in_state(SinkState::Ok).await;
        assert_eq!(status.last_error.as_deref(), Some(words), "{fault:?}");
        assert_eq!((rig.count(class), rig.count("2xx")), (3, 2), "{fault:?}");
        assert_eq!(requests.len(), 5, "{fault:?}");
        let first = format!("{}-cloud-1", rig.store.id());
        assert!(
            ids(&requests)[..4].iter().all(|id| *id == first),
            "{fault:?}: {:?}",
            ids(&requests)
        );
        assert!(requests[..4].iter().all(|request| request.body == requests[0].body), "{fault:?}");
        assert_eq!(accepted(&server)[server.records().len() - 2..], [1, 2], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_tried_again_until_somebody_listens() {
    let server = Server::start();
    let (port, url) = (server.port, server.url());
    drop(server);
    let mut rig = Rig::start(sink_config(&url));
    rig.append(["a", "b", "c"]).await;
    let status = rig.in_state(SinkState::Retrying).await;
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));
    assert!(status.next_attempt_in().unwrap() <= Duration::from_millis(50));
    let server = Server::on_port(port, |_| Reply::Status(200));
    rig.drained().await;
    assert_eq!(rig.in_state(SinkState::Ok).await.attempts, 0);
    assert_eq!(accepted(&server).into_iter().collect::<BTreeSet<_>>(), [1, 2, 3].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_carries_the_same_id_and_the_time_of_its_own() {
    let mut statuses = vec![503; 2];
    let server = Server::scripted(move |_| Reply::Status(statuses.pop().unwrap_or(200)));
    let mut config = sink_config(&server.url());
    config.retry.initial = Duration::from_secs(3);
    config.retry.max = Duration::from_secs(3);
    let mut rig = Rig::start(config);
    rig.append(["a"]).await;
    rig.drained().await;
    for request in server.requests() {
        let header = |name: &str| request.headers[name].clone();
        assert_eq!(header("webhook-id"), format!("{}-cloud-1", rig.store.id()));
        assert_eq!(header("idempotency-key"), header("webhook-id"));
        assert_eq!(header("user-agent"), concat!("waypost/", env!("CARGO_PKG_VERSION")));
        assert_eq!(request.method, "POST");
        let sent: u64 = header("webhook-timestamp").parse().unwrap();
        let arrived = UnixMillis::now().0 - millis(request.at.elapsed());
        assert!((arrived / 1000).abs_diff(sent) <= 1, "sent {sent}, arrived {arrived} ms");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_obeyed_as_seconds_and_as_a_date_up_to_the_maximum() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
    let later = "Retry-After: Sun, 06 Nov 1994 08:49:38 GMT";
    let cases = [
        (429, vec!["Retry-After: 1"], 1000..10_000),
        (503, vec![date, later], 1000..10_000),
        (503, vec!["Retry-After: 86400"], 1500..10_000),
        (503, vec!["Retry-After: tomorrow"], 0..10_000),
    ];
    for (status, lines, expected) in cases {
        let headers: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let mut replies = vec![Reply::With(status, headers)];
        let server = Server::scripted(move |_| replies.pop().unwrap_or(Reply::Status(200)));
        let mut config = sink_config(&server.url());
        config.retry.max = Duration::from_millis(1500);
        let mut rig = Rig::start(config);
        rig.append(["a"]).await;
        rig.drained().await;
        let requests = server.requests();
        let waited = millis(requests[1].at - requests[0].at);
        assert!(expected.contains(&waited), "{lines:?}: waited {waited} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_keeps_everything() {
    let elsewhere = Server::start();
    for status in [301, 302, 303, 307, 308] {
        let location = vec![format!("Location: http://localhost:{}/login?s=1", elsewhere.port)];
        let server = Server::scripted(move |_| Reply::With(status, location.clone()));
        let mut rig = Rig::start(sink_config(&server.url()));
        rig.append(["a"]).await;
        let error = rig.in_state(SinkState::Suspended).await.last_error.unwrap();
        assert!(error.contains("redirects to `localhost`"), "{error}");
        assert_eq!(rig.queue.snapshot().queued, 1);
        assert!(elsewhere.requests().is_empty(), "{status} was followed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_retry_cannot_mend_suspends_the_sink_and_goes_on_when_somebody_has_mended_it() {
    for status in [401, 403, 404, 405, 410, 415] {
        let server = Server::scripted(move |_| Reply::Status(status));
        let mut config = sink_config(&server.url());
        config.retry.max = Duration::from_millis(200);
        let mut rig = Rig::start(config);
        rig.append(["a", "b", "c"]).await;
        let suspended = rig.in_state(SinkState::Suspended).await;
        let error = suspended.last_error.unwrap();
        assert!(error.contains(&status.to_string()), "{error}");
        // Slow probes: half the maximum at least.
        rig.until("probed", |_| ((), server.requests().len() >= 5)).await;
        let probes = server.requests();
        let gap = probes[4].at - probes[3].at;
        assert!(gap >= Duration::from_millis(95), "{status}: {gap:?} between probes");
        let snapshot = rig.queue.snapshot();
        assert_eq!((snapshot.queued, snapshot.delivered), (3, 0), "{status}");

        server.answer(|_| Reply::Status(200));
        rig.drained().await;
        assert_eq!(rig.in_state(SinkState::Ok).await.attempts, 0, "{status}");
        assert_eq!(accepted(&server).len(), 3, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_random_faults_each_key_arrives_in_order_and_nothing_is_lost() {
    const RECORDS: u64 = 3000;
    for (seed, order, records_max) in
        [(1, Order::Key, 1), (2, Order::Key, 10), (3, Order::Sink, 7), (4, Order::None, 3)]
    {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Server::scripted(move |_| match random.u8(..200) {
            0 => Reply::Status(500),
            1 => Reply::Status(429),
            2 => Reply::Status(403),
            3 => Reply::Cut,
            4 => Reply::Close,
            5 => Reply::Hang,
            6..20 => Reply::Slow(Duration::from_millis(3)),
            _ => Reply::Status(200),
        });
        let mut config = sink_config(&server.url());
        config.order = order;
        config.batch = batch_config(records_max, Duration::from_millis(5));
        config.timeouts.request = Duration::from_millis(200);
        let mut rig = Rig::start(config);
        for chunk in 0..RECORDS / 100 {
            rig.append((0..100).map(|n| ((chunk + n) % 13).to_string())).await;
        }
        rig.drained().await;

        let mut last = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for record in server.records() {
            let number: u64 = record["payload"].as_str().unwrap().parse().unwrap();
            seen.insert(number);
            let key = match order {
                Order::Key => record["clientid"].as_str().unwrap().to_owned(),
                Order::Sink => String::new(),
                Order::None => continue,
            };
            let last = last.entry(key).or_insert(0);
            assert!(number >= *last, "seed {seed}: {number} after {last}");
            *last = number;
        }
        assert_eq!(seen.len(), usize::try_from(RECORDS).unwrap(), "seed {seed}: all arrived");
        assert!(rig.count("5xx") + rig.count("error") > 0, "seed {seed}: there were faults");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_service_is_down_one_probe_at_a_time_goes_out_for_the_oldest_record() {
    let server = Server::scripted(|_| Reply::Status(503));
    let mut config = sink_config(&server.url());
    config.order = Order::None;
    config.concurrency = NonZeroUsize::new(8).unwrap();
    config.retry.initial = Duration::from_millis(200);
    config.retry.max = Duration::from_millis(200);
    let mut rig = Rig::start(config);
    rig.append(vec!["a"; 5000]).await;
    rig.in_state(SinkState::Retrying).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let during = server.requests();
    // Eight went out together; then probes a tenth of a second apart on average.
    assert!((8 + 5..8 + 60).contains(&during.len()), "{} requests", during.len());
    let oldest = format!("{}-cloud-1", rig.store.id());
    let of_oldest = ids(&during[8..]).into_iter().filter(|id| *id == oldest).count();
    assert!(of_oldest * 2 + 2 >= during.len() - 8, "every other probe is a canary: {of_oldest}");
    rig.append(["a"]).await;
    server.answer(|_| Reply::Status(200));
    rig.drained().await;
    assert_eq!(accepted(&server).len(), 5001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_only_wait_in_memory_can_be_dropped_by_the_policy_of_a_full_queue() {
    const BYTES: usize = 64 * 1024;
    let server = Server::scripted(|_| Reply::Status(503));
    let mut config = sink_config(&server.url());
    config.order = Order::None;
    config.queue.bytes_max = QUEUE_BYTES_MIN.try_into().unwrap();
    config.request.body = Some(Template::parse("${payload}").unwrap());
    let rig = Rig::start(config);
    let mut random = fastrand::Rng::with_seed(1);
    let mut append = async |numbers: std::ops::Range<u64>| {
        let record = |number: u64| {
            let mut event = event(number, "a");
            // Text that hardly shrinks when it is compressed.
            let noise: String = (0..BYTES).map(|_| random.alphanumeric()).collect();
            Arc::get_mut(&mut event).unwrap().message_mut().payload =
                format!("{number} {noise}").into();
            Record { rule: RuleName::new("rule").unwrap(), event, output: None, replay: None }
        };
        rig.queue.append(numbers.map(record).collect()).await.unwrap().unwrap();
    };
    append(1..30).await;
    rig.in_state(SinkState::Retrying).await;
    for first in (30..600).step_by(30) {
        append(first..first + 30).await;
    }
    assert!(rig.queue.snapshot().dropped.values().sum::<u64>() > 100, "over the quota");
    server.answer(|_| Reply::Status(200));
    rig.drained().await;
    let requests = server.requests();
    let accepted = requests.iter().filter(|request| request.accepted).map(|request| {
        let text = std::str::from_utf8(&request.body).unwrap();
        text.split_once(' ').unwrap().0.parse::<u64>().unwrap()
    });
    let accepted: BTreeSet<u64> = accepted.collect();
    assert!((1..=4).all(|number| accepted.contains(&number)), "what was in flight is kept");
    assert!((5..30).all(|number| !accepted.contains(&number)), "the oldest others went first");
    assert!(accepted.contains(&599), "the newest are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_never_waits_for_the_service_and_what_was_in_flight_goes_out_again() {
    let server = Server::scripted(|_| Reply::Hang);
    let mut config = sink_config(&server.url());
    config.order = Order::None;
    config.timeouts.request = Duration::from_mins(1);
    let mut rig = Rig::start(config.clone());
    rig.append(["a"; 10]).await;
    rig.until("in flight", |_| ((), server.requests().len() == 4)).await;
    let (dir, took) = rig.stop().await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    let hung = server.requests();

    server.answer(|_| Reply::Status(200));
    let rig = Rig::start_in(dir, config);
    rig.drained().await;
    let numbers: BTreeSet<_> = accepted(&server).into_iter().collect();
    assert_eq!(numbers, (1..=10).collect());
    let again = server.requests();
    let again: BTreeSet<_> = ids(&again[4..]).into_iter().collect();
    assert!(ids(&hung).iter().all(|id| again.contains(id)), "the same ids after a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_sent_when_it_is_full_or_has_lingered() {
    let server = Server::start();
    let mut config = sink_config(&server.url());
    config.batch = batch_config(100, Duration::from_secs(1));
    let mut rig = Rig::start(config);
    let started = Instant::now();
    rig.append(["a"; 250]).await;
    rig.drained().await;
    let requests = server.requests();
    let sizes: Vec<_> = requests.iter().map(|request| request.records().len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(requests[1].at - started < Duration::from_secs(1), "full ones wait for nothing");
    assert!(requests[2].at - started >= Duration::from_secs(1), "the last one waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_out_side_by_side_as_far_as_the_order_allows() {
    // Eight slow requests of two keys: in one go, in four turns, or one after another.
    for (order, turns) in [(Order::None, 1), (Order::Key, 4), (Order::Sink, 8)] {
        let server = Server::scripted(|_| Reply::Slow(Duration::from_millis(100)));
        let mut config = sink_config(&server.url());
        config.order = order;
        config.concurrency = NonZeroUsize::new(8).unwrap();
        let mut rig = Rig::start(config);
        let started = Instant::now();
        rig.append(["a", "b"].repeat(4)).await;
        rig.drained().await;
        let took = millis(started.elapsed());
        assert!(took >= turns * 100, "{order:?} took {took} ms");
        assert!(took < 800 || order == Order::Sink, "{order:?} took {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_address_each_record_on_the_wire() {
    let server = Server::start();
    let template = |text| Template::parse(text).unwrap();
    let mut config = sink_config(&format!("{}/api/", server.url()));
    config.request.method = config::Method::Put;
    config.request.path = Some(template("/devices/${clientid}"));
    config.request.query = vec![("topic".into(), template("${topic}"))];
    config.request.headers = vec![(template("X-Qos"), template("${qos}"))];
    config.request.body = Some(template("payload=${payload}"));
    let mut rig = Rig::start(config);
    rig.append(["../x"]).await;
    rig.drained().await;
    let request = server.requests().remove(0);
    assert_eq!(request.method, "PUT");
    assert_eq!(request.target, "/api/devices/..%2Fx?topic=t%2F1");
    assert_eq!(request.headers["x-qos"], "1");
    assert_eq!(request.body, b"payload=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_of_a_sink_tell_its_state_delay_and_latency() {
    let mut statuses = vec![503];
    let server = Server::scripted(move |_| Reply::Status(statuses.pop().unwrap_or(200)));
    let mut config = sink_config(&server.url());
    config.retry.initial = Duration::from_mins(1);
    config.retry.max = Duration::from_mins(1);
    let mut rig = Rig::start(config);
    rig.append(["a"]).await;
    rig.in_state(SinkState::Retrying).await;
    let metrics = rig.metrics.render();
    for line in [
        "waypost_sink_state{sink=\"cloud\",state=\"ok\"} 0",
        "waypost_sink_state{sink=\"cloud\",state=\"retrying\"} 1",
        "waypost_http_requests_total{class=\"5xx\",sink=\"cloud\"} 1",
        "waypost_http_request_duration_seconds_count{sink=\"cloud\"} 1",
        "waypost_delivery_latency_seconds_count{sink=\"cloud\"} 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    let delay = rig.health.metrics.retry_delay.get();
    assert!(delay > 0.0 && delay <= 60.0, "{delay}");
}
