//! A broker that does what a test tells it to, byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::rig::within;

pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const DISCONNECT: u8 = 0xe0;
const CONNECT: u8 = 0x10;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xc0;

/// A listening peer.
pub(super) struct Peer {
    listener: TcpListener,
    pub(super) port: u16,
}

impl Peer {
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The next connection, its CONNECT read.
    #[track_caller]
    pub(super) fn connected(&self) -> impl Future<Output = Talk> {
        within("a CONNECT comes", async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut talk = Talk { stream, level: 0, subscribed: Vec::new() };
            let connect = talk.expect(CONNECT).await;
            talk.level = connect[6];
            talk
        })
    }

    /// The next connection, accepted and with its subscriptions granted at QoS 1.
    pub(super) async fn welcome(&self, session_present: bool) -> Talk {
        let mut talk = self.connected().await;
        talk.connack(session_present, 0).await;
        talk.subscribed(1).await;
        talk
    }

    /// The next connection, with its session as it was. MQTT 3.1.1 does not subscribe again then.
    pub(super) async fn resume(&self) -> Talk {
        let mut talk = self.connected().await;
        talk.connack(true, 0).await;
        if talk.level == 5 {
            talk.subscribed(1).await;
        }
        talk
    }
}

/// One connection.
pub(super) struct Talk {
    stream: TcpStream,
    /// Protocol level of the CONNECT: 4 or 5.
    pub(super) level: u8,
    /// Filters of the SUBSCRIBE that was read.
    pub(super) subscribed: Vec<String>,
}

impl Talk {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// First byte and body of the next packet; `None` when the other end has closed.
    pub(super) async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((kind, body))
    }

    /// The next packet that is no PINGREQ, which is answered.
    pub(super) async fn answer_pings(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.packet().await? {
                (PINGREQ, _) => self.send(&[0xd0, 0]).await,
                packet => return Some(packet),
            }
        }
    }

    /// The body of the next packet, which must be of this kind.
    #[track_caller]
    pub(super) fn expect(&mut self, kind: u8) -> impl Future<Output = Vec<u8>> {
        within("a packet comes", async move {
            let (found, body) = self.answer_pings().await.expect("the connection is open");
            assert_eq!(found, kind, "expected {kind:#x}, found {found:#x} {body:?}");
            body
        })
    }

    /// The packet id of the next packet, which must be of this kind.
    #[track_caller]
    pub(super) fn expect_id(&mut self, kind: u8) -> impl Future<Output = u16> {
        let body = self.expect(kind);
        async { u16::from_be_bytes(body.await[..2].try_into().unwrap()) }
    }

    pub(super) async fn connack(&mut self, session_present: bool, code: u8) {
        self.connack_with(session_present, code, &[]).await;
    }

    pub(super) async fn connack_with(&mut self, present: bool, code: u8, properties: &[u8]) {
        let mut body = vec![u8::from(present), code];
        self.add_properties(&mut body, properties);
        self.send(&packet(0x20, &body)).await;
    }

    /// Reads a SUBSCRIBE and answers each filter with `code`.
    pub(super) async fn subscribed(&mut self, code: u8) {
        let body = self.expect(SUBSCRIBE).await;
        let mut rest = &body[if self.level == 5 { 3 } else { 2 }..];
        self.subscribed.clear();
        while let [high, low, more @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            self.subscribed.push(String::from_utf8(more[..length].to_vec()).unwrap());
            rest = &more[length + 1..];
        }
        let mut answer = body[..2].to_vec();
        self.add_properties(&mut answer, &[]);
        answer.extend(self.subscribed.iter().map(|_| code));
        self.send(&packet(0x90, &answer)).await;
    }

    pub(super) async fn publish(&mut self, topic: &[u8], qos: u8, id: u16, payload: &[u8]) {
        let mut body = Vec::new();
        body.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend(topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        self.add_properties(&mut body, &[]);
        body.extend(payload);
        self.send(&packet(0x30 | (qos << 1), &body)).await;
    }

    fn add_properties(&self, body: &mut Vec<u8>, properties: &[u8]) {
        if self.level == 5 {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
    }
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}
