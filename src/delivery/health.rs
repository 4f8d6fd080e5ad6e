//! How a sink is doing: for `status`, `/metrics` and the log; and what its operator wants of it.
//!
//! The log has one line per change of state. A sink that comes and goes faster than [`QUIET`] gets one line per that
//! time, with the number of changes it stands for, and always one for the state it ends in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::steering::Steering;
use crate::clock::UnixMillis;
use crate::metrics::SinkMetrics;
use crate::name::SinkName;
use crate::store::DeadLetter;

/// The `state` label of a sink that an operator has paused, whatever it did before.
const PAUSED: &str = "paused";

/// Least time between two log lines about one sink.
const QUIET: Duration = Duration::from_secs(10);

/// Least time between two log lines about dead letters of one sink.
const LETTERS_QUIET: Duration = Duration::from_mins(10);

/// What a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkState {
    /// The last request was delivered, or none was sent yet.
    Ok,
    /// The last request failed in a way that may pass.
    Retrying,
    /// The last request failed in a way that needs somebody; probed slowly. Everything is kept.
    Suspended,
}

impl SinkState {
    /// One word for tables, JSON and the `state` label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::Suspended => "suspended",
        }
    }
}

/// The state of a sink as `status` shows it.
#[derive(Debug, Clone)]
pub struct SinkStatus {
    /// What it is doing.
    pub state: SinkState,
    /// Since when.
    pub since: UnixMillis,
    /// Failed attempts in a row; zero while `ok`.
    pub attempts: u32,
    /// Why the last failed attempt failed, in words; kept after a recovery. `None` when none ever did.
    pub last_error: Option<String>,
    /// Why dead letters cannot be written; `None` while they can. Their records stay in the queue.
    pub letters_error: Option<String>,
    /// Since when an operator keeps it from sending; the rest is what it did last.
    pub paused_since: Option<UnixMillis>,
    next_attempt_at: Option<Instant>,
}

impl SinkStatus {
    /// One word for tables, JSON and the `state` label: [`SinkState::word`], or `paused`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        if self.paused_since.is_some() { PAUSED } else { self.state.word() }
    }

    /// How long until the next probe may leave; `None` while `ok` or paused.
    #[must_use]
    pub fn next_attempt_in(&self) -> Option<Duration> {
        self.next_attempt_at
            .filter(|_| self.paused_since.is_none())
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// What an attempt says about its sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Delivered again after failures.
    Ok {
        /// Failures in a row that this ends.
        attempts: u32,
    },
    /// Failed; may pass.
    Retrying { why: String, attempts: u32, delay: Duration },
    /// Failed; needs somebody.
    Suspended { why: String, attempts: u32, delay: Duration },
}

#[derive(Debug)]
struct Told {
    state: SinkState,
    at: Option<Instant>,
    /// Changes since, also those that are not told.
    changes: u32,
}

#[derive(Debug)]
struct Inner {
    status: SinkStatus,
    told: Told,
    /// Failures that the last recovery ended.
    recovered_after: u32,
    /// The last delay.
    delay: Duration,
    /// When the log had dead letters last, and how many came since.
    letters_told_at: Option<Instant>,
    letters_untold: usize,
}

/// The health of one sink.
#[derive(Debug)]
pub struct SinkHealth {
    name: SinkName,
    /// Its counters.
    pub metrics: SinkMetrics,
    pub(super) steering: Steering,
    inner: Mutex<Inner>,
}

impl SinkHealth {
    /// A sink that has not failed.
    #[must_use]
    pub fn new(name: SinkName, metrics: SinkMetrics) -> Self {
        let status = SinkStatus {
            state: SinkState::Ok,
            since: UnixMillis::now(),
            attempts: 0,
            last_error: None,
            letters_error: None,
            paused_since: None,
            next_attempt_at: None,
        };
        let told = Told { state: SinkState::Ok, at: None, changes: 0 };
        let inner = Inner {
            status,
            told,
            recovered_after: 0,
            delay: Duration::ZERO,
            letters_told_at: None,
            letters_untold: 0,
        };
        Self { name, metrics, steering: Steering::default(), inner: Mutex::new(inner) }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &SinkName {
        &self.name
    }

    /// How it is doing now.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        self.lock().status.clone()
    }

    /// Stops sending, or keeps from it: what is in flight ends, everything else stays in the queue. False when it was
    /// paused before.
    pub fn pause(&self, since: UnixMillis) -> bool {
        let mut inner = self.lock();
        if inner.status.paused_since.is_some() {
            return false;
        }
        inner.status.paused_since = Some(since);
        self.steering.set_paused(true);
        self.metrics.set_state(PAUSED);
        info!(sink = %self.name, "sink paused: everything is kept in its queue");
        true
    }

    /// Sends again. False when it was not paused.
    pub fn resume(&self) -> bool {
        let mut inner = self.lock();
        if inner.status.paused_since.take().is_none() {
            return false;
        }
        self.steering.set_paused(false);
        self.metrics.set_state(inner.status.state.word());
        info!(sink = %self.name, "sink resumed");
        true
    }

    /// Ends the wait for the next attempt, whatever asked for it.
    pub fn retry_now(&self) {
        self.steering.retry_now();
    }

    /// A worker begins, perhaps after another one with other settings: what that said of the sink is over.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.status.next_attempt_at = None;
        inner.status.attempts = 0;
        inner.status.letters_error = None;
        self.metrics.retry_delay.set(0.0);
        if inner.status.state != SinkState::Ok {
            inner.status.state = SinkState::Ok;
            inner.status.since = UnixMillis::now();
            inner.told = Told { state: SinkState::Ok, at: inner.told.at, changes: 0 };
            self.metrics.set_state(inner.status.word());
        }
    }

    /// Notes a failure or a recovery.
    pub(super) fn change(&self, standing: Standing, now: Instant) {
        let mut inner = self.lock();
        let state = match standing {
            Standing::Ok { attempts } => {
                inner.recovered_after = attempts;
                inner.status.attempts = 0;
                inner.status.next_attempt_at = None;
                SinkState::Ok
            }
            Standing::Retrying { why, attempts, delay } => {
                inner.failed(why, attempts, delay, now);
                SinkState::Retrying
            }
            Standing::Suspended { why, attempts, delay } => {
                inner.failed(why, attempts, delay, now);
                SinkState::Suspended
            }
        };
        let delay = if state == SinkState::Ok { Duration::ZERO } else { inner.delay };
        self.metrics.retry_delay.set(delay.as_secs_f64());
        if inner.status.state != state {
            inner.status.state = state;
            inner.status.since = UnixMillis::now();
            inner.told.changes += 1;
            self.metrics.set_state(inner.status.word());
        }
        self.tell(&mut inner, now);
    }

    /// Notes that dead letters cannot be written; tells of it once.
    pub(super) fn letters_fail(&self, error: &str) {
        let before = self.lock().status.letters_error.replace(error.to_owned());
        if before.is_none() {
            error!(sink = %self.name, error, "dead letters cannot be written: their records stay queued");
        }
    }

    /// Notes that dead letters are written. Tells of them, but not of each.
    pub(super) fn letters_written(&self, letters: &[DeadLetter], now: Instant) {
        let mut inner = self.lock();
        if inner.status.letters_error.take().is_some() {
            info!(sink = %self.name, "dead letters are written again");
        }
        inner.letters_untold += letters.len();
        let is_quiet_time = inner.letters_told_at.is_some_and(|at| now < at + LETTERS_QUIET);
        if let Some(DeadLetter { reason, why, .. }) = letters.last().filter(|_| !is_quiet_time) {
            let records = std::mem::take(&mut inner.letters_untold);
            inner.letters_told_at = Some(now);
            let (sink, reason) = (&self.name, reason.label());
            warn!(%sink, records, reason, why, "records became dead letters");
        }
    }

    /// When [`Self::tell_late`] has something to tell.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        let inner = self.lock();
        let last = inner.told.at.filter(|_| inner.told.state != inner.status.state)?;
        Some(last + QUIET)
    }

    /// Tells of a change that came too soon after another.
    pub(super) fn tell_late(&self, now: Instant) {
        self.tell(&mut self.lock(), now);
    }

    fn tell(&self, inner: &mut Inner, now: Instant) {
        let is_quiet_time = inner.told.at.is_some_and(|at| now < at + QUIET);
        if inner.told.state == inner.status.state || is_quiet_time {
            return;
        }
        let (sink, status) = (&self.name, &inner.status);
        let (attempts, delay) = (status.attempts, inner.delay);
        // Usually it is this one.
        let changes = (inner.told.changes > 1).then_some(inner.told.changes);
        let error = status.last_error.as_deref().unwrap_or_default();
        match status.state {
            SinkState::Ok => {
                info!(%sink, attempts = inner.recovered_after, changes, "sink works again");
            }
            SinkState::Retrying => {
                warn!(%sink, attempts, ?delay, changes, error, "sink fails, retrying");
            }
            SinkState::Suspended => {
                warn!(
                    %sink, attempts, ?delay, changes, error,
                    "sink suspended: everything is kept and tried again slowly"
                );
            }
        }
        inner.told = Told { state: inner.status.state, at: Some(now), changes: 0 };
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn failed(&mut self, why: String, attempts: u32, delay: Duration, now: Instant) {
        self.delay = delay;
        self.status.attempts = attempts;
        self.status.last_error = Some(why);
        self.status.next_attempt_at = Some(now + delay);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged, without stamps.
    fn logged(run: impl FnOnce(&SinkHealth)) -> Vec<String> {
        let name = SinkName::new("cloud").unwrap();
        let health = SinkHealth::new(name.clone(), Metrics::new().sink(&name));
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || run(&health));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn retrying(attempts: u32) -> Standing {
        let why = "connection refused".to_owned();
        Standing::Retrying { why, attempts, delay: Duration::from_secs(2) }
    }

    #[test]
    fn each_change_of_state_has_one_line_and_repeated_failures_have_none() {
        let start = Instant::now();
        let lines = logged(|health| {
            for attempt in 1..1000 {
                health.change(retrying(attempt), start + Duration::from_secs(attempt.into()));
            }
            let why = "status 401 (Unauthorized): check the credentials".to_owned();
            let suspended = Standing::Suspended { why, attempts: 1000, delay: QUIET };
            health.change(suspended, start + Duration::from_secs(2000));
            health.change(Standing::Ok { attempts: 1000 }, start + Duration::from_mins(50));
            assert_eq!(health.tell_at(), None, "nothing is left to tell");
        });
        let expected = [
            "WARN sink fails, retrying sink=cloud attempts=1 delay=2s \
             error=\"connection refused\"",
            "WARN sink suspended: everything is kept and tried again slowly sink=cloud \
             attempts=1000 delay=10s \
             error=\"status 401 (Unauthorized): check the credentials\"",
            "INFO sink works again sink=cloud attempts=1000",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_sink_that_comes_and_goes_has_a_line_for_each_quiet_time_and_one_for_its_last_state() {
        let start = Instant::now();
        let lines = logged(|health| {
            for millis in (0..25_000).step_by(100) {
                let now = start + Duration::from_millis(millis);
                health.change(retrying(1), now);
                health.change(Standing::Ok { attempts: 1 }, now);
            }
            let due = health.tell_at().unwrap();
            assert!(due <= start + Duration::from_secs(25) + QUIET, "told soon");
            health.tell_late(due);
        });
        assert!(lines.iter().any(|line| line.contains(" changes=")), "{lines:#?}");
        assert!(lines.len() <= 5, "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("INFO sink works again"), "{lines:#?}");
    }

    #[test]
    fn the_status_tells_the_state_its_reason_and_the_next_attempt() {
        logged(|health| {
            let before = health.status();
            assert_eq!((before.state, before.attempts), (SinkState::Ok, 0));
            assert_eq!((before.last_error, before.next_attempt_at), (None, None));
            health.change(retrying(3), Instant::now());
            let failing = health.status();
            assert_eq!((failing.state, failing.attempts), (SinkState::Retrying, 3));
            assert_eq!(failing.last_error.as_deref(), Some("connection refused"));
            assert!(failing.next_attempt_in().unwrap() > Duration::from_secs(1));
            assert!(health.metrics.retry_delay.get() > 1.9);
            health.change(Standing::Ok { attempts: 3 }, Instant::now());
            let after = health.status();
            assert_eq!((after.state, after.attempts), (SinkState::Ok, 0));
            assert_eq!(after.last_error.as_deref(), Some("connection refused"), "for the curious");
            assert_eq!(after.next_attempt_in(), None);
            assert!(health.metrics.retry_delay.get() < f64::EPSILON);
        });
    }
}
