//! Carries bytes between a connection to a broker and the MQTT library, and acknowledgements past it.
//!
//! The library opens its connections itself and takes no other; a Unix socket in the abstract name space, which only this
//! process may connect to, is the door. Beside TLS, IPv6 and WebSocket of our own choice that gives three things: what the broker says in its
//! last packet is read even when writing to it already fails; a broker that takes no bytes stops nobody; and acknowledgements, four
//! bytes each, leave many at a time. Through the library each is a request, a poll and a system call of its own
//! (a third of this source's time, measured), and a full queue of requests is a dead-lock.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::event::Qos;
use crate::source::mqtt::dial::{Duplex, Link};
use crate::source::mqtt::ledger::Receipt;

/// Bytes taken from one side before they are given to the other.
const CHUNK_BYTES: usize = 32 * 1024;
/// Acknowledgements that may wait for a broker that does not read them, before no more of its messages are: as many
/// as there are packet ids. Mosquitto 2.0 reads one packet of each connection in turn and sends regardless.
const DUE_BYTES_MAX: usize = 4 * 65_536;
/// First bytes of the packets that acknowledge.
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;

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
    /// PUBACK and PUBREC packets that wait to be written, in order.
    due: Mutex<BytesMut>,
    due_changed: Notify,
    /// The broker has read some bytes, or what was due is being written.
    moved: Notify,
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
                let up = self.carry_up(from_library, ToBroker::Bytes(to_broker));
                tokio::join!(up, self.carry_bytes(from_broker, to_library));
            }
            Link::WebSocket(socket) => {
                let (to_broker, from_broker) = (*socket).split();
                let up = self.carry_up(from_library, ToBroker::WebSocket(to_broker));
                tokio::join!(up, self.carry_messages(from_broker, to_library));
            }
        }
    }

    /// Writes acknowledgements in this order, soon. Never waits.
    pub(in crate::source::mqtt) fn acknowledge(&self, receipts: &[Receipt]) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        for receipt in receipts {
            let kind = match receipt.qos {
                Qos::AtMostOnce => continue,
                Qos::AtLeastOnce => PUBACK,
                Qos::ExactlyOnce => PUBREC,
            };
            // In MQTT 5 the reason "success" may be left out, so both versions look alike.
            due.put_slice(&[kind, 2]);
            due.put_u16(receipt.packet_id);
        }
        drop(due);
        self.due_changed.notify_one();
    }

    /// `false` at once while no more acknowledgements than the bound wait to be written; otherwise `true` as soon as
    /// the broker has read some more. Cancel safe.
    pub(in crate::source::mqtt) async fn held_up(&self) -> bool {
        let moved = self.moved.notified();
        if self.due.lock().unwrap_or_else(PoisonError::into_inner).len() <= DUE_BYTES_MAX {
            return false;
        }
        moved.await;
        true
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

    /// Ends when the library closes its end. A broker that takes no more bytes may still have something to say, so errors
    /// towards it end nothing.
    async fn carry_up(&self, mut library: impl AsyncRead + Unpin, mut broker: ToBroker) {
        let mut framing = Framing::default();
        let mut open = true;
        let (mut chunk, mut out) = (BytesMut::with_capacity(CHUNK_BYTES), BytesMut::new());
        loop {
            let between_packets = framing == Framing::BetweenPackets;
            // Neither branch loses anything when the other one wins.
            let ended = tokio::select! {
                read = library.read_buf(&mut chunk) => !matches!(read, Ok(1..)),
                () = self.due_changed.notified(), if between_packets => false,
            };
            if ended {
                break;
            }
            if between_packets {
                // Before what the library has just written: that may be our DISCONNECT.
                self.take_due(&mut out);
            }
            framing = framing.advance(&chunk);
            out.extend_from_slice(&chunk);
            chunk.clear();
            open = open && broker.send(&mut out, &self.moved).await;
            out.clear();
        }
        if open {
            broker.close().await;
        }
    }

    fn take_due(&self, out: &mut BytesMut) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(&due);
        due.clear();
        drop(due);
        self.moved.notify_waiters();
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

/// The sending half of a connection to a broker.
enum ToBroker {
    Bytes(WriteHalf<Box<dyn Duplex>>),
    WebSocket(SplitSink<WebSocketStream<Box<dyn Duplex>>, Message>),
}

impl ToBroker {
    /// Writes all, and tells of each part that the broker has taken.
    async fn send(&mut self, bytes: &mut BytesMut, moved: &Notify) -> bool {
        match self {
            Self::Bytes(stream) => {
                while !bytes.is_empty() {
                    if !matches!(stream.write_buf(bytes).await, Ok(1..)) {
                        return false;
                    }
                    moved.notify_waiters();
                }
                stream.flush().await.is_ok()
            }
            Self::WebSocket(socket) => {
                while !bytes.is_empty() {
                    let part = bytes.split_to(bytes.len().min(CHUNK_BYTES)).freeze();
                    if socket.send(Message::Binary(part)).await.is_err() {
                        return false;
                    }
                    moved.notify_waiters();
                }
                true
            }
        }
    }

    async fn close(&mut self) {
        match self {
            Self::Bytes(stream) => drop(stream.shutdown().await),
            Self::WebSocket(socket) => drop(socket.close().await),
        }
    }
}

/// Where the library is within the packets that it writes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Framing {
    #[default]
    BetweenPackets,
    /// In the remaining length: what is known of it, and the place of the next seven bits.
    Length { known: usize, shift: u32 },
    /// Bytes of the packet that are still to come.
    Body(usize),
}

impl Framing {
    fn advance(mut self, mut bytes: &[u8]) -> Self {
        while let [first, rest @ ..] = bytes {
            (self, bytes) = match self {
                Self::BetweenPackets => (Self::Length { known: 0, shift: 0 }, rest),
                Self::Length { known, shift } => {
                    let known = known | (usize::from(first & 0x7f) << shift);
                    match (first & 0x80, known) {
                        (0, 0) => (Self::BetweenPackets, rest),
                        (0, length) => (Self::Body(length), rest),
                        // The library writes no more than four bytes of length.
                        _ => (Self::Length { known, shift: (shift + 7).min(21) }, rest),
                    }
                }
                Self::Body(left) => {
                    let taken = left.min(bytes.len());
                    let state = match left - taken {
                        0 => Self::BetweenPackets,
                        left => Self::Body(left),
                    };
                    (state, bytes.get(taken..).unwrap_or_default())
                }
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn acknowledgements_that_a_broker_does_not_read_hold_up_its_messages() {
        let relay = Relay::default();
        let rendezvous = Rendezvous::open().unwrap();
        let library = UnixStream::from_std(connect_abstract(rendezvous.name())).unwrap();
        let (ours, mut broker) = tokio::io::duplex(64);
        let carried = relay.run(rendezvous, Link::Bytes(Box::new(ours)));
        let rest = async {
            let written = exceed_the_bound(&relay).await;
            let held = tokio::time::timeout(Duration::from_millis(50), relay.held_up()).await;
            assert!(held.is_err(), "nothing is held up");
            let mut read = vec![0; 4 * written];
            broker.read_exact(&mut read).await.unwrap();
            assert_eq!(read[..4], [PUBACK, 2, 0, 1]);
            assert_eq!(read[read.len() - 4..], [PUBACK, 2, 0xff, 0xff]);
            let free = async { while relay.held_up().await {} };
            tokio::time::timeout(PATIENCE, free).await.expect("read and free again");
        };
        tokio::select! {
            () = carried => panic!("the relay ended"),
            () = rest => drop(library),
        }
    }

    #[tokio::test]
    async fn a_broker_that_reads_acknowledgements_slowly_is_seen_to_read() {
        let relay = Relay::default();
        let rendezvous = Rendezvous::open().unwrap();
        let library = UnixStream::from_std(connect_abstract(rendezvous.name())).unwrap();
        let (ours, mut broker) = tokio::io::duplex(4096);
        let carried = relay.run(rendezvous, Link::Bytes(Box::new(ours)));
        let rest = async {
            exceed_the_bound(&relay).await;
            // All that is being written is read in 63 parts.
            for part in 1..=60 {
                let mut read = [0; 4096];
                let held_up = async {
                    let (held_up, _) = tokio::join!(relay.held_up(), broker.read_exact(&mut read));
                    held_up
                };
                let held_up = tokio::time::timeout(PATIENCE, held_up).await;
                assert_eq!(held_up, Ok(true), "part {part}");
            }
        };
        tokio::select! {
            () = carried => panic!("the relay ended"),
            () = rest => drop(library),
        }
    }

    /// Has as many acknowledgements being written as there are packet ids, which it says, and twice as many behind them.
    async fn exceed_the_bound(relay: &Relay) -> usize {
        let receipts: Vec<Receipt> =
            (1..=u16::MAX).map(|packet_id| Receipt { packet_id, qos: Qos::AtLeastOnce }).collect();
        relay.acknowledge(&receipts);
        // What the relay has taken to write does not count any more.
        while !relay.due.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        relay.acknowledge(&receipts);
        relay.acknowledge(&receipts);
        receipts.len()
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    fn connect_abstract(name: &str) -> std::os::unix::net::UnixStream {
        use std::os::linux::net::SocketAddrExt as _;
        let name = name.strip_prefix('\0').unwrap();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    #[test]
    fn packets_end_where_they_end_however_they_are_cut() {
        let mut stream = vec![0xc0, 0, 0xc0, 0, 0x82, 3, 1, 2, 3, 0x82, 0xac, 0x02];
        stream.extend([7; 300]);
        stream.extend([0xe0, 0]);
        let ends = [2, 4, 9, 312, 314];
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..500 {
            let (mut framing, mut place) = (Framing::default(), 0);
            while place < stream.len() {
                let next = (place + random.usize(1..60)).min(stream.len());
                framing = framing.advance(&stream[place..next]);
                place = next;
                let between = framing == Framing::BetweenPackets;
                assert_eq!(between, ends.contains(&place), "round {round}, at {place}");
            }
        }
    }
}
