//! How fast a counter grows: now, over five minutes, and at most. Pure: the time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time between two samples.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(5);
/// Samples kept: five minutes of them, and the one that these began with.
const SAMPLES_MAX: usize = 61;

/// Rates of a counter, each in events a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Over the last five to ten seconds.
    pub now: f64,
    /// On average over five minutes, or since there is something to count.
    pub last_5_minutes: f64,
    /// The largest that `now` has been.
    pub max: f64,
}

/// Watches a counter.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<(Instant, u64)>,
    max: f64,
    grown_at: Option<Instant>,
}

impl Meter {
    /// Takes a sample; every [`SAMPLE_PERIOD`].
    pub fn sample(&mut self, count: u64, now: Instant) {
        if let Some((before, counted)) = self.samples.back().copied() {
            self.max = self.max.max(slope((before, counted), (now, count)));
        }
        if self.has_grown(count) {
            self.grown_at = Some(now);
        }
        self.samples.push_back((now, count));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// The rates at the moment, when the counter stands at `count`.
    #[must_use]
    pub fn rates(&self, count: u64, now: Instant) -> Rates {
        let is_old_enough = |sample: &&(Instant, u64)| now >= sample.0 + SAMPLE_PERIOD;
        let recent = self.samples.iter().rev().find(is_old_enough).or(self.samples.front());
        let per_second =
            |since: Option<&(Instant, u64)>| since.map_or(0.0, |since| slope(*since, (now, count)));
        let last_5_minutes = per_second(self.samples.front());
        let now = per_second(recent);
        // What has not been sampled yet may be one event within a millisecond.
        Rates { now, last_5_minutes, max: self.max.max(last_5_minutes) }
    }

    /// How long ago the counter grew, as far as samples tell; `None` when it never did.
    #[must_use]
    pub fn quiet_for(&self, count: u64, now: Instant) -> Option<Duration> {
        if self.has_grown(count) {
            return Some(Duration::ZERO);
        }
        self.grown_at.map(|at| now.saturating_duration_since(at))
    }

    fn has_grown(&self, count: u64) -> bool {
        count > self.samples.back().map_or(0, |(_, counted)| *counted)
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "rates are approximate")]
fn slope((start, before): (Instant, u64), (end, after): (Instant, u64)) -> f64 {
    let seconds = end.saturating_duration_since(start).as_secs_f64();
    // Shorter than this, one event more or less is all that a rate says.
    if seconds < 0.5 { 0.0 } else { after.saturating_sub(before) as f64 / seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-6
    }

    #[test]
    fn rates_follow_the_counter_now_over_five_minutes_and_at_most() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        meter.sample(0, start);
        assert_eq!(meter.rates(0, start), Rates::default());
        assert_eq!(meter.quiet_for(0, at(3)), None, "nothing ever came");
        // 10 a second for a minute, then nothing.
        let count = |seconds: u64| 10 * seconds.min(60);
        for seconds in (5..=60).step_by(5) {
            meter.sample(count(seconds), at(seconds));
        }
        let rates = meter.rates(count(60), at(60));
        assert!(close(rates.now, 10.0) && close(rates.last_5_minutes, 10.0), "{rates:?}");
        for seconds in (65..=180).step_by(5) {
            meter.sample(count(seconds), at(seconds));
        }
        let rates = meter.rates(count(180), at(180));
        assert!(close(rates.now, 0.0) && close(rates.max, 10.0), "{rates:?}");
        assert!(close(rates.last_5_minutes, 600.0 / 180.0), "{rates:?}");
        assert_eq!(meter.quiet_for(600, at(180)), Some(Duration::from_mins(2)));
        assert_eq!(meter.quiet_for(601, at(180)), Some(Duration::ZERO), "since the last sample");
        for seconds in (185..=1000).step_by(5) {
            meter.sample(count(seconds), at(seconds));
        }
        let rates = meter.rates(600, at(1000));
        assert!(close(rates.last_5_minutes, 0.0) && close(rates.max, 10.0), "{rates:?}");
        assert_eq!(meter.samples.len(), SAMPLES_MAX);
    }
}
