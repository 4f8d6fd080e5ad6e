//! Opening what a crash or a failing disk left. It always ends with a queue that works: what cannot be read is set
//! aside, counted and said.
//!
//! In this order: an unfinished snapshot (a crash while sled opened) is removed before every open; when an open fails,
//! finished snapshots and sled's settings file go, both of which sled makes anew from the log; when it fails again, its
//! chunks are carved out of the raw file into a fresh generation, under the same numbers. That takes the place of the
//! damaged one, whose folder is renamed to `set-aside-...`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::carve;
use super::cursor;
use super::generation::{DB_FILE, Generation, GenerationError, GenerationId};
use super::sync;
use super::totals::Totals;
use crate::metrics::StoreMetrics;

/// Chunks of a carved generation between two flushes: bounds what sled buffers.
const CHUNKS_PER_FLUSH: usize = 64;
/// Folders that were set aside and are kept for people to look at; the oldest goes first.
const SET_ASIDE_MAX: usize = 4;
/// What their names begin with.
pub(super) const SET_ASIDE: &str = "set-aside-";
/// A generation that is being made of a damaged one.
pub(super) const UNFINISHED: &str = "unfinished-";

/// Opens a generation, mended where it must be. `Err` is the file system's: there is no room, or no permission.
pub(super) fn open(
    queue_dir: &Path,
    id: GenerationId,
    metrics: &StoreMetrics,
) -> Result<Generation, GenerationError> {
    let dir = queue_dir.join(id.to_string());
    remove_unfinished_snapshots(&dir, metrics);
    let why = match Generation::open(queue_dir, id).and_then(checked) {
        Err(GenerationError::Damaged(why)) => why,
        other => return other,
    };
    warn!(generation = %dir.display(), why, "generation does not open: trying without its snapshot");
    remove_what_is_made_anew(&dir, metrics);
    match Generation::open(queue_dir, id).and_then(checked) {
        Err(GenerationError::Damaged(why)) => salvage(queue_dir, id, &why, metrics),
        other => other,
    }
}

/// Reads everything once: a damaged database may open and fail when it is read.
fn checked(generation: Generation) -> Result<Generation, GenerationError> {
    generation.cursor()?;
    Ok(generation)
}

fn is_unfinished_snapshot(name: &str) -> bool {
    name.starts_with("snap.") && name.ends_with(".generating")
}

fn is_made_anew(name: &str) -> bool {
    name.starts_with("snap.") || name == "conf"
}

/// Removes what a crash while sled opened has left. Before every open.
pub(super) fn remove_unfinished_snapshots(dir: &Path, metrics: &StoreMetrics) {
    remove_matching(dir, is_unfinished_snapshot, "unfinished_snapshot", metrics);
}

/// Removes what sled makes anew from its log. After an open that failed.
pub(super) fn remove_what_is_made_anew(dir: &Path, metrics: &StoreMetrics) {
    remove_matching(dir, is_made_anew, "damaged_snapshot", metrics);
}

fn remove_matching(dir: &Path, matches: fn(&str) -> bool, reason: &str, metrics: &StoreMetrics) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(matches) && fs::remove_file(entry.path()).is_ok()
        {
            metrics.repairs(reason).inc();
        }
    }
}

/// Makes a fresh generation of what can be carved from a damaged one, and sets that aside.
///
/// The damaged one stays where it is until the fresh one is whole: a crash, or a disk without room, loses nothing.
pub(super) fn salvage(
    queue_dir: &Path,
    id: GenerationId,
    why: &str,
    metrics: &StoreMetrics,
) -> Result<Generation, GenerationError> {
    let dir = queue_dir.join(id.to_string());
    let carved = match carve::carve(&dir.join(DB_FILE)) {
        Ok(carved) => carved,
        // Not even the raw file is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => carve::Carved::default(),
        Err(error) => return Err(GenerationError::Io(error)),
    };
    let chunks = carved.chunks.len();
    let unfinished = queue_dir.join(format!("{UNFINISHED}{id}"));
    remove_if_there(&unfinished).map_err(GenerationError::Io)?;
    let fresh = Generation::open_in(queue_dir, &unfinished, id)?;
    fill(&fresh, carved, Totals::read(&dir))?;
    drop(fresh);
    let swapped = set_aside(queue_dir, &id.to_string())
        .and_then(|aside| fs::rename(&unfinished, &dir).map(|()| aside))
        .and_then(|aside| sync::sync_dir(queue_dir).map(|()| aside));
    let aside = swapped.map_err(GenerationError::Io)?;
    metrics.repairs("set_aside").inc();
    error!(
        aside = %aside.display(),
        why,
        chunks,
        "generation set aside: its intact chunks are carried over"
    );
    Generation::open(queue_dir, id)
}

/// Makes what was carved durable in a fresh generation.
fn fill(
    fresh: &Generation,
    carved: carve::Carved,
    known: Option<Totals>,
) -> Result<(), GenerationError> {
    let mut totals = Totals::default();
    for (position, chunk) in carved.chunks.into_iter().enumerate() {
        totals.add(&chunk.header, chunk.value.len());
        fresh.stage_chunk(chunk)?;
        if position % CHUNKS_PER_FLUSH == 0 {
            fresh.flush()?;
        }
    }
    if let Some(found) = carved.cursor {
        fresh.stage_cursor(cursor::encode(found.next, &found.settled, found.stamp))?;
    }
    fresh.flush()?;
    if let Some(known) = known {
        // The numbers it should have: reading finds the gaps and counts what is lost.
        let totals = Totals { first: known.first, end: known.end, ..totals };
        totals.write(fresh.dir()).map_err(GenerationError::Io)?;
    }
    Ok(())
}

/// Ends what a crash has left of a [`salvage`]: the fresh generation takes its place when the damaged one was already
/// out of the way, and goes when it was not.
pub(super) fn end_salvage(queue_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(queue_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)) else {
            continue;
        };
        let dir = queue_dir.join(id);
        if dir.exists() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::rename(entry.path(), dir)?;
            sync::sync_dir(queue_dir)?;
        }
    }
    Ok(())
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames a database's folder out of the way; says where it is now.
pub(super) fn set_aside(queue_dir: &Path, folder: &str) -> io::Result<PathBuf> {
    let mut kept = fs::read_dir(queue_dir)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(SET_ASIDE))
        .map(|entry| entry.path())
        .collect::<Vec<_>>();
    kept.sort_unstable();
    for old in kept.iter().take((kept.len() + 1).saturating_sub(SET_ASIDE_MAX)) {
        fs::remove_dir_all(old)?;
    }
    let free = (1..u64::MAX).map(|n| queue_dir.join(format!("{SET_ASIDE}{folder}-{n}")));
    let aside =
        free.into_iter().find(|path| !path.exists()).unwrap_or_else(|| queue_dir.join(SET_ASIDE));
    fs::rename(queue_dir.join(folder), &aside)?;
    sync::sync_dir(queue_dir)?;
    Ok(aside)
}
