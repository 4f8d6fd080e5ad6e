//! The queue of one sink.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::age::AgeClock;
use super::book::{Found, Intent, records_bytes};
use super::committer::Dropping;
use super::lock::DirLock;
use super::operator::Dropped;
use super::pulse::Beat;
use super::quota::Settings;
use super::reader;
use super::shared::{SharedQueue, Staged, Stop, Urgency};
use super::{DeadLetterReason, RecordNumber, StoreError, record_id};
use crate::clock::UnixMillis;
use crate::config;
use crate::event::Record;
use crate::metrics::QueueSnapshot;
use crate::name::{RecordId, SinkName};

/// A record read back, with its number.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// Its number in the queue.
    pub number: RecordNumber,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// The same on the queue's age clock, in milliseconds.
    pub age_ms: u64,
    /// The record itself.
    pub record: Record,
}

impl StoredRecord {
    /// The id under which receivers know it: the one it was given when it was first taken, also after a replay.
    #[must_use]
    pub fn record_id(&self, store_id: &str, sink: &SinkName) -> RecordId {
        match &self.record.replay {
            Some(replay) => replay.record_id.clone(),
            None => record_id(store_id, sink, self.number),
        }
    }
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
    /// Not taken, and not counted: there is no room for what need not come now. Only after
    /// [`Queue::append_replayed`].
    NoRoom,
}

/// Resolves once the records are durable or a named policy has dropped them. An error of the channel itself
/// means that the queue was dropped without a close: nothing is known of the records.
pub type Receipt = oneshot::Receiver<Result<Appended, StoreError>>;

/// The queue of one sink. Cheap to clone; all clones are the same queue.
///
/// Dropping the last clone without [`Queue::close`] abandons what is staged and not committed, and waits for the
/// commit that is under way.
#[derive(Debug, Clone)]
pub struct Queue {
    face: Arc<Face>,
}

#[derive(Debug)]
struct Face {
    shared: SharedQueue,
    /// One read from disk at a time.
    disk: tokio::sync::Mutex<()>,
    committer: Mutex<Option<JoinHandle<()>>>,
    generation_bytes_max: u64,
    /// The data directory stays locked as long as a queue of it is open.
    _lock: Arc<DirLock>,
}

impl Queue {
    pub(super) fn new(
        shared: SharedQueue,
        committer: JoinHandle<()>,
        generation_bytes_max: u64,
        lock: Arc<DirLock>,
    ) -> Self {
        let disk = tokio::sync::Mutex::new(());
        let committer = Mutex::new(Some(committer));
        let face = Face { shared, disk, committer, generation_bytes_max, _lock: lock };
        Self { face: Arc::new(face) }
    }

    /// Takes records, in order, to be made durable with the next commit. Never blocks; the caller bounds what
    /// is in flight.
    #[must_use]
    pub fn append(&self, records: Vec<Record>) -> Receipt {
        self.stage(records, Urgency::Live)
    }

    /// As [`Self::append`], for records that are safe in the dead letters: they push out nothing and wait for no room,
    /// and leave a part of the queue free for live traffic. [`Appended::Settled`] means durable here, whatever the sink's
    /// policy and `durability` say.
    #[must_use]
    pub fn append_replayed(&self, records: Vec<Record>) -> Receipt {
        self.stage(records, Urgency::Replay)
    }

    fn stage(&self, records: Vec<Record>, urgency: Urgency) -> Receipt {
        let (receipt, receiver) = oneshot::channel();
        let shared = &self.face.shared;
        let mut state = shared.lock();
        if state.stop.is_some() {
            // Whoever appends may have stopped waiting.
            drop(receipt.send(Err(StoreError::Closed)));
            return receiver;
        }
        let bytes = records_bytes(&records);
        state.staged_bytes += bytes;
        shared.count_company(&mut state, records.len());
        state.staged.push_back(Staged { records, bytes, urgency, receipt });
        shared.wake_committer_if_idle(&state);
        receiver
    }

    /// The first unsettled records from `from` on, in order, and marks them as in flight: they are not dropped
    /// by a policy until they are settled or released. Empty when there is none (yet).
    ///
    /// Cancel safe as far as the queue goes; what a cancelled call had marked stays marked until it is settled,
    /// released or read again.
    pub async fn read(
        &self,
        from: RecordNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Arc<StoredRecord>>, StoreError> {
        self.read_for(from, limit, Intent::Take).await
    }

    /// As [`Self::read`], without marking anything: for looking at what waits.
    pub async fn peek(
        &self,
        from: RecordNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Arc<StoredRecord>>, StoreError> {
        self.read_for(from, limit, Intent::Peek).await
    }

    async fn read_for(
        &self,
        from: RecordNumber,
        limit: ReadLimit,
        intent: Intent,
    ) -> Result<Vec<Arc<StoredRecord>>, StoreError> {
        let shared = &self.face.shared;
        let mut one_at_a_time = None;
        loop {
            // What was read ahead may be dropped by a policy before it is taken: then look again.
            let found = shared.lock().book.read(from.0, limit, intent);
            let number = match found {
                Found::Nothing => return Ok(Vec::new()),
                Found::Records(records) => return Ok(records),
                Found::OnDisk(number) => number,
            };
            if one_at_a_time.is_none() {
                one_at_a_time = Some(self.face.disk.lock().await);
                continue;
            }
            let reading = Arc::clone(shared);
            let read = move || reader::read_ahead(&reading, number, limit);
            tokio::task::spawn_blocking(read).await.map_err(|error| {
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => StoreError::Closed,
                }
            })??;
        }
    }

    /// Takes delivered records out of the queue, in any order. Durable with the next commit, within a second when idle.
    pub fn settle_delivered(&self, numbers: &[RecordNumber]) {
        let mut state = self.face.shared.lock();
        for run in runs(numbers) {
            state.book.settle_delivered(run);
        }
        self.face.shared.wake_committer_if_idle(&state);
    }

    /// Takes records out of the queue that became dead letters, in any order. Call it only once their letters are
    /// durable. Durable itself with the next commit, within a second when idle: a crash before that finds both, and
    /// the letter is the same one.
    pub fn settle_dead_lettered(&self, numbers: &[RecordNumber], reason: DeadLetterReason) {
        let mut state = self.face.shared.lock();
        for run in runs(numbers) {
            state.book.settle_dead_lettered(run, reason);
        }
        self.face.shared.wake_committer_if_idle(&state);
    }

    /// Records that are no longer in flight and were not settled: a policy may drop them again.
    pub fn release(&self, numbers: &[RecordNumber]) {
        let mut state = self.face.shared.lock();
        for run in runs(numbers) {
            state.book.release(run);
        }
        self.face.shared.wake_committer_if_idle(&state);
    }

    /// As [`Self::release`], for all that was in flight: whoever took it is gone.
    pub fn release_all(&self) {
        let mut state = self.face.shared.lock();
        state.book.release(0..u64::MAX);
        self.face.shared.wake_committer_if_idle(&state);
    }

    /// The age clock of the queue, in milliseconds: how long records have been here, whatever the wall clock does.
    /// `None` until the queue is open, which it is when a record was read.
    #[must_use]
    pub fn age_now_ms(&self) -> Option<u64> {
        self.face.shared.age.get().map(AgeClock::now_ms)
    }

    /// Changes whenever there may be more to read: the number that the next record will get.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<RecordNumber> {
        self.face.shared.appended.subscribe()
    }

    /// The counts of this moment, under one lock.
    #[must_use]
    pub fn snapshot(&self) -> QueueSnapshot {
        self.face.shared.snapshot()
    }

    /// Why the queue takes no records now; `None` while it does.
    #[must_use]
    pub fn unavailable(&self) -> Option<String> {
        self.face.shared.lock().unavailable.clone()
    }

    /// Nothing waits in it, is in flight, or is on its way in. While nobody appends that stays so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.face.shared.lock();
        let has_waiting = state.book.next_waiting(0) < state.book.next();
        !has_waiting && state.staged.is_empty() && !state.is_committing
    }

    /// Changes what the queue may take and what happens then, from the next commit on. Nothing that is in it is concerned
    /// before there is too much of it.
    pub fn change(&self, options: &config::Queue) {
        let mut state = self.face.shared.lock();
        state.settings = Settings::of(options, self.face.generation_bytes_max);
        self.face.shared.wake.notify_one();
    }

    /// Asks the queue's thread to go round, and shows how often it has so far.
    #[must_use]
    pub fn beat(&self) -> Beat {
        self.face.shared.wake.notify_one();
        self.face.shared.pulse.look()
    }

    /// Drops what waits and came `age` ago or earlier, on behalf of an operator; what is in flight stays. Durable when it
    /// returns. `Err` when the queue takes no records now, or is at another one of these.
    pub async fn drop_older_than(&self, age: Duration) -> Result<Dropped, StoreError> {
        let shared = &self.face.shared;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = shared.lock();
            let busy = state.dropping.is_some().then(|| "records are being dropped".to_owned());
            if let Some(why) = busy.or_else(|| state.unavailable.clone()) {
                return Err(StoreError::Unavailable { sink: shared.sink.clone(), why });
            }
            if state.stop.is_some() {
                return Err(StoreError::Closed);
            }
            state.dropping = Some(Dropping::new(age, reply));
            shared.wake.notify_one();
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits until the queue's thread has panicked and gives what it said: nothing is committed any more, and the
    /// process must end. Cancel safe.
    pub async fn panicked(&self) -> String {
        let mut panicked = self.face.shared.panicked.subscribe();
        match panicked.wait_for(Option::is_some).await.map(|panic| panic.clone()) {
            Ok(Some(panic)) => panic,
            // The sender lives as long as this queue.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The sink whose queue it is.
    #[must_use]
    pub fn sink(&self) -> &SinkName {
        &self.face.shared.sink
    }

    /// As [`Self::close`], for a thread that may block.
    pub(super) fn close_now(&self) {
        self.face.stop(Stop::Commit);
        if let Some(committer) = self.face.take_committer() {
            // A panic of the committer was reported when it happened.
            drop(committer.join());
        }
    }

    /// Commits what is staged, the cursor included, and closes the queue. Later appends give [`StoreError::Closed`].
    pub async fn close(&self) {
        self.face.stop(Stop::Commit);
        let committer = self.face.take_committer();
        if let Some(committer) = committer {
            // Neither a cancelled runtime nor a panic of the committer leaves anything to do here.
            drop(tokio::task::spawn_blocking(move || committer.join()).await);
        }
    }
}

impl Face {
    fn stop(&self, how: Stop) {
        let mut state = self.shared.lock();
        state.stop.get_or_insert(how);
        self.shared.wake.notify_one();
    }

    fn take_committer(&self) -> Option<JoinHandle<()>> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.stop(Stop::Abandon);
        self.shared.queues_open.fetch_sub(1, Ordering::Relaxed);
        if let Some(committer) = self.take_committer() {
            // A panic of the committer was reported when it happened.
            drop(committer.join());
        }
    }
}

/// Neighbouring numbers as one range.
fn runs(numbers: &[RecordNumber]) -> impl Iterator<Item = std::ops::Range<u64>> {
    let mut rest = numbers.iter().map(|number| number.0).peekable();
    std::iter::from_fn(move || {
        let start = rest.next()?;
        let mut end = start.saturating_add(1);
        while rest.next_if_eq(&end).is_some() {
            end = end.saturating_add(1);
        }
        Some(start..end)
    })
}
