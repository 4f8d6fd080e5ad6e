//! `events` of rules and webhooks: which kinds, which of them `topics` filters, and which no source can give.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::reader::{Reader, Table, Value};
use super::words::{known_words, nearest};
use super::{Config, MqttDialect, Sink, Source};
use crate::event::json::EventFormat;
use crate::event::{EventKind, Subject};
use crate::name::SinkName;
use crate::rule::{Narrowed, Rule};

/// What a rule or webhook takes that says nothing.
const DEFAULT: [EventKind; 1] = [EventKind::MessagePublish];

/// The kinds of event that the embedded broker gives.
const OF_BROKER: &[EventKind] = &[
    EventKind::MessagePublish,
    EventKind::MessageDelivered,
    EventKind::MessageAcked,
    EventKind::MessageDropped,
    EventKind::DeliveryDropped,
    EventKind::ClientConnect,
    EventKind::ClientConnack,
    EventKind::ClientConnected,
    EventKind::ClientDisconnected,
    EventKind::ClientCheckAuthn,
    EventKind::ClientCheckAuthz,
    EventKind::ClientPing,
    EventKind::ClientSubscribe,
    EventKind::ClientUnsubscribe,
    EventKind::SessionCreated,
    EventKind::SessionSubscribed,
    EventKind::SessionUnsubscribed,
    EventKind::SessionTerminated,
];
/// Kinds that Waypost makes itself.
const OF_WAYPOST: &[EventKind] = &[EventKind::SourceGap, EventKind::GatewayStatus];

impl Table<'_> {
    /// `events`: `"all"` or a list of kinds.
    pub(super) fn events(&mut self) -> Vec<EventKind> {
        self.or("events", DEFAULT.to_vec(), |value| match value.content {
            DeValue::String(text) if *text == "all" => Some(EventKind::ALL.to_vec()),
            DeValue::String(text) => value.wrong(format!(
                "must be \"all\" or a list of events such as [\"client.connected\"], is {text:?}"
            )),
            _ => value.some("leave it out for published messages", event_kind),
        })
    }
}

fn event_kind(value: &Value<'_>) -> Option<EventKind> {
    let name = value.text()?;
    let known = EventKind::named(&name);
    if known.is_some() {
        return known;
    }
    let names = || EventKind::ALL.iter().map(|kind| kind.name());
    let advice = match nearest(&name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known are {}", known_words(names())),
    };
    value.wrong(format!("there is no event `{name}`; {advice}"))
}

/// Which events the topics of a rule without SQL filter: those that the webhook filters whose bodies its sinks get.
pub(super) fn narrowed(rule: &Rule, sinks: &BTreeMap<SinkName, Sink>) -> Narrowed {
    let version4 = |name: &SinkName| {
        let sink = sinks.get(name);
        sink.is_some_and(|sink| matches!(sink.request.event_format, EventFormat::Emqx4(_)))
    };
    if rule.sinks.iter().all(version4) {
        Narrowed::MessagesAndSubscriptions
    } else {
        Narrowed::Messages
    }
}

/// The types of source that can give events of a kind: an `mqtt` source where its broker tells of it by itself.
#[must_use]
pub fn sources_of(kind: EventKind) -> Vec<&'static str> {
    let own = [EventKind::MessagePublish, EventKind::SourceGap].contains(&kind);
    let types = [
        ("broker", OF_BROKER.contains(&kind)),
        ("http", !OF_WAYPOST.contains(&kind)),
        ("mqtt", own || MqttDialect::Auto.told().contains(&kind)),
    ];
    types.into_iter().filter(|(_, gives)| *gives).map(|(name, _)| name).collect()
}

/// Whether a source can give events of a kind.
fn gives(source: &Source, kind: EventKind) -> bool {
    match source {
        Source::Mqtt(mqtt) => match &mqtt.events {
            Some(events) => events.gives(kind),
            None => kind == EventKind::MessagePublish,
        },
        // All that happens in a broker.
        Source::Http(_) => kind != EventKind::SourceGap,
        #[cfg(feature = "broker")]
        Source::Broker(_) => OF_BROKER.contains(&kind),
    }
}

/// Warns of what rules want and none of their sources can give, unless they want everything there is.
pub(super) fn check(reader: &Reader<'_>, config: &Config) {
    for (name, rule) in &config.rules {
        if rule.events.len() == EventKind::ALL.len() {
            continue;
        }
        let mine = |name| rule.sources.is_empty() || rule.sources.contains(name);
        let sources: Vec<_> =
            config.sources.iter().filter(|(name, _)| mine(name)).map(|(_, it)| it).collect();
        let given = |kind: &EventKind| {
            (*kind == EventKind::GatewayStatus && config.gateway.status_interval.is_some())
                || sources.iter().any(|source| gives(source, *kind))
        };
        let absent: Vec<_> = rule.events.iter().filter(|kind| !given(kind)).collect();
        let in_sql = rule.program.is_some();
        // A wildcard in `FROM` is not a wish for each of them.
        if absent.is_empty() || (in_sql && absent.len() < rule.events.len()) || sources.is_empty() {
            continue;
        }
        let key = if in_sql { "sql" } else { "events" };
        let tables = [format!("rules.{name}.{key}"), format!("webhooks.{name}.{key}")];
        let Some(key) = tables.into_iter().find(|key| reader.has(key)) else { continue };
        if absent == [&EventKind::GatewayStatus] {
            reader.warn_of(&key, "`gateway.status` happens only with `gateway.status_interval`");
            continue;
        }
        let names = known_words(absent.into_iter().map(|kind| kind.name()));
        reader.warn_of(&key, format!("none of its sources can give {names}"));
    }
}

/// Warns of topics that filter none of the events.
pub(super) fn check_topics(table: &Table<'_>, events: &[EventKind]) {
    let of_client = |kind: &EventKind| matches!(kind.subject(), Subject::Client | Subject::System);
    if table.has("topics") && events.iter().all(of_client) {
        let key = format!("{}.topics", table.path());
        table.reader.warn_of(&key, "has no effect: the events have no topics");
    }
}
