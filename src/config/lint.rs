//! Checks over the whole config: what contradicts itself, and what works but can lose records or never drain.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::connector::Connectors;
use super::reader::Reader;
use super::risk;
use super::{Config, Listener, MqttSource, Order, Rule, Sink, Source};
use crate::event::Qos;
use crate::name::{RuleName, SinkName, SourceName};
use crate::topic::TopicFilter;
use crate::units::{period_text, size_text};

/// Outages that are nothing special: what is given up or forgotten within this is lost now and then.
pub(super) const OUTAGE: Duration = Duration::from_hours(1);
/// Folders that are in memory on every Linux.
const IN_MEMORY: [&str; 3] = ["/run", "/var/run", "/dev/shm"];

/// Records per second that `sink` can deliver at most when each request takes `round_trip`, whatever the service can
/// do: requests in flight, times records in each. Order per key counts as if keys were many.
#[must_use]
pub fn records_per_second_max(sink: &Sink, round_trip: Duration) -> u64 {
    let in_flight = match sink.order {
        Order::Sink => 1,
        Order::Key | Order::None => sink.concurrency.get(),
    };
    let records =
        u128::try_from(in_flight.saturating_mul(sink.batch.records_max.get())).unwrap_or(u128::MAX);
    let micros = round_trip.as_micros().max(1);
    u64::try_from(records.saturating_mul(1_000_000) / micros).unwrap_or(u64::MAX)
}

/// Reports what is wrong and warns of what is risky.
pub(super) fn check(reader: &Reader<'_>, config: &Config, connectors: &Connectors) {
    check_listeners(reader, config);
    check_intake(reader, config);
    check_client_ids(reader, config);
    warn_of_idle_parts(reader, config);
    warn_of_idle_connectors(reader, config, connectors);
    warn_of_sources(reader, config);
    warn_of_overlaps(reader, config);
    for (name, sink) in &config.sinks {
        risk::warn_of_sink(reader, &sink_key(reader, name), sink);
    }
    warn_of_disk(reader, config);
}

/// The table of a sink: its own, or that of the webhook which it came from.
fn sink_key(reader: &Reader<'_>, name: &SinkName) -> String {
    let own = format!("sinks.{name}");
    if reader.has(&own) { own } else { format!("webhooks.{name}") }
}

fn check_listeners(reader: &Reader<'_>, config: &Config) {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let metrics = config.metrics_listen.map(|address| ("metrics.listen".to_owned(), address));
    for (key, address) in source_listeners(config).into_iter().chain(metrics) {
        let clash = taken.iter().find(|(_, other)| {
            let same_ip = other.ip() == address.ip()
                || other.ip().is_unspecified()
                || address.ip().is_unspecified();
            address.port() != 0 && other.port() == address.port() && same_ip
        });
        if let Some((other_key, other)) = clash {
            reader.problem_with(
                &key,
                format!("cannot listen on {address}: `{other_key}` has {other}"),
            );
        }
        taken.push((key, address));
    }
}

fn source_listeners(config: &Config) -> Vec<(String, SocketAddr)> {
    let of_source = |(name, source): (&SourceName, &Source)| {
        let listeners: &[Listener] = match source {
            #[cfg(feature = "broker")]
            Source::Broker(broker) => &broker.listeners,
            Source::Http(http) => &http.listeners,
            Source::Mqtt(_) => &[],
        };
        let key = |index| format!("sources.{name}.listen[{index}]");
        let addresses = listeners.iter().enumerate();
        addresses.map(|(index, listener)| (key(index), listener.address)).collect::<Vec<_>>()
    };
    config.sources.iter().flat_map(of_source).collect()
}

/// A packet that the intake cannot hold could never be taken.
fn check_intake(reader: &Reader<'_>, config: &Config) {
    let intake = config.gateway.intake_bytes_max.get();
    for (name, source) in &config.sources {
        let packet = match source {
            Source::Mqtt(mqtt) => mqtt.packet_bytes_max,
            #[cfg(feature = "broker")]
            Source::Broker(broker) => broker.packet_bytes_max,
            // A body may be many events.
            Source::Http(_) => continue,
        };
        let packet = u64::from(packet.get());
        if u64::try_from(intake).is_ok_and(|intake| intake < packet) {
            reader.problem_with(
                &format!("sources.{name}.max_packet_bytes"),
                format!(
                    "must not be more than `gateway.intake_max_bytes`: a packet of {} would never be taken",
                    size_text(packet)
                ),
            );
        }
    }
}

/// Two connections with one client id throw each other out for ever.
fn check_client_ids(reader: &Reader<'_>, config: &Config) {
    let mut taken: Vec<(&SourceName, &MqttSource)> = Vec::new();
    for (name, source) in mqtt_sources(config) {
        let same = |other: &MqttSource| {
            source.client_id.is_some()
                && other.client_id == source.client_id
                && (&other.host, other.port) == (&source.host, source.port)
        };
        if let Some((other, _)) = taken.iter().find(|(_, other)| same(other)) {
            reader.problem_with(
                &format!("sources.{name}.client_id"),
                format!("is the client id of `sources.{other}` on the same broker: each would throw the other out"),
            );
        }
        taken.push((name, source));
    }
}

fn mqtt_sources(config: &Config) -> impl Iterator<Item = (&SourceName, &MqttSource)> {
    config.sources.iter().filter_map(|(name, source)| match source {
        Source::Mqtt(mqtt) => Some((name, &**mqtt)),
        #[cfg(feature = "broker")]
        Source::Broker(_) => None,
        Source::Http(_) => None,
    })
}

fn warn_of_idle_parts(reader: &Reader<'_>, config: &Config) {
    if config.rules.is_empty() {
        reader.warn_of(
            "",
            "there is no `[webhooks.NAME]` and no `[rules.NAME]`: nothing is taken or delivered",
        );
        return;
    }
    let used: BTreeSet<&SinkName> = config.rules.values().flat_map(|rule| &rule.sinks).collect();
    for name in config.sinks.keys().filter(|name| !used.contains(name)) {
        reader
            .warn_of(&sink_key(reader, name), "no rule and no webhook sends anything to this sink");
    }
    let listened = |source: &SourceName| {
        config.rules.values().any(|rule| rule.sources.is_empty() || rule.sources.contains(source))
    };
    for name in config.sources.keys().filter(|name| !listened(name)) {
        reader.warn_of(
            &format!("sources.{name}"),
            "no rule and no webhook wants anything from this source",
        );
    }
}

fn warn_of_idle_connectors(reader: &Reader<'_>, config: &Config, connectors: &Connectors) {
    let named = |sink: &Sink| sink.connection.connector.clone();
    let used: BTreeSet<_> = config.sinks.values().filter_map(named).collect();
    for name in connectors.names().filter(|name| !used.contains(*name)) {
        reader
            .warn_of(&format!("connectors.{name}"), "no sink and no webhook names this connector");
    }
}

fn warn_of_sources(reader: &Reader<'_>, config: &Config) {
    for (name, source) in mqtt_sources(config) {
        if source.qos_max == Qos::AtMostOnce {
            reader.warn_of(
                &format!("sources.{name}.max_qos"),
                "the broker sends at QoS 0: what comes while Waypost or the link is down is lost",
            );
        }
        if source.session_expiry < OUTAGE {
            let away = period_text(source.session_expiry);
            reader.warn_of(
                &format!("sources.{name}.session_expiry"),
                format!(
                    "is short: away for longer than {away}, and the broker drops what it holds"
                ),
            );
        }
    }
}

/// A shared subscription is served beside the plain ones: nothing says that two copies are one message.
fn warn_of_overlaps(reader: &Reader<'_>, config: &Config) {
    for (source, _) in mqtt_sources(config) {
        let listens = |rule: &&Rule| rule.sources.is_empty() || rule.sources.contains(source);
        let rules = config.rules.values().filter(listens);
        let filters: BTreeSet<&TopicFilter> = rules.flat_map(|rule| &rule.topics).collect();
        for (name, rule) in &config.rules {
            let special = rule.topics.iter().filter(|filter| listens(&rule) && !filter.is_plain());
            for filter in special {
                let other =
                    filters.iter().find(|other| **other != filter && other.overlaps(filter));
                let Some(other) = other else { continue };
                reader.warn_of(
                    &topics_key(reader, name),
                    format!(
                        "`{filter}` and `{other}` overlap: the broker of `sources.{source}` sends a message that matches \
                         both once for each, and it is stored twice; give them the same form, or topics of their own"
                    ),
                );
            }
        }
    }
}

/// Where the topics of a rule stand.
fn topics_key(reader: &Reader<'_>, name: &RuleName) -> String {
    let own = format!("rules.{name}");
    let table = if reader.has(&own) { own } else { format!("webhooks.{name}") };
    format!("{table}.topics")
}

fn warn_of_disk(reader: &Reader<'_>, config: &Config) {
    let data_dir = &config.gateway.data_dir;
    if IN_MEMORY.iter().any(|folder| data_dir.starts_with(folder)) {
        reader.warn_of(
            "gateway.data_dir",
            "is in memory: what was acknowledged and is not delivered is gone when the machine starts again",
        );
    }
    let partition = (reader.surroundings.partition_bytes)(&config.gateway.data_dir);
    let quotas = config.sinks.values().map(|sink| sink.queue.bytes_max.get());
    let quotas = quotas.fold(0_u64, u64::saturating_add);
    if let Some(partition) = partition.filter(|partition| quotas > partition / 10 * 9) {
        reader.warn_of(
            "gateway.data_dir",
            format!(
                "the queues may take {} together, and the partition has {}: the disk can \
                 fill up before a queue reaches its quota",
                size_text(quotas),
                size_text(partition)
            ),
        );
    }
}
