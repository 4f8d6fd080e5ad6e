//! What an operator does to the queues themselves: drops records, removes a queue.

use std::fs;
use std::io;
use std::path::Path;

use super::generation::{self, GenerationId};
use super::{RecordNumber, sync};

/// What became of the records that an operator wanted dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped and counted, durably.
    pub dropped: u64,
    /// Old enough, but in flight: they stay.
    pub in_flight: u64,
}

/// Removes the folder of a queue that is closed and has no records, but for the number that its next record would get:
/// should there be a sink of this name again, no record id is used twice.
///
/// A crash in between leaves a queue without records all the same: what says so goes last.
pub(super) fn remove_queue(queue_dir: &Path, next: RecordNumber) -> io::Result<()> {
    let ids = generation::list(queue_dir)?;
    let Some(newest) = ids.last().copied() else { return Ok(()) };
    let first_possible = newest.first_possible.max(next.0);
    let next = GenerationId { sequence: newest.sequence + 1, first_possible };
    fs::create_dir(queue_dir.join(next.to_string()))?;
    sync::sync_dir(queue_dir)?;
    for entry in fs::read_dir(queue_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_other = name.to_str().and_then(GenerationId::parse).is_none();
        if is_other && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    // The newest says that nothing waits in the others.
    for id in ids {
        generation::remove(&queue_dir.join(id.to_string()))?;
    }
    Ok(())
}
