//! The status of rules.

use std::collections::BTreeMap;

use super::{Watched, rate, seconds_since};
use crate::admin::rules::{Failure, RuleReport};
use crate::admin::{Refusal, RuleStatus};
use crate::daemon::rates::Counted;
use crate::metrics::RuleMetrics;
use crate::name::RuleName;
use crate::rule::Rule;

impl Watched {
    pub(super) fn rule_statuses(&self) -> BTreeMap<String, RuleStatus> {
        let rules = self.config.rules.iter().zip(&self.rules);
        rules
            .map(|((name, rule), metrics)| {
                (name.to_string(), self.rule_status(name, rule, metrics))
            })
            .collect()
    }

    /// All there is to say of one rule.
    pub(in crate::daemon) fn rule_report(&self, name: &str) -> Result<RuleReport, Refusal> {
        let mut rules = self.config.rules.iter().zip(&self.rules);
        let Some(((name, rule), metrics)) = rules.find(|((known, _), _)| known.as_str() == name)
        else {
            let known = self.config.rules.keys().map(RuleName::as_str);
            return Err(Refusal::unknown("rule", name, known));
        };
        let failures = metrics.last_failures().into_iter().map(|failure| Failure {
            at: failure.at.0,
            seconds_ago: seconds_since(failure.at),
            reason: failure.reason.name().to_owned(),
            why: failure.why,
            event: failure.kind.name().to_owned(),
            topic: failure.topic,
            payload: failure.payload,
        });
        Ok(RuleReport {
            rule: name.to_string(),
            sql: rule.program.as_ref().map(|program| program.sql()),
            status: self.rule_status(name, rule, metrics),
            failures: failures.collect(),
        })
    }

    fn rule_status(&self, name: &RuleName, rule: &Rule, metrics: &RuleMetrics) -> RuleStatus {
        let (matched, passed, failed) =
            (metrics.matched.get(), metrics.passed.get(), metrics.failed());
        let failed_rate = rate(&self.rates, &Counted::Failed(name.clone()), failed);
        let state = if failed_rate.last_5_minutes > 0.0 {
            "failing"
        } else if matched == 0 {
            "idle"
        } else {
            "ok"
        };
        let sources = match rule.sources.as_slice() {
            [] => self.config.sources.keys().map(ToString::to_string).collect(),
            some => some.iter().map(ToString::to_string).collect(),
        };
        let by_reason = metrics.failed_by_reason().into_iter();
        RuleStatus {
            state: state.to_owned(),
            sources,
            events: rule.events.iter().map(|kind| kind.name().to_owned()).collect(),
            topics: rule.topics.iter().map(ToString::to_string).collect(),
            has_sql: rule.program.is_some(),
            sinks: rule.sinks.iter().map(ToString::to_string).collect(),
            matched_rate: rate(&self.rates, &Counted::Matched(name.clone()), matched),
            passed_rate: rate(&self.rates, &Counted::Passed(name.clone()), passed),
            failed_rate,
            failed_by_reason: by_reason.map(|(why, count)| (why.to_owned(), count)).collect(),
            last_error: metrics.last_failures().into_iter().next().map(|failure| failure.why),
            matched,
            passed,
            failed,
        }
    }
}
