//! Where devices connect: bounded, with TLS where it is configured, and on to rmqtt over loopback.
//!
//! rmqtt by itself would bound neither the connections nor the time to the first byte, and its TLS brings a second
//! provider. Everything that is not yet a session is bounded here: connections, handshakes, the time until the broker
//! has let the client in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::events::Teller;
use super::peers::{Peer, Peers, Token};
use super::prompt::Prompt;
use super::relay::{self, read_some};
use crate::source::{Problem, SourceHealth, SourceState};

/// Time for the TLS handshake, and again for the CONNECT that lets the client in.
const ADMISSION_MAX: Duration = Duration::from_secs(15);
/// How often a CONNECT is repeated.
const OPENING_REPEATS: u32 = 7;
/// Pause before a CONNECT is repeated for the first time; each further one is twice as long.
const OPENING_PAUSE: Duration = Duration::from_millis(4);
/// What a device may send before its CONNACK: a CONNECT with all its texts, and little more.
const OPENING_BYTES_MAX: usize = 256 * 1024;
/// TLS handshakes at once: each costs milliseconds of CPU.
const HANDSHAKES_MAX: usize = 32;
/// Pause after a failed accept, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The way in, shared by all listeners.
#[derive(Debug)]
pub(super) struct Front {
    broker: SocketAddr,
    peers: Arc<Peers>,
    teller: Arc<Teller>,
    health: Arc<SourceHealth>,
    connections_max: usize,
    connections: Arc<Semaphore>,
    handshakes: Semaphore,
    admission_max: Duration,
}

impl Front {
    /// Passes at most `connections_max` devices at once on to rmqtt's listener at `broker`.
    pub(super) fn new(
        broker: SocketAddr,
        peers: Arc<Peers>,
        teller: Arc<Teller>,
        health: Arc<SourceHealth>,
        connections_max: usize,
    ) -> Self {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            broker,
            peers,
            teller,
            health,
            connections_max,
            connections: Arc::new(Semaphore::new(connections_max)),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            admission_max: ADMISSION_MAX,
        }
    }

    /// Gives devices another time than [`ADMISSION_MAX`].
    #[cfg(test)]
    pub(super) fn with_admission_max(self, admission_max: Duration) -> Self {
        Self { admission_max, ..self }
    }

    #[cfg(test)]
    pub(super) fn broker(&self) -> SocketAddr {
        self.broker
    }

    /// Accepts devices for ever. Connections live on in tasks of the current runtime, which ends them.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>) {
        loop {
            let Ok((device, address)) = listener.accept().await else {
                self.health.count(Problem::Unreachable);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // The address that the device dialled: the listener's may be any of this machine.
            let entrance = device.local_addr().or_else(|_| listener.local_addr());
            let (Some(place), Ok(entrance)) = (self.place(), entrance) else { continue };
            let known = self.peers.register(address, entrance);
            tokio::spawn(Arc::clone(&self).serve(device, known, tls.clone(), place));
        }
    }

    /// A place for one more connection; without one, says so once.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.connections).try_acquire_owned().ok();
        if place.is_none() {
            self.health.count(Problem::TooManyConnections);
            let max = self.connections_max;
            self.health.change(SourceState::Degraded(format!(
                "max_connections = {max} is reached: no more devices are let in"
            )));
        }
        place
    }

    /// Gives a place back, and says so once enough are free.
    fn give_back(&self, place: OwnedSemaphorePermit) {
        drop(place);
        if self.connections.available_permits() > self.connections_max / 10 {
            self.health.change(SourceState::Connected);
        }
    }

    async fn serve(
        self: Arc<Self>,
        device: TcpStream,
        (token, peer): (Token, Arc<Peer>),
        tls: Option<TlsAcceptor>,
        place: OwnedSemaphorePermit,
    ) {
        let served = self.connect(device, tls, token, &peer).await;
        if let Err(problem) = served {
            self.health.count(problem);
        }
        peer.leave();
        self.peers.part(token);
        self.give_back(place);
        self.teller.gone(token.address(), &peer).await;
    }

    async fn connect(
        &self,
        device: TcpStream,
        tls: Option<TlsAcceptor>,
        token: Token,
        peer: &Peer,
    ) -> Result<(), Problem> {
        let device = Prompt::new(device).map_err(|_| Problem::Closed)?;
        match tls {
            None => self.pass(device, token, peer).await,
            // Apart, so that devices without TLS need not have room for it.
            Some(tls) => Box::pin(self.decrypt(device, &tls, token, peer)).await,
        }
    }

    async fn decrypt(
        &self,
        device: Prompt,
        tls: &TlsAcceptor,
        token: Token,
        peer: &Peer,
    ) -> Result<(), Problem> {
        let handshake = async {
            let _turn = self.handshakes.acquire().await;
            tls.accept(device).await
        };
        let device = tokio::time::timeout(self.admission_max, handshake).await;
        let Ok(Ok(device)) = device else { return Err(Problem::Protocol) };
        self.pass(device, token, peer).await
    }

    /// Passes bytes both ways until either side is done, the client is not let in in time, or is to be hung up on.
    async fn pass<Io: AsyncRead + AsyncWrite>(
        &self,
        device: Io,
        token: Token,
        peer: &Peer,
    ) -> Result<(), Problem> {
        let (mut reads, writes) = tokio::io::split(device);
        let passing = async {
            let opened =
                tokio::time::timeout(self.admission_max, self.open(&mut reads, token, peer));
            match opened.await {
                Ok(Ok(Some((broker, answer)))) => {
                    return relay::both_ways((reads, writes), broker, answer, peer).await;
                }
                Ok(Ok(None)) => {}
                // No CONNECT, in time or at all.
                Ok(Err(_)) | Err(_) => return Err(Problem::Protocol),
            }
            Ok(())
        };
        tokio::select! {
            passed = passing => passed,
            () = peer.hung_up() => Ok(()),
        }
    }

    /// Passes the device's CONNECT on, and gives the broker's connection with what it has answered: CONNACK first.
    /// `None` when the device has left before.
    ///
    /// A device that comes back while its last session is ending makes rmqtt say "server unavailable": the session
    /// that should give way is gone before it has answered. So that answer is not passed on at once; the CONNECT is
    /// repeated.
    async fn open<Io: AsyncRead + AsyncWrite>(
        &self,
        device_reads: &mut ReadHalf<Io>,
        token: Token,
        peer: &Peer,
    ) -> io::Result<Option<(TcpStream, Vec<u8>)>> {
        let mut sent = Vec::new();
        let mut repeats = 0;
        loop {
            let mut broker = TcpStream::connect(self.broker).await?;
            broker.set_nodelay(true)?;
            let mut header = token.proxy_header();
            header.extend(&sent);
            broker.write_all(&header).await?;
            let answer = loop {
                tokio::select! {
                    answer = read_some(&mut broker) => break answer?,
                    bytes = read_some(device_reads), if sent.len() < OPENING_BYTES_MAX => {
                        let bytes = bytes.unwrap_or_default();
                        if bytes.is_empty() {
                            peer.leave();
                            return Ok(None);
                        }
                        broker.write_all(&bytes).await?;
                        sent.extend(bytes);
                    }
                }
            };
            if answer.is_empty() {
                // What the device has sent was no CONNECT, or the broker would have answered.
                return Err(io::ErrorKind::InvalidData.into());
            }
            if is_unavailable(&answer) && repeats < OPENING_REPEATS {
                tokio::time::sleep(OPENING_PAUSE * (1 << repeats)).await;
                repeats += 1;
                continue;
            }
            if let Some(code) = refusal(&answer) {
                self.teller.refused(peer, code).await;
            }
            return Ok(Some((broker, answer)));
        }
    }
}

/// Whether `answer` is a CONNACK that says "server unavailable": MQTT 3.1.1 section 3.2.2.3, MQTT 5 section 3.2.2.2.
/// Short enough for its length to be one byte: rmqtt adds no properties to it.
fn is_unavailable(answer: &[u8]) -> bool {
    matches!(answer, [0x20, _, _, 0x03 | 0x88, ..])
}

/// The code of a CONNACK that lets nobody in.
fn refusal(answer: &[u8]) -> Option<u8> {
    match answer {
        [0x20, _, _, code, ..] if *code > 0 => Some(*code),
        _ => None,
    }
}
