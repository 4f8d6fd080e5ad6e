//! When to connect again. Pure: no clock, no sleeping.

use std::time::Duration;

/// Longest wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait ever; shorter than a keep-alive is pointless, much longer keeps an operator waiting.
const LONGEST: Duration = Duration::from_mins(1);
/// Wait after another client took the session: two gateways with one client id otherwise throw each other out for ever.
const AFTER_TAKE_OVER: Duration = Duration::from_mins(2);
/// A connection that lasted this long was a good one: the next failure starts from the beginning.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// Waits between connections: doubling, with jitter so that many gateways do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Waits {
    failures: u32,
}

impl Waits {
    /// The wait after a failure of a connection that was up for `lasted` (zero when it never was).
    pub(super) fn after_failure(&mut self, lasted: Duration) -> Duration {
        if lasted >= GOOD_AFTER {
            self.failures = 0;
        }
        let bound = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jittered(bound)
    }

    /// Whether this has happened a few times without a good connection in between.
    pub(super) fn keeps_failing(&self) -> bool {
        self.failures >= 3
    }

    /// The wait after another client took the session.
    pub(super) fn after_take_over() -> Duration {
        jittered(AFTER_TAKE_OVER)
    }
}

/// Half of `bound` up to all of it.
fn jittered(bound: Duration) -> Duration {
    bound.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_start_again_after_a_good_connection() {
        let mut waits = Waits::default();
        let growing: Vec<Duration> = (0..20).map(|_| waits.after_failure(Duration::ZERO)).collect();
        assert!(growing[0] <= FIRST, "{growing:?}");
        for wait in &growing[10..] {
            assert!(*wait >= LONGEST / 2 && *wait <= LONGEST, "{growing:?}");
        }
        assert!(waits.after_failure(GOOD_AFTER) <= FIRST);
        assert!(waits.after_failure(Duration::from_secs(1)) <= FIRST * 2);
    }
}
