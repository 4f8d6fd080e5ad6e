//! Sets of record numbers, small as long as the numbers lie together.
//!
//! A queue settles its records almost in order, so what is settled beyond the oldest waiting record, and what is in
//! flight, are a few runs of numbers: as many as there are holes, however many records there are.

use std::collections::BTreeMap;
use std::ops::Range;

/// Record numbers as disjoint, non-adjacent half-open ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    /// End by start.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Adds a range; says how many of its numbers were not in the set.
    pub(super) fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let added = range.end - range.start - self.count_in(range.clone());
        let mut merged = range;
        if let Some((&start, &end)) = self.ranges.range(..=merged.start).next_back()
            && end >= merged.start
        {
            merged.start = start;
            merged.end = merged.end.max(end);
        }
        while let Some((&start, &end)) = self.ranges.range(merged.start..=merged.end).next() {
            merged.end = merged.end.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(merged.start, merged.end);
        added
    }

    /// Takes a range out; says how many of its numbers were in the set.
    pub(super) fn remove(&mut self, range: Range<u64>) -> u64 {
        let mut removed = 0;
        while let Some(hit) = self.next_overlap(&range) {
            self.ranges.remove(&hit.start);
            if hit.start < range.start {
                self.ranges.insert(hit.start, range.start);
            }
            if hit.end > range.end {
                self.ranges.insert(range.end, hit.end);
            }
            removed += hit.end.min(range.end) - hit.start.max(range.start);
        }
        removed
    }

    /// The first number from `from` on that is not in the set.
    pub(super) fn next_absent(&self, from: u64) -> u64 {
        match self.ranges.range(..=from).next_back() {
            Some((_, &end)) if end > from => end,
            _ => from,
        }
    }

    /// Whether a number is in the set.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.next_absent(number) != number
    }

    /// Whether the two have a number in common.
    pub(super) fn overlaps(&self, range: &Range<u64>) -> bool {
        self.next_overlap(range).is_some()
    }

    /// How many numbers of a range are in the set.
    pub(super) fn count_in(&self, range: Range<u64>) -> u64 {
        let before = self.ranges.range(..range.start).next_back();
        let within = self.ranges.range(range.clone());
        before
            .into_iter()
            .chain(within)
            .map(|(&start, &end)| end.min(range.end).saturating_sub(start.max(range.start)))
            .sum()
    }

    /// The ranges, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    fn next_overlap(&self, range: &Range<u64>) -> Option<Range<u64>> {
        if range.is_empty() {
            return None;
        }
        let before = self.ranges.range(..=range.start).next_back();
        let hit = before
            .filter(|&(_, &end)| end > range.start)
            .or_else(|| self.ranges.range(range.clone()).next());
        hit.map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_range_set_is_a_set_of_numbers() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..300 {
            let mut ranges = RangeSet::default();
            let mut model = BTreeSet::new();
            for step in 0..60 {
                let start = random.u64(0..50);
                let range = start..start + random.u64(0..12);
                let at = format!("round {round} step {step} {range:?}");
                if random.bool() {
                    let added = range.clone().filter(|number| model.insert(*number)).count();
                    assert_eq!(
                        ranges.insert(range.clone()),
                        u64::try_from(added).unwrap(),
                        "insert, {at}"
                    );
                } else {
                    let removed = range.clone().filter(|number| model.remove(number)).count();
                    assert_eq!(
                        ranges.remove(range.clone()),
                        u64::try_from(removed).unwrap(),
                        "remove, {at}"
                    );
                }
                let probe = random.u64(0..60);
                let absent = (probe..100).find(|number| !model.contains(number)).unwrap();
                assert_eq!(ranges.next_absent(probe), absent, "next_absent {probe}, {at}");
                let inside = model.range(range.clone()).count();
                assert_eq!(
                    ranges.count_in(range.clone()),
                    u64::try_from(inside).unwrap(),
                    "count_in, {at}"
                );
                assert_eq!(ranges.overlaps(&range), inside > 0, "overlaps, {at}");
                assert_eq!(ranges.contains(probe), model.contains(&probe), "contains, {at}");
                let all: Vec<u64> = ranges.iter().flatten().collect();
                assert_eq!(all, model.iter().copied().collect::<Vec<_>>(), "content, {at}");
                let runs: Vec<_> = ranges.iter().collect();
                assert!(runs.windows(2).all(|two| two[0].end < two[1].start), "merged, {at}");
            }
        }
    }
}
