//! A device made of bytes: every packet is written and read as it stands on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing in these tests may take longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test watches for something that must not come.
pub(super) const WATCH: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V311,
    V5,
}

pub(super) const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// A packet: its first byte and what follows the length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) first: u8,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) version: Version,
    pub(super) client_id: &'a str,
    pub(super) user: Option<(&'a str, &'a str)>,
    pub(super) will: Option<(&'a str, &'a [u8])>,
    pub(super) clean: bool,
}

impl<'a> Login<'a> {
    pub(super) fn new(version: Version, client_id: &'a str) -> Self {
        Self { version, client_id, user: None, will: None, clean: true }
    }

    pub(super) fn packet(self) -> Vec<u8> {
        let v5 = self.version == Version::V5;
        let mut flags = if self.clean { 0b10 } else { 0 };
        let mut payload = text(self.client_id);
        if let Some((topic, message)) = self.will {
            flags |= 0b0000_1100; // with QoS 1
            if v5 {
                payload.push(0);
            }
            payload.extend(text(topic));
            payload.extend(bytes(message));
        }
        if let Some((name, password)) = self.user {
            flags |= 0b1100_0000;
            payload.extend(text(name));
            payload.extend(text(password));
        }
        let mut body = text("MQTT");
        body.extend([if v5 { 5 } else { 4 }, flags, 0, 60]);
        if v5 {
            body.push(0);
        }
        body.extend(payload);
        packet(0x10, &body)
    }
}

pub(super) fn bytes(data: &[u8]) -> Vec<u8> {
    let mut encoded = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    encoded.extend(data);
    encoded
}

pub(super) fn text(data: &str) -> Vec<u8> {
    bytes(data.as_bytes())
}

pub(in crate::source::broker) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        packet.push(if rest > 0 { digit | 128 } else { digit });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A PUBLISH; `qos` 1 and 2 carry `packet_id`.
pub(super) fn publish(
    version: Version,
    topic: &str,
    qos: u8,
    packet_id: u16,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | (qos << 1) | flags, &body)
}

impl Packet {
    /// Of a CONNACK of MQTT 5: whether retained messages are supported. Absent means they are.
    pub(super) fn retain_available(&self) -> bool {
        let mut properties = &self.body[3..];
        loop {
            // The lengths of what may come (MQTT 5 section 3.2.2.3), the texts apart.
            let length = match properties {
                [] => return true,
                [0x25, available, ..] => return *available == 1,
                [0x11 | 0x27, ..] => 4,
                [0x21 | 0x22 | 0x13, ..] => 2,
                [0x24 | 0x28 | 0x29 | 0x2a, ..] => 1,
                other => panic!("unexpected property {other:?}"),
            };
            properties = &properties[1 + length..];
        }
    }
}

/// What a device sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Packet(Packet),
    Closed,
    Nothing,
}

impl Seen {
    /// The packet id of a PUBACK or PUBREC of success.
    #[track_caller]
    pub(super) fn packet_id(self) -> u16 {
        let (_, packet_id, reason) = answer(self);
        assert!(reason < 0x80, "refused with {reason:#x}");
        packet_id
    }
}

pub(super) struct Device<Io = TcpStream> {
    io: Io,
    pub(super) version: Version,
}

impl Device {
    /// A connected device; panics unless it is let in.
    pub(super) async fn connect(address: SocketAddr, login: Login<'_>) -> Self {
        let mut device = Self::open(address, login.version).await;
        let code = device.login(login).await;
        assert_eq!(code, Some(0), "{login:?} is let in");
        device
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.io.local_addr().unwrap()
    }

    pub(super) async fn open(address: SocketAddr, version: Version) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), version)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Device<Io> {
    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    pub(super) fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    pub(super) fn over(io: Io, version: Version) -> Self {
        Self { io, version }
    }

    /// Sends CONNECT and gives the CONNACK.
    pub(super) async fn connack(&mut self, login: Login<'_>) -> Packet {
        self.send(&login.packet()).await;
        match self.see(PATIENCE).await {
            Seen::Packet(packet) if packet.first == 0x20 => packet,
            other => panic!("expected CONNACK, saw {other:?}"),
        }
    }

    /// Sends CONNECT; the code of the CONNACK, or none when the connection is closed, even before.
    pub(super) async fn try_login(&mut self, login: Login<'_>) -> Option<u8> {
        self.io.write_all(&login.packet()).await.ok()?;
        match self.see(PATIENCE).await {
            Seen::Packet(Packet { first: 0x20, body }) => Some(body[1]),
            _ => None,
        }
    }

    /// Sends CONNECT; the code of the CONNACK, or none when the connection was closed instead.
    pub(super) async fn login(&mut self, login: Login<'_>) -> Option<u8> {
        self.send(&login.packet()).await;
        match self.see(PATIENCE).await {
            Seen::Packet(Packet { first: 0x20, body }) => Some(body[1]),
            Seen::Closed => None,
            other => panic!("expected CONNACK, saw {other:?}"),
        }
    }

    pub(super) async fn send(&mut self, data: &[u8]) {
        self.io.write_all(data).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// The next packet, or the end, or nothing within `patience`.
    pub(super) async fn see(&mut self, patience: Duration) -> Seen {
        match tokio::time::timeout(patience, self.read()).await {
            Ok(Ok(packet)) => Seen::Packet(packet),
            Ok(Err(_)) => Seen::Closed,
            Err(_) => Seen::Nothing,
        }
    }

    async fn read(&mut self) -> std::io::Result<Packet> {
        let first = self.io.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let digit = self.io.read_u8().await?;
            length |= usize::from(digit & 127) << shift;
            shift += 7;
            if digit < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await?;
        Ok(Packet { first, body })
    }

    pub(super) async fn publish(&mut self, topic: &str, qos: u8, packet_id: u16, payload: &[u8]) {
        self.send(&publish(self.version, topic, qos, packet_id, 0, payload)).await;
    }

    /// Subscribes with QoS 1 and gives the code of the SUBACK.
    pub(super) async fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 1];
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(1);
        self.send(&packet(0x82, &body)).await;
        match self.see(PATIENCE).await {
            Seen::Packet(Packet { first: 0x90, body }) => *body.last().unwrap(),
            other => panic!("expected SUBACK for {filter}, saw {other:?}"),
        }
    }

    /// The topic and payload of the next PUBLISH.
    pub(super) async fn message(&mut self) -> (String, Vec<u8>) {
        let Seen::Packet(Packet { first, body }) = self.see(PATIENCE).await else {
            panic!("expected PUBLISH")
        };
        assert_eq!(first >> 4, 3, "expected PUBLISH, saw {first:#x}");
        let topic_length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + topic_length].to_vec()).unwrap();
        let mut payload_start = 2 + topic_length + if first & 0b110 > 0 { 2 } else { 0 };
        if self.version == Version::V5 {
            payload_start += 1 + usize::from(body[payload_start]);
        }
        (topic, body[payload_start..].to_vec())
    }
}

/// A success PUBACK for `packet_id`.
pub(super) fn puback(packet_id: u16) -> Seen {
    Seen::Packet(Packet { first: 0x40, body: packet_id.to_be_bytes().to_vec() })
}

/// What `seen` answers to a PUBLISH: its first byte, packet id and reason.
pub(super) fn answer(seen: Seen) -> (u8, u16, u8) {
    let Seen::Packet(Packet { first, body }) = seen else { panic!("no answer: {seen:?}") };
    (first, u16::from_be_bytes([body[0], body[1]]), body.get(2).copied().unwrap_or(0))
}
