//! The generations of a queue, oldest first, and what is known of each without opening it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::book::Book;
use super::generation::{Generation, GenerationId};
use super::totals::Totals;

/// A generation on the shelf.
#[derive(Debug, Clone)]
pub(super) struct Shelved {
    pub id: GenerationId,
    pub totals: Totals,
    pub disk_bytes: u64,
    /// Open while it is the newest or is being read.
    pub open: Option<Arc<Generation>>,
}

impl Shelved {
    /// The numbers of its records.
    pub(super) const fn numbers(&self) -> Range<u64> {
        self.totals.first..self.totals.end
    }
}

/// All generations; the last takes appends.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    generations: VecDeque<Shelved>,
}

impl Shelf {
    /// Puts a generation behind the others.
    pub(super) fn push(&mut self, generation: Shelved) {
        self.generations.push_back(generation);
    }

    /// The one that takes appends.
    pub(super) fn newest_mut(&mut self) -> Option<&mut Shelved> {
        self.generations.back_mut()
    }

    /// The one with the record `number`, or else with the first record after it.
    pub(super) fn holding(&self, number: u64) -> Option<&Shelved> {
        let at = self.generations.partition_point(|shelved| shelved.totals.end <= number);
        self.generations.get(at)
    }

    /// The handle of a generation, if it is open.
    pub(super) fn open_handle(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.generations.iter().find(|shelved| shelved.id == id)?.open.clone()
    }

    /// Numbers of the oldest generation, unless that takes appends.
    pub(super) fn oldest_sealed(&self) -> Option<Range<u64>> {
        let has_sealed = self.generations.len() > 1;
        self.generations.front().filter(|_| has_sealed).map(Shelved::numbers)
    }

    /// Whether this one takes appends.
    pub(super) fn is_newest(&self, id: GenerationId) -> bool {
        self.generations.back().is_some_and(|newest| newest.id == id)
    }

    /// Takes the handle of a generation, to be dropped without the lock.
    pub(super) fn close(&mut self, id: GenerationId) -> Option<Arc<Generation>> {
        self.generations.iter_mut().find(|shelved| shelved.id == id)?.open.take()
    }

    /// Keeps the handle of a generation that was opened for reading. Gives back those of the others but the newest,
    /// to be dropped without the lock.
    pub(super) fn keep_open(
        &mut self,
        id: GenerationId,
        open: &Arc<Generation>,
    ) -> Vec<Arc<Generation>> {
        let sealed = self.generations.len().saturating_sub(1);
        let others = self.generations.iter_mut().take(sealed).filter(|shelved| shelved.id != id);
        let closed = others.filter_map(|shelved| shelved.open.take()).collect();
        if let Some(shelved) = self.generations.iter_mut().find(|shelved| shelved.id == id) {
            shelved.open = Some(Arc::clone(open));
        }
        closed
    }

    /// Takes off all but the newest whose records have all left.
    pub(super) fn take_drained(&mut self, book: &Book) -> Vec<Shelved> {
        let newest = self.generations.back().map(|newest| newest.id);
        let all = std::mem::take(&mut self.generations);
        let (drained, kept) = all.into_iter().partition(|shelved| {
            Some(shelved.id) != newest && book.waiting_in(shelved.numbers()) == 0
        });
        self.generations = kept;
        Vec::from_iter::<VecDeque<Shelved>>(drained)
    }

    /// Whether the oldest has drained and another takes appends.
    pub(super) fn has_drained(&self, book: &Book) -> bool {
        self.generations.len() > 1
            && self.generations.front().is_some_and(|oldest| book.waiting_in(oldest.numbers()) == 0)
    }

    /// Whether any has drained, also behind one whose records are in flight.
    pub(super) fn has_drained_anywhere(&self, book: &Book) -> bool {
        let sealed = self.generations.len().saturating_sub(1);
        let mut sealed = self.generations.iter().take(sealed);
        sealed.any(|shelved| book.waiting_in(shelved.numbers()) == 0)
    }

    /// Makes a new generation the newest. Gives back the handle of the one before, to be dropped without the lock,
    /// unless that is the one being read.
    pub(super) fn rotate(&mut self, newest: Shelved) -> Option<Arc<Generation>> {
        let is_read = self.generations.len() == 1;
        let full = self.generations.back_mut();
        let closed = full.filter(|_| !is_read).and_then(|full| full.open.take());
        self.generations.push_back(newest);
        closed
    }

    /// Takes all handles, to be dropped without the lock.
    pub(super) fn close_all(&mut self) -> Vec<Arc<Generation>> {
        self.generations.iter_mut().filter_map(|shelved| shelved.open.take()).collect()
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.generations.iter().map(|shelved| shelved.disk_bytes).sum()
    }

    /// Bytes on disk that waiting records account for: each generation by the share of its records that wait.
    pub(super) fn waiting_bytes(&self, book: &Book) -> u64 {
        self.generations
            .iter()
            .map(|shelved| {
                let numbers = shelved.numbers();
                let all = numbers.end.saturating_sub(numbers.start).max(1);
                let waiting = u128::from(book.waiting_in(numbers));
                let share = u128::from(shelved.disk_bytes) * waiting / u128::from(all);
                u64::try_from(share).unwrap_or(u64::MAX)
            })
            .sum()
    }
}
