//! What a sink is: the service, what its requests look like, its queue, and what failures mean.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Secret, TlsClient};
use crate::config::{Canary, StatusPolicy};
use crate::event::json::{EventFormat, PayloadAs, UndefinedAs};
use crate::name::ConnectorName;
use crate::template::Template;

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

impl WhenFull {
    /// As it stands in the config.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
            Self::DeadLetter => "dead_letter",
            Self::Block => "block",
        }
    }
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
