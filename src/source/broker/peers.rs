//! Who is behind a connection that reaches rmqtt over loopback.
//!
//! rmqtt takes TCP connections only, from its own listener, so the devices' connections end at [`super::front`] and
//! go on over loopback. The PROXY header of each carries, instead of an address, a token of 144 random bits that
//! is known here: nobody else on this machine can connect to that listener and pass for a device.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::acks::Acks;
use super::events::Notes;
use crate::source::SourceHealth;

/// A connection from outside.
#[derive(Debug)]
pub(super) struct Peer {
    /// The device's address.
    pub(super) address: SocketAddr,
    /// Where it came in.
    pub(super) entrance: SocketAddr,
    /// What it is still to be told of its messages.
    pub(super) acks: Arc<Acks>,
    notes: Mutex<Notes>,
    is_mqtt5: AtomicBool,
    left: AtomicBool,
    hang_up: CancellationToken,
}

impl Peer {
    /// What is to be told of it later.
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which version of MQTT it speaks, once CONNECT has come.
    pub(super) fn speaks(&self, is_mqtt5: bool) {
        self.is_mqtt5.store(is_mqtt5, Ordering::Relaxed);
    }

    /// MQTT 5 has negative answers.
    pub(super) fn speaks_mqtt5(&self) -> bool {
        self.is_mqtt5.load(Ordering::Relaxed)
    }

    /// Closes the connection without an answer.
    pub(super) fn hang_up(&self) {
        self.hang_up.cancel();
    }

    /// Returns when the connection shall be closed.
    pub(super) async fn hung_up(&self) {
        self.hang_up.cancelled().await;
    }

    /// The device has closed its side.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether there is nobody to answer to any more.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

/// The connections by their tokens.
#[derive(Debug)]
pub(super) struct Peers {
    gone_max: usize,
    health: Arc<SourceHealth>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_token: HashMap<SocketAddr, Arc<Peer>>,
    /// Connections that have ended, the oldest first: the broker may still speak of them, for a will.
    gone: VecDeque<Token>,
}

/// Stands for a connection in its PROXY header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token(SocketAddr);

impl Peers {
    /// Remembers up to `gone_max` connections beyond their end.
    pub(super) fn new(gone_max: usize, health: Arc<SourceHealth>) -> Self {
        Self { gone_max, health, known: Mutex::default() }
    }

    /// Makes the device at `address`, which came in at `entrance`, known under a fresh token.
    pub(super) fn register(&self, address: SocketAddr, entrance: SocketAddr) -> (Token, Arc<Peer>) {
        let mut random = [0; 18];
        getrandom::fill(&mut random).expect("the kernel gives random bytes");
        let [ip @ .., high, low] = random;
        let token = SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes([high, low])));
        let peer = Arc::new(Peer {
            address,
            entrance,
            acks: Arc::new(Acks::new(Arc::clone(&self.health))),
            notes: Mutex::default(),
            is_mqtt5: AtomicBool::new(false),
            left: AtomicBool::new(false),
            hang_up: CancellationToken::new(),
        });
        self.known().by_token.insert(token, Arc::clone(&peer));
        (Token(token), peer)
    }

    /// The connection that rmqtt knows as `remote`; `None` for what did not come through the front.
    pub(super) fn find(&self, remote: Option<SocketAddr>) -> Option<Arc<Peer>> {
        self.known().by_token.get(&remote?).cloned()
    }

    /// Ends what [`Peers::register`] began. The token stays known until enough others have ended.
    pub(super) fn part(&self, token: Token) {
        let mut known = self.known();
        known.gone.push_back(token);
        if known.gone.len() > self.gone_max
            && let Some(oldest) = known.gone.pop_front()
        {
            known.by_token.remove(&oldest.0);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// What rmqtt takes for the address of the connection.
    pub(super) const fn address(self) -> SocketAddr {
        self.0
    }

    /// A PROXY protocol header, version 2, that names the token as the source of a TCP connection over IPv6.
    pub(super) fn proxy_header(self) -> Vec<u8> {
        let ip = match self.0.ip() {
            std::net::IpAddr::V6(ip) => ip,
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        };
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x21, 0x21, 0, 36]);
        header.extend(ip.octets());
        header.extend(Ipv6Addr::LOCALHOST.octets());
        header.extend(self.0.port().to_be_bytes());
        header.extend(0_u16.to_be_bytes());
        header
    }
}
