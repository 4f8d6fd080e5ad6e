//! The listening ends of sources that others connect to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tls::{self, TlsError};
use super::{Problem, SourceHealth, SourceState};
use crate::config;

/// Connections that wait to be accepted; all devices come back together after a power cut.
const BACKLOG: u32 = 1024;
/// Longest wait between two attempts to listen.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a source does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had; trying again may help.
    #[error("cannot listen on {address}: {hint}")]
    Address {
        /// The address of the config.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key is of no use; trying again helps once the file is mended.
    #[error("cannot listen with TLS on {address}")]
    Tls {
        /// The address of the config.
        address: SocketAddr,
        /// Which file, and why.
        source: Box<TlsError>,
    },
}

/// A listening address and what its connections begin with.
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

/// Takes the address of `listener` in the current runtime.
pub(super) fn listen(listener: &config::Listener) -> Result<Entrance, ListenError> {
    let address = listener.address;
    let tls = listener.tls.as_ref().map(tls::acceptor).transpose();
    let tls = tls.map_err(|error| ListenError::Tls { address, source: Box::new(error) })?;
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for the last connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = listen().map_err(|source| {
        let hint = hint(source.kind());
        ListenError::Address { address, hint, source }
    })?;
    Ok(Entrance { listener, tls })
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps a broker such as Mosquitto or another Waypost; \
             stop it or choose another address"
        }
        io::ErrorKind::PermissionDenied => "not allowed; ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address at the moment",
        _ => "the system refuses",
    }
}

/// Says why a source does not listen and waits for the next attempt, twice as long as before; false when it shall stop.
pub(super) async fn wait_after(
    why: String,
    pause: &mut Duration,
    health: &SourceHealth,
    stop: &CancellationToken,
) -> bool {
    health.count(Problem::Unreachable);
    health.change(SourceState::Disconnected(why));
    let wait = *pause;
    *pause = (wait * 2).min(RETRY_MAX);
    // Dropping the timer loses nothing: the next round starts a new one.
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// The error and its causes in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
