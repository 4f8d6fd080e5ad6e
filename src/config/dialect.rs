//! What an `mqtt` source makes of the topics on which its broker tells of clients.

use std::num::NonZeroUsize;

use super::reader::Table;
use crate::event::EventKind;
use crate::topic::TopicFilter;

const KNOWN_CLIENTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How the events of a broker reach Waypost over MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerEvents {
    /// What the broker speaks.
    pub dialect: MqttDialect,
    /// Where a rule of EMQX republishes events; none when empty.
    pub republished: Vec<TopicFilter>,
    /// What becomes of clients that were connected when the source lost sight of them.
    pub presence: Presence,
    /// Clients that are known as connected, at most.
    pub known_clients_max: NonZeroUsize,
}

/// Whose topics to listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttDialect {
    /// All of them; what comes shows whose it is.
    Auto,
    /// EMQX.
    Emqx,
    /// Mosquitto.
    Mosquitto,
    /// NanoMQ.
    NanoMq,
    /// RMQTT.
    Rmqtt,
}

impl MqttDialect {
    /// The kinds of event that a broker tells of on topics of its own.
    #[must_use]
    pub const fn told(self) -> &'static [EventKind] {
        match self {
            Self::Auto => &[
                EventKind::ClientConnack,
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
                EventKind::SessionCreated,
                EventKind::SessionSubscribed,
                EventKind::SessionUnsubscribed,
                EventKind::SessionTerminated,
                EventKind::MessageDropped,
            ],
            Self::Emqx => &[
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
                EventKind::SessionSubscribed,
                EventKind::SessionUnsubscribed,
            ],
            Self::Mosquitto => &[
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
                EventKind::SessionSubscribed,
                EventKind::SessionUnsubscribed,
                EventKind::SessionTerminated,
            ],
            Self::NanoMq => &[
                EventKind::ClientConnack,
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
            ],
            Self::Rmqtt => &[
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
                EventKind::SessionCreated,
                EventKind::SessionSubscribed,
                EventKind::SessionUnsubscribed,
                EventKind::SessionTerminated,
                EventKind::MessageDropped,
            ],
        }
    }
}

impl BrokerEvents {
    /// Whether a source with these gives events of a kind.
    pub(super) fn gives(&self, kind: EventKind) -> bool {
        let all = !self.republished.is_empty() && kind != EventKind::GatewayStatus;
        let own = matches!(kind, EventKind::MessagePublish | EventKind::SourceGap);
        all || own || self.dialect.told().contains(&kind)
    }
}

/// What is said of clients while nobody sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// What the broker said of them.
    #[default]
    AsTold,
    /// That they are disconnected, until the broker shows otherwise.
    Reconcile,
}

/// The keys `dialect`, `event_topics`, `presence` and `max_known_clients`.
pub(super) fn events(table: &mut Table<'_>) -> Option<BrokerEvents> {
    let dialects = [
        ("auto", MqttDialect::Auto),
        ("emqx", MqttDialect::Emqx),
        ("mosquitto", MqttDialect::Mosquitto),
        ("nanomq", MqttDialect::NanoMq),
        ("rmqtt", MqttDialect::Rmqtt),
    ];
    let dialect_there = table.get("dialect");
    let dialect = dialect_there.as_ref().and_then(|value| value.word(&dialects));
    let topics_there = table.get("event_topics");
    let republished = topics_there.as_ref().and_then(|value| {
        value.some("leave it out where no rule republishes events", |element| {
            element.parsed(TopicFilter::new)
        })
    });
    let presences = [("as_told", Presence::AsTold), ("reconcile", Presence::Reconcile)];
    let presence_there = table.get("presence");
    let presence = presence_there.as_ref().and_then(|value| value.word(&presences));
    let known_there = table.get("max_known_clients");
    let known = known_there.as_ref().and_then(|value| value.count(1_000_000));
    if dialect_there.is_none() {
        for value in [topics_there, presence_there, known_there].into_iter().flatten() {
            value.wrong_key(
                "has no effect without `dialect`, which says whose events the broker publishes",
            );
        }
        return None;
    }
    if let (Some(MqttDialect::Mosquitto | MqttDialect::NanoMq | MqttDialect::Rmqtt), Some(value)) =
        (dialect, &topics_there)
    {
        value.wrong_key("has no effect on this dialect: only rules of EMQX republish events");
    }
    Some(BrokerEvents {
        dialect: dialect?,
        republished: republished.unwrap_or_default(),
        presence: presence.unwrap_or_default(),
        known_clients_max: known.unwrap_or(KNOWN_CLIENTS),
    })
}
