//! The thread that keeps the letters: it alone touches the database.
//!
//! A loop of waiting for requests and doing them; what is to be durable shares one flush with what waits behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::database::{Database, FoundLetter, Home};
use super::ledger::Ledger;
use super::letter::{self, DeadLetter, DeadLetterHead, LetterKey};
use super::operator::{Exchanged, LetterPage, Removal};
use crate::clock::UnixMillis;
use crate::metrics::StoreMetrics;
use crate::name::{RecordId, SinkName};
use crate::store::StoreError;
use crate::store::generation::GenerationError;
use crate::store::pulse::Pulse;

/// Time between attempts to open a database that failed.
const REOPEN_DELAY: Duration = Duration::from_secs(1);
/// Time after an attempt to give space back that failed.
const REWRITE_DELAY: Duration = Duration::from_mins(1);
/// What the file may have beyond twice the letters before they are copied into a new one.
const SLACK_BYTES: u64 = 4 * 1024 * 1024;
/// Letters looked up at once when the oldest go.
const OLDEST_AT_ONCE: usize = 64;
/// Appends that share a flush.
const APPENDS_AT_ONCE: usize = 64;

/// What becomes of letters that there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Older ones make room.
    DropsOldest,
    /// They are not taken.
    IsRefused,
}

/// Whether the letters were taken.
type Taken = Result<bool, StoreError>;

/// What the keeper can be asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Keep these; answered when they are durable.
    Append(Append),
    /// The letters after one, of one sink or all.
    Page { sink: Option<SinkName>, after: Option<LetterKey>, reply: Reply<LetterPage> },
    /// The letters of a record id.
    Find { record_id: RecordId, reply: Reply<Vec<Whole>> },
    /// These letters, those that are there.
    Letters { keys: Vec<LetterKey>, reply: Reply<Vec<Option<Whole>>> },
    /// Take these out.
    TakeOut { heads: Vec<DeadLetterHead>, why: Removal, reply: Reply<u64> },
    /// Put one in the place of another.
    Exchange(Box<(DeadLetterHead, DeadLetter)>, Reply<Exchanged>),
    /// Show that the keeper gets anywhere.
    GoRound,
}

/// A letter, and its head as it was found.
pub(super) type Whole = (FoundLetter, DeadLetter);
/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) struct Append {
    pub letters: Vec<DeadLetter>,
    pub overflow: Overflow,
    pub reply: oneshot::Sender<Taken>,
}

#[derive(Debug)]
pub(super) struct Keeper {
    home: Home,
    ledger: Arc<Mutex<Ledger>>,
    pulse: Arc<Pulse>,
    metrics: StoreMetrics,
    /// `None` without letters, and after an error until it is open again.
    database: Option<Database>,
    next_letter: u64,
    next_database: u64,
    reopen_at: Instant,
    rewrite_at: Instant,
    /// Bytes of letters that have left since the file was made.
    removed_bytes: u64,
    is_full: bool,
}

impl Keeper {
    pub(super) fn new(
        home: Home,
        ledger: Arc<Mutex<Ledger>>,
        pulse: Arc<Pulse>,
        metrics: StoreMetrics,
    ) -> Self {
        Self {
            home,
            ledger,
            pulse,
            metrics,
            database: None,
            next_letter: 1,
            next_database: 1,
            reopen_at: Instant::now(),
            rewrite_at: Instant::now(),
            removed_bytes: 0,
            is_full: false,
        }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        // What cannot be opened now is tried again when somebody asks.
        drop(self.open_existing());
        let mut next = requests.blocking_recv();
        while let Some(request) = next.take() {
            self.pulse.beat();
            match request {
                Request::GoRound => {}
                Request::Append(append) => {
                    let mut group = vec![append];
                    while group.len() < APPENDS_AT_ONCE {
                        match requests.try_recv() {
                            Ok(Request::Append(append)) => group.push(append),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
                Request::Page { sink, after, reply } => {
                    answer(reply, self.page(sink.as_ref(), after.as_ref()));
                }
                Request::Find { record_id, reply } => answer(reply, self.find(&record_id)),
                Request::Letters { keys, reply } => answer(reply, self.letters(&keys)),
                Request::TakeOut { heads, why, reply } => answer(reply, self.take_out(&heads, why)),
                Request::Exchange(letters, reply) => {
                    let (old, new) = *letters;
                    answer(reply, self.exchange(&old, &new));
                }
            }
            self.tidy();
            next = next.or_else(|| requests.blocking_recv());
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&mut self, group: Vec<Append>) {
        let mut taken = Vec::new();
        let mut staged = self.open_or_create();
        for Append { letters, overflow, reply } in group {
            let result = match &staged {
                Ok(()) => self.stage(&letters, overflow),
                Err(why) => Err(why.clone()),
            };
            if let Err(why) = &result {
                staged = Err(why.clone());
            }
            taken.push((result, reply));
        }
        let flushed = staged.and_then(|()| self.flush());
        for (result, reply) in taken {
            let result = flushed.clone().and(result);
            // Whoever asked may have stopped waiting; the letters are durable all the same.
            drop(reply.send(result.map_err(unavailable)));
        }
    }

    fn stage(&mut self, letters: &[DeadLetter], overflow: Overflow) -> Result<bool, String> {
        let now = UnixMillis::now();
        let first = self.next_letter;
        let encoded: Vec<_> = (first..)
            .zip(letters)
            .map(|(number, dead)| letter::encode(number, dead, now))
            .collect();
        let bytes: u64 = encoded.iter().map(letter::Encoded::bytes).sum();
        if overflow == Overflow::IsRefused && !self.has_room(bytes) {
            return Ok(false);
        }
        self.next_letter += u64::try_from(encoded.len()).unwrap_or(0);
        for encoded in encoded {
            let (bytes, head) = (encoded.bytes(), encoded.said.clone());
            if !self.make_room(bytes)? {
                self.ledger().drop_one(&head.sink);
                continue;
            }
            let replaced = self.with_database(|database| database.stage(encoded))?;
            let mut ledger = self.ledger();
            if let Some(replaced) = &replaced {
                ledger.remove(&replaced.head, replaced.bytes);
            }
            ledger.add(&head, bytes);
            drop(ledger);
            self.removed_bytes += replaced.map_or(0, |replaced| replaced.bytes);
        }
        Ok(true)
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let ledger = self.ledger();
        ledger.bytes().saturating_add(bytes) <= ledger.letter_bytes_max()
    }

    /// Drops the oldest letters of the largest sink until there is room; `false` when there never will be.
    fn make_room(&mut self, bytes: u64) -> Result<bool, String> {
        while !self.has_room(bytes) {
            let Some(sink) = self.ledger().largest() else { return Ok(false) };
            if !self.is_full {
                self.is_full = true;
                warn!(%sink, "dead letters are full (`dead_letters.max_bytes`): the oldest are dropped");
            }
            for oldest in self.oldest(&sink)? {
                if self.has_room(bytes) {
                    break;
                }
                self.remove(&oldest.head)?;
                self.ledger().drop_one(&sink);
            }
        }
        Ok(true)
    }

    fn oldest(&mut self, sink: &SinkName) -> Result<Vec<FoundLetter>, String> {
        let prefix = letter::sink_prefix(sink);
        let mut oldest = Vec::new();
        let found = self.with_database(|database| {
            database.heads_after(&prefix, &[], |found| {
                oldest.push(found);
                oldest.len() < OLDEST_AT_ONCE
            })
        });
        found?;
        if oldest.is_empty() {
            // The ledger says that there are some, so what is there is damaged.
            self.give_up(&GenerationError::Damaged("letters are missing".to_owned()));
            return Err("letters are missing".to_owned());
        }
        Ok(oldest)
    }

    /// Stages the removal of a letter; whether it was there.
    pub(super) fn remove(&mut self, head: &DeadLetterHead) -> Result<bool, String> {
        let removed = self.with_database(|database| database.stage_removal(head))?;
        if let Some(gone) = &removed {
            self.note_removed(gone);
        }
        Ok(removed.is_some())
    }

    pub(super) fn note_removed(&mut self, gone: &FoundLetter) {
        self.ledger().remove(&gone.head, gone.bytes);
        self.removed_bytes += gone.bytes;
    }

    /// The number of the latest letter.
    pub(super) const fn latest(&self) -> u64 {
        self.next_letter - 1
    }

    /// The number of a new letter.
    pub(super) const fn mint_letter(&mut self) -> u64 {
        self.next_letter += 1;
        self.next_letter - 1
    }

    /// Whether there is a database, and it works.
    pub(super) const fn is_open(&self) -> bool {
        self.database.is_some()
    }

    pub(super) fn flush(&mut self) -> Result<(), String> {
        self.with_database(Database::flush)
    }

    pub(super) fn with_database<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, GenerationError>,
    ) -> Result<T, String> {
        let Some(database) = &self.database else { return Err("not open".to_owned()) };
        match work(database) {
            Ok(done) => Ok(done),
            Err(error) => Err(self.give_up(&error)),
        }
    }

    fn open_or_create(&mut self) -> Result<(), String> {
        self.open_existing()?;
        if self.database.is_none() {
            match Database::create(&self.home, self.next_database) {
                Ok(database) => self.take_in(database),
                Err(error) => return Err(self.give_up(&error)),
            }
        }
        Ok(())
    }

    /// Opens and counts the letters, if there are any and they are not open.
    pub(super) fn open_existing(&mut self) -> Result<(), String> {
        if self.database.is_some() {
            return Ok(());
        }
        if Instant::now() < self.reopen_at {
            let why = self.ledger().unavailable.clone();
            return Err(why.unwrap_or_else(|| "waiting to open the database again".to_owned()));
        }
        let pulse = Arc::clone(&self.pulse);
        let _long_work = pulse.begin_long_work();
        match Database::open_existing(&self.home, &self.metrics) {
            Ok(None) => {}
            Ok(Some(database)) => {
                if let Err(error) = self.count(&database) {
                    return Err(self.give_up(&error));
                }
                self.take_in(database);
            }
            Err(error) => return Err(self.give_up(&error)),
        }
        Ok(())
    }

    fn take_in(&mut self, database: Database) {
        self.next_database = database.number() + 1;
        self.database = Some(database);
        self.removed_bytes = 0;
        if self.ledger().unavailable.take().is_some() {
            info!("dead letters are open again");
        }
    }

    fn count(&mut self, database: &Database) -> Result<(), GenerationError> {
        self.ledger().recount();
        let mut last_letter = 0;
        database.heads_after(&[], &[], |found| {
            last_letter = last_letter.max(found.head.letter);
            self.ledger().add(&found.head, found.bytes);
            true
        })?;
        self.next_letter = self.next_letter.max(last_letter + 1);
        Ok(())
    }

    /// Gives disk space back where much of it is no longer needed.
    fn tidy(&mut self) {
        let Some(database) = &self.database else { return };
        let (bytes, bytes_max, is_empty) = {
            let ledger = self.ledger();
            (ledger.bytes(), ledger.letter_bytes_max(), ledger.is_empty())
        };
        if bytes < bytes_max / 4 * 3 {
            self.is_full = false;
        }
        if is_empty {
            if let Some(Err(error)) = self.database.take().map(Database::remove) {
                warn!(%error, "the folder of the dead letters cannot be removed");
            }
            return;
        }
        let is_worthwhile = database.disk_bytes() > 2 * bytes + SLACK_BYTES
            && self.removed_bytes > bytes / 2
            && Instant::now() >= self.rewrite_at;
        if !is_worthwhile {
            return;
        }
        let Some(database) = self.database.take() else { return };
        let pulse = Arc::clone(&self.pulse);
        let _long_work = pulse.begin_long_work();
        match database.rewrite(&self.home, &self.metrics) {
            Ok(database) => self.take_in(database),
            Err(error) => {
                // Everything is in the old folder, or in the new one.
                warn!(%error, "the space of dead letters cannot be given back now");
                self.rewrite_at = Instant::now() + REWRITE_DELAY;
            }
        }
    }

    /// Stops using a database that failed, until it can be opened again. Says why in words.
    fn give_up(&mut self, error: &GenerationError) -> String {
        self.database = None;
        self.reopen_at = Instant::now() + REOPEN_DELAY;
        let why = error.to_string();
        let before = self.ledger().unavailable.replace(why.clone());
        if before.is_none() {
            error!(%error, "dead letters cannot be kept: their records stay in the queues");
        }
        why
    }
}

/// Whoever asked may have stopped waiting.
fn answer<T>(reply: Reply<T>, result: Result<T, String>) {
    drop(reply.send(result.map_err(unavailable)));
}

fn unavailable(why: String) -> StoreError {
    StoreError::DeadLettersUnavailable { why }
}
