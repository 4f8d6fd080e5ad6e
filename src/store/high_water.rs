//! A note of the next record number, written beside the databases after every commit and never synced.
//!
//! It is behind what is durable, never ahead. So if a queue opens with less than the note says, acknowledged records
//! are gone (a truncated file looks like one that was never written), and their numbers are not used again. The file
//! `next` has the number (u64, little endian) and its CRC-32C.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const FILE: &str = "next";
const NUMBER_BYTES: usize = 8;

/// The open note.
#[derive(Debug)]
pub(super) struct HighWater {
    file: File,
}

impl HighWater {
    pub(super) fn open(queue_dir: &Path) -> io::Result<Self> {
        let path = queue_dir.join(FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// Notes the next number. A failure costs only what the note is good for.
    pub(super) fn note(&self, next: u64) {
        let mut bytes = next.to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&next.to_le_bytes()).to_le_bytes());
        drop(self.file.write_all_at(&bytes, 0));
    }
}

/// The number in the note; 0 without an intact one.
pub(super) fn read(queue_dir: &Path) -> u64 {
    let bytes = fs::read(queue_dir.join(FILE)).unwrap_or_default();
    let Some((number, crc)) = bytes.split_first_chunk::<NUMBER_BYTES>() else { return 0 };
    if crc32c::crc32c(number).to_le_bytes() == *crc { u64::from_le_bytes(*number) } else { 0 }
}
