//! One MQTT connection, whichever version: the only code that names rumqttc.
//!
//! rumqttc is used for packets, keep-alive and the QoS 2 hand-shake; acknowledgements pass it by in the relay. An event loop lives for one connection and is never
//! reused, because what one leaves behind harms the next: events decoded before an error come out after the next CONNACK,
//! queued requests are sent or thrown away, options are overwritten by the broker's.

mod relay;
mod v311;
mod v5;

use std::time::Duration;

use bytes::Bytes;

use super::failure::Failure;
use crate::event::{PublishProperties, Qos};
use crate::topic::{InvalidTopic, Topic, TopicFilter};

pub(super) use relay::{Relay, Rendezvous};

/// What this end says in its CONNECT.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) keep_alive: Duration,
    pub(super) connect_timeout: Duration,
    /// The session of this client id goes on, and is kept by the broker; otherwise it is as short as the connection.
    pub(super) keeps_session: bool,
    /// MQTT 5 only.
    pub(super) session_expiry_seconds: u32,
    /// MQTT 5 only.
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes_max: u32,
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V311,
    V5,
}

impl Version {
    /// For an operator.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::V311 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        }
    }
}

/// What a connection reports.
#[derive(Debug)]
pub(super) enum Signal {
    /// CONNACK; always the first.
    Connected {
        /// The broker kept the session of this client id.
        session_present: bool,
    },
    /// PUBLISH.
    Published(Publication),
    /// SUBACK: one grant per filter of the SUBSCRIBE that is outstanding.
    Subscribed(Vec<Grant>),
    /// UNSUBACK.
    Unsubscribed,
    /// Our DISCONNECT is written; nothing follows.
    Left,
    /// Nothing that matters here: pings, packets sent.
    Other,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) topic: Result<Topic, InvalidTopic>,
    pub(super) payload: Bytes,
    pub(super) packet_id: u16,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) properties: Option<Box<PublishProperties>>,
    /// Size of the whole packet, properties apart.
    pub(super) packet_bytes: usize,
}

/// The broker's answer to one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// Subscribed, with this quality of service at most.
    Granted(Qos),
    /// Not subscribed, and why.
    Refused(&'static str),
}

/// A filter to subscribe to.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) filter: TopicFilter,
    pub(super) qos: Qos,
}

/// A copy that does not keep the whole read buffer it came in: records stay in memory for long, and their size is counted.
fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Packets in, packets out. Dropping it closes the connection.
pub(super) struct Wire(Kind);

enum Kind {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<v5::Polled>),
}

/// Requests to a [`Wire`], written when it is polled. Never await one where the wire is polled: the queue is bounded.
#[derive(Debug, Clone)]
pub(super) struct Requests(Sender);

#[derive(Debug, Clone)]
enum Sender {
    V311(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The connection has ended; whoever polls it knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended;

/// Requests that wait: a SUBSCRIBE or UNSUBSCRIBE, and a DISCONNECT at most.
const REQUESTS_MAX: usize = 8;
/// This end publishes nothing, so few packet ids are enough.
const OUTGOING_MAX: u16 = 64;

impl Wire {
    /// A connection that starts at its first poll, through `rendezvous`.
    pub(super) fn open(version: Version, hello: &Hello, rendezvous: &str) -> (Self, Requests) {
        match version {
            Version::V311 => {
                let (client, wire) = v311::open(hello, rendezvous, REQUESTS_MAX);
                (Self(Kind::V311(Box::new(wire))), Requests(Sender::V311(client)))
            }
            Version::V5 => {
                let (client, wire) = v5::open(hello, rendezvous, REQUESTS_MAX);
                (Self(Kind::V5(Box::new(wire))), Requests(Sender::V5(client)))
            }
        }
    }

    /// Connects, sends what is requested, and waits for what the broker sends. Keep polling: pings and
    /// requests leave only here. Not cancel safe: after a cancelled poll, drop the wire.
    pub(super) async fn poll(&mut self) -> Result<Signal, Failure> {
        match &mut self.0 {
            Kind::V311(wire) => v311::poll(wire).await,
            Kind::V5(wire) => wire.poll().await,
        }
    }
}

impl Requests {
    /// Sends one SUBSCRIBE. Its SUBACK must have come before the next is sent.
    pub(super) async fn subscribe(&self, filters: &[Subscription]) -> Result<(), Ended> {
        match &self.0 {
            Sender::V311(client) => v311::subscribe(client, filters).await,
            Sender::V5(client) => v5::subscribe(client, filters).await,
        }
    }

    /// Sends an UNSUBSCRIBE for one filter. The answer to the last request must have come before.
    pub(super) async fn unsubscribe(&self, filter: &str) -> Result<(), Ended> {
        match &self.0 {
            Sender::V311(client) => client.unsubscribe(filter).await.map_err(|_| Ended),
            Sender::V5(client) => client.unsubscribe(filter).await.map_err(|_| Ended),
        }
    }

    /// Says goodbye behind everything requested so far.
    pub(super) async fn disconnect(&self) -> Result<(), Ended> {
        match &self.0 {
            Sender::V311(client) => client.disconnect().await.map_err(|_| Ended),
            Sender::V5(client) => client.disconnect().await.map_err(|_| Ended),
        }
    }
}
