//! Published messages: what nearly every event is, and so a form of its own, without JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::topic::Topic;

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

/// One published message and what its source knows of it: the event `message.publish`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Message id, 32 hex digits when shown; minted here, as EMQX mints its own.
    pub id: [u8; 16],
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

impl Message {
    /// The message without what an output stands for: its payload and properties. Order and place are kept.
    pub(super) fn without_content(&self) -> Self {
        Self { payload: Bytes::new(), properties: None, ..self.clone() }
    }

    /// Bytes it takes in memory but for its fixed size.
    pub(super) fn memory_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let users: usize =
                properties.user_properties.iter().map(|(key, value)| key.len() + value.len()).sum();
            text(&properties.content_type)
                + text(&properties.response_topic)
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
                + users
        });
        self.payload.len()
            + self.topic.as_str().len()
            + self.client_id.as_ref().map_or(0, |id| id.len())
            + self.username.as_ref().map_or(0, |name| name.len())
            + properties
    }
}
