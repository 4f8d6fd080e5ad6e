//! Whether a thread of the store gets anywhere: what the watchdog looks at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The pulse of a thread: it beats each time the thread goes round its loop.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: AtomicU64,
    /// Since when it does something that takes long and ends by itself.
    long_since: Mutex<Option<Instant>>,
}

/// What a pulse shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Rounds so far.
    pub rounds: u64,
    /// How long it has been at something that takes long and ends by itself: opening or mending a database.
    pub long_for: Option<Duration>,
}

/// Something that takes long and ends by itself; until this is dropped.
#[derive(Debug)]
pub(super) struct LongWork<'a>(&'a Pulse);

impl Pulse {
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn begin_long_work(&self) -> LongWork<'_> {
        *self.long_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        LongWork(self)
    }

    pub(super) fn look(&self) -> Beat {
        let since = *self.long_since.lock().unwrap_or_else(PoisonError::into_inner);
        let long_for = since.map(|since| since.elapsed());
        Beat { rounds: self.beats.load(Ordering::Relaxed), long_for }
    }
}

impl Drop for LongWork<'_> {
    fn drop(&mut self) {
        *self.0.long_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
