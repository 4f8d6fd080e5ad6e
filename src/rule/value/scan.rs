//! How far bytes of one kind go, eight at a time: most texts and numbers of a payload are shorter than that, and a loop
//! over bytes costs a branch that the processor cannot foresee at the end of each.
//!
//! The tests for bytes in a word are those of Mycroft (Warren, "Hacker's Delight", section 6-1); the lowest that they find
//! is exact.

const LOW_BITS: u64 = all(0x01);
const HIGH_BITS: u64 = all(0x80);

const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Bytes in front of the first that ends the plain part of a JSON text: `"`, `\` and control characters.
pub(super) fn plain_length(text: &[u8]) -> usize {
    let zeros = |word: u64| word.wrapping_sub(LOW_BITS) & !word;
    length(text, b'"', |word| {
        let control = word.wrapping_sub(all(0x20)) & !word;
        (control | zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'))) & HIGH_BITS
    })
}

/// Digits in front of the first other byte.
pub(super) fn digits_length(text: &[u8]) -> usize {
    length(text, b' ', |word| {
        let digits = word ^ all(b'0');
        // From ten on, the sum reaches the high bit.
        (((digits & !HIGH_BITS) + all(0x80 - 10)) | digits) & HIGH_BITS
    })
}

/// Bytes in front of the first for which `ends` sets the high bit; `end` is one of these.
#[inline]
fn length(text: &[u8], end: u8, ends: impl Fn(u64) -> u64) -> usize {
    let first = |found: u64| usize::try_from(found.trailing_zeros() / 8).unwrap_or(8);
    let mut length = 0;
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let found = ends(u64::from_le_bytes(*word));
        if found != 0 {
            return length + first(found);
        }
        length += 8;
        rest = behind;
    }
    let last = rest.iter().rev().fold(all(end), |word, byte| word << 8 | u64::from(*byte));
    length + first(ends(last))
}
