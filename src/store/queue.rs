//! The queue of one sink.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{RecordNumber, StoreError};
use crate::clock::UnixMillis;
use crate::event::Record;
use crate::metrics::QueueSnapshot;

/// A record read back, with its number.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// Its number in the queue.
    pub number: RecordNumber,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// The record itself.
    pub record: Record,
}

/// How much one read may return; at least one record comes when there is one.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// Records.
    pub records_max: NonZeroUsize,
    /// Bytes of events in memory.
    pub bytes_max: NonZeroUsize,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Durable, or dropped by the policy that the operator named and counted.
    Settled,
}

/// Resolves once the records are durable or a named policy has dropped them.
pub type Receipt = oneshot::Receiver<Result<Appended, StoreError>>;

/// The queue of one sink. Cheap to clone; all clones are the same queue.
#[derive(Debug, Clone)]
pub struct Queue;

impl Queue {
    /// Takes records, in order, to be made durable with the next commit. Never blocks; the caller bounds what
    /// is in flight.
    #[must_use]
    pub fn append(&self, _records: Vec<Record>) -> Receipt {
        todo!()
    }

    /// The first unsettled records from `from` on, in order, and marks them as in flight: they are not dropped
    /// by a policy until they are settled or released. Empty when there is none (yet).
    pub async fn read(
        &self,
        _from: RecordNumber,
        _limit: ReadLimit,
    ) -> Result<Vec<Arc<StoredRecord>>, StoreError> {
        todo!()
    }

    /// Takes delivered records out of the queue, in any order. Durable with the next commit, within a second when idle.
    pub fn settle_delivered(&self, _numbers: &[RecordNumber]) {
        todo!()
    }

    /// Records that are no longer in flight and were not settled: a policy may drop them again.
    pub fn release(&self, _numbers: &[RecordNumber]) {
        todo!()
    }

    /// Changes whenever there may be more to read: the number that the next record will get.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<RecordNumber> {
        todo!()
    }

    /// The counts of this moment, under one lock.
    #[must_use]
    pub fn snapshot(&self) -> QueueSnapshot {
        todo!()
    }

    /// Commits what is staged, the cursor included, and closes the queue. Later appends give [`StoreError::Closed`].
    pub async fn close(&self) {
        todo!()
    }
}
