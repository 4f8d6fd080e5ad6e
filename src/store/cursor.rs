//! The delivery cursor: what has left the queue.
//!
//! It is one value in a tree of its own in the newest generation, so that it shares the sync of the next commit.
//! Written too rarely it repeats deliveries after a crash, never more. Layout, little endian: magic `WPqs`, version
//! (u8, 1), three zero bytes, next record number (u64), age clock (u64, ms), wall clock (u64, ms), number of ranges
//! (u32), per range its first number and the number after its last (u64 each), CRC-32C of all before it (u32).

use std::ops::Range;

use super::chunk::{Damaged, Stamp};
use super::ranges::RangeSet;
use crate::clock::UnixMillis;

/// Starts every cursor.
pub(super) const MAGIC: [u8; 4] = *b"WPqs";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 36;
const RANGE_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Ranges beyond these are left out: their records come again after a crash. Delivery works within a window, so a
/// queue has a handful.
const RANGES_MAX: usize = 256;

/// What has left the queue, and where its numbers go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Number of the next record.
    pub next: u64,
    /// Numbers that are delivered, dropped or lost. Starts with all below the oldest waiting record.
    pub settled: RangeSet,
    /// Clocks when it was written.
    pub stamp: Stamp,
}

impl Cursor {
    /// Whether it was written after `other`.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        (self.stamp.age_ms, self.next) >= (other.stamp.age_ms, other.next)
    }
}

/// The bytes of a cursor.
pub(super) fn encode(next: u64, settled: &RangeSet, stamp: Stamp) -> Vec<u8> {
    let ranges: Vec<Range<u64>> = settled.iter().take(RANGES_MAX).collect();
    let count = u32::try_from(ranges.len()).expect("not above RANGES_MAX");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + ranges.len() * RANGE_BYTES + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
    for field in [next, stamp.age_ms, stamp.wall.0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&count.to_le_bytes());
    for range in ranges {
        bytes.extend_from_slice(&range.start.to_le_bytes());
        bytes.extend_from_slice(&range.end.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the cursor that `bytes` begin with.
pub(super) fn parse(bytes: &[u8]) -> Result<Cursor, Damaged> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Damaged)?;
    let field = |at: usize| -> Result<u64, Damaged> {
        let field = head.get(at..).and_then(<[u8]>::first_chunk).ok_or(Damaged)?;
        Ok(u64::from_le_bytes(*field))
    };
    let count = head.last_chunk::<4>().map(|count| u32::from_le_bytes(*count)).ok_or(Damaged)?;
    let count = usize::try_from(count).map_err(|_| Damaged)?;
    if !head.starts_with(&MAGIC) || head.get(4) != Some(&VERSION) || count > RANGES_MAX {
        return Err(Damaged);
    }
    let (ranges, crc) = rest.split_at_checked(count * RANGE_BYTES).ok_or(Damaged)?;
    let crc = crc.first_chunk::<CRC_BYTES>().ok_or(Damaged)?;
    if crc32c::crc32c_append(crc32c::crc32c(head), ranges).to_le_bytes() != *crc {
        return Err(Damaged);
    }
    let mut settled = RangeSet::default();
    for range in ranges.as_chunks::<RANGE_BYTES>().0 {
        let (start, end) = range.split_at(RANGE_BYTES / 2);
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        settled.insert(number(start).ok_or(Damaged)?..number(end).ok_or(Damaged)?);
    }
    let stamp = Stamp { age_ms: field(16)?, wall: UnixMillis(field(24)?) };
    Ok(Cursor { next: field(8)?, settled, stamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_any_flipped_bit_is_noticed() {
        let mut settled = RangeSet::default();
        settled.insert(0..17);
        settled.insert(20..21);
        let stamp = Stamp { age_ms: 5, wall: UnixMillis(1_800_000_000_000) };
        let bytes = encode(42, &settled, stamp);
        assert_eq!(parse(&bytes), Ok(Cursor { next: 42, settled, stamp }));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&damaged), Err(Damaged), "bit {bit} of {}", bytes.len() * 8);
        }
    }
}
