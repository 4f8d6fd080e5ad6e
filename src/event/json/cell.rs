//! Values of columns on their way into a body.

use std::io::Write;

use serde_json::Value;

use super::text::{hex_digits, id_text, lossy_text, publish_properties};
use crate::event::{Event, Message, PublishProperties, What};
use crate::name::RuleName;

/// One value of an event, borrowed from it where that is possible.
pub(super) enum Cell<'event> {
    Undefined,
    Text(&'event str),
    OwnedText(String),
    Id(&'event [u8; 16]),
    Integer(u64),
    Bool(bool),
    Flags(&'event Message),
    Properties(Option<&'event PublishProperties>),
    Metadata(&'event RuleName),
    Json(&'event Value),
    OwnedJson(Value),
    /// Bytes that are valid JSON as they stand.
    RawJson(&'event [u8]),
}

impl<'event> Cell<'event> {
    pub(super) fn text(text: Option<&'event str>) -> Self {
        text.map_or(Self::Undefined, Self::Text)
    }

    pub(super) fn owned_text(text: Option<String>) -> Self {
        text.map_or(Self::Undefined, Self::OwnedText)
    }

    /// A column of an event but for its payload, by its name: for where the order is not that of the event.
    pub(super) fn of(event: &'event Event, name: &str) -> Self {
        let message = match &event.what {
            What::Published(message) => message,
            What::Other(occurrence) => {
                return occurrence.columns().get(name).map_or(Self::Undefined, Self::Json);
            }
        };
        match name {
            "id" => Self::Id(&message.id),
            "clientid" => Self::text(message.client_id.as_deref()),
            "username" => Self::text(message.username.as_deref()),
            "peerhost" => Self::owned_text(message.peer.map(|peer| peer.ip().to_string())),
            "peername" => Self::owned_text(message.peer.map(|peer| peer.to_string())),
            "topic" => Self::Text(message.topic.as_str()),
            "qos" => Self::Integer(message.qos.level().into()),
            "flags" => Self::Flags(message),
            "pub_props" => Self::Properties(message.properties.as_deref()),
            "publish_received_at" => Self::Integer(event.received_at.0),
            _ => Self::Undefined,
        }
    }

    /// Writes the value as JSON on one line.
    pub(super) fn write(self, body: &mut Vec<u8>) {
        // No `Value` where nothing unusual is in it: this runs for every record of every sink.
        match self {
            Self::Undefined => body.extend_from_slice(b"null"),
            Self::Text(text) => write_json(text, body),
            Self::OwnedText(text) => write_json(&text, body),
            Self::Id(id) => {
                body.push(b'"');
                body.extend(hex_digits(id));
                body.push(b'"');
            }
            Self::Integer(number) => write_json(&number, body),
            Self::Bool(value) => write_json(&value, body),
            Self::Flags(message) => {
                body.extend_from_slice(b"{\"dup\":");
                write_json(&message.dup, body);
                body.extend_from_slice(b",\"retain\":");
                write_json(&message.retain, body);
                body.push(b'}');
            }
            Self::Properties(None) => body.extend_from_slice(b"{\"User-Property\":{}}"),
            Self::Properties(some) => write_json(&publish_properties(some), body),
            Self::Metadata(rule) => {
                body.extend_from_slice(b"{\"rule_id\":");
                write_json(rule.as_str(), body);
                body.push(b'}');
            }
            Self::Json(value) => write_json(value, body),
            Self::OwnedJson(value) => write_json(&value, body),
            // A line break in JSON is white space, and would end the line of an NDJSON batch.
            Self::RawJson(json) => body
                .extend(json.iter().map(|byte| if b"\r\n".contains(byte) { b' ' } else { *byte })),
        }
    }

    /// The same as a value.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Undefined => Value::Null,
            Self::Text(text) => Value::from(text),
            Self::OwnedText(text) => Value::from(text),
            Self::Id(id) => Value::from(id_text(id)),
            Self::Integer(number) => Value::from(number),
            Self::Bool(value) => Value::from(value),
            Self::Flags(message) => {
                serde_json::json!({ "dup": message.dup, "retain": message.retain })
            }
            Self::Properties(properties) => publish_properties(properties),
            Self::Metadata(rule) => serde_json::json!({ "rule_id": rule.as_str() }),
            Self::Json(value) => value.clone(),
            Self::OwnedJson(value) => value,
            Self::RawJson(json) => {
                serde_json::from_slice(json).unwrap_or_else(|_| Value::from(lossy_text(json)))
            }
        }
    }
}

pub(super) fn write_key(key: &str, first: &mut bool, body: &mut Vec<u8>) {
    if !std::mem::take(first) {
        body.push(b',');
    }
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if key.bytes().all(plain) {
        body.push(b'"');
        body.extend_from_slice(key.as_bytes());
        body.push(b'"');
    } else {
        write_json(key, body);
    }
    body.push(b':');
}

pub(super) fn write_json<T: serde::Serialize + ?Sized>(value: &T, body: &mut Vec<u8>) {
    serde_json::to_writer(body.by_ref(), value).expect("texts and numbers into memory");
}
