//! Many sinks in one gateway, with one service behind them: each gets every message, under a path of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::device::Device;
use super::http::{Request, Server};
use super::metrics::Metrics;
use super::waypost::Waypost;
use super::{PATIENCE, eventually, free_port, holds_within};

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub device: String,
    pub n: u64,
    /// Its number in the sink's queue.
    pub record: u64,
}

/// The sink that a request is of.
pub fn sink_of(request: &Request) -> &str {
    request.target.trim_start_matches('/')
}

/// The messages of a request with default bodies.
pub fn messages(request: &Request) -> Vec<Arrival> {
    let message = |record: Value| {
        let payload: Value = serde_json::from_str(record["payload"].as_str().unwrap()).unwrap();
        let id = record["record_id"].as_str().unwrap_or(&request.headers["webhook-id"]);
        Arrival {
            device: payload["device"].as_str().unwrap().to_owned(),
            n: payload["n"].as_u64().unwrap(),
            record: id.rsplit_once('-').unwrap().1.parse().unwrap(),
        }
    };
    request.records().into_iter().map(message).collect()
}

/// The gateway.
#[derive(Debug)]
pub struct Sinks {
    pub gateway: Waypost,
    broker_port: u16,
}

impl Sinks {
    /// Not running yet; `sinks` are names with further lines of their webhooks.
    pub fn prepare<'a>(url: &str, sinks: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let broker_port = free_port();
        let mut config = format!(
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{broker_port}\"]\n\n"
        );
        for (name, lines) in sinks {
            // A disk has better to do than to sync each of them.
            config += &format!(
                "[webhooks.{name}]\ntopics = [\"t/#\"]\nurl = \"{url}/{name}\"\nqueue.durability = \"process\"\n{lines}\n\n"
            );
        }
        Self { gateway: Waypost::prepare(&config), broker_port }
    }

    /// Publishes `counts` messages of each device, side by side, and waits until they are acknowledged.
    pub fn publish(&self, counts: &[(&str, u64)]) {
        self.publish_with(counts, |_, _| String::new());
    }

    /// As [`Self::publish`]; `more` gives further members of a payload from the device's name and the number.
    pub fn publish_with(
        &self,
        counts: &[(&str, u64)],
        more: impl Fn(&str, u64) -> String + Clone + Send + 'static,
    ) {
        let start = |(name, count): &(&str, u64)| {
            let (more, device) = (more.clone(), (*name).to_owned());
            let more = move |n| more(&device, n);
            let topic = format!("t/{name}");
            Device::start_with(self.broker_port, name, &topic, *count, Duration::ZERO, more)
        };
        let devices: Vec<_> = counts.iter().map(start).collect();
        for (device, (name, count)) in devices.into_iter().zip(counts) {
            let count = usize::try_from(*count).unwrap();
            eventually(name, || device.acknowledged().len(), |acknowledged| *acknowledged == count);
            device.stop();
        }
    }

    /// Waits until all queues are empty, and checks their sums.
    #[track_caller]
    pub fn drained(&self) -> Metrics {
        let scrape = || self.gateway.metrics();
        let is_empty = |metrics: &Metrics| {
            metrics.series("waypost_queue_records").values().all(|queued| *queued == 0.0)
        };
        let metrics = eventually("all queues are empty", scrape, is_empty);
        metrics.assert_conservation();
        metrics
    }

    /// As [`Self::drained`], with a message of a device `news` now and then: only what comes after the last record of a
    /// queue tells whether the service fails, or that record.
    #[track_caller]
    pub fn drained_with_news(&self) -> Metrics {
        let started = Instant::now();
        let is_drained = || {
            let metrics = self.gateway.metrics();
            metrics.series("waypost_queue_records").values().all(|queued| *queued == 0.0)
        };
        while !holds_within(Duration::from_millis(1500), is_drained) && started.elapsed() < PATIENCE
        {
            self.publish(&[("news", 1)]);
        }
        self.drained()
    }

    /// `status --json`, by sink.
    #[track_caller]
    pub fn status(&self) -> BTreeMap<String, Value> {
        let status = self.gateway.status();
        let sinks = status["sinks"].as_object().unwrap();
        sinks.iter().map(|(name, sink)| (name.clone(), sink.clone())).collect()
    }
}

/// All requests, by sink.
pub fn requests_by_sink(service: &Server) -> BTreeMap<String, Vec<Request>> {
    let mut by_sink: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for request in service.requests() {
        by_sink.entry(sink_of(&request).to_owned()).or_default().push(request);
    }
    by_sink
}

/// Everything arrived once: `counts` messages of each device but `missing`; and in order, where `order` has one.
#[track_caller]
pub fn assert_arrived_once(
    arrivals: &[Arrival],
    counts: &[(&str, u64)],
    missing: &[(&str, u64)],
    order: &str,
    case: &str,
) {
    let pair = |device: &str, n: u64| (device.to_owned(), n);
    let all = counts.iter().flat_map(|(device, count)| (0..*count).map(|n| pair(device, n)));
    let missing: BTreeSet<_> = missing.iter().map(|(device, n)| pair(device, *n)).collect();
    let expected: Vec<_> = all.filter(|it| !missing.contains(it)).collect();
    let mut arrived: Vec<_> = arrivals.iter().map(|it| pair(&it.device, it.n)).collect();
    if order == "sink" {
        let records = arrivals.windows(2);
        let wrong = records.filter(|pair| pair[0].record >= pair[1].record).collect::<Vec<_>>();
        assert!(wrong.is_empty(), "{case}: out of order: {wrong:?}");
    }
    if order == "none" {
        arrived.sort_unstable();
    } else {
        // Stable: the order of each device stays.
        arrived.sort_by(|one, other| one.0.cmp(&other.0));
    }
    assert!(
        arrived == expected,
        "{case}: {} of {} arrived: {arrived:?}",
        arrived.len(),
        expected.len()
    );
}
