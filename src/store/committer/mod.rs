//! The thread of a queue: group commit, cursor, generations, policies.
//!
//! A loop of waiting for one of a few kinds of work and doing it. A group is everything that waits, within bounds; it
//! becomes a few chunks, one flush and the answers. The lock is never held while the disk works.

mod drops;
mod open;
mod overflow;
mod room;
mod rotation;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub(super) use drops::Dropping;
use open::Attempts;
use room::Room;
use rotation::Prepared;

use super::book::InMemory;
use super::chunk::{Encoder, Stamp};
use super::generation::Generation;
use super::high_water::HighWater;
use super::pace::Pace;
use super::quota::Settings;
use super::shared::{SharedQueue, Staged, State, Stop, Urgency};
use super::totals::Totals;
use super::{Appended, DISK_FULL, RecordNumber, StoreError, StoredRecord, cursor, reader};
use crate::config::Durability;

/// Records that all queues together keep in memory for their deliveries; each an even share.
const TAILS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most records of a group; the caller bounds what waits, this bounds a commit.
const GROUP_RECORDS_MAX: usize = 8192;
/// Most bytes of a group in memory, but always one append.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Commits of one group when the disk is full, with the policy making room in between.
const COMMIT_ATTEMPTS: usize = 4;
/// Under `durability = "process"` a power cut loses what was acknowledged within this time.
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// An idle queue commits its cursor after this time.
const CURSOR_DELAY: Duration = Duration::from_millis(500);

/// What there is to do.
#[derive(Debug)]
enum Work {
    Group(Vec<Staged>),
    /// The cursor is due, or a generation has drained.
    Cursor,
    /// What an operator wants dropped, a share of it.
    Drop(Dropping),
    /// The newest generation is damaged, or shall be synced in another way.
    Rotate,
    /// The period of `durability = "process"` is over.
    Sync,
    /// The disk was full.
    LookForSpace,
    /// The queue is not open.
    Open,
    Close,
    Abandon,
}

/// The committer's own state.
#[derive(Debug)]
pub(super) struct Committer {
    shared: SharedQueue,
    settings: Settings,
    /// Takes the appends; `None` until it is open, also after an error.
    newest: Option<Arc<Generation>>,
    encoder: Encoder,
    pace: Pace,
    last_group_at: Instant,
    cursor_due: Option<Instant>,
    /// `None` where it cannot be written; it is only a note.
    high_water: Option<HighWater>,
    /// The next generation, being made.
    prepared: Option<Prepared>,
    /// To open the queue, where it is not.
    attempts: Attempts,
    is_disk_full: bool,
    /// When to look whether the disk has room again.
    space_due: Instant,
    /// The last round dropped: groups that wait come first in this one.
    has_dropped: bool,
    /// When what is acknowledged must be synced, under `durability = "process"`.
    sync_due: Option<Instant>,
}

impl Committer {
    /// Opens the queue. Where that fails it has been said why, and [`Self::run`] tries again.
    pub(super) fn open(shared: SharedQueue) -> Self {
        let settings = shared.lock().settings;
        let mut committer = Self {
            settings,
            has_dropped: false,
            newest: None,
            encoder: Encoder::new(),
            pace: Pace::new(shared.commit_window_max),
            last_group_at: Instant::now(),
            cursor_due: None,
            high_water: None,
            prepared: None,
            attempts: Attempts::due(),
            is_disk_full: false,
            space_due: Instant::now(),
            sync_due: None,
            shared,
        };
        drop(committer.writable());
        committer
    }

    /// Works until the queue is stopped.
    pub(super) fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Group(group) => {
                    self.take_in(group);
                    self.shared.lock().is_committing = false;
                }
                Work::Drop(dropping) => self.drop_share(dropping),
                Work::Cursor => self.commit_cursor(),
                Work::Rotate => self.rotate_now(),
                Work::Sync => self.sync(),
                Work::LookForSpace => self.look_for_space(),
                Work::Open => drop(self.writable()),
                Work::Close => {
                    if self.was_opened() {
                        self.commit_cursor();
                    }
                    self.sync();
                    break;
                }
                Work::Abandon => break,
            }
        }
        // Closes the databases on this thread, and answers whoever still waits.
        let mut state = self.shared.lock();
        // Whoever waits for it learns that the queue is closed.
        let dropping = state.dropping.take();
        let abandoned = std::mem::take(&mut state.staged);
        let closed = state.shelf.close_all();
        drop(state);
        for staged in abandoned {
            answer(staged, &Err(Refusal::Closed), &self.shared);
        }
        drop((dropping, closed));
        drop(self.newest.take());
        if let Some(prepared) = self.prepared.take() {
            // Made or not, the next start finds it.
            drop(prepared.join());
        }
    }

    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let has_dropped = std::mem::take(&mut self.has_dropped);
        loop {
            shared.pulse.beat();
            if state.stop == Some(Stop::Abandon) {
                return Work::Abandon;
            }
            let before = std::mem::replace(&mut self.settings, state.settings);
            if before.durability != self.settings.durability {
                // How a generation is synced is settled when it is opened.
                return Work::Rotate;
            }
            if (!has_dropped || state.staged.is_empty())
                && let Some(dropping) = state.dropping.take()
            {
                self.has_dropped = true;
                return Work::Drop(dropping);
            }
            if !state.staged.is_empty() && self.may_take(&state) {
                drop(state);
                return Work::Group(self.gather());
            }
            // Those wait for no room, nor for those that do.
            let replays = take_replays(&mut state);
            if !replays.is_empty() {
                state.is_committing = true;
                return Work::Group(replays);
            }
            if state.stop == Some(Stop::Commit) {
                return Work::Close;
            }
            if std::mem::take(&mut state.is_rotation_wanted) {
                return Work::Rotate;
            }
            if self.newest.is_some() && state.shelf.has_drained(&state.book) {
                return Work::Cursor;
            }
            let due = self.next_due(state.book.is_cursor_stale());
            let left = due.as_ref().map(|(due, _)| due.saturating_duration_since(Instant::now()));
            if let Some((_, work)) = due
                && left.is_some_and(|left| left.is_zero())
            {
                return work;
            }
            state.is_committer_idle = true;
            let left = left.unwrap_or(Duration::from_hours(1));
            state = shared.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.is_committer_idle = false;
        }
    }

    /// What there is to do at a time, soonest first.
    fn next_due(&mut self, is_cursor_stale: bool) -> Option<(Instant, Work)> {
        let now = Instant::now();
        self.cursor_due = is_cursor_stale.then(|| self.cursor_due.unwrap_or(now + CURSOR_DELAY));
        let cursor = self.cursor_due.map(|due| (due, Work::Cursor));
        let sync = self.sync_due.map(|due| (due, Work::Sync));
        let space = self.is_disk_full.then(|| (self.space_due, Work::LookForSpace));
        let open = self.newest.is_none().then(|| (self.attempts.next_at(), Work::Open));
        [cursor, sync, space, open].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Waits for company as long as that pays, then takes what is there.
    fn gather(&mut self) -> Vec<Staged> {
        let window = self.pace.window();
        let started = Instant::now();
        let mut state = self.shared.lock();
        while state.stop.is_none() && !window.is_zero() {
            if started.elapsed() >= window {
                self.pace.note_steady();
                break;
            }
            let waiting = state.staged.len();
            state.company_left = self.pace.company_left(records_of(&state.staged));
            if state.company_left == Some(0) {
                self.pace.note_complete();
                break;
            }
            if waiting >= GROUP_RECORDS_MAX || state.staged_bytes >= self.group_bytes_max() {
                break;
            }
            let wait = self.shared.wake.wait_timeout(state, self.pace.quiet());
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
            if state.staged.len() == waiting {
                self.pace.note_quiet(records_of(&state.staged));
                break;
            }
        }
        state.company_left = None;
        let mut group = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        while let Some(staged) = state.staged.front() {
            records += staged.records.len();
            bytes += staged.bytes;
            let full = records > GROUP_RECORDS_MAX || bytes > self.group_bytes_max();
            let differs = group.first().is_some_and(|one: &Staged| one.urgency != staged.urgency);
            if (full && !group.is_empty()) || differs {
                records -= staged.records.len();
                break;
            }
            state.staged_bytes -= staged.bytes;
            group.extend(state.staged.pop_front());
        }
        state.is_committing = true;
        drop(state);
        self.pace.note(records, self.last_group_at.elapsed());
        self.last_group_at = Instant::now();
        group
    }

    /// Small beside the quota, so that a group cannot cross it by much.
    fn group_bytes_max(&self) -> usize {
        let share = usize::try_from(self.settings.quota.generation_bytes / 4).unwrap_or(usize::MAX);
        GROUP_BYTES_MAX.min(share)
    }

    /// Commits a group, or deals with it as the policy says.
    fn take_in(&mut self, group: Vec<Staged>) {
        let bytes = group.iter().map(|staged| staged.bytes).sum::<usize>();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if group.first().is_some_and(|staged| staged.urgency == Urgency::Replay) {
            let result = self.commit_replays(&group, bytes);
            for staged in group {
                answer(staged, &result, &self.shared);
            }
            return;
        }
        let mut result = Err(Refusal::DiskFull);
        for _ in 0..COMMIT_ATTEMPTS {
            result = match self.make_room(bytes) {
                Room::Made => self.commit(&group),
                Room::Awaited => return self.put_back(group),
                Room::Refused(reason) => {
                    self.refuse(&group, reason);
                    Ok(())
                }
            };
            // A disk that turns out to be full is the policy's business, so ask it again.
            if !matches!(result, Err(Refusal::DiskFull)) {
                break;
            }
        }
        for staged in group {
            answer(staged, &result, &self.shared);
        }
    }

    /// Takes replayed records where there is more than enough room. Their letters go next, so that they are durable here
    /// whatever the sink's `durability` is.
    fn commit_replays(&mut self, group: &[Staged], bytes: u64) -> Result<(), Refusal> {
        self.make_room_for_replays(bytes)?;
        self.commit(group)?;
        let synced = self.newest.as_ref().map_or(Ok(()), |newest| newest.sync());
        synced.map_err(|error| self.give_up(&error))
    }

    /// Leaves a group for later.
    fn put_back(&self, group: Vec<Staged>) {
        let mut state = self.shared.lock();
        for staged in group.into_iter().rev() {
            state.staged_bytes += staged.bytes;
            state.staged.push_front(staged);
        }
    }

    /// Makes a group durable.
    fn commit(&mut self, group: &[Staged]) -> Result<(), Refusal> {
        let newest = self.writable()?;
        let started = Instant::now();
        let stamp = self.shared.age().stamp();
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
        self.note_committed();
        let entries = (first..).zip(records()).map(|(number, record)| InMemory {
            record: Arc::new(StoredRecord {
                number: RecordNumber(number),
                accepted_at: stamp.wall,
                age_ms: stamp.age_ms,
                record: record.clone(),
            }),
            age_ms: stamp.age_ms,
        });
        let entries: Vec<_> = entries.collect();
        let disk_bytes = newest.disk_bytes();
        let queues = self.shared.queues_open.load(Ordering::Relaxed).max(1);
        let mut state = self.shared.lock();
        state.book.commit(entries, TAILS_BYTES_MAX / queues);
        if let Some(shelved) = state.shelf.newest_mut() {
            shelved.totals.join(&totals);
            shelved.disk_bytes = disk_bytes;
        }
        drop(state);
        if let Some(high_water) = &self.high_water {
            high_water.note(totals.end);
        }
        self.shared.appended.send_replace(RecordNumber(totals.end));
        self.rotate_if_full(&newest, disk_bytes);
        if self.has_drained() {
            self.commit_cursor();
        }
        Ok(())
    }

    /// The cursor went with the commit; under `durability = "process"` both are still to be synced.
    fn note_committed(&mut self) {
        self.cursor_due = None;
        if self.settings.durability == Durability::Process && self.sync_due.is_none() {
            self.sync_due = Some(Instant::now() + SYNC_PERIOD);
        }
    }

    /// Makes durable what was acknowledged before, under `durability = "process"`.
    fn sync(&mut self) {
        self.sync_due = None;
        if let Some(newest) = self.newest.clone()
            && let Err(error) = newest.sync()
        {
            self.give_up(&error);
        }
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
        if let Some(cursor) = self.cursor_if_stale(next, self.shared.age().stamp())
            && let Err(error) = newest.stage_cursor(cursor).and_then(|()| newest.flush())
        {
            self.shared.lock().book.set_cursor_stale(true);
            self.give_up(&error);
            return;
        }
        self.reclaim();
        self.look_up_head();
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
    /// The disk is full: an overload policy's business.
    DiskFull,
    /// For replayed records: the queue needs what room it has.
    NoRoom,
    Closed,
}

/// The replayed records among what is staged.
fn records_of(staged: &VecDeque<Staged>) -> usize {
    staged.iter().map(|staged| staged.records.len()).sum()
}

fn take_replays(state: &mut State) -> Vec<Staged> {
    let is_replay = |staged: &Staged| staged.urgency == Urgency::Replay;
    if !state.staged.iter().any(is_replay) {
        return Vec::new();
    }
    let (replays, rest) = std::mem::take(&mut state.staged).into_iter().partition(is_replay);
    state.staged = Vec::into(rest);
    state.staged_bytes -= replays.iter().map(|staged| staged.bytes).sum::<usize>();
    replays
}

fn answer(staged: Staged, result: &Result<(), Refusal>, shared: &SharedQueue) {
    let result = match result {
        Ok(()) => Ok(Appended::Settled),
        Err(Refusal::NoRoom) => Ok(Appended::NoRoom),
        Err(Refusal::Closed) => Err(StoreError::Closed),
        Err(Refusal::DiskFull) => {
            Err(StoreError::Unavailable { sink: shared.sink.clone(), why: DISK_FULL.to_owned() })
        }
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
