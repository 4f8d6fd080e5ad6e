//! What a dead letter says, and its bytes.
//!
//! A letter is stored as a head, which lists and groups are made of, and a body with the record and the answer. Both
//! are values that say themselves what they are, so that they can be told from damage and found in a raw file. Layout,
//! little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `WPdl` |
//! | 4 | 1 | version, 1; stands for the version of the record's bytes, too |
//! | 5 | 1 | 0 head, 1 part of a body |
//! | 6 | 2 | bytes of the key |
//! | 8 | 4 | bytes of the content |
//! | 12 | 4 | CRC-32C of bytes 0 to 12, the key and the content |
//! | 16 | | the key, then the content |
//!
//! The content of a head is the bincode of `HeadV1`. The content of a body, its parts joined, is the record as
//! [`super::super::codec`] writes it, then the answer.
//!
//! Keys: of a head the sink's name, a zero byte, the number in the record id (u64, big endian) and the record id, so
//! that a record id has one letter in a sink and a sink's letters are in the order of its records; of a part of a body
//! the letter's number (u64, big endian) and the part (u16, big endian).

use bincode::Options;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::event::Record;
use crate::name::{RecordId, RuleName, SinkName};
use crate::store::chunk::Damaged;
use crate::store::codec::{self, RecordDecoder};

/// Starts every value.
pub(super) const MAGIC: [u8; 4] = *b"WPdl";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const CRC_AT: usize = 12;
/// Largest value that is stored.
pub(super) const VALUE_BYTES_MAX: usize = 7 * 1024;
/// Longest key; names and ids are far below.
pub(super) const KEY_BYTES_MAX: usize = 512;
const PART_BYTES_MAX: usize = VALUE_BYTES_MAX - HEADER_BYTES - 10;
/// The answer's first bytes are kept.
pub const ANSWER_BYTES_MAX: usize = 1024;
/// Of the reason in words.
const WHY_BYTES_MAX: usize = 512;
/// Of the topic in a head; the record has all of it.
const TOPIC_BYTES_MAX: usize = 256;

/// Why a record became a dead letter: the `reason` label of `waypost_records_dead_lettered_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// The service would not have this record.
    Rejected,
    /// The service fails on this record and takes others.
    Poison,
    /// The record alone is too large for the service or the link.
    TooLarge,
    /// It waited longer than the sink's `max_age`.
    MaxAge,
    /// It was tried as often as the sink's `max_attempts`.
    MaxAttempts,
    /// Its queue was full, under `when_full = "dead_letter"`.
    QueueFull,
}

impl DeadLetterReason {
    /// Every reason there is.
    pub const ALL: [Self; 6] = [
        Self::Rejected,
        Self::Poison,
        Self::TooLarge,
        Self::MaxAge,
        Self::MaxAttempts,
        Self::QueueFull,
    ];

    /// The value of the label, and the word on the command line and in the database.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Poison => "poison",
            Self::TooLarge => "too_large",
            Self::MaxAge => "max_age",
            Self::MaxAttempts => "max_attempts",
            Self::QueueFull => "queue_full",
        }
    }

    /// The reason with this label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
    }
}

/// A record that was given up, with everything that is needed to understand that and to send it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The sink that could not deliver it.
    pub sink: SinkName,
    /// Unique among the letters of the sink.
    pub record_id: RecordId,
    /// The record as it was in the queue.
    pub record: Record,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// The same in words, such as the last failure; cut after 512 bytes.
    pub why: String,
    /// The last answer's status, where there was one.
    pub status: Option<u16>,
    /// The first bytes of the last answer's body; cut after [`ANSWER_BYTES_MAX`].
    pub answer: Bytes,
    /// Failed attempts that the service got.
    pub attempts: u32,
    /// When it was sent first.
    pub first_attempt_at: Option<UnixMillis>,
    /// When it was sent last.
    pub last_attempt_at: Option<UnixMillis>,
    /// The id of the letter that this one was edited from.
    pub edited_from: Option<RecordId>,
}

/// Which letter: a record id has one in a sink. Ordered by sink, then as the records of the sink came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterKey {
    /// The sink that could not deliver it.
    pub sink: SinkName,
    /// The id of its record.
    pub record_id: RecordId,
}

impl LetterKey {
    /// The key of its head.
    pub(super) fn head_key(&self) -> Vec<u8> {
        head_key(&self.sink, &self.record_id)
    }
}

/// What lists and groups know of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterHead {
    /// Grows from letter to letter; the same record id gets a new one when it comes again.
    pub letter: u64,
    /// The sink that could not deliver it.
    pub sink: SinkName,
    /// Unique among the letters of the sink.
    pub record_id: RecordId,
    /// The rule that sent it there.
    pub rule: RuleName,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// The same in words.
    pub why: String,
    /// The last answer's status, where there was one.
    pub status: Option<u16>,
    /// The record's topic, its first bytes.
    pub topic: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When the record was accepted.
    pub accepted_at: UnixMillis,
    /// When it was sent first.
    pub first_attempt_at: Option<UnixMillis>,
    /// When it was sent last.
    pub last_attempt_at: Option<UnixMillis>,
    /// When it became a letter.
    pub dead_at: UnixMillis,
    /// The id of the letter that this one was edited from.
    pub edited_from: Option<RecordId>,
    /// Bytes of the record and the answer.
    pub body_bytes: u32,
}

impl DeadLetterHead {
    /// Which letter it is the head of.
    #[must_use]
    pub fn letter_key(&self) -> LetterKey {
        LetterKey { sink: self.sink.clone(), record_id: self.record_id.clone() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct HeadV1<'a> {
    letter: u64,
    sink: &'a str,
    record_id: &'a str,
    rule: &'a str,
    reason: &'a str,
    why: &'a str,
    status: Option<u16>,
    topic: &'a str,
    attempts: u32,
    accepted_at_ms: u64,
    first_attempt_at_ms: Option<u64>,
    last_attempt_at_ms: Option<u64>,
    dead_at_ms: u64,
    edited_from: Option<&'a str>,
    body_bytes: u32,
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A letter as it is stored.
#[derive(Debug)]
pub(super) struct Encoded {
    pub head: Entry,
    pub body: Vec<Entry>,
    pub said: DeadLetterHead,
}

impl Encoded {
    /// Bytes of the keys and values.
    pub(super) fn bytes(&self) -> u64 {
        let parts = std::iter::once(&self.head).chain(&self.body);
        parts.map(|entry| as_u64(entry.key.len() + entry.value.len())).sum()
    }
}

/// Which kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    Body,
}

impl DeadLetterHead {
    /// The key of this head.
    pub(super) fn key(&self) -> Vec<u8> {
        head_key(&self.sink, &self.record_id)
    }

    /// Parts of its body.
    pub(super) fn parts(&self) -> u16 {
        let bytes = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
        u16::try_from(bytes.div_ceil(PART_BYTES_MAX)).unwrap_or(u16::MAX)
    }

    /// Bytes of the keys and values of a letter whose head takes `head_bytes` with its key.
    pub(super) fn stored_bytes(&self, head_bytes: usize) -> u64 {
        const PER_PART: u64 = 2 * 10 + 16;
        as_u64(head_bytes) + u64::from(self.body_bytes) + u64::from(self.parts()) * PER_PART
    }

    /// Reads the content of a head.
    pub(super) fn decode(content: &[u8]) -> Result<Self, Damaged> {
        let head: HeadV1<'_> = options().deserialize(content).map_err(|_| Damaged)?;
        Ok(Self {
            letter: head.letter,
            sink: SinkName::new(head.sink).map_err(|_| Damaged)?,
            record_id: RecordId::new(head.record_id).map_err(|_| Damaged)?,
            rule: RuleName::new(head.rule).map_err(|_| Damaged)?,
            reason: DeadLetterReason::from_label(head.reason).ok_or(Damaged)?,
            why: head.why.to_owned(),
            status: head.status,
            topic: head.topic.to_owned(),
            attempts: head.attempts,
            accepted_at: UnixMillis(head.accepted_at_ms),
            first_attempt_at: head.first_attempt_at_ms.map(UnixMillis),
            last_attempt_at: head.last_attempt_at_ms.map(UnixMillis),
            dead_at: UnixMillis(head.dead_at_ms),
            edited_from: head.edited_from.map(RecordId::new).transpose().map_err(|_| Damaged)?,
            body_bytes: head.body_bytes,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let head = HeadV1 {
            letter: self.letter,
            sink: self.sink.as_str(),
            record_id: self.record_id.as_str(),
            rule: self.rule.as_str(),
            reason: self.reason.label(),
            why: &self.why,
            status: self.status,
            topic: &self.topic,
            attempts: self.attempts,
            accepted_at_ms: self.accepted_at.0,
            first_attempt_at_ms: self.first_attempt_at.map(|at| at.0),
            last_attempt_at_ms: self.last_attempt_at.map(|at| at.0),
            dead_at_ms: self.dead_at.0,
            edited_from: self.edited_from.as_ref().map(RecordId::as_str),
            body_bytes: self.body_bytes,
        };
        options().serialize(&head).expect("writing a plain struct into memory")
    }
}

/// The bytes of a letter that gets the number `letter` now.
pub(super) fn encode(letter: u64, dead: &DeadLetter, dead_at: UnixMillis) -> Encoded {
    let mut body = Vec::new();
    // The letter has the id itself.
    let record = Record { replay: None, ..dead.record.clone() };
    codec::encode(&record, dead.accepted_at, &mut body);
    body.extend_from_slice(dead.answer.get(..ANSWER_BYTES_MAX).unwrap_or(&dead.answer));
    let said = DeadLetterHead {
        letter,
        sink: dead.sink.clone(),
        record_id: dead.record_id.clone(),
        rule: dead.record.rule.clone(),
        reason: dead.reason,
        why: clipped(&dead.why, WHY_BYTES_MAX).to_owned(),
        status: dead.status,
        topic: clipped(dead.record.event.topic().unwrap_or_default(), TOPIC_BYTES_MAX).to_owned(),
        attempts: dead.attempts,
        accepted_at: dead.accepted_at,
        first_attempt_at: dead.first_attempt_at,
        last_attempt_at: dead.last_attempt_at,
        dead_at,
        edited_from: dead.edited_from.clone(),
        body_bytes: u32::try_from(body.len()).expect("records end at 256 MiB"),
    };
    let parts = (0_u16..).zip(body.chunks(PART_BYTES_MAX));
    let body = parts.map(|(part, piece)| entry(Kind::Body, body_key(letter, part), piece));
    let body = body.collect();
    Encoded { head: entry(Kind::Head, said.key(), &said.encode()), body, said }
}

/// The letter of a head and the joined content of its body.
pub(super) fn decode(head: DeadLetterHead, body: &[u8]) -> Result<DeadLetter, Damaged> {
    let mut decoder = RecordDecoder::new(body);
    let (record, accepted_at) = decoder.next_record().map_err(|_| Damaged)?;
    Ok(DeadLetter {
        sink: head.sink,
        record_id: head.record_id,
        record,
        accepted_at,
        reason: head.reason,
        why: head.why,
        status: head.status,
        answer: Bytes::copy_from_slice(decoder.rest()),
        attempts: head.attempts,
        first_attempt_at: head.first_attempt_at,
        last_attempt_at: head.last_attempt_at,
        edited_from: head.edited_from,
    })
}

/// The key of a head.
pub(super) fn head_key(sink: &SinkName, record_id: &RecordId) -> Vec<u8> {
    let record_id = record_id.as_str();
    let mut key = sink_prefix(sink);
    key.extend_from_slice(&number_in(record_id).to_be_bytes());
    key.extend_from_slice(record_id.as_bytes());
    assert!(key.len() <= KEY_BYTES_MAX, "record id {record_id:?} is too long");
    key
}

/// What the keys of all heads of a sink begin with.
pub(super) fn sink_prefix(sink: &SinkName) -> Vec<u8> {
    let mut prefix = sink.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

/// The key of a part of a body.
pub(super) fn body_key(letter: u64, part: u16) -> Vec<u8> {
    let mut key = letter.to_be_bytes().to_vec();
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The record number in a record id, `<store>-<sink>-<number>` with or without what an edit appends; 0 without one.
fn number_in(record_id: &str) -> u64 {
    let mut words = record_id.rsplit('-');
    words.find_map(|word| word.parse().ok()).unwrap_or(0)
}

fn clipped(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn entry(kind: Kind, key: Vec<u8>, content: &[u8]) -> Entry {
    let mut value = Vec::with_capacity(HEADER_BYTES + key.len() + content.len());
    value.extend_from_slice(&MAGIC);
    let kind = match kind {
        Kind::Head => 0,
        Kind::Body => 1,
    };
    value.extend_from_slice(&[VERSION, kind]);
    let key_bytes = u16::try_from(key.len()).expect("keys are below KEY_BYTES_MAX");
    let content_bytes = u32::try_from(content.len()).expect("values are below VALUE_BYTES_MAX");
    value.extend_from_slice(&key_bytes.to_le_bytes());
    value.extend_from_slice(&content_bytes.to_le_bytes());
    assert_eq!(value.len(), CRC_AT, "the header is as long as its layout says");
    let crc = crc32c::crc32c_append(crc32c::crc32c(&value), &key);
    let crc = crc32c::crc32c_append(crc, content);
    value.extend_from_slice(&crc.to_le_bytes());
    value.extend_from_slice(&key);
    value.extend_from_slice(content);
    assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes would become a blob", value.len());
    Entry { key, value }
}

/// An intact value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub kind: Kind,
    pub key: &'a [u8],
    pub content: &'a [u8],
    /// Bytes of the whole value.
    pub bytes: usize,
}

/// Checks that `bytes` begin with an intact value, and splits it.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Damaged> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Damaged)?;
    let (covered, crc) = header.split_at(CRC_AT);
    let [_, _, _, _, version, kind, key_0, key_1, content @ ..] = covered else {
        return Err(Damaged);
    };
    if !covered.starts_with(&MAGIC) || *version != VERSION {
        return Err(Damaged);
    }
    let kind = match kind {
        0 => Kind::Head,
        1 => Kind::Body,
        _ => return Err(Damaged),
    };
    let key_bytes = usize::from(u16::from_le_bytes([*key_0, *key_1]));
    let content_bytes = content.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let content_bytes = usize::try_from(content_bytes.ok_or(Damaged)?).map_err(|_| Damaged)?;
    if key_bytes > KEY_BYTES_MAX || content_bytes > VALUE_BYTES_MAX {
        return Err(Damaged);
    }
    let (key, rest) = rest.split_at_checked(key_bytes).ok_or(Damaged)?;
    let (content, _) = rest.split_at_checked(content_bytes).ok_or(Damaged)?;
    let computed = crc32c::crc32c_append(crc32c::crc32c(covered), key);
    let computed = crc32c::crc32c_append(computed, content);
    if computed.to_le_bytes() != *crc {
        return Err(Damaged);
    }
    Ok(Parsed { kind, key, content, bytes: HEADER_BYTES + key_bytes + content_bytes })
}
