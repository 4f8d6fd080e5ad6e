//! The age clock: how long records have been here, whatever the wall clock does.
//!
//! A queue counts its own milliseconds: monotonic while the process runs, and across restarts increased by the wall
//! time that passed since the last commit, within bounds. So a clock that jumps from 1970 to today, or back, ages no
//! record while the process runs, and at a restart by no more than [`DOWNTIME_MAX`].

use std::time::{Duration, Instant};

use super::chunk::Stamp;
use crate::clock::UnixMillis;

/// The most a restart can add to the age of what waits. A gateway that was off for longer looks as if it was off for
/// this long.
const DOWNTIME_MAX: Duration = Duration::from_hours(30 * 24);

/// The age clock of a queue. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgeClock {
    at_start_ms: u64,
    started: Instant,
}

impl AgeClock {
    /// Goes on from the clocks of the last commit before this process.
    pub(super) fn resume(last: Stamp, wall_now: UnixMillis) -> Self {
        let longest = u64::try_from(DOWNTIME_MAX.as_millis()).unwrap_or(u64::MAX);
        let away = wall_now.0.saturating_sub(last.wall.0).min(longest);
        Self { at_start_ms: last.age_ms.saturating_add(away), started: Instant::now() }
    }

    /// Milliseconds on this clock.
    pub(super) fn now_ms(&self) -> u64 {
        let run = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_start_ms.saturating_add(run)
    }

    /// Both clocks.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { age_ms: self.now_ms(), wall: UnixMillis::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(last_wall_ms: u64, now_ms: u64) -> u64 {
        let last = Stamp { age_ms: 1_000, wall: UnixMillis(last_wall_ms) };
        AgeClock::resume(last, UnixMillis(now_ms)).now_ms() - 1_000
    }

    #[test]
    fn downtime_counts_by_the_wall_clock_and_a_jump_counts_within_bounds() {
        let today = 1_800_000_000_000;
        let hour = 3_600_000;
        assert!((hour..hour + 1_000).contains(&away(today, today + hour)), "an hour off");
        assert!(away(today, 0) < 1_000, "back to 1970");
        let days_30 = 30 * 24 * hour;
        assert!((days_30..days_30 + 1_000).contains(&away(0, today)), "1970 to today");
    }
}
