//! What a generation holds, in numbers: written beside it when it is sealed, so that opening a queue does not read
//! its backlog. Layout of the file `sealed`, little endian: magic `WPqt`, version (u8, 1), three zero bytes, then u64
//! each: records, bytes of their chunks, first number, number after the last, age clock at the first commit, age
//! clock and wall clock at the last; CRC-32C of all before it (u32).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::chunk::{Header, Stamp};
use super::sync;
use crate::clock::UnixMillis;

const FILE: &str = "sealed";
const MAGIC: [u8; 4] = *b"WPqt";
const VERSION: u8 = 1;
const FIELDS: usize = 7;
const FILE_BYTES: usize = 8 + FIELDS * 8 + 4;

/// Sums over the chunks of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Records; fewer than the numbers between `first` and `end` when some are missing.
    pub records: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
    /// First number.
    pub first: u64,
    /// Number after the last.
    pub end: u64,
    /// Age clock at the first commit.
    pub oldest_age_ms: u64,
    /// Clocks at the last commit.
    pub latest: Stamp,
}

impl Totals {
    /// Counts a chunk (each part of a record that has several).
    pub(super) fn add(&mut self, header: &Header, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        if header.part > 0 {
            return;
        }
        if self.records == 0 {
            self.first = header.first;
            self.oldest_age_ms = header.stamp.age_ms;
        }
        self.records += u64::from(header.count);
        self.end = self.end.max(header.range().end);
        self.latest = header.stamp;
    }

    /// Adds what came after.
    pub(super) fn join(&mut self, later: &Self) {
        if self.records == 0 {
            self.first = later.first;
            self.oldest_age_ms = later.oldest_age_ms;
        }
        self.records += later.records;
        self.bytes += later.bytes;
        self.end = self.end.max(later.end);
        self.latest = later.latest;
    }

    /// Writes the totals of a generation, durably.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        let stamps = [self.oldest_age_ms, self.latest.age_ms, self.latest.wall.0];
        for field in [self.records, self.bytes, self.first, self.end].into_iter().chain(stamps) {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut file = File::create(dir.join(FILE))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        sync::sync_dir(dir)
    }

    /// The totals of a sealed generation; `None` when it was not sealed, or the file is damaged: then it is counted.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let bytes: [u8; FILE_BYTES] = fs::read(dir.join(FILE)).ok()?.try_into().ok()?;
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(covered).to_le_bytes() != *crc || !covered.starts_with(&MAGIC) {
            return None;
        }
        if covered.get(4) != Some(&VERSION) {
            return None;
        }
        let mut fields =
            covered.get(8..)?.as_chunks::<8>().0.iter().map(|f| u64::from_le_bytes(*f));
        Some(Self {
            records: fields.next()?,
            bytes: fields.next()?,
            first: fields.next()?,
            end: fields.next()?,
            oldest_age_ms: fields.next()?,
            latest: Stamp { age_ms: fields.next()?, wall: UnixMillis(fields.next()?) },
        })
    }
}
