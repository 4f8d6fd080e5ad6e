//! One attempt: sends a request and reads the answer.
//!
//! Never follows a redirect, never tries twice, but for one thing: a request that is refused for its credentials is sent
//! once more where a file holds new ones by now. Connections are kept, and shared by the sinks of one connector;
//! answers are read to their end, up to a bound, so that a connection can be used again.

mod dial;
mod encode;
mod failure;
mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_ENCODING, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::outcome::TransportError;
use super::request::Message;
use crate::clock::{BUILT_AT, UnixMillis};
use crate::config::{self, Compression, HttpVersion};
use crate::name::{ConnectorName, SinkName};
use crate::signature;
use crate::steps::Watch;
use crate::store::ANSWER_BYTES_MAX;
use dial::Dialer;
use secrets::{InUse, Secrets};

/// What of an answer is read; the rest of a longer one is thrown away with its connection.
const READ_BYTES_MAX: usize = 64 * 1024;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const OUR_NAME: HeaderValue =
    HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// Status and headers of an answer that came in full.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The first bytes of the body of an answer that is no success.
    pub(super) excerpt: Vec<u8>,
}

type Pool = legacy::Client<Dialer, Full<Bytes>>;

/// Sends the requests of one sink. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool,
    method: Method,
    timeout: Duration,
    compression: Compression,
    secrets: Arc<Secrets>,
}

impl Client {
    /// The clients of all sinks: those with the same connector share their connections. Opens none yet.
    #[must_use]
    pub fn all(sinks: &BTreeMap<SinkName, config::Sink>) -> BTreeMap<SinkName, Self> {
        let mut shared: BTreeMap<&ConnectorName, Pool> = BTreeMap::new();
        let mut clients = BTreeMap::new();
        let pool = |sink, idle_max| pool(sink, idle_max, Watch::default());
        for (name, sink) in sinks {
            let pool = match &sink.connection.connector {
                None => pool(sink, sink.concurrency.get()),
                Some(connector) => {
                    let sharing = sinks
                        .values()
                        .filter(|other| other.connection.connector.as_ref() == Some(connector));
                    let in_flight = sharing.map(|sink| sink.concurrency.get()).sum();
                    shared.entry(connector).or_insert_with(|| pool(sink, in_flight)).clone()
                }
            };
            clients.insert(name.clone(), Self::new(name, sink, pool));
        }
        clients
    }

    /// The client of one sink, whose connections `watch` sees being made.
    pub(super) fn watched(name: &SinkName, sink: &config::Sink, watch: Watch) -> Self {
        Self::new(name, sink, pool(sink, 1, watch))
    }

    fn new(name: &SinkName, sink: &config::Sink, pool: Pool) -> Self {
        let method = match sink.request.method {
            config::Method::Post => Method::POST,
            config::Method::Put => Method::PUT,
            config::Method::Get => Method::GET,
            config::Method::Delete => Method::DELETE,
        };
        let mut headers = sink.request.credentials.clone();
        if let Some(proxy) = &sink.connection.proxy
            && sink.request.url.scheme() == "http"
        {
            // What is only forwarded has no CONNECT that could carry it.
            headers.extend(proxy.credential.clone());
        }
        let keys = sink.request.signing_keys.clone();
        let secrets = Arc::new(Secrets::new(format!("sink {name}"), headers, keys));
        let compression = sink.request.compression;
        Self { pool, method, timeout: sink.timeouts.request, compression, secrets }
    }

    /// Sends the message and reads the whole answer. Dropping the future drops the connection, with HTTP/2 the stream.
    pub(super) async fn send(&self, message: &Message) -> Result<Answer, TransportError> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(message));
        exchange.await.unwrap_or(Err(TransportError::RequestTimeout))
    }

    /// Asks for the headers of `uri`, with the sink's own: HEAD changes nothing (RFC 9110 section 9.2.1).
    pub(super) async fn head(
        &self,
        uri: Uri,
        headers: HeaderMap,
    ) -> Result<Answer, TransportError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let secrets = self.secrets.in_use();
        let asked = self.ask(request, &secrets);
        tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or(Err(TransportError::RequestTimeout))
    }

    async fn exchange(&self, message: &Message) -> Result<Answer, TransportError> {
        let used = self.secrets.in_use();
        let answer = self.attempt(message, &used).await?;
        if !is_about_credentials(answer.status) {
            return Ok(answer);
        }
        match self.secrets.newer_than(&used).await {
            // It was refused: nothing has been done with it.
            Some(newer) => self.attempt(message, &newer).await,
            None => Ok(answer),
        }
    }

    async fn attempt(&self, message: &Message, secrets: &InUse) -> Result<Answer, TransportError> {
        let uri = message.target.uri.clone().ok_or(TransportError::UrlTooLong)?;
        let (body, encoding) = encode::body(message, self.compression).await;
        let signed = stamped(message, &body, secrets)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.clone_from(&message.target.headers);
        let ours = encoding.map(|name| (CONTENT_ENCODING, name)).into_iter();
        for (name, value) in ours.chain(signed.into_iter().flatten()) {
            headers.insert(name, value);
        }
        self.ask(request, secrets).await
    }

    /// Adds what every request says, and the secrets; sends it, and reads the whole answer.
    async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
        secrets: &InUse,
    ) -> Result<Answer, TransportError> {
        let headers = request.headers_mut();
        headers.entry(USER_AGENT).or_insert(OUR_NAME);
        headers.entry(ACCEPT).or_insert(ANYTHING);
        for (name, value) in secrets.headers() {
            headers.insert(name, value.clone());
        }
        let response = self.pool.request(request).await;
        let (head, body) = response.map_err(|error| failure::in_words(&error))?.into_parts();
        let start = read_to_end(body).await?;
        // Nobody looks into what a success says.
        let excerpt = if head.status.is_success() { Vec::new() } else { start };
        Ok(Answer { status: head.status, headers: head.headers, excerpt })
    }
}

/// Who the message is and when it was sent, signed where there are keys: never with a time that cannot be right.
fn stamped(
    message: &Message,
    body: &[u8],
    secrets: &InUse,
) -> Result<[Option<(HeaderName, HeaderValue)>; 4], TransportError> {
    let (id, now) = (&message.id, UnixMillis::now());
    let seconds = now.0 / 1000;
    let keys = secrets.signing_keys();
    let signature = if keys.is_empty() {
        None
    } else if now < BUILT_AT {
        return Err(TransportError::ClockNotSet);
    } else {
        let id = id.to_str().expect("store ids, names and numbers are text");
        let signature = HeaderValue::try_from(signature::sign(&keys, id, seconds, body));
        Some(signature.expect("base64 is text"))
    };
    Ok([
        Some((WEBHOOK_ID, id.clone())),
        Some((IDEMPOTENCY_KEY, id.clone())),
        Some((WEBHOOK_TIMESTAMP, HeaderValue::from(seconds))),
        signature.map(|value| (WEBHOOK_SIGNATURE, value)),
    ])
}

/// Gives the first bytes of what it reads.
async fn read_to_end(mut body: Incoming) -> Result<Vec<u8>, TransportError> {
    let (mut read, mut start) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure::in_words(&error))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        start.extend(data.iter().take(ANSWER_BYTES_MAX - start.len()));
        read += data.len();
        if read > READ_BYTES_MAX {
            break;
        }
    }
    Ok(start)
}

fn is_about_credentials(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    )
}

/// Connections to the service of `sink`, of which `idle_max` are kept although unused.
fn pool(sink: &config::Sink, idle_max: usize, watch: Watch) -> Pool {
    // A connection that died in silence is noticed by these, also while requests wait on it for longer.
    const PING: Duration = Duration::from_secs(15);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(sink.timeouts.idle)
        .pool_max_idle_per_host(idle_max)
        .http2_only(sink.connection.http_version == HttpVersion::Http2)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING);
    builder.build(Dialer::new(&sink.connection, sink.timeouts.connect, watch))
}

#[cfg(test)]
mod tests;
