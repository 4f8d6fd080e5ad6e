//! What a source is: how it reaches a broker, or what listens for devices and web hooks.

use std::net::SocketAddr;
#[cfg(feature = "broker")]
use std::num::NonZeroUsize;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::config::{BrokerEvents, HttpSource};

/// `[sources.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A subscription on somebody's broker.
    Mqtt(Box<MqttSource>),
    /// The broker inside Waypost.
    #[cfg(feature = "broker")]
    Broker(BrokerSource),
    /// Web hooks of brokers.
    Http(HttpSource),
}

/// `type = "mqtt"`
#[derive(Debug, Clone, PartialEq)]
pub struct MqttSource {
    /// How and where to connect.
    pub transport: MqttTransport,
    /// Broker host name or address.
    pub host: String,
    /// Broker port.
    pub port: u16,
    /// Protocol version.
    pub protocol: MqttProtocol,
    /// Client id; `None` means the one minted into the data directory, with the source's name.
    pub client_id: Option<String>,
    /// User name of the CONNECT.
    pub username: Option<String>,
    /// Password of the CONNECT.
    pub password: Option<Secret>,
    /// TLS, for the transports that have it.
    pub tls: TlsClient,
    /// Seconds between PINGREQs; a dead link is noticed after twice that. At least 5 s.
    pub keep_alive: Duration,
    /// Time to connect, TLS and CONNACK included.
    pub connect_timeout: Duration,
    /// How long the broker keeps the session while Waypost is away (MQTT 5).
    pub session_expiry: Duration,
    /// Messages the broker may send before the first is acknowledged (MQTT 5).
    pub receive_maximum: NonZeroU16,
    /// Largest MQTT packet accepted.
    pub packet_bytes_max: NonZeroU32,
    /// Highest quality of service asked for: 0 or 1.
    pub qos_max: crate::event::Qos,
    /// What to make of the topics on which the broker tells of its clients.
    pub events: Option<BrokerEvents>,
}

/// How bytes reach the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MqttTransport {
    /// `mqtt://`
    Tcp,
    /// `mqtts://`
    Tls,
    /// `ws://`, with the path of the URL.
    WebSocket {
        /// Path and query, starting with `/`.
        path: String,
    },
    /// `wss://`, with the path of the URL.
    WebSocketTls {
        /// Path and query, starting with `/`.
        path: String,
    },
}

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttProtocol {
    /// MQTT 5, and 3.1.1 when the broker refuses it.
    #[default]
    Auto,
    /// MQTT 5 only.
    V5,
    /// MQTT 3.1.1 only.
    V311,
}

/// TLS towards a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TlsClient {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain and key, PEM.
    pub identity: Option<TlsIdentity>,
    /// Name to ask for (SNI) and to check, instead of the URL's host.
    pub server_name: Option<String>,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsIdentity {
    /// PEM certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
}

/// `type = "broker"`
#[cfg(feature = "broker")]
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerSource {
    /// Where devices connect. Not empty.
    pub listeners: Vec<Listener>,
    /// Who may connect. Empty: anybody, which is only accepted on loopback or with `allow_anonymous`.
    pub users: Vec<BrokerUser>,
    /// Devices without a user name may connect.
    pub allow_anonymous: bool,
    /// First match decides; no match allows when the list is empty, and denies otherwise.
    pub access: Vec<AccessRule>,
    /// Largest MQTT packet accepted.
    pub packet_bytes_max: NonZeroU32,
    /// Devices connected at once.
    pub connections_max: NonZeroUsize,
    /// Keep retained messages (in memory).
    pub retained_messages_max: usize,
}

/// One listening address of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// With TLS when there is an identity.
    pub tls: Option<TlsServer>,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsServer {
    /// The server's certificate.
    pub identity: TlsIdentity,
    /// PEM file with the authorities that client certificates must come from; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
}

/// `[[sources.NAME.users]]`
#[cfg(feature = "broker")]
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerUser {
    /// User name of the CONNECT.
    pub username: String,
    /// Hash of the password (`$argon2id$...`), as `waypost hash-password` prints it.
    pub password_hash: crate::password::PasswordHash,
}

/// `[[sources.NAME.access]]`: all the conditions that are given must hold.
#[cfg(feature = "broker")]
#[derive(Debug, Clone, PartialEq)]
pub struct AccessRule {
    /// What the rule says of what it matches.
    pub allow: bool,
    /// Only this user.
    pub username: Option<String>,
    /// Only this client id.
    pub client_id: Option<String>,
    /// Only this action; both when absent.
    pub action: Option<AccessAction>,
    /// Topic filters, with `${clientid}` and `${username}` standing for the client's own; any topic when empty.
    /// An allow rule must cover the whole filter of a subscription, a deny rule hits as soon as it touches it.
    pub topics: Vec<crate::access::TopicPattern>,
}

/// What a client wants to do with a topic.
#[cfg(feature = "broker")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessAction {
    /// PUBLISH.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
}
