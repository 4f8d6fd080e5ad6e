//! The JSON of an event: EMQX 5's default webhook body, or that of EMQX 4's webhook plugin.
//!
//! One list of columns, the catalogue's, feeds both forms of the first: bytes for the default body (the hot path) and a
//! [`Value`] for templates. What a source does not know keeps its key with the text `undefined`, as EMQX writes it, unless
//! the [`BodyFormat`] says otherwise. Binary payloads survive unless `payload_as = "text"` asks for EMQX's lossy form.

mod cell;
mod text;
mod version4;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use self::cell::{Cell, write_json, write_key};
use self::text::is_json;
use super::catalogue::{self, METADATA, PAYLOAD_ENCODING, Profile, Shown};
use super::{Event, Message, Occurrence, Record, What};

pub use text::{base62, id_text, insert_user_properties, lossy_text, publish_properties};

/// How the payload stands in a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadAs {
    /// Text when it is UTF-8, otherwise base64 with `"payload_encoding": "base64"` beside it.
    #[default]
    Auto,
    /// Always text; each run of bytes that are not UTF-8 becomes U+FFFD, as EMQX does it.
    Text,
    /// The payload's own JSON where it is JSON, otherwise as [`PayloadAs::Auto`].
    Json,
    /// Always base64 with `"payload_encoding": "base64"` beside it.
    Base64,
    /// Always EMQX 4's base62, with `"payload_encoding": "base62"` beside it.
    Base62,
}

/// How a column stands in a body when the source does not know its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UndefinedAs {
    /// The text `undefined`, as EMQX 5 writes it.
    #[default]
    Undefined,
    /// JSON null.
    Null,
    /// No key at all.
    Absent,
}

/// Whose default body it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// EMQX 5's webhook.
    #[default]
    Emqx5,
    /// EMQX 4's webhook plugin.
    Emqx4(Profile),
}

impl EventFormat {
    /// How unknown columns stand where nobody says otherwise.
    #[must_use]
    pub const fn undefined_as(self) -> UndefinedAs {
        match self {
            Self::Emqx4(Profile::Code) => UndefinedAs::Null,
            Self::Emqx5 | Self::Emqx4(Profile::Docs) => UndefinedAs::Undefined,
        }
    }
}

/// What makes a body out of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFormat {
    /// Whose body.
    pub events: EventFormat,
    /// Form of the payload.
    pub payload_as: PayloadAs,
    /// Form of unknown columns.
    pub undefined_as: UndefinedAs,
    /// The `node` column: the gateway's name.
    pub node: Arc<str>,
}

impl BodyFormat {
    /// Writes the default body of `record`: one JSON object.
    ///
    /// With a `record_id` the object starts with that key: an element of a batch carries its own id, since the
    /// headers of the request speak of the batch.
    ///
    /// The output of a rule is its own body, whatever else the format says: what is in it was chosen by the rule.
    pub fn write_object(&self, record: &Record, record_id: Option<&str>, body: &mut Vec<u8>) {
        if let Some(output) = &record.output {
            write_output(output, record_id, body);
            return;
        }
        body.push(b'{');
        let mut first = true;
        if let Some(record_id) = record_id {
            write_key("record_id", &mut first, body);
            write_json(record_id, body);
        }
        let mut write = |key: &str, cell: Cell<'_>| {
            let Some(cell) = self.shown(cell) else { return };
            write_key(key, &mut first, body);
            cell.write(body);
        };
        match self.events {
            EventFormat::Emqx5 => self.columns(record, &mut write),
            EventFormat::Emqx4(profile) => self.version4(&record.event, profile, &mut write),
        }
        body.push(b'}');
    }

    /// The columns of `record` as templates see them: those of EMQX 5's default body, so that `${.}` is that body.
    #[must_use]
    pub fn template_data(&self, record: &Record) -> Value {
        if let Some(output) = &record.output {
            return serde_json::from_slice(output).unwrap_or_default();
        }
        let mut object = Map::new();
        self.columns(record, &mut |key, cell| {
            if let Some(cell) = self.shown(cell) {
                object.insert(key.to_owned(), cell.into_value());
            }
        });
        Value::Object(object)
    }

    /// A column as `undefined_as` has it; `None` when it has no key.
    fn shown<'event>(&self, cell: Cell<'event>) -> Option<Cell<'event>> {
        match (cell, self.undefined_as) {
            (Cell::Undefined, UndefinedAs::Undefined) => Some(Cell::Text("undefined")),
            (Cell::Undefined, UndefinedAs::Null) => Some(Cell::RawJson(b"null")),
            (Cell::Undefined, UndefinedAs::Absent) => None,
            (known, _) => Some(known),
        }
    }

    /// Visits every column in the order of the body.
    fn columns<'event>(
        &'event self,
        record: &'event Record,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let event = &*record.event;
        visit("event", Cell::Text(event.kind().name()));
        match &event.what {
            What::Published(message) => self.columns_of_message(event, message, visit),
            What::Other(occurrence) => self.columns_of_occurrence(event, occurrence, visit),
        }
        visit(METADATA, Cell::Metadata(&record.rule));
    }

    fn columns_of_message<'event>(
        &'event self,
        event: &'event Event,
        message: &'event Message,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let stamp = Cell::Integer;
        visit("id", Cell::Id(&message.id));
        visit("clientid", Cell::text(message.client_id.as_deref()));
        visit("username", Cell::text(message.username.as_deref()));
        self.visit_payload(&message.payload, &mut *visit);
        let peer = message.peer;
        visit("peerhost", Cell::owned_text(peer.map(|peer| peer.ip().to_string())));
        visit("peername", Cell::owned_text(peer.map(|peer| peer.to_string())));
        visit("topic", Cell::Text(message.topic.as_str()));
        visit("qos", Cell::Integer(message.qos.level().into()));
        visit("flags", Cell::Flags(message));
        visit("pub_props", Cell::Properties(message.properties.as_deref()));
        visit("publish_received_at", stamp(event.received_at.0));
        visit("timestamp", stamp(event.received_at.0));
        visit("node", Cell::Text(&self.node));
    }

    /// The columns of the catalogue, then what else the source knows, then the common ones.
    fn columns_of_occurrence<'event>(
        &'event self,
        event: &'event Event,
        occurrence: &'event Occurrence,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let (known, entry) = (occurrence.columns(), event.kind().entry());
        for column in entry.columns.iter().filter(|column| column.shown != Shown::ByName) {
            match (column.name, known.get(column.name)) {
                ("payload", _) => match occurrence.payload() {
                    Some(payload) => self.visit_payload(payload, &mut *visit),
                    None => visit("payload", Cell::Undefined),
                },
                (name, Some(value)) => visit(name, Cell::Json(value)),
                (name, None) if column.shown == Shown::Always => visit(name, Cell::Undefined),
                (_, None) => {}
            }
        }
        let of_catalogue = |name: &str| entry.all_columns().any(|column| column.name == name);
        for (name, value) in known.iter().filter(|(name, _)| !of_catalogue(name)) {
            visit(name, Cell::Json(value));
        }
        for column in &catalogue::COMMON {
            visit(column.name, self.common(event, column.name));
        }
    }

    /// `timestamp` and `node`: what the source says of them, otherwise our own.
    fn common<'event>(&'event self, event: &'event Event, name: &str) -> Cell<'event> {
        match Cell::of(event, name) {
            Cell::Undefined if name == catalogue::TIMESTAMP => Cell::Integer(event.received_at.0),
            Cell::Undefined => Cell::Text(&self.node),
            known => known,
        }
    }

    fn visit_payload<'event>(
        &self,
        payload: &'event [u8],
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let (cell, encoding) = self.payload(payload);
        visit("payload", cell);
        if let Some(encoding) = encoding {
            visit(PAYLOAD_ENCODING, Cell::Text(encoding));
        }
    }

    /// The payload as `payload_as` has it, and how it is encoded where it is.
    fn payload<'event>(&self, payload: &'event [u8]) -> (Cell<'event>, Option<&'static str>) {
        let base64 = || (Cell::OwnedText(BASE64.encode(payload)), Some("base64"));
        match self.payload_as {
            PayloadAs::Base64 => base64(),
            PayloadAs::Base62 => (Cell::OwnedText(base62(payload)), Some("base62")),
            PayloadAs::Text => (Cell::OwnedText(lossy_text(payload)), None),
            PayloadAs::Json if is_json(payload) => (Cell::RawJson(payload), None),
            PayloadAs::Json | PayloadAs::Auto => match std::str::from_utf8(payload) {
                Ok(text) => (Cell::Text(text), None),
                Err(_) => base64(),
            },
        }
    }
}

/// Writes the output of a rule, with the record's id in front of its keys. A key of that name in the output gives way:
/// receivers dedupe on it.
fn write_output(output: &[u8], record_id: Option<&str>, body: &mut Vec<u8>) {
    const KEY: &str = "record_id";
    let Some(record_id) = record_id else {
        body.extend_from_slice(output);
        return;
    };
    body.push(b'{');
    let mut first = true;
    write_key(KEY, &mut first, body);
    write_json(record_id, body);
    let names_it = output.windows(KEY.len()).any(|window| window == KEY.as_bytes());
    let object =
        names_it.then(|| serde_json::from_slice::<Map<String, Value>>(output).ok()).flatten();
    if let Some(object) = object.filter(|object| object.contains_key(KEY)) {
        for (key, value) in object.iter().filter(|(key, _)| *key != KEY) {
            write_key(key, &mut first, body);
            write_json(value, body);
        }
        body.push(b'}');
        return;
    }
    match output.strip_prefix(b"{") {
        Some(b"}") | None => body.push(b'}'),
        Some(rest) => {
            body.push(b',');
            body.extend_from_slice(rest);
        }
    }
}
