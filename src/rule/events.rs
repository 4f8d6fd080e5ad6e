//! The events of EMQX's rule engine: their names, topics and columns.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::value::Value;
use crate::topic::{TopicFilter, levels_match};

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

/// A sample of every event, one JSON object a line: the columns of EMQX 6.
const SAMPLES: &str = include_str!("samples.jsonl");

/// The name of each event and its sample, one JSON object on one line.
pub fn samples() -> impl Iterator<Item = (&'static str, &'static str)> {
    SAMPLES.lines().filter_map(|line| {
        let name = line.strip_prefix("{\"event\":\"")?.split('"').next()?;
        Some((name, line))
    })
}

/// The sample of an event.
#[must_use]
pub fn sample(event: &str) -> Option<&'static str> {
    samples().find(|(name, _)| *name == event).map(|(_, sample)| sample)
}

/// The columns of all events that are in one of the filters of a `FROM`.
#[must_use]
pub fn columns_of(from: &[TopicFilter]) -> BTreeSet<Bytes> {
    let selected = |event: &str| match EVENT_TOPICS.iter().find(|known| known.event == event) {
        None => from.iter().any(|filter| !filter.as_str().starts_with("$events/")),
        Some(known) => from.iter().any(|filter| levels_match(filter.plain(), known.topic)),
    };
    let samples = samples().filter(|(event, _)| selected(event));
    let columns = samples.filter_map(|(_, sample)| Value::parse_json(&sample.into()).ok());
    columns
        .filter_map(|sample| {
            Some(sample.as_map()?.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_sample_and_every_sample_an_event() {
        let known: BTreeSet<_> = EVENT_TOPICS.iter().map(|known| known.event).collect();
        let mut sampled: BTreeSet<_> = samples().map(|(event, _)| event).collect();
        assert_eq!(samples().count(), SAMPLES.lines().count());
        assert!(sampled.remove("message.publish"));
        // EMQX 4.4's name of client.check_authz_complete.
        sampled.insert("client.check_acl_complete");
        assert_eq!(sampled, known);
        for (event, sample) in samples() {
            Value::parse_json(&sample.into()).unwrap_or_else(|error| panic!("{event}: {error}"));
        }
    }

    #[test]
    fn the_samples_have_the_columns_of_the_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/events.dev.jsonl"));
        for line in vectors.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let Some(columns) = case["v5"].as_object() else { continue };
            let event = case["event"].as_str().unwrap();
            let ours: serde_json::Value = serde_json::from_str(sample(event).unwrap()).unwrap();
            let later: Vec<_> = case["added_later"]
                .as_object()
                .unwrap()
                .values()
                .flat_map(|names| names.as_array().unwrap())
                .collect();
            let expected: BTreeSet<_> = columns
                .keys()
                .filter(|name| *name != "metadata")
                .map(String::as_str)
                .chain(later.iter().map(|name| name.as_str().unwrap()))
                .collect();
            let actual: BTreeSet<_> =
                ours.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(actual, expected, "{event}");
        }
    }
}
