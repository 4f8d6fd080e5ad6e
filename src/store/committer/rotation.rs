//! Generations: the next is made before it is needed, the full one is sealed, a failed one is given up.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tracing::{error, warn};

use super::open::Attempts;
use super::{Committer, Refusal};
use crate::config::Durability;
use crate::store::cursor;
use crate::store::generation::{self, Generation, GenerationError, GenerationId};
use crate::store::shared::State;
use crate::store::shelf::Shelved;
use crate::store::totals::Totals;

/// A generation being made on a thread of its own.
pub(super) type Prepared = JoinHandle<Result<Generation, GenerationError>>;

impl Committer {
    /// Sees to it that the next generation is there when this one is full.
    pub(super) fn rotate_if_full(&mut self, newest: &Arc<Generation>, disk_bytes: u64) {
        let full = self.settings.quota.generation_bytes;
        if disk_bytes >= full {
            if let Err(error) = self.rotate(newest) {
                self.give_up(&error);
            }
        } else if disk_bytes >= full / 4 * 3 && self.prepared.is_none() {
            let id = self.next_id(newest.id());
            let queue_dir = self.shared.queue_dir.clone();
            let open = move || Generation::open(&queue_dir, id);
            self.prepared =
                thread::Builder::new().name("store-prepare".to_owned()).spawn(open).ok();
        }
    }

    fn next_id(&self, newest: GenerationId) -> GenerationId {
        let first_possible = self.shared.lock().book.next();
        GenerationId { sequence: newest.sequence + 1, first_possible }
    }

    /// Goes on with the next generation and seals this one. In that order: a crash in between leaves both, with the
    /// cursor in the newer, and the older is sealed at the next start.
    fn rotate(&mut self, full: &Arc<Generation>) -> Result<(), GenerationError> {
        let newest = match self.prepared.take().map(JoinHandle::join) {
            Some(Ok(prepared)) => prepared?,
            Some(Err(_)) => {
                return Err(GenerationError::Damaged("making the next panicked".to_owned()));
            }
            None => Generation::open(&self.shared.queue_dir, self.next_id(full.id()))?,
        };
        let newest = Arc::new(self.synced_as_configured(newest)?);
        // Under `durability = "process"` the full one is not synced by its flushes.
        full.sync()?;
        let (next, sealed, settled) = {
            let mut state = self.shared.lock();
            let sealed = state.shelf.newest_mut().map(|newest| newest.totals).unwrap_or_default();
            (state.book.next(), sealed, state.book.settled().clone())
        };
        newest.stage_cursor(cursor::encode(next, &settled, self.shared.age().stamp()))?;
        newest.flush()?;
        sealed.write(full.dir()).map_err(GenerationError::Io)?;
        let shelved = Shelved {
            id: newest.id(),
            totals: Totals { first: next, end: next, ..Totals::default() },
            disk_bytes: newest.disk_bytes(),
            open: Some(Arc::clone(&newest)),
        };
        let closed = self.shared.lock().shelf.rotate(shelved);
        drop(closed);
        self.newest = Some(newest);
        Ok(())
    }

    pub(super) fn synced_as_configured(
        &self,
        mut newest: Generation,
    ) -> Result<Generation, GenerationError> {
        if self.settings.durability == Durability::Process {
            newest.sync_on_period()?;
        }
        Ok(newest)
    }

    /// Goes on with another generation: so that the reader can repair this one, or to be synced as configured.
    pub(super) fn rotate_now(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        if let Err(error) = self.rotate(&newest) {
            self.give_up(&error);
        }
    }

    /// Removes generations whose records have all left. The cursor that says so is durable.
    pub(super) fn reclaim(&self) {
        let drained = {
            let mut state = self.shared.lock();
            let State { shelf, book, .. } = &mut *state;
            shelf.take_drained(book)
        };
        for shelved in drained {
            let dir = self.shared.queue_dir.join(shelved.id.to_string());
            drop(shelved);
            if let Err(error) = generation::remove(&dir) {
                // It is found drained at the next start, and removed then.
                warn!(sink = %self.shared.sink, %error, "drained generation cannot be removed");
            }
        }
    }

    /// Stops using a database that failed: nothing is acknowledged until it is open again.
    pub(super) fn give_up(&mut self, error: &GenerationError) -> Refusal {
        self.newest = None;
        self.attempts = Attempts::due();
        let mut state = self.shared.lock();
        state.book.set_cursor_stale(true);
        state.unavailable = Some(error.to_string());
        let closed = state.shelf.newest_mut().and_then(|newest| newest.open.take());
        drop(state);
        drop(closed);
        if error.is_disk_full() {
            self.note_disk_full();
            return Refusal::DiskFull;
        }
        error!(sink = %self.shared.sink, %error, "queue takes no records: its database failed");
        Refusal::Unavailable(error.to_string())
    }
}
