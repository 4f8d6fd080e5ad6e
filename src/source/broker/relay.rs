//! Bytes both ways between a device and the broker, with the acknowledgements held back that are not due.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::gate::CUSTODY_WAIT_MAX;
use super::peers::Peer;
use super::puback::{Puback, Splitter};
use crate::source::{Problem, Verdict};

/// How long the broker may take to end a session whose client is gone: as long as it waits for custody.
const ENDING_MAX: Duration = Duration::from_secs(40);
/// Bytes moved at once in one direction.
const CHUNK: usize = 16 * 1024;
/// PUBACKs held back at once; with more the broker has to wait.
const HELD_MAX: usize = 4096;

/// Passes on what the device and the broker send, after what the broker has `answered` so far. Ends when the broker has
/// closed, or has had its time to do so after the device has, or when a client without negative answers must not get an
/// answer.
pub(super) async fn both_ways<Io>(
    (mut device_reads, device_writes): (ReadHalf<Io>, WriteHalf<Io>),
    broker: TcpStream,
    answered: Vec<u8>,
    peer: &Peer,
) -> Result<(), Problem>
where
    Io: AsyncRead + AsyncWrite,
{
    let (mut broker_reads, mut broker_writes) = broker.into_split();
    let inwards = async {
        pump(&mut device_reads, &mut broker_writes).await;
        peer.leave();
        // The broker sees the end, publishes the will and closes.
        broker_writes.shutdown().await.ok();
        tokio::time::sleep(ENDING_MAX).await;
    };
    let outwards = Outwards::new(device_writes, peer, CUSTODY_WAIT_MAX);
    tokio::select! {
        () = inwards => Ok(()),
        ended = outwards.pass(&mut broker_reads, answered) => match ended {
            Ended::Closed | Ended::NotStored => Ok(()),
            Ended::Confused => Err(Problem::Protocol),
        },
    }
}

/// Moves bytes until the end of either side. Holds no buffer while it waits for bytes: most devices are silent
/// most of the time.
async fn pump<From, To>(from: &mut From, to: &mut To)
where
    From: AsyncRead + Unpin,
    To: AsyncWrite + Unpin,
{
    while let Ok(bytes) = read_some(from).await {
        let written = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        if bytes.is_empty() || written.await.is_err() {
            return;
        }
    }
}

/// What is there to read, as soon as there is something; empty at the end.
pub(super) async fn read_some<From: AsyncRead + Unpin>(from: &mut From) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; CHUNK];
        let mut buffer = ReadBuf::uninit(&mut space);
        Pin::new(&mut *from).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().to_vec())
    })
    .await
}

/// Why nothing more goes out to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Either side has closed.
    Closed,
    /// A message is not stored, which a client before MQTT 5 cannot be told.
    NotStored,
    /// The broker's answers are not those that were promised. Nobody knows what they are for.
    Confused,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// What goes out to a device.
struct Outwards<'a, To> {
    device: To,
    peer: &'a Peer,
    wait_max: Duration,
    splitter: Splitter,
    held: VecDeque<Puback>,
}

impl<'a, To: AsyncWrite + Unpin> Outwards<'a, To> {
    fn new(device: To, peer: &'a Peer, wait_max: Duration) -> Self {
        Self { device, peer, wait_max, splitter: Splitter::default(), held: VecDeque::new() }
    }

    /// Passes on what `broker` sends after what it has `answered`.
    async fn pass(mut self, broker: &mut (impl AsyncRead + Unpin), answered: Vec<u8>) -> Ended {
        let passed = self.pass_on(broker, answered).await;
        // What the broker has answered is answered, also when it has closed since.
        self.device.shutdown().await.ok();
        passed.err().unwrap_or(Ended::Closed)
    }

    async fn pass_on(
        &mut self,
        broker: &mut (impl AsyncRead + Unpin),
        mut answered: Vec<u8>,
    ) -> Result<(), Ended> {
        let mut is_open = true;
        let late = tokio::time::sleep(self.wait_max);
        tokio::pin!(late);
        loop {
            self.send(&answered).await?;
            if !is_open && self.held.is_empty() {
                return Ok(());
            }
            answered = tokio::select! {
                bytes = read_some(broker), if is_open && self.held.len() < HELD_MAX => {
                    let bytes = bytes.unwrap_or_default();
                    is_open = !bytes.is_empty();
                    bytes
                }
                () = self.peer.acks.changed(), if !self.held.is_empty() => Vec::new(),
                () = &mut late, if !self.held.is_empty() => {
                    let oldest = self.peer.acks.oldest().unwrap_or_else(Instant::now);
                    late.as_mut().reset(oldest + self.wait_max);
                    Vec::new()
                }
            };
        }
    }

    /// Sends what the broker has `answered`, and every PUBACK that is due.
    async fn send(&mut self, answered: &[u8]) -> Result<(), Ended> {
        let mut out = Vec::with_capacity(answered.len());
        let taken = self.splitter.take(answered, &mut out, &mut self.held);
        let released = taken.map_err(|_| Ended::Confused).and_then(|()| self.release(&mut out));
        if !out.is_empty() {
            self.device.write_all(&out).await?;
            self.device.flush().await?;
        }
        released
    }

    fn release(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        let peer = self.peer;
        let mut next = || peer.acks.next(&mut self.held, self.wait_max);
        while let Some((puback, verdict)) = next().map_err(|_| Ended::Confused)? {
            if verdict == Verdict::Refused && !peer.speaks_mqtt5() {
                peer.notes().is_not_stored = true;
                return Err(Ended::NotStored);
            }
            puback.write(verdict, out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;
    use crate::source::broker::peers::Peers;
    use crate::source::broker::tests::context;

    const WAIT: Duration = Duration::from_millis(300);

    fn peer(is_mqtt5: bool) -> Arc<Peer> {
        let (context, _) = context(&["#"]);
        let peers = Peers::new(1, Arc::clone(&context.health));
        let anywhere = "127.0.0.1:1".parse().unwrap();
        let (_, peer) = peers.register(anywhere, anywhere);
        peer.speaks(is_mqtt5);
        peer
    }

    /// What a device gets of the broker's `answers` when nobody resolves anything further.
    async fn sent(peer: &Peer, answers: &[u8]) -> (Ended, Vec<u8>) {
        let (mut device, to): (DuplexStream, _) = duplex(1024);
        let (mut broker, mut says) = duplex(1024);
        says.write_all(answers).await.unwrap();
        drop(says);
        let ended = Outwards::new(to, peer, WAIT).pass(&mut broker, Vec::new()).await;
        let mut got = Vec::new();
        device.read_to_end(&mut got).await.unwrap();
        (ended, got)
    }

    #[tokio::test]
    async fn custody_is_waited_for_so_long_and_no_longer() {
        for (is_mqtt5, expected) in [
            (true, (Ended::Closed, &[0xd0, 0, 0x40, 3, 0, 1, 0x97][..])),
            (false, (Ended::NotStored, &[0xd0, 0][..])),
        ] {
            let peer = peer(is_mqtt5);
            let _custody = peer.acks.promise(peer.acks.try_place().unwrap(), 1);
            let started = Instant::now();
            let (ended, got) = sent(&peer, &[0x40, 2, 0, 1, 0xd0, 0]).await;
            assert!(started.elapsed() >= WAIT);
            assert_eq!((ended, &got[..]), expected, "PINGRESP did not wait");
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_promised_ends_the_connection() {
        let peer = peer(true);
        assert_eq!(sent(&peer, &[0x40, 2, 0, 1]).await, (Ended::Confused, vec![]));
        peer.acks.keep_turn(2).await;
        assert_eq!(sent(&peer, &[0x40, 2, 0, 1]).await, (Ended::Confused, vec![]));
        assert_eq!(sent(&peer, &[0x40, 2, 0, 2]).await, (Ended::Closed, vec![0x40, 2, 0, 2]));
    }
}
