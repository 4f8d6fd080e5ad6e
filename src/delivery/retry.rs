//! When the next request of a sink may leave, and how many may be on their way. Pure: the time is passed in.
//!
//! A sink has one clock. While it fails nothing leaves but one probe after each delay, however many requests
//! wait; when a probe is answered the requests in flight grow again by one per success. The answer of a request that
//! left before the last failure says nothing new: it neither doubles a delay nor ends one.
//!
//! The only module that names the crate `backoff`.

use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::config;

/// Counts the failures of a sink: an answer is news when the count is still that of its departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may pass; the service may ask for a least delay.
    Transient {
        /// What `Retry-After` says.
        after: Option<Duration>,
    },
    /// It needs somebody: probed slowly, in case that has happened.
    Lasting,
}

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// An answer to a request of an older epoch: nothing changes.
    OldNews,
    /// The sink fails; nothing leaves before the delay has passed.
    Waits {
        /// From now.
        delay: Duration,
        /// Failures in a row, this one included.
        attempts: u32,
    },
}

#[derive(Debug)]
enum Phase {
    /// Up to `in_flight_max` requests.
    Flowing { in_flight_max: usize },
    /// None before `until`.
    Waiting { until: Instant },
    /// One is on its way and decides.
    Probing,
}

/// The clock of one sink.
#[derive(Debug)]
pub(super) struct Pace {
    phase: Phase,
    epoch: Epoch,
    failures: u32,
    concurrency: usize,
    backoff: ExponentialBackoff,
    delay_max: Duration,
}

impl Pace {
    /// A sink that has not failed.
    pub(super) fn new(retry: &config::Retry, concurrency: usize) -> Self {
        Self {
            phase: Phase::Flowing { in_flight_max: concurrency },
            epoch: Epoch(0),
            failures: 0,
            concurrency,
            backoff: full_jitter(retry.initial, retry.max, retry.multiplier),
            delay_max: retry.max,
        }
    }

    /// Whether a request may leave now beside `in_flight` others.
    pub(super) fn may_leave(&self, in_flight: usize, now: Instant) -> bool {
        match self.phase {
            Phase::Flowing { in_flight_max } => in_flight < in_flight_max,
            Phase::Waiting { until } => until <= now,
            Phase::Probing => false,
        }
    }

    /// Notes that a request leaves, and in which epoch; only when [`Self::may_leave`].
    pub(super) fn leaves(&mut self) -> Epoch {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.phase = Phase::Probing;
        }
        self.epoch
    }

    /// Whether nothing but probes may leave.
    pub(super) fn is_failing(&self) -> bool {
        !matches!(self.phase, Phase::Flowing { .. })
    }

    /// Whether a probe is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// When the next probe is due, while one is awaited.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Flowing { .. } | Phase::Probing => None,
        }
    }

    /// Ends the wait for the next probe.
    pub(super) fn retry_now(&mut self, now: Instant) {
        if let Phase::Waiting { until } = &mut self.phase {
            *until = (*until).min(now);
        }
    }

    /// A request was delivered. Says how many failures in a row that ends, when it ends some.
    pub(super) fn succeeded(&mut self, departure: Epoch) -> Option<u32> {
        if departure != self.epoch {
            return None;
        }
        let before = match self.phase {
            Phase::Flowing { in_flight_max } => in_flight_max,
            Phase::Waiting { .. } | Phase::Probing => 1,
        };
        self.phase = Phase::Flowing { in_flight_max: (before + 1).min(self.concurrency) };
        self.backoff.reset();
        match std::mem::take(&mut self.failures) {
            0 => None,
            failures => Some(failures),
        }
    }

    /// A request failed.
    pub(super) fn failed(&mut self, departure: Epoch, failure: Failure, now: Instant) -> Failed {
        let asked = match failure {
            Failure::Transient { after } => after.unwrap_or_default().min(self.delay_max),
            Failure::Lasting => Duration::ZERO,
        };
        if departure != self.epoch {
            // A wish of the service counts, whichever request brings it.
            if let Phase::Waiting { until } = &mut self.phase {
                *until = (*until).max(now + asked);
            }
            return Failed::OldNews;
        }
        self.epoch.0 += 1;
        self.failures = self.failures.saturating_add(1);
        let jittered = self.backoff.next_backoff().unwrap_or(self.delay_max).min(self.delay_max);
        let delay = match failure {
            Failure::Transient { .. } => jittered.max(asked),
            // Whether it is only this record is asked soon.
            Failure::Lasting if self.failures == 1 => jittered,
            Failure::Lasting => self.delay_max.mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        self.phase = Phase::Waiting { until: now + delay };
        Failed::Waits { delay, attempts: self.failures }
    }
}

/// Delays of a lot that has a clock of its own.
#[derive(Debug)]
pub(super) struct Delays {
    backoff: ExponentialBackoff,
    max: Duration,
}

impl Delays {
    /// As those of a sink, up to `max` at most.
    pub(super) fn new(retry: &config::Retry, max: Duration) -> Self {
        let max = retry.max.min(max.max(retry.initial));
        Self { backoff: full_jitter(retry.initial, max, retry.multiplier), max: retry.max }
    }

    /// The next one; not shorter than what the service `asked` for, within the sink's maximum.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let jittered = self.backoff.next_backoff().unwrap_or(self.max);
        jittered.max(asked.unwrap_or_default()).min(self.max)
    }
}

/// Delays between zero and a bound that grows from `initial` to `max`.
///
/// The crate draws from `interval` plus and minus a share of it, after capping the interval: half of each bound
/// with a share of 1 gives zero to the bound. Its default gives up after 15 minutes: ours never does.
fn full_jitter(initial: Duration, max: Duration, multiplier: f64) -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(initial / 2)
        .with_max_interval(max / 2)
        .with_multiplier(multiplier)
        .with_randomization_factor(1.0)
        .with_max_elapsed_time(None)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: Failure = Failure::Transient { after: None };

    fn pace(concurrency: usize) -> Pace {
        let retry = config::Retry {
            initial: Duration::from_secs(1),
            max: Duration::from_mins(1),
            multiplier: 2.0,
            attempts_max: None,
            age_max: None,
        };
        Pace::new(&retry, concurrency)
    }

    #[track_caller]
    fn delay(pace: &mut Pace, failure: Failure, now: Instant) -> Duration {
        let departure = pace.leaves();
        match pace.failed(departure, failure, now) {
            Failed::Waits { delay, .. } => delay,
            Failed::OldNews => panic!("the request left in this epoch"),
        }
    }

    #[test]
    fn delays_fill_the_whole_range_from_zero_to_a_bound_that_doubles_up_to_its_maximum() {
        let bounds = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0];
        let mut least = bounds.map(|_| f64::MAX);
        let mut most = bounds.map(|_| 0.0_f64);
        for _ in 0..2000 {
            let mut pace = pace(1);
            for (index, bound) in bounds.iter().enumerate() {
                let seconds = delay(&mut pace, TRANSIENT, Instant::now()).as_secs_f64();
                assert!(seconds <= bound + 1e-6, "delay {index} is {seconds} s, over {bound} s");
                least[index] = least[index].min(seconds);
                most[index] = most[index].max(seconds);
            }
        }
        for (index, bound) in bounds.iter().enumerate() {
            assert!(least[index] < bound * 0.05, "delay {index} is never near zero");
            assert!(most[index] > bound * 0.95, "delay {index} is never near {bound} s");
        }
    }

    #[test]
    fn it_never_gives_up() {
        let mut pace = pace(1);
        let mut now = Instant::now();
        for attempt in 1..100_000 {
            let departure = pace.leaves();
            let Failed::Waits { delay, attempts } = pace.failed(departure, TRANSIENT, now) else {
                panic!("failure {attempt} is old news")
            };
            assert_eq!(attempts, attempt);
            now += delay;
            assert!(pace.may_leave(0, now), "a probe is due after {delay:?}");
        }
    }

    #[test]
    fn one_probe_leaves_after_each_delay_and_none_before() {
        let mut pace = pace(8);
        let start = Instant::now();
        let delay =
            delay(&mut pace, Failure::Transient { after: Some(Duration::from_secs(3)) }, start);
        let due = start + delay;
        assert!(!pace.may_leave(0, start + delay.mul_f64(0.999)));
        assert_eq!(pace.probe_at(), Some(due));
        assert!(pace.may_leave(7, due), "older requests that hang do not hold the probe back");
        pace.leaves();
        assert!(!pace.may_leave(0, due + Duration::from_hours(1)), "one probe at a time");
    }

    #[test]
    fn what_left_together_fails_together_and_counts_once() {
        let mut pace = pace(8);
        let departures: Vec<Epoch> = (0..8).map(|_| pace.leaves()).collect();
        let now = Instant::now();
        assert!(matches!(
            pace.failed(departures[0], TRANSIENT, now),
            Failed::Waits { attempts: 1, .. }
        ));
        for departure in &departures[1..7] {
            assert_eq!(pace.failed(*departure, TRANSIENT, now), Failed::OldNews);
        }
        assert_eq!(pace.succeeded(departures[7]), None, "it left before the failure");
        assert!(pace.is_failing());
    }

    #[test]
    fn a_wish_of_the_service_is_a_lower_bound_up_to_the_maximum_whichever_answer_brings_it() {
        for (asked, least) in [(0, 0), (7, 7), (60, 60), (61, 60), (u64::MAX, 60)] {
            let failure = Failure::Transient { after: Some(Duration::from_secs(asked)) };
            let delay = delay(&mut pace(1), failure, Instant::now());
            assert!(delay >= Duration::from_secs(least), "asked {asked} s, waits {delay:?}");
            assert!(delay <= Duration::from_mins(1), "asked {asked} s, waits {delay:?}");
        }
        let mut pace = pace(2);
        let (first, second) = (pace.leaves(), pace.leaves());
        let now = Instant::now();
        pace.failed(first, TRANSIENT, now);
        let wish = Failure::Transient { after: Some(Duration::from_secs(9)) };
        assert_eq!(pace.failed(second, wish, now), Failed::OldNews);
        assert!(pace.probe_at().unwrap() >= now + Duration::from_secs(9));
    }

    #[test]
    fn a_lasting_failure_is_probed_soon_once_and_then_between_half_the_maximum_and_the_maximum() {
        for _ in 0..1000 {
            let mut pace = pace(1);
            let first = delay(&mut pace, Failure::Lasting, Instant::now());
            assert!(first <= Duration::from_secs(1), "{first:?}");
            for _ in 0..3 {
                let later = delay(&mut pace, Failure::Lasting, Instant::now());
                assert!((30.0..=60.0).contains(&later.as_secs_f64()), "{later:?}");
            }
        }
    }

    #[test]
    fn after_an_outage_requests_in_flight_grow_by_one_with_each_success() {
        let mut pace = pace(4);
        let now = Instant::now();
        let due = now + delay(&mut pace, TRANSIENT, now);
        let probe = pace.leaves();
        assert_eq!(pace.succeeded(probe), Some(1));
        for in_flight_max in [2, 3, 4, 4] {
            assert!(pace.may_leave(in_flight_max - 1, due), "{in_flight_max} may be in flight");
            assert!(!pace.may_leave(in_flight_max, due), "no more than {in_flight_max}");
            let departure = pace.leaves();
            assert_eq!(pace.succeeded(departure), None);
        }
    }

    #[test]
    fn a_late_failure_from_before_an_outage_does_not_start_another() {
        let mut pace = pace(4);
        let (first, hanging) = (pace.leaves(), pace.leaves());
        let now = Instant::now();
        pace.failed(first, TRANSIENT, now);
        let probe = pace.leaves();
        pace.succeeded(probe);
        assert_eq!(pace.failed(hanging, TRANSIENT, now), Failed::OldNews);
        assert!(!pace.is_failing());
    }
}
