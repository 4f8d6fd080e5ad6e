//! One attempt: sends a request and reads the answer. The only module that names reqwest.
//!
//! Never follows a redirect, never tries twice, uses no proxy from the environment. Connections are kept and
//! reused; answers are read to their end, up to a bound, so that they can be.

use std::error::Error;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use rustls::CertificateError;
use rustls::crypto::{CryptoProvider, ring};
use tracing::warn;

use super::outcome::TransportError;
use super::request::Message;
use crate::clock::UnixMillis;
use crate::config;
use crate::name::SinkName;

/// What of an answer is read; the rest of a longer one is thrown away with its connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Status and headers of an answer that came in full.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// The connections of one sink. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Client {
    client: reqwest::Client,
    method: http::Method,
}

impl Client {
    /// Connections as the sink is configured. Opens none yet.
    ///
    /// An `https` sink on a system without certificate authorities gets a client that trusts nobody, so that
    /// Waypost starts and the sink says what is wrong.
    pub(super) fn new(name: &SinkName, sink: &config::Sink) -> Self {
        if CryptoProvider::get_default().is_none() {
            // Lost only to another thread that installs the same.
            drop(ring::default_provider().install_default());
        }
        let trusting_system = || builder(sink).build();
        let trusting_nobody = || {
            builder(sink).tls_certs_only([]).build().expect("no part of the client is configurable")
        };
        let client = if sink.request.url.scheme() == "https" {
            trusting_system().unwrap_or_else(|error| {
                let error = error.source().map(ToString::to_string).unwrap_or_default();
                warn!(sink = %name, error, "no certificate authorities found on this system");
                trusting_nobody()
            })
        } else {
            trusting_nobody()
        };
        let method = match sink.request.method {
            config::Method::Post => http::Method::POST,
            config::Method::Put => http::Method::PUT,
        };
        Self { client, method }
    }

    /// Sends the message once and reads the whole answer. Dropping the future drops the connection.
    pub(super) async fn send(&self, message: &Message) -> Result<Answer, TransportError> {
        let mut request = reqwest::Request::new(self.method.clone(), message.target.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&message.target.headers);
        headers.insert(WEBHOOK_ID, message.id.clone());
        headers.insert(IDEMPOTENCY_KEY, message.id.clone());
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(UnixMillis::now().0 / 1000));
        *request.body_mut() = Some(message.body.clone().into());

        let mut response = self.client.execute(request).await.map_err(|e| in_words(&e))?;
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(|e| in_words(&e))? {
            read += chunk.len();
            if read > ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()) })
    }
}

fn builder(sink: &config::Sink) -> reqwest::ClientBuilder {
    // A carrier's NAT forgets silent connections within half a minute or so.
    const KEEP_ALIVE: Duration = Duration::from_secs(15);
    reqwest::Client::builder()
        .user_agent(concat!("waypost/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(sink.timeouts.connect)
        .timeout(sink.timeouts.request)
        .pool_idle_timeout(sink.timeouts.idle)
        .pool_max_idle_per_host(sink.concurrency.get())
        .tcp_keepalive(KEEP_ALIVE)
        .tcp_nodelay(true)
}

/// Sorts an error by what an operator would do about it.
fn in_words(error: &reqwest::Error) -> TransportError {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return TransportError::Tls(tls_in_words(tls));
    }
    if error.is_dns() {
        return TransportError::NameNotResolved;
    }
    if error.is_timeout() {
        return if error.is_connect() {
            TransportError::ConnectTimeout
        } else {
            TransportError::RequestTimeout
        };
    }
    if let Some(io) = cause::<std::io::Error>(error) {
        use std::io::ErrorKind;
        match io.kind() {
            ErrorKind::ConnectionRefused => return TransportError::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                return TransportError::Unreachable;
            }
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => return TransportError::Closed,
            _ => {}
        }
    }
    match cause::<hyper::Error>(error) {
        Some(http) if http.is_parse() => TransportError::NotHttp,
        Some(http) if http.is_incomplete_message() || http.is_closed() || http.is_canceled() => {
            TransportError::Closed
        }
        _ => TransportError::Other(innermost(error)),
    }
}

fn tls_in_words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else { return error.to_string() };
    let why = match why {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is this machine's clock right?"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or this machine's clock is wrong"
        }
        CertificateError::UnknownIssuer => {
            "comes from an authority that this system does not trust"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host name"
        }
        other => return format!("the server's certificate: {other}"),
    };
    format!("the server's certificate {why}")
}

/// The outermost cause of a type, also inside `std::io::Error`, which hides what it wraps.
fn cause<'error, T: Error + 'static>(error: &'error (dyn Error + 'static)) -> Option<&'error T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // The outermost text would carry the URL.
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::delivery::request::Renderer;
    use crate::delivery::tests::{record, renderer, sink_config, sink_name};

    async fn error_of(url: &str, connect: Duration) -> TransportError {
        let mut config = sink_config(url);
        config.timeouts.connect = connect;
        let client = Client::new(&sink_name(), &config);
        client.send(&message(&mut renderer(&config))).await.unwrap_err()
    }

    fn message(renderer: &mut Renderer) -> Message {
        let record = record(1, "a");
        assert!(renderer.add(&record));
        renderer.finish(&[record.number])
    }

    #[tokio::test]
    async fn what_goes_wrong_with_a_connection_is_told_in_an_operators_words() {
        let patient = Duration::from_secs(20);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(error_of(&closed, patient).await, TransportError::Refused);
        let unknown = error_of("http://no-such-host.invalid/", patient).await;
        assert_eq!(unknown, TransportError::NameNotResolved);
        // Takes the connection and never says a word of TLS.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("https://{}/", silent.local_addr().unwrap());
        let silent = error_of(&silent, Duration::from_millis(100)).await;
        assert_eq!(silent, TransportError::ConnectTimeout);
    }

    #[tokio::test]
    async fn a_service_that_does_not_speak_http_or_presents_a_strange_certificate_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
        let server = tokio::spawn(async move {
            let (mut plain, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(plain.read(&mut request).await.unwrap() > 0);
            plain.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
            let (secret, _) = listener.accept().await.unwrap();
            assert!(acceptor.accept(secret).await.is_err());
        });
        let patient = Duration::from_secs(20);
        let plain = error_of(&format!("http://127.0.0.1:{port}/"), patient).await;
        assert_eq!(plain, TransportError::NotHttp);
        let secret = error_of(&format!("https://127.0.0.1:{port}/"), patient).await;
        let why =
            "TLS: the server's certificate comes from an authority that this system does not trust";
        assert_eq!(secret.to_string(), why);
        server.await.unwrap();
    }

    #[test]
    fn a_certificate_out_of_its_time_points_at_the_clock() {
        let words = |why| tls_in_words(&rustls::Error::InvalidCertificate(why));
        assert!(words(CertificateError::NotValidYet).contains("is this machine's clock right?"));
        assert!(words(CertificateError::Expired).contains("clock is wrong"));
        assert!(words(CertificateError::NotValidForName).contains("another host name"));
    }
}
