//! Carries bytes between a connection to a broker and the MQTT library.
//!
//! The library opens its connections itself and takes no other; a Unix socket in the abstract name space, which only this
//! process may connect to, is the door. Beside TLS, IPv6 and WebSocket of our own choice that gives two things: the many small writes of
//! the library (one for each acknowledgement) leave as few large ones, and what the broker says in its last packet is read even when
//! writing to it already fails.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::source::mqtt::dial::{Duplex, Link};

/// Bytes taken from one side before they are given to the other.
const CHUNK_BYTES: usize = 32 * 1024;

/// Where the library meets the relay.
#[derive(Debug)]
pub(in crate::source::mqtt) struct Rendezvous {
    listener: UnixListener,
    name: String,
}

impl Rendezvous {
    /// A door with a name that nobody guesses.
    pub(in crate::source::mqtt) fn open() -> io::Result<Self> {
        let name = format!("\0waypost-{:032x}", fastrand::u128(..));
        Ok(Self { listener: UnixListener::bind(&name)?, name })
    }

    /// What the library connects to.
    pub(in crate::source::mqtt) fn name(&self) -> &str {
        &self.name
    }

    /// The library's end; connections of other processes are closed.
    async fn accept(self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let ours = i32::try_from(std::process::id()).ok();
            if ours.is_some() && stream.peer_cred()?.pid() == ours {
                return Ok(stream);
            }
        }
    }
}

/// What a relay saw, for whoever explains why the connection ended.
#[derive(Debug, Default)]
pub(in crate::source::mqtt) struct Relay {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    first: [u8; FIRST_BYTES],
    first_count: usize,
    ended: Option<io::Error>,
}

const FIRST_BYTES: usize = 4;

impl Relay {
    /// Carries bytes both ways until both ends are closed. What the broker sent before it closed or failed reaches the
    /// library first; what it sends after the library has closed is read and dropped: closing with bytes unread would
    /// make it throw away our last acknowledgements. Dropping the future closes the connection.
    pub(in crate::source::mqtt) async fn run(&self, rendezvous: Rendezvous, link: Link) {
        let library = match rendezvous.accept().await {
            Ok(library) => library,
            Err(error) => return self.ended(error),
        };
        let (from_library, to_library) = library.into_split();
        match link {
            Link::Bytes(stream) => {
                let (from_broker, to_broker) = tokio::io::split(stream);
                let down = self.carry_bytes(from_broker, to_library);
                tokio::join!(carry_up(from_library, to_broker), down);
            }
            Link::WebSocket(socket) => {
                let (to_broker, from_broker) = (*socket).split();
                let down = self.carry_messages(from_broker, to_library);
                tokio::join!(wrap_up(from_library, to_broker), down);
            }
        }
    }

    /// Whether the broker answered a CONNECT of MQTT 5 with the CONNACK of an older version that refuses it.
    pub(in crate::source::mqtt) fn refused_version_in_old_form(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.first_count == FIRST_BYTES && matches!(seen.first, [0x20, 2, _, 1])
    }

    /// The error that ended what the broker sends, once.
    pub(in crate::source::mqtt) fn take_error(&self) -> Option<io::Error> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).ended.take()
    }

    fn ended(&self, error: io::Error) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(error);
    }

    fn note_first(&self, chunk: &[u8], noted: &mut bool) {
        if *noted {
            return;
        }
        let mut guard = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { first, first_count, .. } = &mut *guard;
        for (place, byte) in first.iter_mut().skip(*first_count).zip(chunk) {
            *place = *byte;
            *first_count += 1;
        }
        *noted = *first_count == FIRST_BYTES;
    }

    async fn carry_bytes(
        &self,
        mut broker: impl AsyncRead + Unpin,
        mut library: impl AsyncWrite + Unpin,
    ) {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let mut noted = false;
        loop {
            // Empty here, so this takes the same memory again.
            chunk.reserve(CHUNK_BYTES);
            match broker.read_buf(&mut chunk).await {
                Ok(0) => break,
                Ok(_) => self.note_first(&chunk, &mut noted),
                Err(error) => {
                    self.ended(error);
                    break;
                }
            }
            if library.write_all_buf(&mut chunk).await.is_err() {
                chunk.clear();
            }
        }
        // The library has what came before; this tells it that no more comes.
        drop(library.shutdown().await);
    }

    async fn carry_messages(
        &self,
        mut broker: SplitStream<WebSocketStream<Box<dyn Duplex>>>,
        mut library: impl AsyncWrite + Unpin,
    ) {
        let mut noted = false;
        while let Some(message) = broker.next().await {
            match message {
                Ok(Message::Binary(chunk)) => {
                    self.note_first(&chunk, &mut noted);
                    // Nobody may read it any more.
                    drop(library.write_all(&chunk).await);
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Text(_) | Message::Close(_)) => break,
                Err(error) => {
                    self.ended(io::Error::other(error));
                    break;
                }
            }
        }
        drop(library.shutdown().await);
    }
}

/// Ends when the library closes its end. A broker that takes no more bytes may still have something to say, so errors
/// towards it end nothing.
async fn carry_up(mut library: impl AsyncRead + Unpin, mut broker: impl AsyncWrite + Unpin) {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    let mut open = true;
    while matches!(library.read_buf(&mut chunk).await, Ok(1..)) {
        open =
            open && broker.write_all_buf(&mut chunk).await.is_ok() && broker.flush().await.is_ok();
        chunk.clear();
        chunk.reserve(CHUNK_BYTES);
    }
    if open {
        drop(broker.shutdown().await);
    }
}

/// The same in WebSocket messages.
async fn wrap_up(
    mut library: impl AsyncRead + Unpin,
    mut broker: SplitSink<WebSocketStream<Box<dyn Duplex>>, Message>,
) {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    let mut open = true;
    while matches!(library.read_buf(&mut chunk).await, Ok(1..)) {
        let message: Bytes = chunk.split().freeze();
        open = open && broker.send(Message::Binary(message)).await.is_ok();
        chunk.reserve(CHUNK_BYTES);
    }
    if open {
        drop(broker.close().await);
    }
}
