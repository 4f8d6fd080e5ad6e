//! What a queue may take on disk, and what happens when that is reached.

use std::num::NonZeroU64;

use crate::config::{self, Durability, QUEUE_BYTES_MIN, WhenFull};

/// A generation is full at this size of its database: sled keeps it in memory as a whole while it is open.
pub(super) const GENERATION_BYTES_MAX: u64 = 6 * 1024 * 1024;
const GENERATION_BYTES_MIN: u64 = 2 * 1024 * 1024;
/// The limits that keep a queue within its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// What the queue may take on disk.
    pub bytes_max: u64,
    /// Size at which a generation is sealed.
    pub generation_bytes: u64,
    /// What waiting records may account for.
    pub waiting_bytes_max: u64,
}

impl Quota {
    /// The limits of a queue that may take `bytes_max` on disk, with generations of `generation_bytes_max` at most.
    pub(super) fn of(bytes_max: NonZeroU64, generation_bytes_max: u64) -> Self {
        let bytes_max = bytes_max.get().max(QUEUE_BYTES_MIN);
        let generation_bytes = (bytes_max / 8).max(GENERATION_BYTES_MIN).min(generation_bytes_max);
        // Disk comes back by the generation, so the oldest takes its space until its last record has left, and the
        // newest may have just been made.
        Self { bytes_max, generation_bytes, waiting_bytes_max: bytes_max - 2 * generation_bytes }
    }
}

/// What of a queue can change while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub quota: Quota,
    pub when_full: WhenFull,
    pub durability: Durability,
}

impl Settings {
    pub(super) fn of(options: &config::Queue, generation_bytes_max: u64) -> Self {
        let quota = Quota::of(options.bytes_max, generation_bytes_max);
        Self { quota, when_full: options.when_full, durability: options.durability }
    }
}
