//! Opening the queue: at the start, later when that was not possible, and again after its database failed.
//!
//! Nothing stops the start: a queue that does not open takes no records and says why, and its thread tries again, as
//! soon as a full disk has room and from time to time anyway. Until then overload is dealt with as on a disk that
//! fills up while the queue is open.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{Committer, Refusal};
use crate::store::generation::{Generation, GenerationError, GenerationId};
use crate::store::high_water::HighWater;
use crate::store::{DISK_FULL, RecordNumber, opening, repair};

/// Time before the second attempt to open; doubled after each.
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(15);

/// When to try to open again.
#[derive(Debug)]
pub(super) struct Attempts {
    next_at: Instant,
    delay: Duration,
}

impl Attempts {
    /// The next attempt is due now.
    pub(super) fn due() -> Self {
        Self { next_at: Instant::now(), delay: DELAY_MIN }
    }

    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }

    fn note_attempt(&mut self) {
        self.next_at = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(DELAY_MAX);
    }
}

impl Committer {
    /// Whether the queue has been open since the start.
    pub(super) fn was_opened(&self) -> bool {
        self.shared.lock().shelf.newest_mut().is_some()
    }

    /// The generation that takes appends, opened where it is not.
    pub(super) fn writable(&mut self) -> Result<Arc<Generation>, Refusal> {
        if let Some(newest) = &self.newest {
            return Ok(Arc::clone(newest));
        }
        if Instant::now() < self.attempts.next_at() {
            return Err(Refusal::Unavailable("waiting to open its database again".to_owned()));
        }
        self.attempts.note_attempt();
        let shared = Arc::clone(&self.shared);
        let _long_work = shared.pulse.begin_long_work();
        let known = self.shared.lock().shelf.newest_mut().map(|newest| newest.id);
        let opened = match known {
            None => self.open_folder(),
            Some(id) => self.reopen(id),
        };
        let newest = opened.map_err(|error| self.note_not_open(&error))?;
        self.attempts = Attempts::due();
        self.newest = Some(Arc::clone(&newest));
        Ok(newest)
    }

    /// Opens what is on disk, repairing what a crash or damage left. The ballast is given up where that makes the
    /// difference.
    fn open_folder(&mut self) -> Result<Arc<Generation>, GenerationError> {
        let shared = Arc::clone(&self.shared);
        let durability = self.settings.durability;
        let open = || {
            // Record ids start with the store's: none is given out before that is safe.
            shared.identity.make_durable().map_err(GenerationError::Io)?;
            opening::open(&shared.queue_dir, durability, &shared.metrics)
        };
        let opened = open().or_else(|error| {
            if !error.is_disk_full() {
                return Err(error);
            }
            self.note_disk_full();
            open()
        })?;
        let next = opened.book.next();
        shared.age.get_or_init(|| opened.age);
        self.high_water = HighWater::open(&shared.queue_dir).ok();
        let mut state = shared.lock();
        let recovered = opened.book.next() - opened.book.settled().count_in(0..next);
        state.book = opened.book.after(&state.book);
        state.shelf = opened.shelf;
        let newest = state.shelf.newest_mut().and_then(|newest| newest.open.clone());
        let was_told = state.unavailable.is_some();
        state.unavailable = self.is_disk_full.then(|| DISK_FULL.to_owned());
        drop(state);
        // While there is no room it takes nothing: what is told then is that there is room again.
        if was_told && !self.is_disk_full {
            info!(sink = %shared.sink, recovered, "queue is open");
        }
        self.look_up_head();
        shared.appended.send_replace(RecordNumber(next));
        Ok(newest.expect("an opened queue has a generation that takes appends"))
    }

    fn reopen(&mut self, id: GenerationId) -> Result<Arc<Generation>, GenerationError> {
        let shared = Arc::clone(&self.shared);
        // Whoever reads may have opened it meanwhile; sled opens a database once at a time.
        let _one_at_a_time = shared.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let read = shared.lock().shelf.close(id);
        drop(read);
        let generation = repair::open(&shared.queue_dir, id, &shared.metrics)?;
        let generation = self.synced_as_configured(generation)?;
        let totals = generation.scan()?;
        let generation = Arc::new(generation);
        let mut state = shared.lock();
        // What the failed commit left on disk after all has its numbers, and is delivered.
        state.book.adopt(totals.end);
        if !self.is_disk_full {
            state.unavailable = None;
        }
        let next = state.book.next();
        if let Some(newest) = state.shelf.newest_mut() {
            newest.totals = opening::newest_totals(totals, next);
            newest.open = Some(Arc::clone(&generation));
        }
        drop(state);
        if !self.is_disk_full {
            info!(sink = %shared.sink, "queue is open again");
        }
        shared.appended.send_replace(RecordNumber(next));
        Ok(generation)
    }

    /// Says why it does not open, once per reason.
    fn note_not_open(&mut self, error: &GenerationError) -> Refusal {
        if error.is_disk_full() {
            self.note_disk_full();
            return Refusal::DiskFull;
        }
        let why = format!("it cannot be opened: {error}");
        let before = self.shared.lock().unavailable.replace(why.clone());
        if before.as_deref() != Some(&why) {
            error!(sink = %self.shared.sink, %error, "queue cannot be opened: it is tried again");
        }
        Refusal::Unavailable(why)
    }
}
