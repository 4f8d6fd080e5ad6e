//! The thread of a queue: group commit, cursor, generations, policies.
//!
//! A loop of waiting for one of a few kinds of work and doing it. A group is everything that waits, within bounds; it
//! becomes a few chunks, one flush and the answers. The lock is never held while the disk works.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::book::{DropReason, InMemory};
use super::chunk::{Encoder, Stamp};
use super::generation::{self, Generation, GenerationError, GenerationId};
use super::high_water::HighWater;
use super::pace::Pace;
use super::shared::{SharedQueue, Staged, State, Stop};
use super::shelf::Shelved;
use super::totals::Totals;
use super::{Appended, RecordNumber, StoreError, StoredRecord, cursor, opening, reader, repair};
use crate::config::WhenFull;

/// Most records of a group; the caller bounds what waits, this bounds a commit.
const GROUP_RECORDS_MAX: usize = 8192;
/// Most bytes of a group in memory, but always one append.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// An idle queue commits its cursor after this time.
const CURSOR_DELAY: Duration = Duration::from_millis(500);
/// Time between attempts to open a database that failed.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// What there is to do.
#[derive(Debug)]
enum Work {
    Group(Vec<Staged>),
    /// The cursor is due, or a generation has drained.
    Cursor,
    /// The newest generation is damaged.
    Rotate,
    Close,
    Abandon,
}

/// The committer's own state.
#[derive(Debug)]
pub(super) struct Committer {
    shared: SharedQueue,
    /// Takes the appends; `None` after an error, until it is open again.
    newest: Option<Arc<Generation>>,
    encoder: Encoder,
    pace: Pace,
    last_group_at: Instant,
    cursor_due: Option<Instant>,
    /// `None` where it cannot be written; it is only a note.
    high_water: Option<HighWater>,
    reopen_at: Instant,
}

impl Committer {
    pub(super) fn new(shared: SharedQueue) -> Self {
        let newest = shared.lock().shelf.newest_mut().and_then(|newest| newest.open.clone());
        Self {
            newest,
            encoder: Encoder::new(),
            pace: Pace::new(shared.commit_window_max),
            last_group_at: Instant::now(),
            cursor_due: None,
            high_water: HighWater::open(&shared.queue_dir).ok(),
            reopen_at: Instant::now(),
            shared,
        }
    }

    /// Works until the queue is stopped.
    pub(super) fn run(mut self) {
        self.look_up_head();
        loop {
            match self.next_work() {
                Work::Group(group) => self.take_in(group),
                Work::Cursor => self.commit_cursor(),
                Work::Rotate => self.rotate_damaged(),
                Work::Close => {
                    self.commit_cursor();
                    break;
                }
                Work::Abandon => break,
            }
        }
        // Closes the databases on this thread, and answers whoever still waits.
        let mut state = self.shared.lock();
        let abandoned = std::mem::take(&mut state.staged);
        let closed = state.shelf.close_all();
        drop(state);
        for staged in abandoned {
            answer(staged, &Err(Refusal::Closed), &self.shared);
        }
        drop(closed);
    }

    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            if state.stop == Some(Stop::Abandon) {
                return Work::Abandon;
            }
            if !state.staged.is_empty() && self.may_take(&state) {
                drop(state);
                return Work::Group(self.gather());
            }
            if state.stop == Some(Stop::Commit) {
                return Work::Close;
            }
            if std::mem::take(&mut state.is_rotation_wanted) {
                return Work::Rotate;
            }
            let due = match (state.book.is_cursor_stale(), self.cursor_due) {
                (false, _) => None,
                (true, Some(due)) => Some(due),
                (true, None) => Some(*self.cursor_due.insert(Instant::now() + CURSOR_DELAY)),
            };
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Work::Cursor;
            }
            state.is_committer_idle = true;
            let left = left.unwrap_or(Duration::from_hours(1));
            state = shared.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.is_committer_idle = false;
        }
    }

    /// Whether staged records can be dealt with now; under `block` they wait for room.
    fn may_take(&self, state: &State) -> bool {
        self.shared.options.when_full != WhenFull::Block
            || state.stop.is_some()
            || self.has_room(state, 0)
    }

    fn has_room(&self, state: &State, bytes: u64) -> bool {
        state.shelf.waiting_bytes(&state.book).saturating_add(bytes)
            <= self.shared.quota.waiting_bytes_max
    }

    /// Waits for company as long as that pays, then takes what is there.
    fn gather(&mut self) -> Vec<Staged> {
        let window = self.pace.window();
        let started = Instant::now();
        let mut state = self.shared.lock();
        while state.stop.is_none() && started.elapsed() < window {
            let waiting = state.staged.len();
            if waiting >= GROUP_RECORDS_MAX || state.staged_bytes >= GROUP_BYTES_MAX {
                break;
            }
            let wait = self.shared.wake.wait_timeout(state, self.pace.quiet());
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
            if state.staged.len() == waiting {
                break;
            }
        }
        let mut group = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        while let Some(staged) = state.staged.front() {
            records += staged.records.len();
            bytes += staged.bytes;
            let full = records > GROUP_RECORDS_MAX || bytes > GROUP_BYTES_MAX;
            if full && !group.is_empty() {
                records -= staged.records.len();
                break;
            }
            state.staged_bytes -= staged.bytes;
            group.extend(state.staged.pop_front());
        }
        drop(state);
        self.pace.note(records, self.last_group_at.elapsed());
        self.last_group_at = Instant::now();
        group
    }

    /// Commits a group, or deals with it as the policy says.
    fn take_in(&mut self, group: Vec<Staged>) {
        let bytes = group.iter().map(|staged| staged.bytes).sum::<usize>();
        let result = if self.make_room(u64::try_from(bytes).unwrap_or(u64::MAX)) {
            self.commit(&group)
        } else {
            self.refuse(&group, DropReason::QueueFull);
            Ok(())
        };
        for staged in group {
            answer(staged, &result, &self.shared);
        }
    }

    fn refuse(&self, group: &[Staged], reason: DropReason) {
        let count = group.iter().map(|staged| staged.records.len()).sum::<usize>();
        let mut state = self.shared.lock();
        state.book.refuse(u64::try_from(count).unwrap_or(u64::MAX), reason);
    }

    /// Makes room for so many bytes as the policy says; `false` when the policy is to drop what comes.
    fn make_room(&mut self, bytes: u64) -> bool {
        let has_room = self.has_room(&self.shared.lock(), bytes);
        match self.shared.options.when_full {
            // `block` has waited for room before; what is over is one group.
            WhenFull::Block => true,
            WhenFull::DropNewest => has_room,
            WhenFull::DropOldest if has_room => true,
            WhenFull::DropOldest => {
                let made = self.drop_oldest(bytes);
                self.reclaim();
                made
            }
        }
    }

    /// Drops the oldest chunks that have no record in flight until there is room; `false` when there are none left.
    fn drop_oldest(&self, bytes: u64) -> bool {
        let mut from = 0;
        while !self.has_room(&self.shared.lock(), bytes) {
            let Ok(Some((generation, end))) = reader::generation_for(&self.shared, &mut from)
            else {
                return false;
            };
            let numbers = match generation.locate(from) {
                Ok(Some(located)) => from..located.header.range().end.min(end),
                Ok(None) | Err(_) => from..end,
            };
            let mut state = self.shared.lock();
            if !state.book.has_in_flight(&numbers) {
                state.book.settle_dropped(numbers.clone(), DropReason::QueueFull);
            }
            from = numbers.end;
        }
        true
    }

    /// Makes a group durable.
    fn commit(&mut self, group: &[Staged]) -> Result<(), Refusal> {
        let newest = self.writable()?;
        let started = Instant::now();
        let stamp = self.shared.age.stamp();
        let first = self.shared.lock().book.next();
        let records = || group.iter().flat_map(|staged| &staged.records);
        let chunks = self.encoder.encode(first, records(), stamp);
        let mut totals = Totals::default();
        for chunk in &chunks {
            totals.add(&chunk.header, chunk.value.len());
        }
        let settled = self.cursor_if_stale(totals.end, stamp);
        let written = (|| {
            for chunk in chunks {
                newest.stage_chunk(chunk)?;
            }
            settled.map_or(Ok(()), |cursor| newest.stage_cursor(cursor))?;
            newest.flush()
        })();
        if let Err(error) = written {
            return Err(self.give_up(&error));
        }
        let metrics = &self.shared.metrics;
        metrics.commit_duration.observe(started.elapsed().as_secs_f64());
        metrics.commit_records.observe(to_f64(totals.records));
        metrics.written_bytes.inc_by(totals.bytes);
        self.cursor_due = None;
        let entries = (first..).zip(records()).map(|(number, record)| InMemory {
            record: Arc::new(StoredRecord {
                number: RecordNumber(number),
                accepted_at: stamp.wall,
                record: record.clone(),
            }),
            age_ms: stamp.age_ms,
        });
        let entries: Vec<_> = entries.collect();
        let disk_bytes = newest.disk_bytes();
        let mut state = self.shared.lock();
        state.book.commit(entries);
        if let Some(shelved) = state.shelf.newest_mut() {
            shelved.totals.join(&totals);
            shelved.disk_bytes = disk_bytes;
        }
        drop(state);
        if let Some(high_water) = &self.high_water {
            high_water.note(totals.end);
        }
        self.shared.appended.send_replace(RecordNumber(totals.end));
        if disk_bytes >= self.shared.quota.generation_bytes
            && let Err(error) = self.rotate(&newest)
        {
            self.give_up(&error);
        }
        if self.has_drained() {
            self.commit_cursor();
        }
        Ok(())
    }

    fn has_drained(&self) -> bool {
        let state = self.shared.lock();
        state.shelf.has_drained(&state.book)
    }

    /// The cursor, when it says something new. The caller stages it and flushes.
    fn cursor_if_stale(&self, next: u64, stamp: Stamp) -> Option<Vec<u8>> {
        let mut state = self.shared.lock();
        if !state.book.is_cursor_stale() {
            return None;
        }
        state.book.set_cursor_stale(false);
        Some(cursor::encode(next, state.book.settled(), stamp))
    }

    /// Makes the cursor durable, and gives back the disk of what it has passed.
    fn commit_cursor(&mut self) {
        self.cursor_due = None;
        let Ok(newest) = self.writable() else { return };
        let next = self.shared.lock().book.next();
        if let Some(cursor) = self.cursor_if_stale(next, self.shared.age.stamp())
            && let Err(error) = newest.stage_cursor(cursor).and_then(|()| newest.flush())
        {
            self.shared.lock().book.set_cursor_stale(true);
            self.give_up(&error);
            return;
        }
        self.reclaim();
        self.look_up_head();
    }

    /// Removes generations whose records have all left.
    fn reclaim(&self) {
        let drained = {
            let mut state = self.shared.lock();
            let State { shelf, book, .. } = &mut *state;
            shelf.take_drained(book)
        };
        for shelved in drained {
            let dir = self.shared.queue_dir.join(shelved.id.to_string());
            drop(shelved);
            if let Err(error) = generation::remove(&dir) {
                // It is found drained at the next start, and removed then.
                warn!(sink = %self.shared.sink, %error, "drained generation cannot be removed");
            }
        }
    }

    /// Seals the newest generation and goes on with a new one.
    fn rotate(&mut self, full: &Arc<Generation>) -> Result<(), GenerationError> {
        let (next, totals) = {
            let mut state = self.shared.lock();
            let totals = state.shelf.newest_mut().map(|newest| newest.totals);
            (state.book.next(), totals.unwrap_or_default())
        };
        totals.write(full.dir()).map_err(GenerationError::Io)?;
        let id = GenerationId { sequence: full.id().sequence + 1, first_possible: next };
        let newest = Arc::new(Generation::open(&self.shared.queue_dir, id)?);
        let cursor =
            cursor::encode(next, self.shared.lock().book.settled(), self.shared.age.stamp());
        newest.stage_cursor(cursor)?;
        newest.flush()?;
        let totals = Totals { first: next, end: next, ..Totals::default() };
        let disk_bytes = newest.disk_bytes();
        let open = Some(Arc::clone(&newest));
        let closed = self.shared.lock().shelf.rotate(Shelved { id, totals, disk_bytes, open });
        drop(closed);
        self.newest = Some(newest);
        Ok(())
    }

    /// Goes on with another generation, so that the reader can repair this one.
    fn rotate_damaged(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        if let Err(error) = self.rotate(&newest) {
            self.give_up(&error);
        }
    }

    /// The generation that takes appends, opened again where it had failed.
    fn writable(&mut self) -> Result<Arc<Generation>, Refusal> {
        if let Some(newest) = &self.newest {
            return Ok(Arc::clone(newest));
        }
        if Instant::now() < self.reopen_at {
            return Err(Refusal::Unavailable("waiting to open its database again".to_owned()));
        }
        self.reopen_at = Instant::now() + REOPEN_DELAY;
        let id = self.shared.lock().shelf.newest_mut().map(|newest| newest.id);
        let Some(id) = id else { return Err(Refusal::Closed) };
        let reopened = repair::open(&self.shared.queue_dir, id, &self.shared.metrics)
            .and_then(|generation| generation.scan().map(|totals| (generation, totals)));
        let (generation, totals) =
            reopened.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let generation = Arc::new(generation);
        let mut state = self.shared.lock();
        state.book.adopt(totals.end);
        state.unavailable = None;
        let next = state.book.next();
        if let Some(newest) = state.shelf.newest_mut() {
            newest.totals = opening::newest_totals(totals, next);
            newest.open = Some(Arc::clone(&generation));
        }
        drop(state);
        info!(sink = %self.shared.sink, "queue takes records again");
        self.newest = Some(Arc::clone(&generation));
        Ok(generation)
    }

    /// Stops using a database that failed.
    fn give_up(&mut self, error: &GenerationError) -> Refusal {
        self.newest = None;
        self.reopen_at = Instant::now() + REOPEN_DELAY;
        let mut state = self.shared.lock();
        state.book.set_cursor_stale(true);
        state.unavailable = Some(error.to_string());
        let closed = state.shelf.newest_mut().and_then(|newest| newest.open.take());
        drop(state);
        drop(closed);
        error!(sink = %self.shared.sink, %error, "queue takes no records: its database failed");
        Refusal::Unavailable(error.to_string())
    }

    /// Finds out how old the oldest waiting record is, where memory does not tell.
    fn look_up_head(&self) {
        let first = {
            let state = self.shared.lock();
            if !state.book.is_head_unknown() {
                return;
            }
            state.book.next_waiting(0)
        };
        let mut number = first;
        if let Ok(Some((generation, _))) = reader::generation_for(&self.shared, &mut number)
            && let Ok(Some(located)) = generation.locate(number)
        {
            let last = located.header.range().end - 1;
            self.shared.lock().book.set_head(last, located.header.stamp.age_ms);
        }
    }
}

/// Why a group was not taken; every receipt gets its own error.
#[derive(Debug)]
enum Refusal {
    Unavailable(String),
    Closed,
}

fn answer(staged: Staged, result: &Result<(), Refusal>, shared: &SharedQueue) {
    let result = match result {
        Ok(()) => Ok(Appended::Settled),
        Err(Refusal::Closed) => Err(StoreError::Closed),
        Err(Refusal::Unavailable(why)) => {
            Err(StoreError::Unavailable { sink: shared.sink.clone(), why: why.clone() })
        }
    };
    // Whoever appended may have stopped waiting; the records are durable all the same.
    drop(staged.receipt.send(result));
}

/// A count for a histogram.
fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
