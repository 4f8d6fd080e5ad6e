//! One sled database of bounded size. With [`super::runs`] and [`super::letters`] the only module that names sled.
//!
//! A generation only ever receives chunks and the cursor. Nothing is removed from it: it is dropped as a whole, with
//! its folder, once all its records have left the queue. So the file stays small, opening it is fast, its memory is
//! bounded by its size (sled keeps about 256 leaves whatever its cache is set to), and disk comes back at once.
//!
//! Its folder is called `g<sequence>-<number>`: the sequence orders generations, and no record in it has a number
//! below `number`, which keeps numbers from being used twice even when the content is lost.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::chunk::{self, CHUNK_BYTES_MAX, EncodedChunk, Header};
use super::cursor::{self, Cursor};
use super::runs::Runs;
use super::sync::{self, SyncedOnPeriod};
use super::totals::Totals;

/// sled's unit of writing. Part of the format: a database opens only with the size it was made with.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// Pages above a quarter of a segment would become files that are never synced. A leaf holds up to 16 chunks, and
/// one more before it splits.
const _: () = assert!(17 * CHUNK_BYTES_MAX + 2048 < SEGMENT_BYTES / 4);
/// sled's cache; it keeps more than this, see above.
const CACHE_BYTES: u64 = 1024 * 1024;
/// Opening reads at most a generation; damaged files were seen to make it hang.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait for an earlier handle of the same database to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const CURSOR_TREE: &[u8] = b"cursor";
const CURSOR_KEY: &[u8] = b"cursor";
/// The file that holds everything.
pub(super) const DB_FILE: &str = "db";

/// Which generation of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GenerationId {
    /// Orders the generations of a queue, without gaps in time.
    pub sequence: u64,
    /// No record in it has a lower number.
    pub first_possible: u64,
}

impl fmt::Display for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "g{:08}-{}", self.sequence, self.first_possible)
    }
}

impl GenerationId {
    /// Reads a folder's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (sequence, first) = name.strip_prefix('g')?.split_once('-')?;
        Some(Self { sequence: sequence.parse().ok()?, first_possible: first.parse().ok()? })
    }
}

/// Why a generation cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum GenerationError {
    /// The file system failed; the handle refuses everything until it is opened again.
    #[error("the file system failed: {0}")]
    Io(io::Error),
    /// sled cannot make sense of the files.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl GenerationError {
    /// Whether there is no room on the file system.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io(error) if super::is_no_room(error))
    }
}

impl From<sled::Error> for GenerationError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs sled and takes its panics, which damaged files cause, as what they are.
pub(super) fn catching<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, GenerationError> {
    // What a panic leaves behind is never used again: the generation counts as damaged.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(GenerationError::from),
        Err(_) => Err(GenerationError::Damaged("sled panicked".to_owned())),
    }
}

/// A chunk found by [`Generation::locate`].
#[derive(Debug)]
pub(super) struct Located {
    /// Of its first part.
    pub header: Header,
    body: Body,
    /// Chunks before it that should have been it, but are damaged.
    pub damaged: u64,
}

#[derive(Debug)]
enum Body {
    Whole(sled::IVec),
    Joined(Vec<u8>),
}

impl Located {
    /// The records' bytes.
    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            Body::Whole(value) => value.get(chunk::HEADER_BYTES..).unwrap_or_default(),
            Body::Joined(body) => body,
        }
    }
}

/// An open generation.
pub(super) struct Generation {
    id: GenerationId,
    dir: PathBuf,
    db: sled::Db,
    chunks: Runs,
    cursors: sled::Tree,
    /// Under `durability = "process"`. Declared last: dropping the database above syncs it for good.
    on_period: Option<SyncedOnPeriod>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Generation").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Generation {
    /// Opens the generation `id` of the queue in `queue_dir`, making it where it is not there. Durable afterwards:
    /// the files that sled never syncs, and the folders. Takes its time: reads the whole file.
    pub(super) fn open(queue_dir: &Path, id: GenerationId) -> Result<Self, GenerationError> {
        Self::open_in(queue_dir, &queue_dir.join(id.to_string()), id)
    }

    /// As [`Self::open`], in a folder `dir` of another name.
    pub(super) fn open_in(
        queue_dir: &Path,
        dir: &Path,
        id: GenerationId,
    ) -> Result<Self, GenerationError> {
        let dir = dir.to_owned();
        let (db, chunks, cursors) = open_guarded(&dir, open_database)?;
        catching(|| db.flush())?;
        make_files_durable(&dir, queue_dir).map_err(GenerationError::Io)?;
        Ok(Self { id, dir, db, chunks, cursors, on_period: None })
    }

    pub(super) const fn id(&self) -> GenerationId {
        self.id
    }

    /// Stages a chunk: durable after the next [`Self::flush`].
    pub(super) fn stage_chunk(&self, chunk: EncodedChunk) -> Result<(), GenerationError> {
        catching(|| self.chunks.insert(&self.db, chunk))
    }

    /// Stages the cursor: durable after the next [`Self::flush`].
    pub(super) fn stage_cursor(&self, cursor: Vec<u8>) -> Result<(), GenerationError> {
        catching(|| self.cursors.insert(CURSOR_KEY, cursor)).map(drop)
    }

    /// Makes everything staged durable.
    pub(super) fn flush(&self) -> Result<(), GenerationError> {
        catching(|| self.db.flush())?;
        if self.on_period.is_none() && sync::is_override_missing() {
            sync::sync_file(&self.dir.join(DB_FILE)).map_err(GenerationError::Io)?;
        }
        Ok(())
    }

    /// From now on [`Self::flush`] hands the bytes to the kernel only, and [`Self::sync`] makes them durable.
    pub(super) fn sync_on_period(&mut self) -> Result<(), GenerationError> {
        let exempt = SyncedOnPeriod::exempt(&self.dir.join(DB_FILE));
        self.on_period = Some(exempt.map_err(GenerationError::Io)?);
        Ok(())
    }

    /// Makes what was flushed durable; nothing to do unless [`Self::sync_on_period`] was called.
    pub(super) fn sync(&self) -> Result<(), GenerationError> {
        self.on_period.as_ref().map_or(Ok(()), SyncedOnPeriod::sync).map_err(GenerationError::Io)
    }

    /// The cursor in this generation, if there is an intact one.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, GenerationError> {
        let value = catching(|| self.cursors.get(CURSOR_KEY))?;
        Ok(value.and_then(|value| cursor::parse(&value).ok()))
    }

    /// The chunk with the record `number`, or else the first one after it.
    pub(super) fn locate(&self, number: u64) -> Result<Option<Located>, GenerationError> {
        catching(|| {
            let mut damaged = 0;
            let up_to = chunk::key(number, u16::MAX);
            let before = self.chunks.last_up_to(&up_to)?;
            if let Some(first) = before.and_then(|(key, _)| chunk::first_of_key(&key)) {
                match self.assemble(first)? {
                    Some(located) if located.header.range().end > number => {
                        return Ok(Some(located));
                    }
                    Some(_) => {}
                    None => damaged += 1,
                }
            }
            let mut from = chunk::key(number, u16::MAX);
            while let Some((key, _)) = self.chunks.first_after(&from)? {
                let first = chunk::first_of_key(&key).unwrap_or(u64::MAX);
                if let Some(mut located) = self.assemble(first)? {
                    located.damaged = damaged;
                    return Ok(Some(located));
                }
                damaged += 1;
                from = chunk::key(first, u16::MAX);
            }
            Ok(None)
        })
    }

    /// The chunk that starts with `first`, all its parts; `None` when something of it is missing or damaged.
    fn assemble(&self, first: u64) -> sled::Result<Option<Located>> {
        let Some(value) = self.chunks.get(&chunk::key(first, 0))? else { return Ok(None) };
        let Ok((header, body)) = chunk::parse(&value) else { return Ok(None) };
        if header.first != first || header.part != 0 {
            return Ok(None);
        }
        if header.parts == 1 {
            return Ok(Some(Located { header, body: Body::Whole(value), damaged: 0 }));
        }
        let mut joined = body.to_vec();
        for part in 1..header.parts {
            let Some(value) = self.chunks.get(&chunk::key(first, part))? else { return Ok(None) };
            match chunk::parse(&value) {
                Ok((other, body)) if other.is_part_of(&header, part) => {
                    joined.extend_from_slice(body);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Located { header, body: Body::Joined(joined), damaged: 0 }))
    }

    /// Counts everything in it. Reads it all.
    pub(super) fn scan(&self) -> Result<Totals, GenerationError> {
        catching(|| {
            let mut totals = Totals::default();
            self.chunks.for_each(|(_, value)| {
                if let Ok((header, _)) = chunk::parse(&value) {
                    totals.add(&header, value.len());
                }
            })?;
            Ok(totals)
        })
    }

    /// Bytes it takes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.dir)
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Bytes that the generation in `dir` takes on disk; the small files beside the database are a flat share.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    const SMALL_FILES: u64 = 16 * 1024;
    fs::metadata(dir.join(DB_FILE)).map_or(0, |db| db.blocks() * 512 + SMALL_FILES)
}

/// Opens the sled database in `dir` with `open`, on a thread of its own: damaged files make sled panic, or hang. The
/// thread of one that hangs is left behind.
pub(super) fn open_guarded<T: Send + 'static>(
    dir: &Path,
    open: impl FnOnce(&Path) -> sled::Result<T> + Send + 'static,
) -> Result<T, GenerationError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let opening = dir.to_owned();
    thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(move || {
            let opened = await_closed(&opening.join(DB_FILE))
                .map_err(GenerationError::Io)
                .and_then(|()| catching(|| open(&opening)));
            // Nobody waits any more after the timeout.
            drop(sender.send(opened));
        })
        .map_err(GenerationError::Io)?;
    receiver
        .recv_timeout(OPEN_TIMEOUT)
        .map_err(|_| GenerationError::Damaged("opening it takes for ever".to_owned()))?
}

/// Syncs what sled does not, after a flush: its settings, the file's first bytes, the folders.
pub(super) fn make_files_durable(dir: &Path, parent: &Path) -> io::Result<()> {
    sync::sync_file(&dir.join("conf"))?;
    sync::sync_file(&dir.join(DB_FILE))?;
    sync::sync_dir(dir)?;
    sync::sync_dir(parent)
}

/// Waits until nobody has the database open: a handle dropped a moment ago may still be closing in sled's threads.
pub(super) fn await_closed(db_file: &Path) -> io::Result<()> {
    let file = match File::open(db_file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn open_database(dir: &Path) -> sled::Result<(sled::Db, Runs, sled::Tree)> {
    let db = sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        // Flushing is the committer's business; sled's own flusher would sync twice a second for nothing.
        .flush_every_ms(None)
        .open()?;
    let cursors = db.open_tree(CURSOR_TREE)?;
    let chunks = Runs::open(&db)?;
    Ok((db, chunks, cursors))
}

/// Removes the folder of a generation.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir)?;
    dir.parent().map_or(Ok(()), sync::sync_dir)
}

/// The generations in the folder of a queue, oldest first.
pub(super) fn list(queue_dir: &Path) -> io::Result<Vec<GenerationId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(queue_dir)? {
        ids.extend(entry?.file_name().to_str().and_then(GenerationId::parse));
    }
    ids.sort_unstable();
    Ok(ids)
}
