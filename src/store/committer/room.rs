//! Overload: the quota is reached, or the disk is full. Each policy, and nothing else, decides what happens then.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::Committer;
use super::Refusal;
use super::open::Attempts;
use crate::config::WhenFull;
use crate::store::book::DropReason;
use crate::store::reader;
use crate::store::shared::{Staged, State};
use crate::store::{DISK_FULL, DISK_FULL_AT_START};

/// What the newest generation may grow beyond the bytes of a group: a segment.
const SLACK_BYTES: u64 = 2 * 1024 * 1024;
/// Time between two looks whether a full disk has room again.
const SPACE_PERIOD: Duration = Duration::from_millis(500);

/// What becomes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is room, or there will be for what is over.
    Made,
    /// The policy is to drop what comes.
    Refused(DropReason),
    /// The policy is to wait.
    Awaited,
}

impl Committer {
    /// Whether staged records can be dealt with now; under `block` they wait for room.
    pub(super) fn may_take(&self, state: &State) -> bool {
        self.settings.when_full != WhenFull::Block
            || state.stop.is_some()
            || (!self.is_disk_full && self.has_room_for_next(state))
    }

    fn has_room_for_next(&self, state: &State) -> bool {
        let bytes = state.staged_bytes.min(self.group_bytes_max());
        let is_empty = state.book.next_waiting(0) == state.book.next();
        is_empty || self.has_room(state, u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn has_room(&self, state: &State, bytes: u64) -> bool {
        let waiting = state.shelf.waiting_bytes(&state.book).saturating_add(bytes);
        waiting <= self.settings.quota.waiting_bytes_max
            && state.shelf.disk_bytes() + bytes + SLACK_BYTES <= self.settings.quota.bytes_max
    }

    /// Makes room for so many bytes as the policy says.
    pub(super) fn make_room(&mut self, bytes: u64) -> Room {
        if !self.shared.ballast.is_held() {
            self.note_disk_full();
        }
        if self.is_disk_full && !self.has_space_again() {
            return match self.settings.when_full {
                WhenFull::Block if self.shared.lock().stop.is_none() => Room::Awaited,
                // Closing: not acknowledged, so it comes again.
                WhenFull::Block => Room::Made,
                WhenFull::DropOldest | WhenFull::DropNewest | WhenFull::DeadLetter => {
                    Room::Refused(DropReason::DiskFull)
                }
            };
        }
        let has_room = self.has_room(&self.shared.lock(), bytes);
        match self.settings.when_full {
            // It has waited for room before; what is over is one group.
            WhenFull::Block => Room::Made,
            _ if has_room => Room::Made,
            WhenFull::DropNewest => Room::Refused(DropReason::QueueFull),
            WhenFull::DropOldest | WhenFull::DeadLetter => {
                if self.drop_oldest(bytes) {
                    Room::Made
                } else {
                    Room::Refused(DropReason::QueueFull)
                }
            }
        }
    }

    /// Whether replayed records of so many bytes may come in: a quarter of the queue is left to live traffic, and
    /// nothing goes for them.
    pub(super) fn make_room_for_replays(&mut self, bytes: u64) -> Result<(), Refusal> {
        if !self.shared.ballast.is_held() {
            self.note_disk_full();
        }
        if self.is_disk_full {
            return Err(Refusal::DiskFull);
        }
        let kept_free = self.settings.quota.waiting_bytes_max / 4;
        let has_room = self.has_room(&self.shared.lock(), bytes.saturating_add(kept_free));
        if has_room { Ok(()) } else { Err(Refusal::NoRoom) }
    }

    /// Counts a group that is dropped on arrival.
    pub(super) fn refuse(&self, group: &[Staged], reason: DropReason) {
        let count = group.iter().map(|staged| staged.records.len()).sum::<usize>();
        let mut state = self.shared.lock();
        state.book.refuse(u64::try_from(count).unwrap_or(u64::MAX), reason);
    }

    /// Drops the oldest chunks that have no record in flight until there is room; `false` when there are none left.
    fn drop_oldest(&mut self, bytes: u64) -> bool {
        let mut from = 0;
        while !self.has_room(&self.shared.lock(), bytes) {
            if !self.drop_next_chunk(&mut from, DropReason::QueueFull) {
                return false;
            }
            let has_drained = {
                let state = self.shared.lock();
                state.shelf.has_drained_anywhere(&state.book)
            };
            if has_drained {
                self.commit_cursor();
            }
        }
        true
    }

    /// Drops the first waiting chunk from `from` on unless one of its records is in flight, and moves `from` behind it.
    /// `false` when there is none.
    fn drop_next_chunk(&self, from: &mut u64, reason: DropReason) -> bool {
        let Ok(Some((generation, end))) = reader::generation_for(&self.shared, from) else {
            return false;
        };
        let located = generation.locate(*from).ok().flatten();
        let chunk_end = located.as_ref().map_or(end, |located| located.header.range().end.min(end));
        let numbers = *from..chunk_end;
        *from = numbers.end;
        let is_overflow = self.settings.when_full == WhenFull::DeadLetter;
        let mut state = self.shared.lock();
        if state.book.has_in_flight(&numbers) {
            return true;
        }
        match located {
            Some(located) if is_overflow && reason == DropReason::QueueFull => {
                let leaving = state.book.begin_leaving(numbers);
                drop(state);
                self.overflow(&located, &leaving);
            }
            _ => drop(state.book.settle_dropped(numbers, reason)),
        }
        true
    }

    /// The disk is full: make room to open again, and take nothing until there is room for the ballast.
    pub(super) fn note_disk_full(&mut self) {
        self.shared.ballast.give_up();
        let why = if self.was_opened() { DISK_FULL } else { DISK_FULL_AT_START };
        self.shared.lock().unavailable = Some(why.to_owned());
        if !self.is_disk_full {
            self.is_disk_full = true;
            error!(sink = %self.shared.sink, policy = ?self.settings.when_full, "disk full: queue takes no records");
        }
    }

    /// Looks whether the disk has room again, from time to time.
    pub(super) fn look_for_space(&mut self) {
        self.space_due = Instant::now() + SPACE_PERIOD;
        self.has_space_again();
    }

    /// Whether the disk has room again. Under `drop_oldest` and `dead_letter` the oldest generations go to make some: there is none for
    /// letters.
    fn has_space_again(&mut self) -> bool {
        let mut has_space = self.shared.ballast.restore_if_room();
        let policy = self.settings.when_full;
        let may_drop = matches!(policy, WhenFull::DropOldest | WhenFull::DeadLetter);
        // The cursor must be durable before a generation goes, and that needs a database that works.
        if !has_space && may_drop && self.writable().is_ok() {
            while !has_space && self.drop_oldest_generation() {
                has_space = self.shared.ballast.restore_if_room();
            }
        }
        if has_space {
            self.is_disk_full = false;
            self.attempts = Attempts::due();
            if self.writable().is_ok() {
                self.shared.lock().unavailable = None;
                info!(sink = %self.shared.sink, "disk has room again: queue takes records");
            }
        }
        !self.is_disk_full
    }

    /// Drops what the oldest generation holds, chunk by chunk, unless it is the newest or something of it is in flight.
    fn drop_oldest_generation(&mut self) -> bool {
        let numbers = {
            let state = self.shared.lock();
            let Some(numbers) = state.shelf.oldest_sealed() else { return false };
            if state.book.has_in_flight(&numbers) {
                return false;
            }
            numbers
        };
        let mut from = numbers.start;
        while from < numbers.end && self.drop_next_chunk(&mut from, DropReason::DiskFull) {}
        self.commit_cursor();
        self.shared.lock().shelf.oldest_sealed().is_none_or(|oldest| oldest != numbers)
    }
}
