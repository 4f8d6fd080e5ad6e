//! Everything under the data directory, and the only module that names sled and bincode.

mod age;
mod ballast;
mod book;
mod carve;
mod chunk;
mod codec;
mod committer;
mod cursor;
mod generation;
mod high_water;
mod identity;
mod letters;
mod lock;
mod offline;
mod opening;
mod operator;
mod pace;
mod pause_note;
mod presence_note;
mod pulse;
mod queue;
mod quota;
mod ranges;
mod reader;
mod repair;
mod runs;
mod session_note;
mod shared;
mod shelf;
mod sync;
#[cfg(test)]
mod tests;
mod totals;
mod usage;

use std::any::Any;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

pub use identity::record_id;
pub use letters::{
    ANSWER_BYTES_MAX, DeadLetter, DeadLetterHead, DeadLetterReason, DeadLetters, DeadLettersCopy,
    Exchanged, FoundLetter, LetterKey, LetterPage, Removal,
};
pub use offline::{OfflineQueue, StoredQueue, stored_queues};
pub use operator::Dropped;
pub use pause_note::PauseNote;
pub use presence_note::PresenceNote;
pub use pulse::Beat;
pub use queue::{Appended, Queue, ReadLimit, Receipt, StoredRecord};
pub use session_note::{KnownSession, SessionNote};

use crate::config;
use crate::metrics::StoreMetrics;
use crate::name::{SinkName, SourceName};

/// Number of a record in its queue: consecutive, from 1, never reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// What the store must know when it opens.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data directory; made when it is not there.
    pub data_dir: PathBuf,
    /// Longest a commit waits for company once commits run back to back.
    pub commit_window_max: Duration,
    /// What the dead letters may take on disk.
    pub dead_letters_bytes_max: NonZeroU64,
}

/// What the caller can do something about.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory open.
    #[error("the data directory {} is in use by process {holder}", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// What the lock file says of the holder.
        holder: String,
    },
    /// The file system says no.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The queue cannot write at the moment: disk full, or a failed sync. It reopens by itself.
    #[error("queue `{sink}` cannot take records now: {why}")]
    Unavailable {
        /// The sink whose queue it is.
        sink: SinkName,
        /// In words for an operator.
        why: String,
    },
    /// Dead letters cannot be written or read at the moment. They are opened again by themselves.
    #[error("dead letters are not available now: {why}")]
    DeadLettersUnavailable {
        /// In words for an operator.
        why: String,
    },
    /// The queue has stopped.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the file system has no room; trying again later helps.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_no_room(source))
    }
}

/// Whether an error says that the file system has no room.
fn is_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// Why a queue takes no records while the file system has no room.
const DISK_FULL: &str = "the disk is full";
/// The same before it could be opened.
const DISK_FULL_AT_START: &str = "the disk is full: the queue cannot be opened, and what is in it is not counted, until there is room";

/// Whether that is why a queue takes no records.
#[must_use]
pub fn is_disk_full(why: &str) -> bool {
    why.starts_with(DISK_FULL)
}

/// Where the machine says who it is.
const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// The data directory, opened and locked by this process.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    metrics: StoreMetrics,
    identity: Arc<identity::Identity>,
    lock: Arc<lock::DirLock>,
    ballast: Arc<ballast::Ballast>,
    queues_open: Arc<AtomicUsize>,
    dead_letters: DeadLetters,
    generation_bytes_max: u64,
}

impl Store {
    /// Opens the data directory and takes its lock.
    pub fn open(config: StoreConfig, metrics: StoreMetrics) -> Result<Self, StoreError> {
        Self::open_on_machine(config, metrics, Path::new(MACHINE_ID_FILE))
    }

    fn open_on_machine(
        config: StoreConfig,
        metrics: StoreMetrics,
        machine_id_file: &Path,
    ) -> Result<Self, StoreError> {
        let queues = config.data_dir.join(offline::QUEUES);
        let make = fs::create_dir_all(&queues).and_then(|()| sync::sync_dir(&config.data_dir));
        make.map_err(|source| StoreError::Io { operation: "make", path: queues, source })?;
        let lock = Arc::new(lock::DirLock::take(&config.data_dir)?);
        let identity =
            Arc::new(identity::Identity::load_or_mint(&config.data_dir, machine_id_file)?);
        let generation_bytes_max = quota::GENERATION_BYTES_MAX;
        let ballast = Arc::new(ballast::Ballast::open(&config.data_dir));
        let queues_open = Arc::default();
        let dead_letters = DeadLetters::open(
            &config.data_dir,
            config.dead_letters_bytes_max,
            metrics.clone(),
            Arc::clone(&lock),
        )?;
        Ok(Self {
            config,
            metrics,
            identity,
            lock,
            ballast,
            queues_open,
            dead_letters,
            generation_bytes_max,
        })
    }

    /// The dead letters of all sinks.
    #[must_use]
    pub const fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    /// The id of this store: minted once, part of every record id. Lower-case letters and digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.identity.id()
    }

    /// Where a source keeps what it knows of its session at a broker.
    #[must_use]
    pub fn session_note(&self, source: &SourceName) -> SessionNote {
        SessionNote::of(&self.config.data_dir, source)
    }

    /// What the data directory takes on the disk, in bytes. Blocks.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        usage::disk_bytes(&self.config.data_dir)
    }

    /// Where it is kept that a sink is paused.
    #[must_use]
    pub fn pause_note(&self, sink: &SinkName) -> PauseNote {
        PauseNote::of(&self.config.data_dir, sink)
    }

    /// Where a source keeps what it knows of a broker's clients.
    #[must_use]
    pub fn presence_note(&self, source: &SourceName) -> PresenceNote {
        PresenceNote::of(&self.config.data_dir, source)
    }

    /// Closes a queue that has no records and removes its folder, but for a note of the number that a next record would
    /// get. Blocks.
    pub fn remove_queue(&self, queue: &Queue) -> Result<(), StoreError> {
        queue.close_now();
        assert!(queue.is_empty(), "the queue of `{}` is removed with records in it", queue.sink());
        let path = self.queue_dir(queue.sink());
        let next = *queue.appended().borrow();
        operator::remove_queue(&path, next).map_err(|source| StoreError::Io {
            operation: "remove",
            path,
            source,
        })
    }

    fn queue_dir(&self, sink: &SinkName) -> PathBuf {
        self.config.data_dir.join(offline::QUEUES).join(sink.as_str())
    }

    /// Opens the queue of a sink, repairing what a crash or damage left. A queue is opened once at a time.
    ///
    /// One that cannot be opened now (no space, no permission, a disk that fails) takes no records and says why in
    /// [`Queue::unavailable`], and opens by itself when it can be. `Err` only when the system gives no thread.
    pub fn open_queue(
        &self,
        sink: &SinkName,
        options: &config::Queue,
    ) -> Result<Queue, StoreError> {
        let queue_dir = self.queue_dir(sink);
        let shared = Arc::new(shared::Shared {
            sink: sink.clone(),
            queue_dir: queue_dir.clone(),
            identity: Arc::clone(&self.identity),
            commit_window_max: self.config.commit_window_max,
            dead_letters: self.dead_letters.clone(),
            metrics: self.metrics.clone(),
            ballast: Arc::clone(&self.ballast),
            queues_open: Arc::clone(&self.queues_open),
            age: OnceLock::new(),
            appended: watch::Sender::default(),
            panicked: watch::Sender::default(),
            wake: Condvar::new(),
            pulse: pulse::Pulse::default(),
            opening: Mutex::new(()),
            state: Mutex::new(shared::State {
                book: book::Book::unopened(),
                shelf: shelf::Shelf::default(),
                staged: VecDeque::new(),
                staged_bytes: 0,
                is_committer_idle: false,
                company_left: None,
                stop: None,
                settings: quota::Settings::of(options, self.generation_bytes_max),
                is_committing: false,
                dropping: None,
                is_rotation_wanted: false,
                unavailable: None,
            }),
        });
        let watched = Arc::clone(&shared);
        let committer = committer::Committer::open(Arc::clone(&shared));
        // The kernel cuts thread names at 15 bytes.
        let thread = thread::Builder::new()
            .name(format!("queue {sink}"))
            .spawn(move || {
                // What the panic leaves behind is not used again: whoever watches ends the process.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| committer.run())) {
                    watched.panicked.send_replace(Some(panic_text(&*panic)));
                }
            })
            .map_err(|source| StoreError::Io { operation: "serve", path: queue_dir, source })?;
        self.queues_open.fetch_add(1, Ordering::Relaxed);
        Ok(Queue::new(shared, thread, self.generation_bytes_max, Arc::clone(&self.lock)))
    }
}
