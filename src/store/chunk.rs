//! Chunks: what the queue's databases hold as values.
//!
//! A chunk carries consecutive records of one commit, or one part of a record that is larger than a chunk. It says
//! itself what it is, so that it can be told from damage and found in a raw file. Layout, little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `WPqc` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | codec of the body: 0 plain, 1 zstd |
//! | 6 | 2 | this part, from 0 |
//! | 8 | 2 | parts of the body; above 1 only with one record |
//! | 10 | 2 | zero |
//! | 12 | 8 | number of the first record |
//! | 20 | 4 | records |
//! | 24 | 4 | bytes of the whole body, decoded |
//! | 28 | 4 | bytes of this part of the body |
//! | 32 | 8 | age clock at the commit, milliseconds |
//! | 40 | 8 | wall clock at the commit, milliseconds |
//! | 48 | 4 | CRC-32C of bytes 0 to 48 and the body |
//! | 52 | | body: records as [`super::codec`] writes them, one after the other |
//!
//! The key is the number of the first record (u64, big endian), followed by the part (u16, big endian) from the
//! second part on.

use std::ops::Range;

use super::codec::{self, RecordDecoder};
use super::{RecordNumber, StoredRecord};
use crate::clock::UnixMillis;
use crate::event::Record;

/// Starts every chunk.
pub(super) const MAGIC: [u8; 4] = *b"WPqc";
const VERSION: u8 = 1;
const CODEC_PLAIN: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 52;
const CRC_AT: usize = 48;
/// Largest value that is ever stored.
pub(super) const CHUNK_BYTES_MAX: usize = 30 * 1024 - 512;
/// Largest part of a body.
const PART_BYTES_MAX: usize = CHUNK_BYTES_MAX - HEADER_BYTES;
/// Decoded bytes after which a chunk of several records is full. Above the size on disk: telemetry compresses by four.
/// A chunk that does not compress is split in parts like a large record would be, so it is kept below.
const RECORDS_BYTES_MAX: usize = PART_BYTES_MAX;
/// Bodies below this are not worth a compressor's time.
const COMPRESS_FROM: usize = 256;
/// Nothing decodes to more: MQTT packets end at 256 MiB.
const BODY_BYTES_MAX: usize = 288 * 1024 * 1024;
/// zstd level: 1 measured as the best bytes for the time on telemetry.
const ZSTD_LEVEL: i32 = 1;

/// Two clocks, read when a group is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The age clock: see [`super::age`].
    pub age_ms: u64,
    /// Wall clock.
    pub wall: UnixMillis,
}

/// Bytes that are not a chunk, or not the chunk they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an intact chunk")]
pub(super) struct Damaged;

/// A value and its key, ready to be stored.
#[derive(Debug)]
pub(super) struct EncodedChunk {
    /// Key in the database.
    pub key: Vec<u8>,
    /// Value in the database.
    pub value: Vec<u8>,
    /// What it says of itself.
    pub header: Header,
}

/// What the header of an intact chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    codec: u8,
    /// This part, from 0.
    pub part: u16,
    /// Parts of the body, at least 1.
    pub parts: u16,
    /// Number of the first record.
    pub first: u64,
    /// Records, at least 1.
    pub count: u32,
    decoded_bytes: u32,
    body_bytes: u32,
    /// Clocks at the commit.
    pub stamp: Stamp,
}

impl Header {
    /// Numbers of the records.
    pub(super) fn range(&self) -> Range<u64> {
        self.first..self.first + u64::from(self.count)
    }

    /// Whether this is the part `part` of the record whose first part is `whole`.
    pub(super) fn is_part_of(&self, whole: &Self, part: u16) -> bool {
        let expected = Self { part, body_bytes: self.body_bytes, ..*whole };
        *self == expected
    }

    /// Bytes of the chunk, header included.
    pub(super) fn chunk_bytes(&self) -> usize {
        HEADER_BYTES + usize::try_from(self.body_bytes).unwrap_or(usize::MAX - HEADER_BYTES)
    }

    /// Reads a header without looking at the body: for a look around in bytes that were checked before.
    fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut fields = Fields(bytes);
        let (magic, version, codec) = (fields.take()?, fields.u8()?, fields.u8()?);
        if magic != MAGIC || version != VERSION || codec > CODEC_ZSTD {
            return Err(Damaged);
        }
        let (part, parts, zero) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let header = Self {
            codec,
            part,
            parts,
            first: fields.u64()?,
            count: fields.u32()?,
            decoded_bytes: fields.u32()?,
            body_bytes: fields.u32()?,
            stamp: Stamp { age_ms: fields.u64()?, wall: UnixMillis(fields.u64()?) },
        };
        let splits_one = parts == 1 || header.count == 1;
        let in_range = header.first.checked_add(u64::from(header.count)).is_some();
        let sane = part < parts && zero == 0 && header.count > 0 && splits_one && in_range;
        let fits = header.chunk_bytes() <= CHUNK_BYTES_MAX;
        if sane && fits { Ok(header) } else { Err(Damaged) }
    }
}

/// Reads little-endian fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Damaged> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.take().map(u64::from_le_bytes)
    }
}

/// The key of a part of the chunk that starts with `first`.
pub(super) fn key(first: u64, part: u16) -> Vec<u8> {
    let mut key = first.to_be_bytes().to_vec();
    if part > 0 {
        key.extend_from_slice(&part.to_be_bytes());
    }
    key
}

/// The number of the first record in a key; `None` for what is no key of ours.
pub(super) fn first_of_key(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().map(|first| u64::from_be_bytes(*first))
}

/// Checks that `bytes` begin with an intact chunk, and splits it in header and body.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), Damaged> {
    let header = Header::parse(bytes)?;
    let chunk = bytes.get(..header.chunk_bytes()).ok_or(Damaged)?;
    let (head, body) = chunk.split_at_checked(HEADER_BYTES).ok_or(Damaged)?;
    let (covered, crc) = head.split_at_checked(CRC_AT).ok_or(Damaged)?;
    let computed = crc32c::crc32c_append(crc32c::crc32c(covered), body);
    if computed.to_le_bytes() == *crc { Ok((header, body)) } else { Err(Damaged) }
}

/// Decodes the records of a chunk from its header and its whole body (the parts joined).
pub(super) fn decode(header: &Header, body: &[u8]) -> Result<Vec<StoredRecord>, Damaged> {
    let decoded_bytes = usize::try_from(header.decoded_bytes).map_err(|_| Damaged)?;
    if decoded_bytes > BODY_BYTES_MAX {
        return Err(Damaged);
    }
    let inflated;
    let plain = if header.codec == CODEC_ZSTD {
        inflated = zstd::bulk::decompress(body, decoded_bytes).map_err(|_| Damaged)?;
        inflated.as_slice()
    } else {
        body
    };
    if plain.len() != decoded_bytes {
        return Err(Damaged);
    }
    let mut decoder = RecordDecoder::new(plain);
    let mut records = Vec::new();
    for number in header.range() {
        let (record, accepted_at) = decoder.next_record().map_err(|_| Damaged)?;
        let number = RecordNumber(number);
        records.push(StoredRecord { number, accepted_at, age_ms: header.stamp.age_ms, record });
    }
    if decoder.is_at_end() { Ok(records) } else { Err(Damaged) }
}

/// Makes chunks of records; keeps its buffers and its compressor from one commit to the next.
pub(super) struct Encoder {
    plain: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Past this the buffer of a large record is given back.
const PLAIN_BYTES_KEPT: usize = 256 * 1024;

impl Encoder {
    pub(super) fn new() -> Self {
        // Without memory for a compressor the chunks are stored plain.
        Self { plain: Vec::new(), compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL).ok() }
    }

    /// Encodes records that get consecutive numbers from `first` on.
    pub(super) fn encode<'r>(
        &mut self,
        first: u64,
        records: impl IntoIterator<Item = &'r Record>,
        stamp: Stamp,
    ) -> Vec<EncodedChunk> {
        let mut chunks = Vec::new();
        let (mut chunk_first, mut count) = (first, 0);
        for record in records {
            let start = self.plain.len();
            codec::encode(record, stamp.wall, &mut self.plain);
            if count > 0 && self.plain.len() > RECORDS_BYTES_MAX {
                let carried = self.plain.split_off(start);
                self.finish(chunk_first, count, stamp, &mut chunks);
                chunk_first += u64::from(count);
                count = 0;
                self.plain.extend_from_slice(&carried);
            }
            count += 1;
        }
        if count > 0 {
            self.finish(chunk_first, count, stamp, &mut chunks);
        }
        chunks
    }

    /// Turns what is in `plain` into a chunk, or into several parts.
    fn finish(&mut self, first: u64, count: u32, stamp: Stamp, chunks: &mut Vec<EncodedChunk>) {
        let deflated = match &mut self.compressor {
            Some(compressor) if self.plain.len() >= COMPRESS_FROM => {
                compressor.compress(&self.plain).ok()
            }
            _ => None,
        };
        let (codec, body) = match &deflated {
            Some(deflated) if deflated.len() < self.plain.len() => (CODEC_ZSTD, deflated),
            _ => (CODEC_PLAIN, &self.plain),
        };
        let parts = u16::try_from(body.len().div_ceil(PART_BYTES_MAX))
            .expect("records end at 256 MiB, far below 65,535 parts");
        let decoded_bytes = u32::try_from(self.plain.len()).expect("records end at 256 MiB");
        for (part, piece) in (0_u16..).zip(body.chunks(PART_BYTES_MAX)) {
            let body_bytes = u32::try_from(piece.len()).expect("a part is below a chunk's size");
            let header =
                Header { codec, part, parts, first, count, decoded_bytes, body_bytes, stamp };
            let value = write(&header, piece);
            chunks.push(EncodedChunk { key: key(first, part), value, header });
        }
        self.plain.clear();
        self.plain.shrink_to(PLAIN_BYTES_KEPT);
    }
}

fn write(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + body.len());
    value.extend_from_slice(&MAGIC);
    value.extend_from_slice(&[VERSION, header.codec]);
    value.extend_from_slice(&header.part.to_le_bytes());
    value.extend_from_slice(&header.parts.to_le_bytes());
    value.extend_from_slice(&[0; 2]);
    value.extend_from_slice(&header.first.to_le_bytes());
    value.extend_from_slice(&header.count.to_le_bytes());
    value.extend_from_slice(&header.decoded_bytes.to_le_bytes());
    value.extend_from_slice(&header.body_bytes.to_le_bytes());
    value.extend_from_slice(&header.stamp.age_ms.to_le_bytes());
    value.extend_from_slice(&header.stamp.wall.0.to_le_bytes());
    assert_eq!(value.len(), CRC_AT, "the header is as long as its layout says");
    let crc = crc32c::crc32c_append(crc32c::crc32c(&value), body);
    value.extend_from_slice(&crc.to_le_bytes());
    value.extend_from_slice(body);
    assert!(value.len() <= CHUNK_BYTES_MAX, "a chunk of {} bytes would become a blob", value.len());
    value
}
