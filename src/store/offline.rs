//! Queues read from their files, without opening them: of a gateway that is stopped, of a copy, of what is damaged.
//!
//! Nothing is written and no lock is taken. sled writes when it opens a database, so it is not asked: chunks and cursors
//! are carved out of the raw files. A gateway that runs on them meanwhile only makes the picture a little old.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::age::AgeClock;
use super::carve::{self, Carved};
use super::chunk::{self, EncodedChunk, Header, Stamp};
use super::cursor::Cursor;
use super::generation::{self, DB_FILE, GenerationId};
use super::ranges::RangeSet;
use super::repair::UNFINISHED;
use super::totals::Totals;
use super::{RecordNumber, StoredRecord, identity};
use crate::clock::UnixMillis;
use crate::name::SinkName;

/// The folder of the queues in the data directory.
pub(super) const QUEUES: &str = "queues";

/// The counts of a queue in a data directory.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredQueue {
    /// Its sink, whether or not a config still has it.
    pub sink: SinkName,
    /// Records that wait.
    pub records: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Age of the oldest record that waits, by the queue's clock.
    pub oldest_age_seconds: f64,
}

/// The sinks that have a folder in a data directory, in order.
fn sinks(data_dir: &Path) -> io::Result<Vec<SinkName>> {
    let entries = match fs::read_dir(data_dir.join(QUEUES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut sinks = Vec::new();
    for entry in entries {
        sinks.extend(entry?.file_name().to_str().and_then(|name| SinkName::new(name).ok()));
    }
    sinks.sort_unstable();
    Ok(sinks)
}

/// What is in the queues of a data directory, whatever the config says of their sinks; those that `is_wanted`.
pub fn stored_queues(
    data_dir: &Path,
    is_wanted: impl Fn(&SinkName) -> bool,
) -> io::Result<Vec<StoredQueue>> {
    sinks(data_dir)?
        .into_iter()
        .filter(is_wanted)
        .map(|sink| Ok(OfflineQueue::read(data_dir, &sink)?.counts()))
        .collect()
}

/// The queue of a sink, as its files show it.
#[derive(Debug)]
pub struct OfflineQueue {
    sink: SinkName,
    store_id: String,
    /// Oldest first.
    generations: Vec<Found>,
    settled: RangeSet,
    age: AgeClock,
}

/// A generation and what is known of it.
#[derive(Debug)]
struct Found {
    dir: PathBuf,
    totals: Totals,
}

impl OfflineQueue {
    /// Looks at the files of a queue. One that is not there has no records.
    pub fn read(data_dir: &Path, sink: &SinkName) -> io::Result<Self> {
        let queue_dir = data_dir.join(QUEUES).join(sink.as_str());
        let mut generations = Vec::new();
        let mut cursor: Option<Cursor> = None;
        let mut latest = Stamp::default();
        for (dir, is_newest) in dirs(&queue_dir)? {
            let sealed = Totals::read(&dir).filter(|_| !is_newest);
            // Where the newest has no cursor yet, the one before it has.
            let carved = match (sealed, &cursor) {
                (Some(_), Some(_)) => None,
                _ => Some(carve_dir(&dir)?),
            };
            let totals = sealed.unwrap_or_else(|| totals(carved.as_ref()));
            if let Some(found) = carved.and_then(|carved| carved.cursor)
                && cursor.as_ref().is_none_or(|latest| found.is_later_than(latest))
            {
                cursor = Some(found);
            }
            if totals.latest.age_ms > latest.age_ms {
                latest = totals.latest;
            }
            generations.push(Found { dir, totals });
        }
        generations.reverse();
        let mut settled = RangeSet::default();
        if let Some(cursor) = cursor {
            if cursor.stamp.age_ms > latest.age_ms {
                latest = cursor.stamp;
            }
            settled = cursor.settled;
        }
        let store_id = identity::read_id(data_dir)?;
        let age = AgeClock::resume(latest, UnixMillis::now());
        Ok(Self { sink: sink.clone(), store_id, generations, settled, age })
    }

    /// Its sink.
    #[must_use]
    pub fn sink(&self) -> &SinkName {
        &self.sink
    }

    /// The id of the store, the first part of its record ids.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// The age clock of the queue now, in milliseconds.
    #[must_use]
    pub fn age_now_ms(&self) -> u64 {
        self.age.now_ms()
    }

    /// Its counts.
    #[must_use]
    pub fn counts(&self) -> StoredQueue {
        let waiting = |found: &&Found| self.waiting_in(found) > 0;
        let oldest = self.generations.iter().find(waiting);
        let age_ms = oldest.map_or(0, |found| {
            // Where all of a generation waits, its first record is the oldest.
            let first = self.settled.next_absent(found.totals.first);
            let known = (first == found.totals.first).then_some(found.totals.oldest_age_ms);
            let since =
                known.or_else(|| age_of(found, first)).unwrap_or(found.totals.latest.age_ms);
            self.age.now_ms().saturating_sub(since)
        });
        StoredQueue {
            sink: self.sink.clone(),
            records: self.generations.iter().map(|found| self.waiting_in(found)).sum(),
            bytes: self.generations.iter().map(|found| generation::disk_bytes(&found.dir)).sum(),
            oldest_age_seconds: std::time::Duration::from_millis(age_ms).as_secs_f64(),
        }
    }

    fn waiting_in(&self, found: &Found) -> u64 {
        let Totals { first, end, records, .. } = found.totals;
        let numbers = end - first.min(end);
        // Records that are missing are not among those that are settled: they would have been counted as lost.
        (numbers - self.settled.count_in(first.min(end)..end)).min(records)
    }

    /// The records that wait from `from` on, in order, up to `records_max`. Reads a generation (some MiB) at a time.
    pub fn records(&self, from: RecordNumber, records_max: usize) -> io::Result<Vec<StoredRecord>> {
        let mut records = Vec::new();
        for found in &self.generations {
            if found.totals.end <= from.0 || self.waiting_in(found) == 0 {
                continue;
            }
            for record in decode(&carve_dir(&found.dir)?) {
                let is_wanted = record.number >= from && !self.settled.contains(record.number.0);
                if !is_wanted {
                    continue;
                }
                if records.len() >= records_max {
                    return Ok(records);
                }
                records.push(record);
            }
        }
        Ok(records)
    }
}

/// The folders of the generations, newest first, and which is the newest.
fn dirs(queue_dir: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let entries = match fs::read_dir(queue_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found: Vec<(GenerationId, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // A crash may have come when the damaged one was out of the way and the mended one not yet in its place.
        let plain = name.strip_prefix(UNFINISHED).unwrap_or(name);
        if let Some(id) = GenerationId::parse(plain)
            && (plain == name || !queue_dir.join(plain).exists())
        {
            found.push((id, path));
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found
        .into_iter()
        .zip((0..).map(|at: u32| at == 0))
        .map(|((_, dir), is)| (dir, is))
        .collect())
}

/// A generation that has gone since it was listed has drained.
fn carve_dir(dir: &Path) -> io::Result<Carved> {
    match carve::carve(&dir.join(DB_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Carved::default()),
        carved => carved,
    }
}

fn totals(carved: Option<&Carved>) -> Totals {
    let mut totals = Totals::default();
    for chunk in carved.iter().flat_map(|carved| &carved.chunks) {
        totals.add(&chunk.header, chunk.value.len());
    }
    totals
}

fn age_of(found: &Found, number: u64) -> Option<u64> {
    let carved = carve_dir(&found.dir).ok()?;
    let chunk = carved.chunks.iter().find(|chunk| chunk.header.range().end > number)?;
    Some(chunk.header.stamp.age_ms)
}

/// The records of all chunks that are whole, in order.
fn decode(carved: &Carved) -> impl Iterator<Item = StoredRecord> {
    let mut chunks = carved.chunks.iter().peekable();
    let whole = std::iter::from_fn(move || {
        loop {
            let first = chunks.next()?;
            let (header, body) = parsed(first)?;
            let mut joined = body.to_vec();
            let mut parts = 1;
            while let Some(next) = chunks.next_if(|next| next.header.is_part_of(&header, parts)) {
                joined.extend_from_slice(parsed(next)?.1);
                parts += 1;
            }
            if header.part == 0 && parts == header.parts {
                return Some((header, joined));
            }
        }
    });
    whole.flat_map(|(header, body)| chunk::decode(&header, &body).unwrap_or_default())
}

/// They were checked when they were carved.
fn parsed(chunk: &EncodedChunk) -> Option<(Header, &[u8])> {
    chunk::parse(&chunk.value).ok()
}
