//! Connects bytes to a broker: name, TCP, TLS, WebSocket.
//!
//! Done here and not by the MQTT library because that cannot ask for another server name than the host, cannot connect to an
//! IPv6 literal, and gives a silent first address the time of all others.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::failure::{Failure, FailureKind};
use super::tls;
use crate::config::{MqttSource, MqttTransport};
use crate::steps::{self, Stage, Watch};

/// A TCP or TLS connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that carries MQTT packets.
pub(super) enum Link {
    /// As a stream of bytes.
    Bytes(Box<dyn Duplex>),
    /// In binary WebSocket messages.
    WebSocket(Box<WebSocketStream<Box<dyn Duplex>>>),
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to the broker; the caller bounds the whole by the connect timeout. Cancel safe: nothing is left behind.
pub(super) async fn dial(source: &MqttSource, watch: &Watch) -> Result<Link, Failure> {
    let tcp = connect(source, watch).await?;
    let encrypted =
        matches!(source.transport, MqttTransport::Tls | MqttTransport::WebSocketTls { .. });
    let stream: Box<dyn Duplex> =
        if encrypted { secure(source, tcp, watch).await? } else { Box::new(tcp) };
    match &source.transport {
        MqttTransport::Tcp | MqttTransport::Tls => Ok(Link::Bytes(stream)),
        MqttTransport::WebSocket { path } => upgrade(source, "ws", path, stream, watch).await,
        MqttTransport::WebSocketTls { path } => upgrade(source, "wss", path, stream, watch).await,
    }
}

/// The host without the brackets that an IPv6 address has in a URL.
fn bare_host(source: &MqttSource) -> &str {
    source.host.trim_start_matches('[').trim_end_matches(']')
}

/// The name that TLS asks for and checks.
pub(super) fn server_name(source: &MqttSource) -> &str {
    source.tls.server_name.as_deref().unwrap_or_else(|| bare_host(source))
}

async fn connect(source: &MqttSource, watch: &Watch) -> Result<TcpStream, Failure> {
    let (host, port) = (bare_host(source), source.port);
    // An address is nothing that has to be asked for.
    if host.parse::<IpAddr>().is_err() {
        watch.begin(Stage::Name);
    }
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| {
            unreachable(format!(
                "the name `{host}` cannot be resolved: {error}; check the URL and the DNS"
            ))
        })?
        .take(ADDRESSES_MAX)
        .collect();
    watch.done(|| steps::addresses(addresses.iter().map(SocketAddr::ip)));
    watch.begin(Stage::Tcp);
    let mut last = unreachable(format!("the name `{host}` has no address"));
    let count = u32::try_from(addresses.len()).unwrap_or(1).max(1);
    for address in addresses {
        match tokio::time::timeout(
            share(source.connect_timeout, count),
            TcpStream::connect(address),
        )
        .await
        {
            Ok(Ok(stream)) => {
                // PUBACKs are small: without this they wait for the broker's delayed TCP acknowledgement.
                match stream.set_nodelay(true) {
                    Ok(()) => {
                        watch.done(|| address.to_string());
                        return Ok(stream);
                    }
                    Err(error) => {
                        last = unreachable(refusal(address, &error));
                    }
                }
            }
            Ok(Err(error)) => last = unreachable(refusal(address, &error)),
            Err(_) => last = no_answer(source),
        }
    }
    Err(last)
}

/// A little under an equal share, so that the last address is still tried within the whole.
fn share(whole: Duration, count: u32) -> Duration {
    whole.mul_f64(0.9) / count
}

fn refusal(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{address} refuses connections: is the broker running, and is this its port?")
        }
        _ => format!("cannot connect to {address}: {error}"),
    }
}

/// The failure of a broker that says nothing within the connect timeout.
pub(super) fn no_answer(source: &MqttSource) -> Failure {
    unreachable(format!(
        "no answer from {}:{} within {:?}: is a firewall in between?",
        source.host, source.port, source.connect_timeout
    ))
}

async fn secure(
    source: &MqttSource,
    tcp: TcpStream,
    watch: &Watch,
) -> Result<Box<dyn Duplex>, Failure> {
    watch.begin(Stage::Tls);
    let settings = source.tls.clone();
    let config = tokio::task::spawn_blocking(move || tls::client_config(&settings))
        .await
        .map_err(|error| unreachable(format!("TLS cannot be set up: {error}")))??;
    let name = server_name(source);
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| unreachable(format!("`{name}` cannot be a TLS server name")))?;
    match TlsConnector::from(config).connect(server, tcp).await {
        Ok(stream) => {
            watch.done(|| crate::tls::version_in_words(stream.get_ref().1).to_owned());
            Ok(Box::new(stream))
        }
        Err(error) => Err(unreachable(tls::explain(&error, name).unwrap_or_else(|| {
            format!("the broker broke off the TLS handshake: {error}; does this port speak TLS?")
        }))),
    }
}

async fn upgrade(
    source: &MqttSource,
    scheme: &str,
    path: &str,
    stream: Box<dyn Duplex>,
    watch: &Watch,
) -> Result<Link, Failure> {
    watch.begin(Stage::WebSocket);
    let url = format!("{scheme}://{}:{}{path}", source.host, source.port);
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| unreachable(format!("`{url}` is no WebSocket URL: {error}")))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => {
            watch.done(|| path.to_owned());
            Ok(Link::WebSocket(Box::new(socket)))
        }
        Err(error) => Err(unreachable(match error {
            tungstenite::Error::Http(answer) => format!(
                "`{url}` answers HTTP {} instead of opening a WebSocket: check the path",
                answer.status().as_u16()
            ),
            other => format!("`{url}` does not open a WebSocket for MQTT: {other}"),
        })),
    }
}

fn unreachable(text: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unreachable, text)
}
