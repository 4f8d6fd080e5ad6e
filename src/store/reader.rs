//! Reading records back from disk, for a delivery that is behind what is kept in memory.
//!
//! Runs on a thread that may block, beside the committer: it waits for no commit. Every chunk is checked, and so is
//! that the numbers go on without a gap; what is missing is counted as lost, once, and delivery goes on behind it.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use tracing::error;

use super::book::{DropReason, InMemory};
use super::generation::{Generation, GenerationError, GenerationId};
use super::shared::Shared;
use super::{ReadLimit, StoreError, chunk, repair};

/// Read at least so much at once: chunks of light traffic hold a record each.
const AHEAD_BYTES_MIN: usize = 128 * 1024;

/// Reads from `number` on until the limit is reached, and puts it into the book's read-ahead.
pub(super) fn read_ahead(shared: &Shared, number: u64, limit: ReadLimit) -> Result<(), StoreError> {
    let mut ahead = VecDeque::new();
    let mut bytes = 0;
    let mut next = number;
    let mut is_salvaged = false;
    while bytes < limit.bytes_max.get().max(AHEAD_BYTES_MIN)
        && ahead.len() < limit.records_max.get().max(1)
    {
        let Some((generation, end)) = generation_for(shared, &mut next)? else { break };
        let located = match generation.locate(next) {
            Ok(located) => located,
            Err(GenerationError::Damaged(why)) if !is_salvaged => {
                is_salvaged = true;
                let id = generation.id();
                drop(generation);
                salvage(shared, id, &why)?;
                continue;
            }
            Err(GenerationError::Damaged(_)) => None,
            Err(error) => return Err(unreadable(shared, &error)),
        };
        let Some(located) = located.filter(|located| located.header.first < end) else {
            lose(shared, next, end);
            next = end;
            continue;
        };
        if located.damaged > 0 {
            shared.metrics.repairs("damaged_chunk").inc_by(located.damaged);
        }
        let numbers = located.header.range();
        if numbers.start > next {
            lose(shared, next, numbers.start);
        }
        if let Ok(records) = chunk::decode(&located.header, located.body()) {
            let age_ms = located.header.stamp.age_ms;
            for record in records.into_iter().filter(|record| record.number.0 >= next) {
                bytes += record.record.memory_bytes();
                ahead.push_back(InMemory { record: Arc::new(record), age_ms });
            }
        } else {
            shared.metrics.repairs("damaged_chunk").inc();
            lose(shared, next.max(numbers.start), numbers.end);
        }
        next = numbers.end;
    }
    shared.lock().book.set_ahead(ahead);
    Ok(())
}

/// The generation of the first waiting record from `next` on, and the number after its last. Moves `next` there.
pub(super) fn generation_for(
    shared: &Shared,
    next: &mut u64,
) -> Result<Option<(Arc<Generation>, u64)>, StoreError> {
    let (shelved, newest_end) = {
        let state = shared.lock();
        *next = state.book.next_waiting(*next);
        (state.shelf.holding(*next).cloned(), state.book.next())
    };
    if *next >= newest_end {
        return Ok(None);
    }
    let Some(shelved) = shelved else {
        lose(shared, *next, newest_end);
        return Ok(None);
    };
    let numbers = shelved.numbers();
    if *next < numbers.start {
        lose(shared, *next, numbers.start);
        *next = numbers.start;
    }
    let open = match shelved.open {
        Some(open) => open,
        None => open_for_reading(shared, shelved.id).map_err(|error| unreadable(shared, &error))?,
    };
    Ok(Some((open, numbers.end)))
}

fn open_for_reading(shared: &Shared, id: GenerationId) -> Result<Arc<Generation>, GenerationError> {
    let _one_at_a_time = shared.opening.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(open) = shared.lock().shelf.open_handle(id) {
        return Ok(open);
    }
    let open = || repair::open(&shared.queue_dir, id, &shared.metrics);
    let opened = Arc::new(open().or_else(|error| {
        if !error.is_disk_full() {
            return Err(error);
        }
        // The committer sees that the ballast is gone, and takes nothing until there is room for it again.
        shared.ballast.give_up();
        open()
    })?);
    let closed = shared.lock().shelf.keep_open(id, &opened);
    drop(closed);
    Ok(opened)
}

/// Carries what is intact of a damaged generation over into a fresh one. The newest is in use by the committer: that
/// goes on with another one first.
fn salvage(shared: &Shared, id: GenerationId, why: &str) -> Result<(), StoreError> {
    let _one_at_a_time = shared.opening.lock().unwrap_or_else(PoisonError::into_inner);
    let closed = {
        let mut state = shared.lock();
        if state.shelf.is_newest(id) {
            state.is_rotation_wanted = true;
            shared.wake_committer_if_idle(&state);
            let why = format!("its newest generation is damaged: {why}");
            return Err(StoreError::Unavailable { sink: shared.sink.clone(), why });
        }
        state.shelf.close(id)
    };
    drop(closed);
    let fresh = repair::salvage(&shared.queue_dir, id, why, &shared.metrics)
        .map_err(|error| unreadable(shared, &error))?;
    let closed = shared.lock().shelf.keep_open(id, &Arc::new(fresh));
    drop(closed);
    Ok(())
}

/// Gives up records that are not where they should be.
fn lose(shared: &Shared, first: u64, end: u64) {
    let lost = shared.lock().book.settle_dropped(first..end, DropReason::Damaged);
    if lost > 0 {
        shared.metrics.repairs("lost_records").inc_by(lost);
        let sink = &shared.sink;
        error!(%sink, first, end, lost, "records are missing on disk");
    }
}

pub(super) fn unreadable(shared: &Shared, error: &GenerationError) -> StoreError {
    StoreError::Unavailable { sink: shared.sink.clone(), why: error.to_string() }
}
