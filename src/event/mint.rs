//! Message ids: 128 bits that no two messages share, also not on two gateways.

use std::sync::atomic::{AtomicU64, Ordering};

/// Mints message ids: 64 random bits of this process, then a counter from a random start.
///
/// The id says which message a body speaks of; receivers dedupe on the record id, not on this one.
#[derive(Debug)]
pub struct MessageIds {
    process: u64,
    next: AtomicU64,
}

impl MessageIds {
    /// A new series, different from every other process's.
    #[must_use]
    pub fn new() -> Self {
        Self { process: fastrand::u64(..), next: AtomicU64::new(fastrand::u64(..)) }
    }

    /// The next id. Never repeats within a process.
    pub fn mint(&self) -> [u8; 16] {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        ((u128::from(self.process) << 64) | u128::from(number)).to_be_bytes()
    }
}

impl Default for MessageIds {
    fn default() -> Self {
        Self::new()
    }
}
