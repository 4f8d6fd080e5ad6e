//! How brokers tell of events, and what it means: pure functions from their bytes to [`Said`].
//!
//! One file per dialect, whichever way its words come: as the body of a web hook or as a message on a topic. A dialect
//! never guesses. What a broker does not say is absent; bytes that could mean two clients, or that may have been cut off, are
//! refused with the reason. Any bytes give an event or a [`Refusal`], never a panic.

mod base62;
mod body;
mod emqx4;
mod emqx5;
mod fields;
pub mod hook;
pub mod mosquitto;
mod nanomq;
mod rmqtt_words;
pub mod topics;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::SourceContext;
use crate::clock::UnixMillis;
use crate::event::json::id_text;
use crate::event::{Event, EventKind, Occurrence};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// EMQX 5 and later: events as its rule engine has them, and `$SYS` topics.
    Emqx5,
    /// `emqx_web_hook` of EMQX 4.
    Emqx4,
    /// Mosquitto's log topics.
    Mosquitto,
    /// NanoMQ.
    NanoMq,
    /// RMQTT.
    Rmqtt,
}

impl Dialect {
    /// Its name in the config and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emqx5 => "emqx5",
            Self::Emqx4 => "emqx4",
            Self::Mosquitto => "mosquitto",
            Self::NanoMq => "nanomq",
            Self::Rmqtt => "rmqtt",
        }
    }
}

/// An event in the words of EMQX 5, as far as the broker told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What it is.
    pub kind: EventKind,
    /// The columns of EMQX 5 that are known, the payload apart. No value is null or the text `undefined`.
    pub columns: Map<String, Value>,
    /// The payload of a message.
    pub payload: Option<Bytes>,
}

impl Said {
    /// An event of which nothing but its kind is known yet.
    pub(super) fn new(kind: EventKind) -> Self {
        Self { kind, columns: Map::new(), payload: None }
    }

    /// Notes a column; an absent value leaves it absent.
    pub(super) fn set(&mut self, column: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.columns.insert(column.to_owned(), value.into());
        }
    }

    /// Notes the address of a client, in the columns that the kind has.
    fn set_peer(&mut self, peer: Option<SocketAddr>) {
        let Some(peer) = peer else { return };
        self.set("peername", Some(peer.to_string()));
        if self.kind.entry().all_columns().any(|column| column.name == "peerhost") {
            self.set("peerhost", Some(peer.ip().to_string()));
        }
    }

    /// The event of a source.
    #[must_use]
    pub fn into_event(self, context: &SourceContext) -> Event {
        let mut occurrence = Occurrence::with_columns(self.kind, self.columns);
        if let Some(payload) = self.payload {
            occurrence = occurrence.with_payload(payload);
        }
        if self.kind == EventKind::MessagePublish && occurrence.text("id").is_none() {
            occurrence = occurrence.with("id", id_text(&context.ids.mint()));
        }
        Event::of(context.name.clone(), UnixMillis::now(), occurrence)
    }

    /// A column that is a text.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.columns.get(column)?.as_str()
    }
}

impl Refusal {
    /// No text of an error that shows what was sent.
    fn not_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        if !error.is_data() || text.starts_with(body::TWICE) {
            return Self::NotJson(text);
        }
        let (line, column) = (error.line(), error.column());
        Self::NotJson(format!(
            "must be an object, or an array of objects, with a text as `payload`; see line {line} column {column}"
        ))
    }

    /// A kind of another name, which is shown as far as a name may be long.
    fn unknown_kind(name: &str) -> Self {
        const SHOWN: usize = 60;
        Self::UnknownKind(name.chars().take(SHOWN).collect())
    }
}

/// Why bytes give no event; says what would be right. Shows names and kinds, never a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No JSON, or not the JSON of an object.
    #[error("not the JSON of an event: {0}")]
    NotJson(String),
    /// More events than one body may have.
    #[error("there are more than {} events in it: send fewer at once", body::EVENTS_MAX)]
    TooMany,
    /// Neither `event` nor `action`.
    #[error(
        "neither `event` (EMQX 5) nor `action` (EMQX 4, RMQTT, NanoMQ) says what happened; a web hook with a body template \
         of its own cannot be read: leave the body empty"
    )]
    NoKind,
    /// Of another broker than the config says.
    #[error("has no `{0}`: is it of another broker than `format` says?")]
    OtherFormat(&'static str),
    /// No event that Waypost knows.
    #[error("there is no event {0:?}")]
    UnknownKind(String),
    /// A column that the event cannot do without.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A column of another type or range.
    #[error("`{column}` must be {should}")]
    Wrong {
        /// As the broker calls it.
        column: &'static str,
        /// What would be right.
        should: &'static str,
    },
    /// More than one client could be meant.
    #[error(
        "could mean more than one client: spaces or parentheses in an id make the line ambiguous"
    )]
    Ambiguous,
    /// Starts like an event and ends like none.
    #[error("the line is none that this broker is known to write, or was cut off")]
    UnknownLine,
    /// As long as the broker's buffer.
    #[error("the line may have been cut off: it fills the broker's buffer of 1000 bytes")]
    Truncated,
    /// No text.
    #[error("not UTF-8 text")]
    NotUtf8,
}
