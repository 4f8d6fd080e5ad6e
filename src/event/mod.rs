//! Events: what sources hand over, rules select and queues keep.
//!
//! An [`Event`] is complete when it is built: nothing is looked up later, so a record read back after a restart
//! renders the same body. What a source cannot know (the publisher's client id on a plain MQTT subscription) is
//! absent, never invented. Bodies are made by [`json`], and all that there is to say of a kind of event, its columns
//! first, stands in the [`catalogue`].
//!
//! # How a source makes an event
//! A published message is a [`Message`], which is never written as JSON before a body is: `Event::published(source, at,
//! message)`. Everything else, and a message of which the source knows more than a [`Message`] can hold (the node or the
//! attributes that a broker's own webhook tells), is an [`Occurrence`]: a kind, and the values of its columns by their
//! EMQX 5 names, with the payload beside them where the kind has one.
//! ```
//! use serde_json::json;
//! use waypost::clock::UnixMillis;
//! use waypost::event::{Event, EventKind, Occurrence};
//! use waypost::name::SourceName;
//!
//! let occurrence = Occurrence::new(EventKind::ClientConnected)
//!     .with("clientid", "c1")
//!     .with("keepalive", 60)
//!     .with("conn_props", json!({ "User-Property": {} }));
//! let event = Event::of(SourceName::new("local").unwrap(), UnixMillis::now(), occurrence);
//! assert_eq!(event.order_key(), "c1");
//! ```
//! A column that is left out is unknown, and `undefined_as` says how bodies show it. Columns that the catalogue does not
//! have for the kind are kept and stand in bodies behind those that it has. `timestamp` and `node` are Waypost's own unless
//! they are given. Events of one client leave in the order in which they were handed over, since `clientid` is their
//! [order key](Event::order_key). Which kinds some rule wants of a source is in `SourceContext::kinds`: others need not be
//! made. What cannot be acknowledged goes to the intake with `Custody::none()`, and is as durable from then on.

pub mod catalogue;
mod excerpt;
pub mod json;
mod kind;
mod message;
mod mint;
mod occurrence;

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::name::{RecordId, SourceName};

pub use excerpt::excerpt;
pub use kind::{EventKind, Subject};
pub use message::{Message, PublishProperties, Qos};
pub use mint::MessageIds;
pub use occurrence::Occurrence;

/// Something that happened, and what its source knows of it.
///
/// Shared between the queues it is routed to: hold it in an [`Arc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The source that took note of it.
    pub source: SourceName,
    /// When it did: the column `timestamp`, unless the source has another.
    pub received_at: UnixMillis,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message was published.
    Published(Message),
    /// Anything there is a kind for.
    Other(Box<Occurrence>),
}

impl Event {
    /// A message was published.
    #[must_use]
    pub const fn published(source: SourceName, received_at: UnixMillis, message: Message) -> Self {
        Self { source, received_at, what: What::Published(message) }
    }

    /// Anything happened.
    #[must_use]
    pub fn of(source: SourceName, received_at: UnixMillis, occurrence: Occurrence) -> Self {
        Self { source, received_at, what: What::Other(Box::new(occurrence)) }
    }

    /// The kind of this event.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match &self.what {
            What::Published(_) => EventKind::MessagePublish,
            What::Other(occurrence) => occurrence.kind(),
        }
    }

    /// The published message, where it is one and nothing more.
    #[must_use]
    pub const fn message(&self) -> Option<&Message> {
        match &self.what {
            What::Published(message) => Some(message),
            What::Other(_) => None,
        }
    }

    #[cfg(test)]
    pub(crate) const fn message_mut(&mut self) -> &mut Message {
        match &mut self.what {
            What::Published(message) => message,
            What::Other(_) => panic!("no published message"),
        }
    }

    /// The topic, or topic filter, of kinds that have one and where the source knows it.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match &self.what {
            What::Published(message) => Some(message.topic.as_str()),
            What::Other(occurrence) => occurrence.text("topic"),
        }
    }

    /// What was published, of kinds that have that and where the source knows it.
    #[must_use]
    pub const fn payload(&self) -> Option<&Bytes> {
        match &self.what {
            What::Published(message) => Some(&message.payload),
            What::Other(occurrence) => occurrence.payload(),
        }
    }

    /// The event with another payload; `None` of kinds that have none.
    #[must_use]
    pub fn with_payload(&self, payload: Bytes) -> Option<Self> {
        self.payload()?;
        let mut changed = self.clone();
        match &mut changed.what {
            What::Published(message) => message.payload = payload,
            What::Other(occurrence) => {
                **occurrence = occurrence.as_ref().clone().with_payload(payload);
            }
        }
        Some(changed)
    }

    /// The client id: of the publisher, of the receiver where there is one, or of whom it is about.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        match &self.what {
            What::Published(message) => message.client_id.as_deref(),
            What::Other(occurrence) => occurrence.text("clientid"),
        }
    }

    /// The key under which order is kept: the client id where it is known, otherwise the topic, otherwise the kind.
    #[must_use]
    pub fn order_key(&self) -> &str {
        self.client_id().or_else(|| self.topic()).unwrap_or_else(|| self.kind().name())
    }

    /// The event without what an output stands for: its payload and most columns. Order, age and place are kept.
    #[must_use]
    pub fn without_content(&self) -> Self {
        let what = match &self.what {
            What::Published(message) => What::Published(message.without_content()),
            What::Other(occurrence) => What::Other(Box::new(occurrence.without_content())),
        };
        Self { source: self.source.clone(), received_at: self.received_at, what }
    }

    /// Bytes this event takes in memory, for bounds: payload, texts and a flat share for the rest.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match &self.what {
                What::Published(message) => message.memory_bytes(),
                What::Other(occurrence) => occurrence.memory_bytes(),
            }
    }
}

/// What a queue keeps: an event, and the rule that sent it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The rule that matched.
    pub rule: crate::name::RuleName,
    /// The event, shared with the other queues it went to; without its payload where there is an output.
    pub event: Arc<Event>,
    /// What the rule made of the event, one JSON object on one line; `None` when it wants the event as it is.
    pub output: Option<Bytes>,
    /// What it keeps of the dead letter that it was; `None` unless it was replayed.
    pub replay: Option<Arc<Replay>>,
}

/// What a record that comes back from the dead letters keeps: receivers know it by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The id it has had from the start.
    pub record_id: RecordId,
    /// The id of the letter that it was edited from.
    pub edited_from: Option<RecordId>,
}

impl Record {
    /// Bytes it takes in memory, for bounds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.event.memory_bytes() + self.output.as_ref().map_or(0, Bytes::len)
    }
}
