//! Makes connections: name, TCP, the proxy where there is one, TLS with its choice of HTTP version.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::secrets::Secrets;
use crate::config::{self, HttpVersion};
use crate::steps::{self, Stage, Watch};
use crate::tls;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Not within the connect timeout.
    #[error("timeout")]
    Timeout,
    /// The host, or the proxy, cannot be reached.
    #[error("cannot connect")]
    Tcp(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The proxy was reached and goes no further; says why.
    #[error("{0}")]
    Proxy(String),
    /// TLS cannot be set up; says why.
    #[error("{0}")]
    Setup(String),
    /// The handshake failed.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The service does not want to speak HTTP/2.
    #[error("the service does not offer HTTP/2: leave `http_version` out")]
    NoHttp2,
}

/// A host without an address, or nobody to ask for it.
#[derive(Debug, thiserror::Error)]
#[error("host name not resolved")]
pub(super) struct Unresolved(#[source] io::Error);

/// A TCP or TLS connection.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that HTTP can be spoken on.
pub(super) struct Link {
    stream: TokioIo<Box<dyn Duplex>>,
    speaks: Speaks,
}

/// What the two ends have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    /// Requests name the whole URL.
    Http1ToProxy,
    Http2,
}

/// Makes the connections of one pool. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Dialer(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    tcp: HttpConnector<Resolver>,
    timeout: Duration,
    tls: config::TlsClient,
    http_version: HttpVersion,
    /// The last one made, for the sessions that it can resume, and of which files.
    tls_config: Mutex<Option<(tls::Version, Arc<ClientConfig>)>>,
    proxy: Option<(Uri, Arc<Secrets>)>,
    watch: Watch,
}

impl Dialer {
    pub(super) fn new(connection: &config::Connection, timeout: Duration, watch: Watch) -> Self {
        // A carrier's NAT forgets silent connections within half a minute or so.
        const KEEP_ALIVE: Duration = Duration::from_secs(15);
        let mut tcp = HttpConnector::new_with_resolver(Resolver(watch.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        // Shared out among the addresses of a name, so that a silent one leaves time for the others.
        tcp.set_connect_timeout(Some(timeout));
        let proxy = connection.proxy.as_ref().map(|proxy| {
            let url = proxy.url.as_str();
            let uri = url.parse().expect("the URL of a proxy is scheme, host and port");
            let credentials = proxy.credential.iter().cloned().collect();
            (uri, Arc::new(Secrets::new(format!("proxy {url}"), credentials, Vec::new())))
        });
        Self(Arc::new(Settings {
            tcp,
            timeout,
            tls: connection.tls.clone(),
            http_version: connection.http_version,
            tls_config: Mutex::new(None),
            proxy,
            watch,
        }))
    }
}

impl Service<Uri> for Dialer {
    type Response = Link;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, service: Uri) -> Self::Future {
        let settings = Arc::clone(&self.0);
        Box::pin(async move {
            let dialed =
                tokio::time::timeout(settings.timeout, Arc::clone(&settings).dial(service)).await;
            dialed.unwrap_or(Err(DialError::Timeout))
        })
    }
}

impl Settings {
    async fn dial(self: Arc<Self>, service: Uri) -> Result<Link, DialError> {
        let encrypted = service.scheme_str() == Some("https");
        let stream: Box<dyn Duplex> = match &self.proxy {
            Some((proxy, secrets)) if encrypted => {
                self.tunnel(proxy.clone(), Arc::clone(secrets), service.clone()).await?
            }
            Some((proxy, _)) => Box::new(self.tcp(proxy.clone()).await?),
            None => Box::new(self.tcp(service.clone()).await?),
        };
        let link = if encrypted {
            self.secure(service, stream).await?
        } else {
            let speaks = if self.proxy.is_some() { Speaks::Http1ToProxy } else { Speaks::Http1 };
            Link { stream: TokioIo::new(stream), speaks }
        };
        self.watch.connected();
        Ok(link)
    }

    async fn tcp(&self, to: Uri) -> Result<TcpStream, DialError> {
        self.watch.begin(Stage::Tcp);
        let stream = self.tcp.clone().call(to).await;
        let stream = stream.map_err(|error| DialError::Tcp(error.into()))?.into_inner();
        self.watch.done(|| stream.peer_addr().map_or_else(|_| String::new(), |to| to.to_string()));
        Ok(stream)
    }

    /// A connection to the service through the proxy (RFC 9110 section 9.3.6).
    async fn tunnel(
        &self,
        proxy: Uri,
        secrets: Arc<Secrets>,
        service: Uri,
    ) -> Result<Box<dyn Duplex>, DialError> {
        let used = secrets.in_use();
        let value = used.headers().next().map(|(_, value)| value.clone());
        let stream = self.tcp(proxy.clone()).await?;
        self.watch.begin(Stage::Proxy);
        let refused = match connect_through(stream, service.clone(), value).await? {
            Ok(stream) => {
                self.watch.done(|| "the proxy connects to the service".to_owned());
                return Ok(stream);
            }
            Err(status) => status,
        };
        if refused == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && let Some(newer) = secrets.newer_than(&used).await
        {
            let value = newer.headers().next().map(|(_, value)| value.clone());
            let stream = self.tcp(proxy.clone()).await?;
            let again = connect_through(stream, service, value).await?;
            return again.map_err(|status| refusal(&proxy, status));
        }
        Err(refusal(&proxy, refused))
    }

    async fn secure(&self, service: Uri, stream: Box<dyn Duplex>) -> Result<Link, DialError> {
        self.watch.begin(Stage::Tls);
        let config = self.tls_config().await?;
        let host = service.host().unwrap_or_default();
        // An IPv6 address has brackets in a URL only.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| DialError::Setup(format!("`{name}` cannot be a TLS server name")))?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(DialError::Handshake)?;
        let session = stream.get_ref().1;
        let speaks_http2 = session.alpn_protocol() == Some(b"h2");
        let http = if speaks_http2 { "HTTP/2" } else { "HTTP/1.1" };
        self.watch.done(|| format!("{}, {http}", tls::version_in_words(session)));
        let speaks = match (self.http_version, speaks_http2) {
            (HttpVersion::Http2, false) => return Err(DialError::NoHttp2),
            (_, true) => Speaks::Http2,
            (_, false) => Speaks::Http1,
        };
        Ok(Link { stream: TokioIo::new(Box::new(stream)), speaks })
    }

    /// Made anew when one of its files has changed.
    async fn tls_config(&self) -> Result<Arc<ClientConfig>, DialError> {
        let options = self.tls.clone();
        let before = self.tls_config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let alpn: &[&[u8]] = match self.http_version {
            HttpVersion::Auto => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        let made = tokio::task::spawn_blocking(move || {
            let version = tls::version(&options);
            if let Some(before) = before.filter(|(known, _)| *known == version) {
                return Ok(before);
            }
            let mut config = tls::client_config(&options)?;
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
            Ok((version, Arc::new(config)))
        });
        let made = made.await.map_err(|error| DialError::Setup(error.to_string()))?;
        let made = made.map_err(|error: tls::TlsSetupError| DialError::Setup(error.to_string()))?;
        *self.tls_config.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made.1)
    }
}

/// Asks a proxy for a connection to `service`; gives the status of another answer than yes.
async fn connect_through(
    stream: TcpStream,
    service: Uri,
    credential: Option<HeaderValue>,
) -> Result<Result<Box<dyn Duplex>, StatusCode>, DialError> {
    let request = connect_request(&service, credential)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    // Owns the sender: the connection is over when nobody can ask any more.
    let asked = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok(if status.is_success() { Ok(hyper::upgrade::on(response).await?) } else { Err(status) })
    };
    // Has to be driven until its bytes are handed over.
    let (driven, asked) = tokio::join!(connection.with_upgrades(), asked);
    match asked {
        Ok(Ok(upgraded)) => Ok(Ok(Box::new(TokioIo::new(upgraded)))),
        Ok(Err(status)) => Ok(Err(status)),
        Err(error) => Err(broken(driven.err().unwrap_or(error))),
    }
}

fn connect_request(
    service: &Uri,
    credential: Option<HeaderValue>,
) -> Result<Request<Empty<Bytes>>, DialError> {
    let port = service.port_u16().unwrap_or(443);
    let place = format!("{}:{port}", service.host().unwrap_or_default());
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    let wrong = || DialError::Setup(format!("`{place}` is no place to connect to"));
    *request.uri_mut() = place.parse().map_err(|_| wrong())?;
    let host = HeaderValue::try_from(&place).map_err(|_| wrong())?;
    request.headers_mut().insert(HOST, host);
    let credential = credential.map(|value| (http::header::PROXY_AUTHORIZATION, value));
    request.headers_mut().extend(credential);
    Ok(request)
}

fn broken(error: hyper::Error) -> DialError {
    DialError::Tcp(error.into())
}

fn refusal(proxy: &Uri, status: StatusCode) -> DialError {
    let proxy = proxy.authority().map_or("", |authority| authority.as_str());
    let advice = match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => "check its `username` and `password`",
        StatusCode::FORBIDDEN => "it does not let us through to this service",
        _ => "it could not reach the service",
    };
    DialError::Proxy(format!("the proxy {proxy} answers {}: {advice}", status.as_u16()))
}

/// Asks the system for addresses.
#[derive(Debug, Clone)]
struct Resolver(Watch);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let watch = self.0.clone();
        Box::pin(async move {
            watch.begin(Stage::Name);
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            let found: Vec<_> = found.collect();
            watch.done(|| steps::addresses(found.iter().map(SocketAddr::ip)));
            watch.begin(Stage::Tcp);
            Ok(found.into_iter())
        })
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        match self.speaks {
            Speaks::Http1 => Connected::new(),
            Speaks::Http1ToProxy => Connected::new().proxy(true),
            Speaks::Http2 => Connected::new().negotiated_h2(),
        }
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        hyper::rt::Write::is_write_vectored(&self.stream)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write_vectored(Pin::new(&mut self.stream), context, slices)
    }
}
