//! Wall-clock stamps.
//!
//! Wall time may jump, also to 1970 and back: it stamps events and is shown to people, it never schedules.
//! Whoever waits uses `std::time::Instant` or `tokio::time`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z by the wall clock of the moment; zero for clocks before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn unix_nanoseconds() -> i128 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX)
}

/// Milliseconds since 1970-01-01T00:00:00Z by the wall clock of the moment; zero for clocks before that.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixMillis(pub u64);

/// When this Waypost was built: a clock that shows less is wrong.
pub const BUILT_AT: UnixMillis = {
    match u64::from_str_radix(env!("WAYPOST_BUILT_AT"), 10) {
        Ok(seconds) => UnixMillis(seconds * 1000),
        Err(_) => panic!("the build script gives seconds"),
    }
};

impl UnixMillis {
    /// What the wall clock says now.
    #[must_use]
    pub fn now() -> Self {
        Self(u64::try_from(unix_nanoseconds() / 1_000_000).unwrap_or(u64::MAX))
    }
}
