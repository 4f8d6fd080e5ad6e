//! How long a commit waits for company. Pure: no clock.
//!
//! A commit costs the disk some kilobytes whatever it carries, so many small ones wear flash. With light traffic
//! nobody is coming and every wait is only latency; so a commit waits only when the last groups say that company
//! will come, and stops waiting as soon as it does not.
//!
//! Devices that wait for an acknowledgement before they send again come back together: as many as went quiet last time.
//! Once those are here nobody is waited for. With 50 such devices the wait for quiet was four fifths of a commit.

use std::time::Duration;

/// Below this many records expected within the window a wait is not worth its latency. 10,000 events/s give 50 in
/// 5 ms; 200/s give one.
const WORTHWHILE: f64 = 6.0;
/// Share of the newest group in the estimate.
const WEIGHT: f64 = 0.3;
/// A wait is given up when nothing came during this fraction of the window: whoever sends has sent what its own
/// window allows and waits for us.
const QUIET_FRACTION: u32 = 3;
/// So many commits may believe that company is complete before one waits for quiet again: there may be more by now.
const TRUST_MAX: u32 = 16;
/// So many waits in a row must have ended in quiet: one alone may be a pause of traffic that does not wait for us.
const QUIETS_MIN: u32 = 2;

/// The estimate of one queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    window_max: Duration,
    records_per_second: f64,
    /// Records that were there when their senders last went quiet; `None` while they do not.
    company: Option<usize>,
    /// Waits in a row that ended so.
    quiets: u32,
    /// Commits since then.
    trusted: u32,
}

impl Pace {
    pub(super) const fn new(window_max: Duration) -> Self {
        Self { window_max, records_per_second: 0.0, company: None, quiets: 0, trusted: 0 }
    }

    /// Notes a group and the time since the one before it was taken.
    pub(super) fn note(&mut self, records: usize, since_last: Duration) {
        let rate = f64_of(records) / since_last.as_secs_f64().max(1e-6);
        self.records_per_second += WEIGHT * (rate - self.records_per_second);
    }

    /// How long the next commit may wait, from its first record on.
    pub(super) fn window(&self) -> Duration {
        let expected = self.records_per_second * self.window_max.as_secs_f64();
        if expected < WORTHWHILE { Duration::ZERO } else { self.window_max }
    }

    /// Records that are left to wait for with `waiting` of them here; none when everybody who sends is here, `None` when
    /// that is not known.
    pub(super) fn company_left(&self, waiting: usize) -> Option<usize> {
        let known = self.company.filter(|company| f64_of(*company) >= WORTHWHILE);
        let is_trusted = self.trusted < TRUST_MAX && self.quiets >= QUIETS_MIN;
        let trusted = known.filter(|_| is_trusted)?;
        Some(trusted.saturating_sub(waiting))
    }

    /// Notes that a wait ended since company was complete.
    pub(super) const fn note_complete(&mut self) {
        self.trusted += 1;
    }

    /// Notes that senders went quiet with `waiting` records.
    pub(super) const fn note_quiet(&mut self, waiting: usize) {
        self.company = Some(waiting);
        self.quiets = self.quiets.saturating_add(1);
        self.trusted = 0;
    }

    /// Notes that records came for the whole window.
    pub(super) const fn note_steady(&mut self) {
        self.company = None;
        self.quiets = 0;
    }

    /// A wait in which nothing comes for so long is over.
    pub(super) fn quiet(&self) -> Duration {
        self.window_max / QUIET_FRACTION
    }
}

fn f64_of(records: usize) -> f64 {
    f64::from(u32::try_from(records).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_went_quiet_are_not_waited_for_once_they_are_back_and_looked_for_again_at_times() {
        let mut pace = Pace::new(Duration::from_millis(5));
        assert_eq!(pace.company_left(1000), None, "nobody knows who comes");
        pace.note_quiet(50);
        assert_eq!(pace.company_left(50), None, "that may have been a pause");
        pace.note_quiet(50);
        for _ in 0..TRUST_MAX {
            assert_eq!((pace.company_left(50), pace.company_left(49)), (Some(0), Some(1)));
            pace.note_complete();
        }
        assert_eq!(pace.company_left(50), None, "there may be more by now");
        pace.note_quiet(80);
        assert_eq!((pace.company_left(90), pace.company_left(50)), (Some(0), Some(30)));
        pace.note_steady();
        assert_eq!(pace.company_left(1000), None, "they do not wait for us");
        pace.note_quiet(2);
        pace.note_quiet(2);
        assert_eq!(pace.company_left(3), None, "so few are not worth a commit");
    }

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
