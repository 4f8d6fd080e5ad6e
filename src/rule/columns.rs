//! The columns of an event as rules see them: those of the default body, but for what only a body has.

use bytes::Bytes;

use crate::event::{Event, json};
use crate::rule::program::Columns;
use crate::rule::value::{Map, Value};

/// An event and the gateway that took it.
#[derive(Debug, Clone, Copy)]
pub struct EventColumns<'event> {
    event: &'event Event,
    node: &'event str,
}

impl<'event> EventColumns<'event> {
    /// `node` is the gateway's name.
    #[must_use]
    pub const fn new(event: &'event Event, node: &'event str) -> Self {
        Self { event, node }
    }
}

/// Every column of [`EventColumns`], in the order of their names.
const NAMES: [&str; 14] = [
    "clientid",
    "event",
    "flags",
    "id",
    "node",
    "payload",
    "peerhost",
    "peername",
    "pub_props",
    "publish_received_at",
    "qos",
    "timestamp",
    "topic",
    "username",
];

impl Columns for EventColumns<'_> {
    fn column(&self, name: &[u8]) -> Option<Value> {
        let event = self.event;
        let text = |text: Option<&str>| text.map_or(Value::Undefined, Value::text_of);
        Some(match name {
            b"event" => Value::from(event.kind().name()),
            b"id" => Value::from(json::id_text(&event.id)),
            b"clientid" => text(event.client_id.as_deref()),
            b"username" => text(event.username.as_deref()),
            b"payload" => Value::Text(event.payload.clone()),
            b"peerhost" => text(event.peer.map(|peer| peer.ip().to_string()).as_deref()),
            b"peername" => text(event.peer.map(|peer| peer.to_string()).as_deref()),
            b"topic" => Value::text_of(event.topic.as_str()),
            b"qos" => Value::int(i64::from(event.qos.level())),
            b"flags" => flags(event),
            b"pub_props" => properties(event),
            b"publish_received_at" | b"timestamp" => Value::int(event.received_at.0),
            b"node" => Value::text_of(self.node),
            _ => return None,
        })
    }

    fn all(&self) -> Map {
        let column = |name: &&'static str| {
            let value = self.column(name.as_bytes()).unwrap_or(Value::Undefined);
            (Bytes::from_static(name.as_bytes()), value)
        };
        Map::from_entries(NAMES.iter().map(column).collect())
    }
}

fn flags(event: &Event) -> Value {
    let flags = [("dup", event.dup), ("retain", event.retain)];
    let entries = flags.map(|(name, set)| (Bytes::from_static(name.as_bytes()), Value::Bool(set)));
    Value::map(Map::from_entries(entries.into()))
}

fn properties(event: &Event) -> Value {
    let json = json::publish_properties(event.properties.as_deref()).to_string();
    Value::parse_json(&json.into()).expect("what was written as JSON is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::COLUMNS;

    #[test]
    fn rules_see_the_columns_of_the_default_body() {
        let mut expected: Vec<_> = COLUMNS
            .into_iter()
            // How a body writes the payload, and the rule itself.
            .filter(|name| !["payload_encoding", "metadata"].contains(name))
            .collect();
        expected.sort_unstable();
        assert_eq!(NAMES.as_slice(), expected);
    }
}
