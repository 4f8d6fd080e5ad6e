//! What a queue may take on disk.

use std::num::NonZeroU64;
use std::path::Path;

use rustix::fs::statvfs;

/// A generation is full at this size of its database: sled keeps it in memory as a whole while it is open.
pub(super) const GENERATION_BYTES_MAX: u64 = 12 * 1024 * 1024;
const GENERATION_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Least quota that a queue can work in: two generations.
pub const QUEUE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// The default quota of a queue: a quarter of the partition of the data directory, shared evenly by the sinks, at
/// least [`QUEUE_BYTES_MIN`]. The directory or an ancestor of it must exist; 1 GiB when the partition does not say.
#[must_use]
pub fn default_queue_bytes_max(data_dir: &Path, sinks: u64) -> NonZeroU64 {
    let existing = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(data_dir);
    let partition = statvfs(existing)
        .map_or(4 * 1024 * 1024 * 1024, |volume| volume.f_frsize.saturating_mul(volume.f_blocks));
    let share = partition / 4 / sinks.max(1);
    NonZeroU64::new(share.max(QUEUE_BYTES_MIN)).unwrap_or(NonZeroU64::MIN)
}

/// The limits that keep a queue within its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
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
        Self { generation_bytes, waiting_bytes_max: bytes_max - 2 * generation_bytes }
    }
}
