//! The kinds of event there are.

use super::catalogue::{self, Entry};

/// A kind of event. What there is to say of it stands in the [`catalogue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// `message.publish`
    MessagePublish,
    /// `message.delivered`
    MessageDelivered,
    /// `message.acked`
    MessageAcked,
    /// `message.dropped`
    MessageDropped,
    /// `delivery.dropped`
    DeliveryDropped,
    /// `client.connect`
    ClientConnect,
    /// `client.connack`
    ClientConnack,
    /// `client.connected`
    ClientConnected,
    /// `client.disconnected`
    ClientDisconnected,
    /// `client.check_authn_complete`
    ClientCheckAuthn,
    /// `client.check_authz_complete`
    ClientCheckAuthz,
    /// `client.ping`
    ClientPing,
    /// `client.subscribe`
    ClientSubscribe,
    /// `client.unsubscribe`
    ClientUnsubscribe,
    /// `session.created`
    SessionCreated,
    /// `session.subscribed`
    SessionSubscribed,
    /// `session.unsubscribed`
    SessionUnsubscribed,
    /// `session.terminated`
    SessionTerminated,
    /// `schema.validation_failed`
    SchemaValidationFailed,
    /// `message.transformation_failed`
    MessageTransformationFailed,
    /// `alarm.activated`
    AlarmActivated,
    /// `alarm.deactivated`
    AlarmDeactivated,
    /// `source.gap`
    SourceGap,
    /// `gateway.status`
    GatewayStatus,
}

/// What an event is about; decides what `topics` of a webhook has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A message, which has a topic.
    Message,
    /// A subscription, whose topic is a filter.
    Subscription,
    /// A client or its session.
    Client,
    /// A broker, a source or the gateway itself.
    System,
}

impl EventKind {
    /// Every kind there is, in the order in which they are shown.
    pub const ALL: [Self; 24] = [
        Self::MessagePublish,
        Self::MessageDelivered,
        Self::MessageAcked,
        Self::MessageDropped,
        Self::DeliveryDropped,
        Self::ClientConnect,
        Self::ClientConnack,
        Self::ClientConnected,
        Self::ClientDisconnected,
        Self::ClientCheckAuthn,
        Self::ClientCheckAuthz,
        Self::ClientPing,
        Self::ClientSubscribe,
        Self::ClientUnsubscribe,
        Self::SessionCreated,
        Self::SessionSubscribed,
        Self::SessionUnsubscribed,
        Self::SessionTerminated,
        Self::SchemaValidationFailed,
        Self::MessageTransformationFailed,
        Self::AlarmActivated,
        Self::AlarmDeactivated,
        Self::SourceGap,
        Self::GatewayStatus,
    ];

    /// What the catalogue says of it.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        catalogue::entry(self)
    }

    /// The name in the `event` column, in the config and on disk: EMQX's, where EMQX has the event.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is about.
    #[must_use]
    pub const fn subject(self) -> Subject {
        match self {
            Self::MessagePublish
            | Self::MessageDelivered
            | Self::MessageAcked
            | Self::MessageDropped
            | Self::DeliveryDropped
            | Self::SchemaValidationFailed
            | Self::MessageTransformationFailed => Subject::Message,
            Self::ClientSubscribe
            | Self::ClientUnsubscribe
            | Self::SessionSubscribed
            | Self::SessionUnsubscribed => Subject::Subscription,
            Self::ClientConnect
            | Self::ClientConnack
            | Self::ClientConnected
            | Self::ClientDisconnected
            | Self::ClientCheckAuthn
            | Self::ClientCheckAuthz
            | Self::ClientPing
            | Self::SessionCreated
            | Self::SessionTerminated => Subject::Client,
            Self::AlarmActivated
            | Self::AlarmDeactivated
            | Self::SourceGap
            | Self::GatewayStatus => Subject::System,
        }
    }
}
