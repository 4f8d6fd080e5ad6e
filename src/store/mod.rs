//! Everything under the data directory, and the only module that names sled and bincode.

mod queue;

use std::path::PathBuf;
use std::time::Duration;

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
        source: std::io::Error,
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

/// The data directory, opened and locked by this process.
#[derive(Debug)]
pub struct Store;

impl Store {
    /// Opens the data directory and takes its lock.
    pub fn open(_config: StoreConfig, _metrics: StoreMetrics) -> Result<Self, StoreError> {
        todo!()
    }

    /// The id of this store: minted once, part of every record id. Letters, digits and `-`.
    #[must_use]
    pub fn id(&self) -> &str {
        todo!()
    }

    /// Opens the queue of a sink, repairing what a crash or damage left.
    pub fn open_queue(
        &self,
        _sink: &SinkName,
        _options: &config::Queue,
    ) -> Result<Queue, StoreError> {
        todo!()
    }
}
