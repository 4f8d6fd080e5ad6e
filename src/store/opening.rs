//! Opening the folder of a queue, whatever a crash left in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tracing::error;

use super::age::AgeClock;
use super::book::Book;
use super::chunk::Stamp;
use super::cursor::Cursor;
use super::generation::{self, Generation, GenerationError, GenerationId};
use super::shelf::{Shelf, Shelved};
use super::totals::Totals;
use super::{cursor, high_water, repair, sync};
use crate::clock::UnixMillis;
use crate::config::Durability;
use crate::metrics::StoreMetrics;

/// A queue as it was found.
pub(super) struct Opened {
    pub book: Book,
    pub shelf: Shelf,
    pub age: AgeClock,
}

/// Opens a queue, making it where there is none.
///
/// Only the newest generation is opened and counted; the others were when they were sealed. A generation that a crash
/// kept from being sealed, or whose totals are damaged, is counted now.
pub(super) fn open(
    queue_dir: &Path,
    durability: Durability,
    metrics: &StoreMetrics,
) -> Result<Opened, GenerationError> {
    fs::create_dir_all(queue_dir).map_err(GenerationError::Io)?;
    queue_dir.parent().map_or(Ok(()), sync::sync_dir).map_err(GenerationError::Io)?;
    repair::end_salvage(queue_dir).map_err(GenerationError::Io)?;
    let mut ids = generation::list(queue_dir).map_err(GenerationError::Io)?;
    let oldest_possible = ids.first().map_or(1, |oldest| oldest.first_possible);
    let newest_id = ids.pop().unwrap_or(GenerationId { sequence: 1, first_possible: 1 });
    let mut found = Found { next: 1, cursor: Cursor::default(), stamp: Stamp::default() };
    let mut shelf = Shelf::default();
    let mut unsealed = Vec::new();
    for id in ids {
        let dir = queue_dir.join(id.to_string());
        let totals = if let Some(totals) = Totals::read(&dir) {
            totals
        } else {
            let totals = found.count_unsealed(&repair::open(queue_dir, id, metrics)?)?;
            unsealed.push((dir.clone(), totals));
            totals
        };
        found.note(&totals);
        let disk_bytes = generation::disk_bytes(&dir);
        shelf.push(Shelved { id, totals, disk_bytes, open: None });
    }
    let mut newest = repair::open(queue_dir, newest_id, metrics)?;
    if durability == Durability::Process {
        newest.sync_on_period()?;
    }
    let totals = newest.scan()?;
    found.note(&totals);
    found.note_cursor(newest.cursor()?);
    let next = found.next.max(newest_id.first_possible);
    if !unsealed.is_empty() {
        // The cursor may be in an older one only; once that is sealed nobody looks there.
        newest.stage_cursor(cursor::encode(next, &found.cursor.settled, found.cursor.stamp))?;
        newest.flush()?;
        newest.sync()?;
    }
    for (dir, totals) in unsealed {
        totals.write(&dir).map_err(GenerationError::Io)?;
    }
    let mut settled = found.cursor.settled;
    if found.cursor.next == 0 {
        // Without a cursor nothing has left but what no generation can have: a queue that was removed and came back.
        settled.insert(0..oldest_possible);
    }
    let noted = high_water::read(queue_dir);
    if noted > next {
        let lost = noted - next - settled.count_in(next..noted);
        metrics.repairs("lost_records").inc_by(lost);
        error!(queue = %queue_dir.display(), lost, "the latest records are missing on disk");
        settled.insert(next..noted);
    }
    let next = next.max(noted);
    let totals = newest_totals(totals, next);
    let disk_bytes = newest.disk_bytes();
    let open = Some(Arc::new(newest));
    shelf.push(Shelved { id: newest_id, totals, disk_bytes, open });
    let book = Book::open(next, settled);
    Ok(Opened { book, shelf, age: AgeClock::resume(found.stamp, UnixMillis::now()) })
}

/// What the generations say together.
struct Found {
    next: u64,
    cursor: Cursor,
    stamp: Stamp,
}

impl Found {
    fn note(&mut self, totals: &Totals) {
        self.next = self.next.max(totals.end);
        self.note_stamp(totals.latest);
    }

    fn note_cursor(&mut self, cursor: Option<Cursor>) {
        let Some(cursor) = cursor else { return };
        self.next = self.next.max(cursor.next);
        self.note_stamp(cursor.stamp);
        if cursor.is_later_than(&self.cursor) {
            self.cursor = cursor;
        }
    }

    fn note_stamp(&mut self, stamp: Stamp) {
        if stamp.age_ms > self.stamp.age_ms {
            self.stamp = stamp;
        }
    }

    /// Counts a generation that is not the newest any more. The crash may also have come before the cursor was in the
    /// newest.
    fn count_unsealed(&mut self, generation: &Generation) -> Result<Totals, GenerationError> {
        self.note_cursor(generation.cursor()?);
        generation.scan()
    }
}

/// Totals of the newest generation, which has all numbers up to the next one.
pub(super) fn newest_totals(scanned: Totals, next: u64) -> Totals {
    let first = if scanned.records == 0 { next } else { scanned.first };
    Totals { first, end: next, ..scanned }
}
