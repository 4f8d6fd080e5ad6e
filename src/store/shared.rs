//! What the faces of a queue and its committer share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::age::AgeClock;
use super::ballast::Ballast;
use super::book::Book;
use super::chunk::Stamp;
use super::committer::Dropping;
use super::identity::Identity;
use super::pulse::Pulse;
use super::quota::Settings;
use super::shelf::Shelf;
use super::{Appended, DeadLetters, RecordNumber, StoreError};
use crate::clock::UnixMillis;
use crate::event::Record;
use crate::metrics::{QueueSnapshot, StoreMetrics};
use crate::name::SinkName;

/// Records that wait for the committer.
#[derive(Debug)]
pub(super) struct Staged {
    pub records: Vec<Record>,
    pub bytes: usize,
    pub urgency: Urgency,
    pub receipt: oneshot::Sender<Result<Appended, StoreError>>,
}

/// What records may ask of a queue that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// The sink's policy decides.
    Live,
    /// Nothing: they are safe elsewhere, and are not taken.
    Replay,
}

/// How the committer shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Commit what is staged, the cursor included.
    Commit,
    /// At once.
    Abandon,
}

/// Everything that changes, under one lock that is never held over a system call.
#[derive(Debug)]
pub(super) struct State {
    pub book: Book,
    pub shelf: Shelf,
    pub staged: VecDeque<Staged>,
    pub staged_bytes: usize,
    /// The committer waits for anything at all to come.
    pub is_committer_idle: bool,
    /// The committer waits for so many records more, and for none after them.
    pub company_left: Option<usize>,
    pub stop: Option<Stop>,
    /// Taken over by the committer with its next round.
    pub settings: Settings,
    /// A group is with the committer: neither staged nor in the book.
    pub is_committing: bool,
    /// What an operator wants dropped.
    pub dropping: Option<Dropping>,
    /// The newest generation is damaged: seal it as it is.
    pub is_rotation_wanted: bool,
    /// Why no records are taken now.
    pub unavailable: Option<String>,
}

/// A queue, as its faces and its committer see it.
#[derive(Debug)]
pub(super) struct Shared {
    pub sink: SinkName,
    pub queue_dir: PathBuf,
    /// Of the store, part of every record id.
    pub identity: Arc<Identity>,
    pub commit_window_max: Duration,
    pub dead_letters: DeadLetters,
    pub metrics: StoreMetrics,
    pub ballast: Arc<Ballast>,
    /// How many queues the store has open.
    pub queues_open: Arc<AtomicUsize>,
    /// Set when the queue is opened.
    pub age: OnceLock<AgeClock>,
    pub appended: watch::Sender<RecordNumber>,
    /// What the committer's panic said.
    pub panicked: watch::Sender<Option<String>>,
    /// Wakes the committer.
    pub wake: Condvar,
    pub state: Mutex<State>,
    /// Of the committer.
    pub pulse: Pulse,
    /// Held while a generation is opened for reading: sled opens a database once at a time.
    pub opening: Mutex<()>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held ends the process; until then the books are consistent enough to read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How old records are. While the queue is not open it has none.
    pub(super) fn age(&self) -> AgeClock {
        let unknown = || AgeClock::resume(Stamp::default(), UnixMillis::default());
        self.age.get().copied().unwrap_or_else(unknown)
    }

    pub(super) fn snapshot(&self) -> QueueSnapshot {
        let state = self.lock();
        let mut snapshot = state.book.snapshot(self.age().now_ms());
        snapshot.bytes = state.shelf.disk_bytes();
        snapshot.bytes_max = state.settings.quota.bytes_max;
        snapshot.available = state.unavailable.is_none();
        snapshot
    }

    /// So many records have come. Wakes the committer with the last that it waits for.
    pub(super) fn count_company(&self, state: &mut State, records: usize) {
        let Some(left) = state.company_left.as_mut() else { return };
        *left = left.saturating_sub(records);
        if *left == 0 {
            self.wake.notify_one();
        }
    }

    /// Something was settled or released: the committer has a cursor to write, or room to look for.
    pub(super) fn wake_committer_if_idle(&self, state: &State) {
        if state.is_committer_idle {
            self.wake.notify_one();
        }
    }
}

/// An `Arc` of it, as everybody holds it.
pub(super) type SharedQueue = Arc<Shared>;
