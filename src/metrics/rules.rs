//! What each rule does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec};

use super::Builder;
use crate::clock::UnixMillis;
use crate::event::{Event, EventKind, excerpt};
use crate::name::RuleName;
use crate::rule::run::{Reason, RunError};

/// Failures that are kept of each rule.
const FAILURES_MAX: usize = 5;
/// Least time between two of them: a rule that fails for every event does not spend its time on telling.
const FAILURES_APART: Duration = Duration::from_millis(100);
/// Characters kept of the error, of the topic and of the payload.
const ERROR_CHARS_MAX: usize = 200;
const TOPIC_CHARS_MAX: usize = 100;
const PAYLOAD_CHARS_MAX: usize = 80;

/// A rule failed for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFailure {
    /// When.
    pub at: UnixMillis,
    /// What it is counted as.
    pub reason: Reason,
    /// In words, cut.
    pub why: String,
    /// The kind of the event.
    pub kind: EventKind,
    /// The event's topic, cut; empty where it has none.
    pub topic: String,
    /// The first characters of the event's payload, escaped.
    pub payload: String,
}

/// The last ones, oldest first.
#[derive(Debug, Default)]
struct Failures {
    kept: VecDeque<RuleFailure>,
    last: Option<Instant>,
}

/// Handles of one rule.
#[derive(Debug, Clone)]
pub struct RuleMetrics {
    /// Events in `FROM`.
    pub matched: IntCounter,
    /// Events of which the rule put something out.
    pub passed: IntCounter,
    failed: BTreeMap<Reason, IntCounter>,
    failures: Arc<Mutex<Failures>>,
}

impl RuleMetrics {
    /// Counts an event for which the rule failed, and keeps why.
    pub fn note_failure(&self, error: &RunError, event: &Event) {
        if let Some(counter) = self.failed.get(&error.reason) {
            counter.inc();
        }
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.last.is_some_and(|last| now < last + FAILURES_APART) {
            return;
        }
        failures.last = Some(now);
        if failures.kept.len() >= FAILURES_MAX {
            failures.kept.pop_front();
        }
        failures.kept.push_back(RuleFailure {
            at: UnixMillis::now(),
            reason: error.reason,
            why: excerpt(error.message.as_bytes(), ERROR_CHARS_MAX),
            kind: event.kind(),
            topic: excerpt(event.topic().unwrap_or_default().as_bytes(), TOPIC_CHARS_MAX),
            payload: event
                .payload()
                .map(|payload| excerpt(payload, PAYLOAD_CHARS_MAX))
                .unwrap_or_default(),
        });
    }

    /// The last failures, the newest first; of many within a moment only the first.
    #[must_use]
    pub fn last_failures(&self) -> Vec<RuleFailure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.kept.iter().rev().cloned().collect()
    }

    /// Events for which the rule failed, by reason.
    #[must_use]
    pub fn failed_by_reason(&self) -> BTreeMap<&'static str, u64> {
        self.failed.iter().map(|(reason, counter)| (reason.name(), counter.get())).collect()
    }

    /// Events for which the rule failed, for any reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.values().map(IntCounter::get).sum()
    }
}

/// Families with a `rule` label.
pub(super) struct RuleFamilies {
    matched: IntCounterVec,
    passed: IntCounterVec,
    failed: IntCounterVec,
}

impl RuleFamilies {
    pub(super) fn new(build: &Builder) -> Self {
        Self {
            matched: build.counters(
                "waypost_rule_matched_total",
                "Events from the topics of a rule.",
                &["rule"],
            ),
            passed: build.counters(
                "waypost_rule_passed_total",
                "Events of which a rule put something out; the others it did not want, or failed.",
                &["rule"],
            ),
            failed: build.counters(
                "waypost_rule_failed_total",
                "Events for which a rule failed; other rules are not concerned.",
                &["rule", "reason"],
            ),
        }
    }

    /// Takes away the series of a rule that is gone.
    pub(super) fn forget(&self, name: &RuleName) {
        super::gone(self.matched.remove_label_values(&[name.as_str()]));
        super::gone(self.passed.remove_label_values(&[name.as_str()]));
        for reason in Reason::ALL {
            super::gone(self.failed.remove_label_values(&[name.as_str(), reason.name()]));
        }
    }

    /// Handles for a rule, each series at zero.
    pub(super) fn of(&self, name: &RuleName) -> RuleMetrics {
        let failed = Reason::ALL
            .map(|reason| (reason, self.failed.with_label_values(&[name.as_str(), reason.name()])));
        RuleMetrics {
            matched: self.matched.with_label_values(&[name.as_str()]),
            passed: self.passed.with_label_values(&[name.as_str()]),
            failed: failed.into(),
            failures: Arc::default(),
        }
    }
}
