//! The checked config: every value in range, every name resolved, every secret read.
//!
//! Built by [`super::load`] only; the edges take their part of it and check nothing again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::policy::{Canary, StatusPolicy};
use super::report::Finding;
use crate::event::json::{EventFormat, PayloadAs, UndefinedAs};
use crate::name::{ConnectorName, RuleName, SinkName, SourceName};
pub use crate::rule::Rule;
use crate::template::Template;

/// Everything `waypost run` needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The gateway itself.
    pub gateway: Gateway,
    /// Logs.
    pub log: Log,
    /// Where `/metrics`, `/livez` and `/readyz` listen; `None` when turned off.
    pub metrics_listen: Option<SocketAddr>,
    /// The store.
    pub store: StoreOptions,
    /// Records that were given up.
    pub dead_letters: DeadLetterOptions,
    /// Where events come from.
    pub sources: BTreeMap<SourceName, Source>,
    /// What selects events for sinks; a `[webhooks.NAME]` with `url` gives a rule and a sink called `NAME`.
    pub rules: BTreeMap<RuleName, Rule>,
    /// HTTP services, each with a queue.
    pub sinks: BTreeMap<SinkName, Sink>,
    /// The first 16 hex digits of the SHA-256 of the file's text.
    pub hash: String,
    /// Tests of rules that do not hold: the rule makes something else of an event than its test says.
    pub failed_tests: Vec<Finding>,
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// The `node` column of every event; the host's name by default.
    pub name: String,
    /// Everything durable is under it.
    pub data_dir: PathBuf,
    /// Unix socket of the admin API; `<data_dir>/admin.sock` by default.
    pub admin_socket: PathBuf,
    /// Bytes of events taken from sources and not yet committed, for all sources together.
    pub intake_bytes_max: NonZeroUsize,
    /// Time between two events `gateway.status`; `None` for never.
    pub status_interval: Option<Duration>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Text or one JSON object a line, on standard error.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,waypost::delivery=debug`.
    pub filter: String,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct StoreOptions {
    /// Longest a commit waits for company once commits run back to back; zero never waits.
    pub commit_window_max: Duration,
}

/// `[dead_letters]`
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterOptions {
    /// What the dead letters of all sinks together may take on disk.
    pub bytes_max: NonZeroU64,
}

/// `[sources.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A subscription on somebody's broker.
    Mqtt(Box<MqttSource>),
    /// The broker inside Waypost.
    #[cfg(feature = "broker")]
    Broker(BrokerSource),
    /// Web hooks of brokers.
    Http(super::HttpSource),
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
    pub events: Option<super::BrokerEvents>,
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

/// `[sinks.NAME]` or the sink of a `[webhooks.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// How connections to the service are made, and who shares them.
    pub connection: Connection,
    /// What one request looks like.
    pub request: Request,
    /// How records become requests.
    pub batch: Batch,
    /// The queue on disk.
    pub queue: Queue,
    /// What waits how long.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// What an answer means for records.
    pub on_status: StatusPolicy,
    /// When a failure is a record's fault.
    pub canary: Canary,
    /// Rejects in a row, without a success, that suspend the sink.
    pub reject_storm: NonZeroU32,
    /// Requests in flight at once.
    pub concurrency: NonZeroUsize,
    /// Which records may overtake which.
    pub order: Order,
}

/// Connections of a sink, or of all the sinks that name one connector.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Sinks with the same connector share their connections; `None` shares them with nobody.
    pub connector: Option<ConnectorName>,
    /// TLS, for `https`.
    pub tls: TlsClient,
    /// Which HTTP to speak.
    pub http_version: HttpVersion,
    /// Every connection goes through it.
    pub proxy: Option<Proxy>,
}

/// Which HTTP to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/2 where TLS agrees on it, otherwise 1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge.
    Http2,
}

/// An HTTP proxy: CONNECT for `https`, forwarding for `http`.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// `http://HOST[:PORT]`
    pub url: url::Url,
    /// The `proxy-authorization` header.
    pub credential: Option<Credential>,
}

/// A header that carries a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// Its name.
    pub header: http::HeaderName,
    /// What is written around the secret.
    pub form: CredentialForm,
    /// The secret.
    pub secret: Secret,
}

/// How a secret stands in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialForm {
    /// As it is.
    Plain,
    /// RFC 6750
    Bearer,
    /// RFC 7617
    Basic {
        /// Without a `:`.
        username: String,
    },
}

impl Credential {
    /// The header's value with `secret` in it; `None` when that has a line break or control character.
    #[must_use]
    pub fn value(&self, secret: &Secret) -> Option<http::HeaderValue> {
        let secret = secret.expose();
        let text = match &self.form {
            CredentialForm::Plain => secret.to_owned(),
            CredentialForm::Bearer => format!("Bearer {secret}"),
            CredentialForm::Basic { username } => {
                format!("Basic {}", BASE64.encode(format!("{username}:{secret}")))
            }
        };
        let mut value = http::HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The HTTP request of a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Scheme, host and port are fixed; the path is the base that `path` is joined to.
    pub url: url::Url,
    /// GET and DELETE carry no body.
    pub method: Method,
    /// Template joined to the URL's path as EMQX joins them; may carry a query. Values are percent-encoded.
    pub path: Option<Template>,
    /// Query parameters appended to the URL; values are percent-encoded.
    pub query: Vec<(String, Template)>,
    /// Templates of header names and values; those of the connector come first.
    pub headers: Vec<(Template, Template)>,
    /// Headers with secrets.
    pub credentials: Vec<Credential>,
    /// Keys of Standard Webhooks that every request is signed with; empty when it is not.
    pub signing_keys: Vec<Secret>,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Body of one record, or what stands for it in a batch; the JSON of the event when absent.
    pub body: Option<Template>,
    /// Whose default body it is.
    pub event_format: EventFormat,
    /// Form of the payload in bodies.
    pub payload_as: PayloadAs,
    /// Form of unknown columns in bodies.
    pub undefined_as: UndefinedAs,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
}

/// HTTP methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// The default.
    #[default]
    Post,
    /// For services that want it.
    Put,
    /// Without a body: path, query and headers say everything.
    Get,
    /// Without a body.
    Delete,
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::Delete => "DELETE",
        }
    }

    /// Whether requests carry a body.
    #[must_use]
    pub fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// `batch = { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Records in one request; 1 sends each on its own.
    pub records_max: NonZeroUsize,
    /// Bytes of one body, before a record that would cross it starts the next batch.
    pub bytes_max: NonZeroUsize,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// Form of the body when `records_max` is above 1.
    pub format: BatchFormat,
}

/// Form of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BatchFormat {
    /// `[{..},{..}]`, `application/json`.
    #[default]
    JsonArray,
    /// One object a line, `application/x-ndjson`.
    Ndjson,
    /// The records between what the operator says, `application/json`.
    Template {
        /// Around all of them; its columns are [`BATCH_COLUMNS`].
        template: Template,
        /// Between two of them.
        separator: String,
    },
}

/// What a batch template can say: the bodies of the records, joined; how many they are; the id of the batch; the
/// gateway's name.
pub const BATCH_COLUMNS: [&str; 4] = ["records", "count", "batch_id", "node"];

/// `queue = { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// What the queue may take on disk, in bytes.
    pub bytes_max: NonZeroU64,
    /// What happens when that is reached.
    pub when_full: WhenFull,
    /// What an acknowledgement survives.
    pub durability: Durability,
}

/// Overload policy of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the oldest chunk that is not in flight; count it.
    #[default]
    DropOldest,
    /// Drop what comes; count it.
    DropNewest,
    /// Make dead letters of the oldest chunk that is not in flight, as long as there is room for them; then drop it
    /// and count it.
    DeadLetter,
    /// Withhold acknowledgements until there is room. The broker then drops.
    Block,
}

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: acknowledged after the sync.
    #[default]
    Power,
    /// A killed process: acknowledged once the kernel has the bytes.
    Process,
}

/// Timeouts of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// Name, TCP and TLS.
    pub connect: Duration,
    /// The whole request, answer included.
    pub request: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

/// Backoff of a sink.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Upper bound of the first delay.
    pub initial: Duration,
    /// Upper bound of every delay; also the cap of `Retry-After`.
    pub max: Duration,
    /// Growth of the bound from one failure to the next.
    pub multiplier: f64,
    /// Failed attempts that reached the service after which a record becomes a dead letter.
    pub attempts_max: Option<NonZeroU32>,
    /// Age at which a record becomes a dead letter instead of being sent.
    pub age_max: Option<Duration>,
}

/// Which records may overtake which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Records of one key (client id, otherwise topic) keep their order.
    #[default]
    Key,
    /// All records of the sink keep their order: one request at a time.
    Sink,
    /// None.
    None,
}

/// A text that must not be shown: `Debug` masks it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Box<str>,
    /// Where it was read and can be read again.
    file: Option<Box<Path>>,
}

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text: text.into(), file: None }
    }

    /// The secret in a file, without the line breaks at its end; otherwise in words what is wrong with the file.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text =
            super::secret::read_secret(file).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Self { text: text.into(), file: Some(file.into()) })
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file it stands in, which may hold another one by now.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
