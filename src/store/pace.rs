//! How long a commit waits for company. Pure: no clock.
//!
//! A commit costs the disk some kilobytes whatever it carries, so many small ones wear flash. With light traffic
//! nobody is coming and every wait is only latency; so a commit waits only when the last groups say that company
//! will come, and stops waiting as soon as it does not.

use std::time::Duration;

/// Below this many records expected within the window a wait is not worth its latency. 10,000 events/s give 50 in
/// 5 ms; 200/s give one.
const WORTHWHILE: f64 = 6.0;
/// Share of the newest group in the estimate.
const WEIGHT: f64 = 0.3;
/// A wait is given up when nothing came during this fraction of the window: whoever sends has sent what its own
/// window allows and waits for us.
const QUIET_FRACTION: u32 = 3;

/// The estimate of one queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    window_max: Duration,
    records_per_second: f64,
}

impl Pace {
    pub(super) const fn new(window_max: Duration) -> Self {
        Self { window_max, records_per_second: 0.0 }
    }

    /// Notes a group and the time since the one before it was taken.
    pub(super) fn note(&mut self, records: usize, since_last: Duration) {
        let records = f64::from(u32::try_from(records).unwrap_or(u32::MAX));
        let rate = records / since_last.as_secs_f64().max(1e-6);
        self.records_per_second += WEIGHT * (rate - self.records_per_second);
    }

    /// How long the next commit may wait, from its first record on.
    pub(super) fn window(&self) -> Duration {
        let expected = self.records_per_second * self.window_max.as_secs_f64();
        if expected < WORTHWHILE { Duration::ZERO } else { self.window_max }
    }

    /// A wait in which nothing comes for so long is over.
    pub(super) fn quiet(&self) -> Duration {
        self.window_max / QUIET_FRACTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window_at(records_per_second: u32) -> Duration {
        let mut pace = Pace::new(Duration::from_millis(5));
        for _ in 0..50 {
            pace.note(1, Duration::from_secs(1) / records_per_second);
        }
        pace.window()
    }

    #[test]
    fn a_commit_waits_at_ten_thousand_a_second_and_not_at_two_hundred() {
        assert_eq!(window_at(200), Duration::ZERO);
        assert_eq!(window_at(10_000), Duration::from_millis(5));
    }

    #[test]
    fn the_window_closes_again_when_traffic_falls() {
        let mut pace = Pace::new(Duration::from_millis(5));
        for _ in 0..50 {
            pace.note(100, Duration::from_millis(1));
        }
        for _ in 0..30 {
            pace.note(1, Duration::from_millis(5));
        }
        assert_eq!(pace.window(), Duration::ZERO);
    }
}
