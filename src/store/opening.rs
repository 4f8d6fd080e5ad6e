//! Opening the folder of a queue, whatever a crash left in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::age::AgeClock;
use super::book::Book;
use super::chunk::Stamp;
use super::generation::{self, Generation, GenerationError, GenerationId};
use super::shelf::{Shelf, Shelved};
use super::sync;
use super::totals::Totals;
use crate::clock::UnixMillis;

/// A queue as it was found.
pub(super) struct Opened {
    pub book: Book,
    pub shelf: Shelf,
    pub age: AgeClock,
}

/// Opens a queue, making it where there is none.
pub(super) fn open(queue_dir: &Path, tail_bytes_max: usize) -> Result<Opened, GenerationError> {
    fs::create_dir_all(queue_dir).map_err(GenerationError::Io)?;
    queue_dir.parent().map_or(Ok(()), sync::sync_dir).map_err(GenerationError::Io)?;
    let ids = generation::list(queue_dir).map_err(GenerationError::Io)?;
    let mut shelf = Shelf::default();
    let mut next = 1;
    let mut stamp = Stamp::default();
    let mut cursor = None;
    let newest = ids.last().copied().unwrap_or(GenerationId { sequence: 1, first_possible: 1 });
    for id in ids.iter().copied().filter(|id| *id != newest) {
        let dir = queue_dir.join(id.to_string());
        let totals = match Totals::read(&dir) {
            Some(totals) => totals,
            None => seal(&Generation::open(queue_dir, id)?)?,
        };
        next = next.max(totals.end);
        stamp = later(stamp, totals.latest);
        let disk_bytes = generation::disk_bytes(&dir);
        shelf.push(Shelved { id, totals, disk_bytes, open: None });
    }
    let generation = Generation::open(queue_dir, newest)?;
    let totals = generation.scan()?;
    if let Some(found) = generation.cursor()? {
        next = next.max(found.next);
        stamp = later(stamp, found.stamp);
        cursor = Some(found);
    }
    stamp = later(stamp, totals.latest);
    next = next.max(totals.end).max(newest.first_possible);
    let totals = newest_totals(totals, next);
    let settled = cursor.map(|cursor| cursor.settled).unwrap_or_default();
    let book = Book::open(next, settled, tail_bytes_max);
    let disk_bytes = generation.disk_bytes();
    let open = Some(Arc::new(generation));
    shelf.push(Shelved { id: newest, totals, disk_bytes, open });
    Ok(Opened { book, shelf, age: AgeClock::resume(stamp, UnixMillis::now()) })
}

/// Totals of the newest generation, which has all numbers up to the next one.
pub(super) fn newest_totals(scanned: Totals, next: u64) -> Totals {
    let first = if scanned.records == 0 { next } else { scanned.first };
    Totals { first, end: next, ..scanned }
}

/// Counts a generation that is not the newest any more, and writes the totals.
fn seal(generation: &Generation) -> Result<Totals, GenerationError> {
    let totals = generation.scan()?;
    totals.write(generation.dir()).map_err(GenerationError::Io)?;
    Ok(totals)
}

fn later(one: Stamp, other: Stamp) -> Stamp {
    if other.age_ms > one.age_ms { other } else { one }
}
