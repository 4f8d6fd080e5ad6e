//! The status of the moment, gathered from everything that runs.

mod rule;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::certificates::Certificates;
use super::rates::{Counted, RateBook};
use crate::admin::{Rate, SinkStatus, SourceStatus, Status, notes};
use crate::clock::UnixMillis;
use crate::config::{self, Config, MqttSource, MqttTransport, Sink, Source};
use crate::delivery::{SinkHealth, SinkState};
use crate::event::EventKind;
use crate::metrics::{DeadLetterCounts, Rates, RuleMetrics, StoreMetrics};
use crate::name::{SinkName, SourceName};
use crate::rule::Rule;
use crate::source::{SourceHealth, SourceState};
use crate::store::{Queue, Store, StoredQueue};
use sink::SinkView;

/// Everything a status is read from.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) gateway: String,
    pub(super) store: Arc<Store>,
    pub(super) started: Instant,
    pub(super) config: Arc<Config>,
    pub(super) sources: BTreeMap<SourceName, Arc<SourceHealth>>,
    /// In the order of the config's rules.
    pub(super) rules: Vec<RuleMetrics>,
    pub(super) sinks: BTreeMap<SinkName, Arc<SinkHealth>>,
    pub(super) queues: BTreeMap<SinkName, Queue>,
    /// Queues in the data directory that have records and no sink.
    pub(super) left_over: Vec<StoredQueue>,
    pub(super) rates: Arc<RateBook>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) store_metrics: StoreMetrics,
    /// Why the last reload was refused.
    pub(super) reload_refused: Vec<String>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Watched {
    pub(super) fn status(&self) -> Status {
        let mut status = Status {
            gateway: self.gateway.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            data_dir: self.config.gateway.data_dir.display().to_string(),
            store_id: self.store.id().to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: self.queues.values().all(|queue| queue.unavailable().is_none()),
            sources: self.source_statuses(),
            rules: self.rule_statuses(),
            sinks: BTreeMap::new(),
            left_over: self
                .left_over
                .iter()
                .map(|queue| (queue.sink.to_string(), queue.records))
                .collect(),
            dead_letter_bytes_max: 0,
            certificates: self.certificates.status(),
            config_hash: self.config.hash.clone(),
            reload_refused: self.reload_refused.clone(),
            notes: Vec::new(),
        };
        let letters = self.store.dead_letters().snapshot();
        status.dead_letter_bytes_max = letters.letter_bytes_max;
        for (name, config) in &self.config.sinks {
            let letters = letters.sinks.get(name).cloned().unwrap_or_default();
            if let Some(sink) = self.sink(name, config, letters) {
                status.sinks.insert(name.to_string(), sink.status(self));
            }
        }
        status.notes = notes(&status);
        status
    }

    /// Whether a rule wants events of this kind.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.config.rules.values().any(|rule| rule.events.contains(&kind))
    }

    /// One line for `systemctl status`.
    pub(super) fn line(&self) -> String {
        let is_connected = |source: &&Arc<SourceHealth>| source.state().0 == SourceState::Connected;
        let connected = self.sources.values().filter(is_connected).count();
        let is_ok = |sink: &&Arc<SinkHealth>| sink.status().word() == SinkState::Ok.word();
        let working = self.sinks.values().filter(is_ok).count();
        let queued: u64 = self.queues.values().map(|queue| queue.snapshot().queued).sum();
        let is_ready = self.queues.values().all(|queue| queue.unavailable().is_none());
        let ready = if is_ready { "" } else { "not ready: a queue takes no records; " };
        format!(
            "{ready}{connected} of {} sources connected, {working} of {} sinks ok, {queued} records queued",
            self.sources.len(),
            self.sinks.len()
        )
    }

    /// The status of one sink; `None` when there is no such sink.
    pub(super) fn sink_status(&self, name: &SinkName) -> Option<SinkStatus> {
        let letters = self.store.dead_letters().snapshot().sinks.remove(name).unwrap_or_default();
        Some(self.sink(name, self.config.sinks.get(name)?, letters)?.status(self))
    }

    fn sink<'a>(
        &'a self,
        name: &'a SinkName,
        config: &'a Sink,
        letters: DeadLetterCounts,
    ) -> Option<SinkView<'a>> {
        let (health, queue) = (self.sinks.get(name)?, self.queues.get(name)?);
        Some(SinkView { name, config, health, queue, letters })
    }

    fn source_statuses(&self) -> BTreeMap<String, SourceStatus> {
        let statuses = self.config.sources.iter().filter_map(|(name, source)| {
            let health = self.sources.get(name)?;
            Some((name.to_string(), self.source_status(name, source, health)))
        });
        statuses.collect()
    }

    /// Looks at what only files tell. Blocks.
    pub(super) fn look_at_files(&self) {
        self.certificates.look(&self.config);
        let bytes = i64::try_from(self.store.disk_bytes()).unwrap_or(i64::MAX);
        self.store_metrics.disk_bytes.set(bytes);
    }

    /// Takes a sample of every counter, for the rates.
    pub(super) fn sample(&self) {
        let mut counts = Vec::new();
        for (name, health) in &self.sources {
            let metrics = &health.metrics;
            counts.push((Counted::Received(name.clone()), metrics.received.get()));
            counts.push((Counted::Acknowledged(name.clone()), metrics.acknowledged.get()));
        }
        for (name, metrics) in self.config.rules.keys().zip(&self.rules) {
            counts.push((Counted::Matched(name.clone()), metrics.matched.get()));
            counts.push((Counted::Passed(name.clone()), metrics.passed.get()));
            counts.push((Counted::Failed(name.clone()), metrics.failed()));
        }
        for (name, queue) in &self.queues {
            let snapshot = queue.snapshot();
            counts.push((Counted::Enqueued(name.clone()), snapshot.enqueued));
            counts.push((Counted::Delivered(name.clone()), snapshot.delivered));
        }
        self.rates.sample(counts);
    }

    fn source_status(
        &self,
        name: &SourceName,
        source: &Source,
        health: &SourceHealth,
    ) -> SourceStatus {
        let (state, since) = health.state();
        let (kind, address) = match source {
            Source::Mqtt(options) => ("mqtt", mqtt_address(options)),
            #[cfg(feature = "broker")]
            Source::Broker(options) => ("broker", config::addresses(&options.listeners)),
            Source::Http(options) => ("http", config::addresses(&options.listeners)),
        };
        let wants_messages = |rule: &&Rule| rule.events.contains(&EventKind::MessagePublish);
        let publish = self.rules_of(name).filter(wants_messages);
        let metrics = &health.metrics;
        let (received, acknowledged) = (metrics.received.get(), metrics.acknowledged.get());
        let (counted, settled) =
            (Counted::Received(name.clone()), Counted::Acknowledged(name.clone()));
        SourceStatus {
            kind: kind.to_owned(),
            address,
            state: state.word().to_owned(),
            detail: state.detail().map(str::to_owned),
            since_seconds: seconds_since(since),
            events: sorted(self.rules_of(name).flat_map(|rule| &rule.events).map(|it| it.name())),
            topics: sorted(publish.flat_map(|rule| &rule.topics)),
            refused: sorted(health.refused().iter()),
            quiet_seconds: self.rates.quiet_for(&counted, received).map(|quiet| quiet.as_secs()),
            received_rate: rate(&self.rates, &counted, received),
            acknowledged_rate: rate(&self.rates, &settled, acknowledged),
            received,
            acknowledged,
            dropped: metrics.dropped.get(),
        }
    }

    /// The rules that want something from a source.
    fn rules_of(&self, source: &SourceName) -> impl Iterator<Item = &Rule> {
        let rules = self.config.rules.values();
        rules.filter(|rule| rule.sources.is_empty() || rule.sources.contains(source))
    }
}

fn sorted<T: ToString>(things: impl Iterator<Item = T>) -> Vec<String> {
    let things: BTreeSet<String> = things.map(|thing| thing.to_string()).collect();
    things.into_iter().collect()
}

pub(super) fn rate(rates: &RateBook, counted: &Counted, count: u64) -> Rate {
    let Rates { now, last_5_minutes, max } = rates.of(counted, count);
    Rate { now, last_5_minutes, max }
}

pub(super) fn seconds_since(moment: UnixMillis) -> u64 {
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
