//! The events of EMQX's rule engine: their names and topics.

use std::borrow::Cow;

/// An event and the topics that select it in `FROM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTopic {
    /// The `event` column.
    pub event: &'static str,
    /// The spelling before EMQX 5.10, where there is one.
    pub old: Option<&'static str>,
    /// The spelling in use.
    pub topic: &'static str,
}

const fn event(event: &'static str, old: &'static str, topic: &'static str) -> EventTopic {
    EventTopic { event, old: Some(old), topic }
}

const fn new_event(event: &'static str, topic: &'static str) -> EventTopic {
    EventTopic { event, old: None, topic }
}

/// Every event but `message.publish`, whose topic is that of the message.
pub const EVENT_TOPICS: [EventTopic; 17] = [
    event("message.delivered", "$events/message_delivered", "$events/message/delivered"),
    event("message.acked", "$events/message_acked", "$events/message/acked"),
    event("message.dropped", "$events/message_dropped", "$events/message/dropped"),
    event("delivery.dropped", "$events/delivery_dropped", "$events/message/delivery_dropped"),
    event("client.connected", "$events/client_connected", "$events/client/connected"),
    event("client.disconnected", "$events/client_disconnected", "$events/client/disconnected"),
    event("client.connack", "$events/client_connack", "$events/client/connack"),
    event(
        "client.check_authz_complete",
        "$events/client_check_authz_complete",
        "$events/auth/check_authz_complete",
    ),
    event(
        "client.check_authn_complete",
        "$events/client_check_authn_complete",
        "$events/auth/check_authn_complete",
    ),
    new_event("client.ping", "$events/client/ping"),
    event("session.subscribed", "$events/session_subscribed", "$events/session/subscribed"),
    event("session.unsubscribed", "$events/session_unsubscribed", "$events/session/unsubscribed"),
    event(
        "schema.validation_failed",
        "$events/schema_validation_failed",
        "$events/schema_validation/failed",
    ),
    event(
        "message.transformation_failed",
        "$events/message_transformation_failed",
        "$events/message_transformation/failed",
    ),
    new_event("alarm.activated", "$events/sys/alarm_activated"),
    new_event("alarm.deactivated", "$events/sys/alarm_deactivated"),
    // EMQX 4.4's name of `client.check_authz_complete`.
    event(
        "client.check_acl_complete",
        "$events/client_check_acl_complete",
        "$events/auth/check_authz_complete",
    ),
];

/// A topic of `FROM` in the spelling in use: both spellings of an event topic select the same events, and
/// `$bridges/mqtt:NAME` is `$sources/mqtt:NAME`.
#[must_use]
pub fn topic_in_use(topic: &str) -> Cow<'_, str> {
    if let Some(source) = topic.strip_prefix("$bridges/") {
        return Cow::Owned(format!("$sources/{source}"));
    }
    let known = EVENT_TOPICS.iter().find(|known| known.old == Some(topic));
    known.map_or(Cow::Borrowed(topic), |known| Cow::Borrowed(known.topic))
}
