//! Everything under the data directory, and the only module that names sled and bincode.

mod age;
mod book;
mod carve;
mod chunk;
mod codec;
mod committer;
mod cursor;
mod generation;
mod high_water;
mod identity;
mod lock;
mod opening;
mod pace;
mod queue;
mod quota;
mod ranges;
mod reader;
mod repair;
mod shared;
mod shelf;
mod sync;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

pub use identity::record_id;
pub use queue::{Appended, Queue, ReadLimit, Receipt, StoredRecord};

use crate::config;
use crate::metrics::StoreMetrics;
use crate::name::SinkName;

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
    /// The queue has stopped.
    #[error("the store is closed")]
    Closed,
}

/// Where the machine says who it is.
const MACHINE_ID_FILE: &str = "/etc/machine-id";
/// Records that a queue keeps in memory for its delivery.
const TAIL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The data directory, opened and locked by this process.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    metrics: StoreMetrics,
    id: String,
    lock: Arc<lock::DirLock>,
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
        let queues = config.data_dir.join("queues");
        let make = fs::create_dir_all(&queues).and_then(|()| sync::sync_dir(&config.data_dir));
        make.map_err(|source| StoreError::Io { operation: "make", path: queues, source })?;
        let lock = Arc::new(lock::DirLock::take(&config.data_dir)?);
        let id = identity::load_or_mint(&config.data_dir, machine_id_file)?;
        let generation_bytes_max = quota::GENERATION_BYTES_MAX;
        Ok(Self { config, metrics, id, lock, generation_bytes_max })
    }

    /// The id of this store: minted once, part of every record id. Lower-case letters and digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Opens the queue of a sink, repairing what a crash or damage left. A queue is opened once at a time.
    pub fn open_queue(
        &self,
        sink: &SinkName,
        options: &config::Queue,
    ) -> Result<Queue, StoreError> {
        let queue_dir = self.config.data_dir.join("queues").join(sink.as_str());
        let opened = opening::open(&queue_dir, TAIL_BYTES_MAX, &self.metrics).map_err(|error| {
            let source = io::Error::other(error);
            StoreError::Io { operation: "open", path: queue_dir.clone(), source }
        })?;
        let next = opened.book.next();
        let shared = Arc::new(shared::Shared {
            sink: sink.clone(),
            queue_dir: queue_dir.clone(),
            quota: quota::Quota::of(options.bytes_max, self.generation_bytes_max),
            options: options.clone(),
            commit_window_max: self.config.commit_window_max,
            metrics: self.metrics.clone(),
            age: opened.age,
            appended: watch::Sender::new(RecordNumber(next)),
            wake: Condvar::new(),
            opening: Mutex::new(()),
            state: Mutex::new(shared::State {
                book: opened.book,
                shelf: opened.shelf,
                staged: VecDeque::new(),
                staged_bytes: 0,
                is_committer_idle: false,
                stop: None,
                is_rotation_wanted: false,
                unavailable: None,
            }),
        });
        let committer = committer::Committer::new(Arc::clone(&shared));
        // The kernel cuts thread names at 15 bytes.
        let thread = thread::Builder::new()
            .name(format!("queue {sink}"))
            .spawn(move || committer.run())
            .map_err(|source| StoreError::Io { operation: "serve", path: queue_dir, source })?;
        Ok(Queue::new(shared, thread, Arc::clone(&self.lock)))
    }
}
