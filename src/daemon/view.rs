//! The status of the moment, gathered from everything that runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::admin::server::Views;
use crate::admin::{RuleStatus, SinkStatus, SourceStatus, Status};
use crate::clock::UnixMillis;
use crate::config::{Config, Durability, MqttSource, MqttTransport, Sink, Source, WhenFull};
use crate::delivery::SinkHealth;
use crate::metrics::{Metrics, RuleMetrics};
use crate::name::{SinkName, SourceName};
use crate::source::SourceHealth;
use crate::store::{Queue, Store};
use crate::tail::Tail;

/// Everything a status is read from.
pub(super) struct Watched {
    pub(super) gateway: String,
    pub(super) store: Arc<Store>,
    pub(super) started: Instant,
    pub(super) config: Config,
    pub(super) sources: BTreeMap<SourceName, Arc<SourceHealth>>,
    /// In the order of the config's rules.
    pub(super) rules: Vec<RuleMetrics>,
    pub(super) sinks: BTreeMap<SinkName, Arc<SinkHealth>>,
    pub(super) queues: BTreeMap<SinkName, Queue>,
}

/// What the admin API and the exporter ask.
pub(super) fn views(watched: &Arc<Watched>, metrics: &Arc<Metrics>, tail: &Tail) -> Views {
    let (for_status, for_steering) = (Arc::clone(watched), Arc::clone(watched));
    Views {
        metrics: Arc::clone(metrics),
        status: Arc::new(move || for_status.status()),
        steer: Arc::new(move |sink, command| for_steering.steer(sink, command)),
        tail: tail.clone(),
    }
}

impl Watched {
    pub(super) fn status(&self) -> Status {
        let sources = self.config.sources.iter().filter_map(|(name, source)| {
            let health = self.sources.get(name)?;
            Some((name.to_string(), source_status(source, health)))
        });
        let rules = self.config.rules.iter().zip(&self.rules).map(|((name, rule), metrics)| {
            let sinks = rule.sinks.iter().map(ToString::to_string).collect();
            (
                name.to_string(),
                RuleStatus {
                    sinks,
                    matched: metrics.matched.get(),
                    passed: metrics.passed.get(),
                    failed: metrics.failed(),
                },
            )
        });
        let sinks: BTreeMap<String, SinkStatus> = self
            .config
            .sinks
            .iter()
            .filter_map(|(name, sink)| {
                let (health, queue) = (self.sinks.get(name)?, self.queues.get(name)?);
                Some((name.to_string(), sink_status(sink, health, queue)))
            })
            .collect();
        Status {
            gateway: self.gateway.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            store_id: self.store.id().to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: sinks.values().all(|sink| sink.queue_unavailable.is_none()),
            sources: sources.collect(),
            rules: rules.collect(),
            sinks,
        }
    }
}

fn source_status(source: &Source, health: &SourceHealth) -> SourceStatus {
    let (state, since) = health.state();
    let (kind, address) = match source {
        Source::Mqtt(options) => ("mqtt", mqtt_address(options)),
        #[cfg(feature = "broker")]
        Source::Broker(options) => {
            let addresses = options.listeners.iter().map(|one| one.address.to_string());
            ("broker", addresses.collect::<Vec<_>>().join(", "))
        }
    };
    SourceStatus {
        kind: kind.to_owned(),
        address,
        state: state.word().to_owned(),
        detail: state.detail().map(str::to_owned),
        since_seconds: seconds_since(since),
        received: health.metrics.received.get(),
        acknowledged: health.metrics.acknowledged.get(),
        dropped: health.metrics.dropped.get(),
    }
}

fn seconds_since(moment: UnixMillis) -> u64 {
    UnixMillis::now().0.saturating_sub(moment.0) / 1000
}

fn mqtt_address(options: &MqttSource) -> String {
    let (scheme, path) = match &options.transport {
        MqttTransport::Tcp => ("mqtt", ""),
        MqttTransport::Tls => ("mqtts", ""),
        MqttTransport::WebSocket { path } => ("ws", path.as_str()),
        MqttTransport::WebSocketTls { path } => ("wss", path.as_str()),
    };
    format!("{scheme}://{}:{}{path}", options.host, options.port)
}

pub(super) fn sink_status(sink: &Sink, health: &SinkHealth, queue: &Queue) -> SinkStatus {
    let delivery = health.status();
    let counts = queue.snapshot();
    let durability = match sink.queue.durability {
        Durability::Power => "power",
        Durability::Process => "process",
    };
    let when_full = match sink.queue.when_full {
        WhenFull::DropOldest => "drop_oldest",
        WhenFull::DropNewest => "drop_newest",
        WhenFull::DeadLetter => "dead_letter",
        WhenFull::Block => "block",
    };
    let dropped = counts.dropped.iter().map(|(reason, count)| ((*reason).to_owned(), *count));
    SinkStatus {
        url: shown(&sink.request.url),
        state: delivery.word().to_owned(),
        paused_seconds: delivery.paused_since.map(seconds_since),
        since_seconds: seconds_since(delivery.since),
        failed_attempts: delivery.attempts,
        next_attempt_in_seconds: delivery.next_attempt_in().map(|wait| wait.as_secs_f64()),
        last_error: delivery.last_error,
        dead_letters_error: delivery.letters_error,
        suspects: u64::try_from(health.metrics.suspects.get()).unwrap_or_default(),
        durability: durability.to_owned(),
        when_full: when_full.to_owned(),
        queue_unavailable: queue.unavailable(),
        recovered: counts.recovered,
        enqueued: counts.enqueued,
        delivered: counts.delivered,
        dropped: dropped.collect(),
        queued: counts.queued,
        bytes: counts.bytes,
        bytes_max: counts.bytes_max,
        oldest_age_seconds: counts.oldest_age_seconds,
    }
}

/// A URL without its query, which may hold a key.
fn shown(url: &url::Url) -> String {
    let mut shown = url.clone();
    if shown.query().is_some() {
        shown.set_query(Some("***"));
    }
    shown.to_string()
}
