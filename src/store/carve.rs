//! Getting chunks and cursors out of the raw file of a database that sled will not open.
//!
//! sled writes values as they are, so each chunk stands somewhere in the file in one piece, often in several copies.
//! A magic number finds it and its checksum proves it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::chunk::{self, EncodedChunk};
use super::cursor::{self, Cursor};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Carved {
    /// Each chunk once, in the order of the keys.
    pub chunks: Vec<EncodedChunk>,
    /// The latest cursor.
    pub cursor: Option<Cursor>,
}

/// Reads a database file, at most a generation, and picks out what is intact.
pub(super) fn carve(db_file: &Path) -> io::Result<Carved> {
    let bytes = fs::read(db_file)?;
    let mut chunks = BTreeMap::new();
    let mut latest: Option<Cursor> = None;
    let mut rest = bytes.as_slice();
    while let Some(at) =
        rest.windows(4).position(|four| four == chunk::MAGIC || four == cursor::MAGIC)
    {
        let (_, candidate) = rest.split_at(at);
        let mut used = 1;
        if let Ok((header, _)) = chunk::parse(candidate) {
            used = header.chunk_bytes();
            let (value, _) = candidate.split_at(used);
            let key = chunk::key(header.first, header.part);
            chunks.entry(key).or_insert_with(|| (header, value));
        } else if let Ok(found) = cursor::parse(candidate)
            && latest.as_ref().is_none_or(|latest| found.is_later_than(latest))
        {
            latest = Some(found);
        }
        rest = candidate.get(used..).unwrap_or_default();
    }
    let chunks = chunks
        .into_iter()
        .map(|(key, (header, value))| EncodedChunk { key, value: value.to_vec(), header })
        .collect();
    Ok(Carved { chunks, cursor: latest })
}
