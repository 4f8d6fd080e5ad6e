//! Records as bytes: bincode 1.3.3 (little endian, fixed width) of structs that are frozen.
//!
//! A field is never added to, taken from or moved within `RecordV1` and what it holds: bincode does not describe
//! itself, so old bytes would decode as nonsense. A new shape is a new struct, and a new variant at the end of `EventV1`:
//! bytes of every earlier version are read for ever, and an earlier version takes bytes of a later one for damage.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bincode::Options;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::UnixMillis;
use crate::event::{
    Event, EventKind, Message, Occurrence, PublishProperties, Qos, Record, Replay, What,
};
use crate::name::{RecordId, RuleName, SourceName};
use crate::topic::Topic;

/// Bytes of the length in front of each record.
const LENGTH_BYTES: usize = 4;

/// Bytes that are not a record: damage, or a newer version of the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record")]
pub(super) struct NotARecord;

/// A byte string that bincode copies in one piece instead of byte by byte.
#[derive(Debug, Clone, Copy)]
struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordV1<'a> {
    #[serde(borrow)]
    rule: &'a str,
    accepted_at_ms: u64,
    #[serde(borrow)]
    event: EventV1<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
enum EventV1<'a> {
    #[serde(borrow)]
    MessagePublish(MessagePublishV1<'a>),
    #[serde(borrow)]
    Output(OutputV1<'a>),
    #[serde(borrow)]
    Replayed(ReplayedV1<'a>),
    #[serde(borrow)]
    Occurrence(OccurrenceV1<'a>),
}

/// An event that comes back from the dead letters, and what is kept of its letter.
#[derive(Debug, Serialize, Deserialize)]
struct ReplayedV1<'a> {
    record_id: &'a str,
    edited_from: Option<&'a str>,
    /// The bincode of an `EventV1` that is not a replayed one.
    #[serde(borrow)]
    event: Blob<'a>,
}

/// An event of any kind, and what a rule made of it.
#[derive(Debug, Serialize, Deserialize)]
struct OccurrenceV1<'a> {
    source: &'a str,
    received_at_ms: u64,
    /// Its name in the catalogue.
    kind: &'a str,
    /// A JSON object of the columns that are known, but for the payload.
    columns: &'a str,
    #[serde(borrow)]
    payload: Option<Blob<'a>>,
    #[serde(borrow)]
    output: Option<Blob<'a>>,
}

/// What a rule made of a message, and the message without its payload.
#[derive(Debug, Serialize, Deserialize)]
struct OutputV1<'a> {
    #[serde(borrow)]
    message: MessagePublishV1<'a>,
    #[serde(borrow)]
    output: Blob<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MessagePublishV1<'a> {
    id: [u8; 16],
    source: &'a str,
    received_at_ms: u64,
    topic: &'a str,
    #[serde(borrow)]
    payload: Blob<'a>,
    qos: u8,
    retain: bool,
    dup: bool,
    client_id: Option<&'a str>,
    username: Option<&'a str>,
    peer: Option<PeerV1>,
    #[serde(borrow)]
    properties: Option<PropertiesV1<'a>>,
}

/// IPv4 addresses as IPv4-mapped IPv6.
#[derive(Debug, Serialize, Deserialize)]
struct PeerV1 {
    ip: [u8; 16],
    port: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct PropertiesV1<'a> {
    payload_format_indicator: Option<u8>,
    message_expiry_interval: Option<u32>,
    content_type: Option<&'a str>,
    response_topic: Option<&'a str>,
    #[serde(borrow)]
    correlation_data: Option<Blob<'a>>,
    #[serde(borrow)]
    user_properties: Vec<(&'a str, &'a str)>,
}

/// Appends the record to `out`: its length (u32, little endian), then its bincode.
pub(super) fn encode(record: &Record, accepted_at: UnixMillis, out: &mut Vec<u8>) {
    let output = record.output.as_deref().map(Blob);
    let columns;
    let event = match &record.event.what {
        What::Published(message) => {
            let message = message_v1(&record.event, message);
            match output {
                None => EventV1::MessagePublish(message),
                Some(output) => EventV1::Output(OutputV1 { message, output }),
            }
        }
        What::Other(occurrence) => {
            columns = serde_json::to_string(occurrence.columns()).expect("keys are texts");
            EventV1::Occurrence(OccurrenceV1 {
                source: record.event.source.as_str(),
                received_at_ms: record.event.received_at.0,
                kind: occurrence.kind().name(),
                columns: &columns,
                payload: occurrence.payload().map(|payload| Blob(payload)),
                output,
            })
        }
    };
    let (rule, accepted_at_ms) = (record.rule.as_str(), accepted_at.0);
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    match &record.replay {
        None => write(&RecordV1 { rule, accepted_at_ms, event }, out),
        Some(replay) => {
            let mut inner = Vec::new();
            write(&event, &mut inner);
            let event = EventV1::Replayed(ReplayedV1 {
                record_id: replay.record_id.as_str(),
                edited_from: replay.edited_from.as_ref().map(RecordId::as_str),
                event: Blob(&inner),
            });
            write(&RecordV1 { rule, accepted_at_ms, event }, out);
        }
    }
    let length = u32::try_from(out.len() - start - LENGTH_BYTES)
        .expect("MQTT packets, and so records, are below 256 MiB");
    if let Some(prefix) = out.get_mut(start..start + LENGTH_BYTES) {
        prefix.copy_from_slice(&length.to_le_bytes());
    }
}

fn message_v1<'a>(event: &'a Event, message: &'a Message) -> MessagePublishV1<'a> {
    MessagePublishV1 {
        id: message.id,
        source: event.source.as_str(),
        received_at_ms: event.received_at.0,
        topic: message.topic.as_str(),
        payload: Blob(&message.payload),
        qos: message.qos.level(),
        retain: message.retain,
        dup: message.dup,
        client_id: message.client_id.as_deref(),
        username: message.username.as_deref(),
        peer: message.peer.map(|peer| PeerV1 {
            ip: match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            },
            port: peer.port(),
        }),
        properties: message.properties.as_deref().map(properties_v1),
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    options().serialize_into(out, value).expect("writing a plain struct into memory");
}

/// Reads exactly one value out of all of `bytes`.
fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, NotARecord> {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    options().with_limit(limit).deserialize(bytes).map_err(|_| NotARecord)
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

fn properties_v1(properties: &PublishProperties) -> PropertiesV1<'_> {
    PropertiesV1 {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_interval,
        content_type: properties.content_type.as_deref(),
        response_topic: properties.response_topic.as_deref(),
        correlation_data: properties.correlation_data.as_deref().map(Blob),
        user_properties: properties
            .user_properties
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
    }
}

/// Reads the records of a chunk one after the other; equal neighbours share their names.
#[derive(Debug)]
pub(super) struct RecordDecoder<'a> {
    rest: &'a [u8],
    rule: Option<RuleName>,
    source: Option<SourceName>,
}

impl<'a> RecordDecoder<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, rule: None, source: None }
    }

    /// Whether everything was read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next record and when it was accepted.
    pub(super) fn next_record(&mut self) -> Result<(Record, UnixMillis), NotARecord> {
        let (length, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>().ok_or(NotARecord)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotARecord)?;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(NotARecord)?;
        let record: RecordV1 = read(bytes)?;
        let accepted_at = UnixMillis(record.accepted_at_ms);
        let (event, replay) = match record.event {
            EventV1::Replayed(replayed) => (read(replayed.event.0)?, Some(replay_of(&replayed)?)),
            event => (event, None),
        };
        let (source, received_at_ms, what, output) = match event {
            EventV1::MessagePublish(message) => {
                (message.source, message.received_at_ms, published(message)?, None)
            }
            EventV1::Output(OutputV1 { message, output }) => {
                (message.source, message.received_at_ms, published(message)?, Some(output))
            }
            EventV1::Occurrence(occurrence) => (
                occurrence.source,
                occurrence.received_at_ms,
                What::Other(Box::new(occurrence_of(&occurrence)?)),
                occurrence.output,
            ),
            EventV1::Replayed(_) => return Err(NotARecord),
        };
        let output = output.map(|output| Bytes::copy_from_slice(output.0));
        let rule = match &self.rule {
            Some(rule) if rule.as_str() == record.rule => rule.clone(),
            _ => RuleName::new(record.rule).map_err(|_| NotARecord)?,
        };
        self.rule = Some(rule.clone());
        let source = match &self.source {
            Some(known) if known.as_str() == source => known.clone(),
            _ => SourceName::new(source).map_err(|_| NotARecord)?,
        };
        self.source = Some(source.clone());
        let event = Arc::new(Event { source, received_at: UnixMillis(received_at_ms), what });
        self.rest = rest;
        Ok((Record { rule, event, output, replay }, accepted_at))
    }
}

fn replay_of(replayed: &ReplayedV1<'_>) -> Result<Arc<Replay>, NotARecord> {
    let id = |text| RecordId::new(text).map_err(|_| NotARecord);
    let edited_from = replayed.edited_from.map(id).transpose()?;
    Ok(Arc::new(Replay { record_id: id(replayed.record_id)?, edited_from }))
}

fn occurrence_of(stored: &OccurrenceV1<'_>) -> Result<Occurrence, NotARecord> {
    let kind = EventKind::named(stored.kind).ok_or(NotARecord)?;
    let columns = serde_json::from_str(stored.columns).map_err(|_| NotARecord)?;
    let occurrence = Occurrence::with_columns(kind, columns);
    Ok(match stored.payload {
        Some(payload) => occurrence.with_payload(Bytes::copy_from_slice(payload.0)),
        None => occurrence,
    })
}

fn published(publish: MessagePublishV1<'_>) -> Result<What, NotARecord> {
    let peer = publish.peer.map(|peer| {
        let ip = Ipv6Addr::from(peer.ip);
        SocketAddr::new(ip.to_canonical(), peer.port)
    });
    let properties = publish.properties.map(|properties| {
        Box::new(PublishProperties {
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type.map(str::to_owned),
            response_topic: properties.response_topic.map(str::to_owned),
            correlation_data: properties
                .correlation_data
                .map(|data| Bytes::copy_from_slice(data.0)),
            user_properties: properties
                .user_properties
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        })
    });
    Ok(What::Published(Message {
        id: publish.id,
        topic: Topic::new(publish.topic).map_err(|_| NotARecord)?,
        payload: Bytes::copy_from_slice(publish.payload.0),
        qos: Qos::from_level(publish.qos).ok_or(NotARecord)?,
        retain: publish.retain,
        dup: publish.dup,
        client_id: publish.client_id.map(Arc::from),
        username: publish.username.map(Arc::from),
        peer,
        properties,
    }))
}
