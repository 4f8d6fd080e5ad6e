//! Dead letters: records that were given up, of all sinks, in one database with a quota of its own.
//!
//! A letter is durable before its record leaves the queue, and its record id is its key: a crash between the two
//! finds the record again, and what becomes of it replaces the letter. A thread of its own keeps the database, which
//! is opened when the first letter comes and removed with the last.
//!
//! The quota never stops live traffic: when it is reached, the oldest letters of the sink that has most of them go,
//! counted. So a sink that floods the letters does not push out those of the others. What a queue overflows with only
//! comes in as long as there is room.

mod database;
mod keeper;
mod ledger;
mod letter;
mod look;
mod operator;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

pub use database::FoundLetter;
pub use letter::{ANSWER_BYTES_MAX, DeadLetter, DeadLetterHead, DeadLetterReason, LetterKey};
pub use look::DeadLettersCopy;
pub use operator::{Exchanged, LetterPage, Removal};

use super::StoreError;
use super::lock::DirLock;
use super::pulse::{Beat, Pulse};
use crate::metrics::{DeadLetterSnapshot, StoreMetrics};
use crate::name::{RecordId, SinkName};
use database::{Home, Purpose};
use keeper::{Append, Keeper, Overflow, Reply, Request};
use ledger::Ledger;

/// The folder of the letters in the data directory.
const FOLDER: &str = "dead-letters";
/// Requests that wait for the keeper; whoever asks waits, too.
const REQUESTS_MAX: usize = 64;

/// The dead letters of all sinks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    face: Arc<Face>,
}

#[derive(Debug)]
struct Face {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    ledger: Arc<Mutex<Ledger>>,
    pulse: Arc<Pulse>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// The data directory stays locked as long as its letters are open.
    _lock: Arc<DirLock>,
}

impl DeadLetters {
    /// Starts the keeper of the letters in a data directory; those that are there are opened on its own time.
    pub(super) fn open(
        data_dir: &Path,
        bytes_max: NonZeroU64,
        metrics: StoreMetrics,
        lock: Arc<DirLock>,
    ) -> Result<Self, StoreError> {
        Self::open_for(Purpose::Keep, data_dir, bytes_max, metrics, lock)
    }

    fn open_for(
        purpose: Purpose,
        data_dir: &Path,
        bytes_max: NonZeroU64,
        metrics: StoreMetrics,
        lock: Arc<DirLock>,
    ) -> Result<Self, StoreError> {
        let dir = data_dir.join(FOLDER);
        let ledger = Arc::new(Mutex::new(Ledger::new(bytes_max)));
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        let pulse = Arc::new(Pulse::default());
        let home = Home { dir: dir.clone(), purpose };
        let keeper = Keeper::new(home, Arc::clone(&ledger), Arc::clone(&pulse), metrics);
        let thread = thread::Builder::new()
            .name("dead letters".to_owned())
            .spawn(move || keeper.run(receiver))
            .map_err(|source| StoreError::Io { operation: "serve", path: dir, source })?;
        let face = Face {
            requests: Mutex::new(Some(sender)),
            ledger,
            pulse,
            keeper: Mutex::new(Some(thread)),
            _lock: lock,
        };
        Ok(Self { face: Arc::new(face) })
    }

    /// Keeps letters; all of them are durable when it returns `Ok`, or were dropped by the letters' quota and counted.
    /// A letter whose sink and record id there is already takes the place of that one.
    ///
    /// On `Err` none of them counts as kept, though some may be: their records stay in the queue, and come again.
    /// Cancel safe in the same way.
    pub async fn append(&self, letters: Vec<DeadLetter>) -> Result<(), StoreError> {
        let overflow = Overflow::DropsOldest;
        self.ask(|reply| Request::Append(Append { letters, overflow, reply })).await.map(drop)
    }

    /// The letters after one (from the first), of one sink or all, in the order of sinks and their records; a bounded
    /// number at once.
    pub async fn page(
        &self,
        sink: Option<SinkName>,
        after: Option<LetterKey>,
    ) -> Result<LetterPage, StoreError> {
        self.ask(|reply| Request::Page { sink, after, reply }).await
    }

    /// The letters of a record: one in each sink that could not deliver it.
    pub async fn find(
        &self,
        record_id: RecordId,
    ) -> Result<Vec<(FoundLetter, DeadLetter)>, StoreError> {
        self.ask(|reply| Request::Find { record_id, reply }).await
    }

    /// These letters with all that is in them, as they are now; `None` for each that is gone or damaged. The caller
    /// bounds their bytes.
    pub async fn letters(
        &self,
        keys: Vec<LetterKey>,
    ) -> Result<Vec<Option<(FoundLetter, DeadLetter)>>, StoreError> {
        self.ask(|reply| Request::Letters { keys, reply }).await
    }

    /// Takes letters out, but those that have been replaced since these heads were read. They are out durably when it
    /// returns how many it were; on `Err` some of them may be.
    pub async fn take_out(
        &self,
        heads: Vec<DeadLetterHead>,
        why: Removal,
    ) -> Result<u64, StoreError> {
        self.ask(|reply| Request::TakeOut { heads, why, reply }).await
    }

    /// Puts a letter with an id of its own in the place of another one, durably: a crash leaves one of the two.
    pub async fn exchange(
        &self,
        old: DeadLetterHead,
        new: DeadLetter,
    ) -> Result<Exchanged, StoreError> {
        let letters = Box::new((old, new));
        self.ask(|reply| Request::Exchange(letters, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.sender()?.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Self::append`], for a queue's thread and for letters that must not push out others: `false` when there is
    /// no room for all of them, and then none was taken.
    pub(super) fn append_while_room(&self, letters: Vec<DeadLetter>) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Append(Append { letters, overflow: Overflow::IsRefused, reply });
        self.sender()?.blocking_send(request).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Asks the keeper to go round, and shows how often it has so far.
    #[must_use]
    pub fn beat(&self) -> Beat {
        if let Ok(sender) = self.sender() {
            // Where there is no room, there is something else to go round for.
            drop(sender.try_send(Request::GoRound));
        }
        self.face.pulse.look()
    }

    /// The counts of this moment.
    #[must_use]
    pub fn snapshot(&self) -> DeadLetterSnapshot {
        self.face.ledger.lock().unwrap_or_else(PoisonError::into_inner).snapshot()
    }

    /// Finishes what was asked for and closes the database. Later calls give [`StoreError::Closed`].
    pub async fn close(&self) {
        drop(self.face.take_sender());
        if let Some(keeper) = self.face.take_keeper() {
            // Neither a cancelled runtime nor a panic of the keeper leaves anything to do here.
            drop(tokio::task::spawn_blocking(move || keeper.join()).await);
        }
    }

    fn sender(&self) -> Result<mpsc::Sender<Request>, StoreError> {
        let requests = self.face.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone().ok_or(StoreError::Closed)
    }
}

impl Face {
    fn take_sender(&self) -> Option<mpsc::Sender<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn take_keeper(&self) -> Option<JoinHandle<()>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        drop(self.take_sender());
        if let Some(keeper) = self.take_keeper() {
            // A panic of the keeper was reported when it happened.
            drop(keeper.join());
        }
    }
}
