//! What each rule does.

use std::collections::BTreeMap;

use prometheus::{IntCounter, IntCounterVec};

use super::Builder;
use crate::name::RuleName;
use crate::rule::run::Reason;

/// Handles of one rule.
#[derive(Debug, Clone)]
pub struct RuleMetrics {
    /// Events in `FROM`.
    pub matched: IntCounter,
    /// Events of which the rule put something out.
    pub passed: IntCounter,
    failed: BTreeMap<Reason, IntCounter>,
}

impl RuleMetrics {
    /// Counts an event for which the rule failed.
    pub fn count_failure(&self, reason: Reason) {
        if let Some(counter) = self.failed.get(&reason) {
            counter.inc();
        }
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

    /// Handles for a rule, each series at zero.
    pub(super) fn of(&self, name: &RuleName) -> RuleMetrics {
        let failed = Reason::ALL
            .map(|reason| (reason, self.failed.with_label_values(&[name.as_str(), reason.name()])));
        RuleMetrics {
            matched: self.matched.with_label_values(&[name.as_str()]),
            passed: self.passed.with_label_values(&[name.as_str()]),
            failed: failed.into(),
        }
    }
}
