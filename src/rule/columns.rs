//! The columns of an event as rules see them: those of EMQX 5's default body, but for what only a body has.

use bytes::Bytes;

use crate::event::catalogue::{COMMON, Column, Shown, TIMESTAMP};
use crate::event::{Event, Message, Occurrence, What, json};
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

    fn of_message(&self, message: &Message, name: &[u8]) -> Option<Value> {
        let text = |text: Option<&str>| text.map_or(Value::Undefined, Value::text_of);
        Some(match name {
            b"id" => Value::from(json::id_text(&message.id)),
            b"clientid" => text(message.client_id.as_deref()),
            b"username" => text(message.username.as_deref()),
            b"payload" => Value::Text(message.payload.clone()),
            b"peerhost" => text(message.peer.map(|peer| peer.ip().to_string()).as_deref()),
            b"peername" => text(message.peer.map(|peer| peer.to_string()).as_deref()),
            b"topic" => Value::text_of(message.topic.as_str()),
            b"qos" => Value::int(i64::from(message.qos.level())),
            b"flags" => flags(message),
            b"pub_props" => from_json(&json::publish_properties(message.properties.as_deref())),
            b"publish_received_at" => Value::int(self.event.received_at.0),
            _ => return None,
        })
    }

    fn of_occurrence(occurrence: &Occurrence, name: &[u8]) -> Option<Value> {
        if name == b"payload" {
            return occurrence.payload().cloned().map(Value::Text);
        }
        occurrence.columns().get(str::from_utf8(name).ok()?).map(from_json)
    }
}

impl Columns for EventColumns<'_> {
    fn column(&self, name: &[u8]) -> Option<Value> {
        let event = self.event;
        if name == b"event" {
            return Some(Value::from(event.kind().name()));
        }
        let known = match &event.what {
            What::Published(message) => self.of_message(message, name),
            What::Other(occurrence) => Self::of_occurrence(occurrence, name),
        };
        known.or_else(|| {
            let of_catalogue = |column: &Column| column.name.as_bytes() == name;
            match name {
                b"node" => Some(Value::text_of(self.node)),
                _ if name == TIMESTAMP.as_bytes() => Some(Value::int(event.received_at.0)),
                _ => event
                    .kind()
                    .entry()
                    .columns
                    .iter()
                    .any(of_catalogue)
                    .then_some(Value::Undefined),
            }
        })
    }

    fn all(&self) -> Map {
        let mut entries = Vec::with_capacity(20);
        for column in self.event.kind().entry().all_columns() {
            let value = self.column(column.name.as_bytes()).unwrap_or(Value::Undefined);
            let shown = match column.shown {
                Shown::Always => true,
                Shown::WhereKnown => value != Value::Undefined,
                Shown::ByName => false,
            };
            if shown {
                entries.push((Bytes::from_static(column.name.as_bytes()), value));
            }
        }
        if let What::Other(occurrence) = &self.event.what {
            let columns = self.event.kind().entry().columns;
            let own = |name: &str| columns.iter().chain(&COMMON).any(|column| column.name == name);
            for (name, value) in occurrence.columns().iter().filter(|(name, _)| !own(name)) {
                entries.push((Bytes::copy_from_slice(name.as_bytes()), from_json(value)));
            }
        }
        Map::from_entries(entries)
    }
}

fn flags(message: &Message) -> Value {
    let flags = [("dup", message.dup), ("retain", message.retain)];
    let entries = flags.map(|(name, set)| (Bytes::from_static(name.as_bytes()), Value::Bool(set)));
    Value::map(Map::from_entries(entries.into()))
}

fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::String(text) => Value::text_of(text),
        // What is nested deeper than rules go is nothing to them.
        other => Value::parse_json(&other.to_string().into()).unwrap_or(Value::Undefined),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::event::EventKind;
    use crate::name::SourceName;

    #[test]
    fn rules_see_every_column_of_every_kind_and_what_a_source_adds() {
        for kind in EventKind::ALL {
            let sample = serde_json::from_str(&kind.entry().sample()).unwrap();
            let serde_json::Value::Object(mut columns) = sample else { panic!("{kind:?}") };
            let expected: Vec<String> = columns.keys().cloned().chain(["x".to_owned()]).collect();
            columns.insert("x".to_owned(), serde_json::json!({ "y": [1] }));
            let occurrence = Occurrence::with_columns(kind, columns);
            let source = SourceName::new("local").unwrap();
            let event = Event::of(source, UnixMillis(7), occurrence);
            let columns = EventColumns::new(&event, "plant-7");
            let all = columns.all();
            let names: Vec<_> =
                all.iter().map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect();
            assert_eq!(
                names,
                {
                    let mut sorted = expected;
                    sorted.sort();
                    sorted
                },
                "{kind:?}"
            );
            for (name, value) in all.iter() {
                assert_eq!(columns.column(name).as_ref(), Some(value), "{kind:?}");
                assert_ne!(value, &Value::Undefined, "{kind:?}: {name:?}");
            }
            assert_eq!(columns.column(b"y"), None);
        }
    }
}
