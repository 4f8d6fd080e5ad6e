//! Events: what sources hand over, rules select and queues keep.
//!
//! An [`Event`] is complete when it is built: nothing is looked up later, so a record read back after a restart
//! renders the same body. What a source cannot know (the publisher's client id on a plain MQTT subscription) is
//! absent, never invented. Bodies are made by [`json`].

mod excerpt;
pub mod json;
mod mint;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::name::{RecordId, SourceName};
use crate::topic::Topic;

pub use excerpt::excerpt;
pub use mint::MessageIds;

/// Names of the kinds of event, as they stand in the `event` column (EMQX 5 names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A message was published.
    MessagePublish,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 1] = [Self::MessagePublish];

    /// The name in the `event` column and in the config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessagePublish => "message.publish",
        }
    }
}

/// MQTT quality of service as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// 0: no acknowledgement, outside the custody promise.
    AtMostOnce = 0,
    /// 1: PUBACK.
    AtLeastOnce = 1,
    /// 2: PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce = 2,
}

impl Qos {
    /// 0, 1 or 2.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// The quality of service of a level; `None` past 2.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// MQTT 5 properties of a PUBLISH that EMQX shows in `pub_props`, in wire order where order matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// `Payload-Format-Indicator`: 0 bytes, 1 UTF-8 text.
    pub payload_format_indicator: Option<u8>,
    /// `Message-Expiry-Interval`, seconds.
    pub message_expiry_interval: Option<u32>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Response-Topic`.
    pub response_topic: Option<String>,
    /// `Correlation-Data`.
    pub correlation_data: Option<Bytes>,
    /// `User-Property`, duplicates kept.
    pub user_properties: Vec<(String, String)>,
}

impl PublishProperties {
    /// Whether there is nothing in it, as for every MQTT 3 client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One published message and what its source knows of it (EMQX event `message.publish`).
///
/// Shared between the queues it is routed to: hold it in an [`Arc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Message id, 32 hex digits when shown; minted here, as EMQX mints its own.
    pub id: [u8; 16],
    /// The source that took the message.
    pub source: SourceName,
    /// When Waypost took the message.
    pub received_at: UnixMillis,
    /// Where it was published.
    pub topic: Topic,
    /// Payload as it came.
    pub payload: Bytes,
    /// As delivered to Waypost: a subscription may have lowered it.
    pub qos: Qos,
    /// The retain flag as delivered.
    pub retain: bool,
    /// The broker or device sent this message before: marked, never trusted to mean a duplicate.
    pub dup: bool,
    /// The publisher's client id, where the source knows it.
    pub client_id: Option<Arc<str>>,
    /// The publisher's user name, where the source knows it.
    pub username: Option<Arc<str>>,
    /// The publisher's address, where the source knows it.
    pub peer: Option<SocketAddr>,
    /// MQTT 5 properties; `None` when there are none.
    pub properties: Option<Box<PublishProperties>>,
}

impl Event {
    /// The kind of this event.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        EventKind::MessagePublish
    }

    /// The key under which order is kept: the client id where it is known, otherwise the topic.
    #[must_use]
    pub fn order_key(&self) -> &str {
        self.client_id.as_deref().unwrap_or_else(|| self.topic.as_str())
    }

    /// The event without what an output stands for: its payload and properties. Order, age and place are kept.
    #[must_use]
    pub fn without_content(&self) -> Self {
        Self { payload: Bytes::new(), properties: None, ..self.clone() }
    }

    /// Bytes this event takes in memory, for bounds: payload, texts and a flat share for the rest.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const FIXED: usize = 256;
        let properties = self.properties.as_ref().map_or(0, |properties| {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let users: usize =
                properties.user_properties.iter().map(|(key, value)| key.len() + value.len()).sum();
            text(&properties.content_type)
                + text(&properties.response_topic)
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
                + users
        });
        FIXED
            + self.payload.len()
            + self.topic.as_str().len()
            + self.client_id.as_ref().map_or(0, |id| id.len())
            + self.username.as_ref().map_or(0, |name| name.len())
            + properties
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
