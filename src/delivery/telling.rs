//! What a sink tells those who look on: `waypost tail`. Nothing is gathered while nobody does.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Attempt, Core};
use super::outcome::Outcome;
use crate::name::{RuleName, SinkName};
use crate::store::{DeadLetter, StoredRecord};
use crate::tail::{About, Audience, Happening, Request, Tail};

/// An answer on its way to those who look on.
pub(super) struct Telling {
    audience: Audience,
    rules: Vec<RuleName>,
    request: Request,
    /// Why it was not delivered.
    why: Option<String>,
}

impl Telling {
    /// Before `outcome` is applied to the records of `attempt`, in words.
    pub(super) fn begin(
        audience: Audience,
        core: &Core,
        attempt: &Attempt,
        (sink, store_id): (&SinkName, &str),
        (status, outcome): (Option<u16>, &Outcome),
        took: Duration,
    ) -> Self {
        let first = core.records_of(attempt).next().map(|record| record.record_id(store_id, sink));
        let request = Request {
            sink: sink.to_string(),
            records: attempt.batch.numbers.len(),
            first: first.map_or_else(String::new, |id| id.to_string()),
            status,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let why = outcome.trouble().map(|trouble| Happening::text(&trouble.why));
        let rules = rules_of(core.records_of(attempt));
        Self { audience, rules, request, why }
    }

    /// Afterwards, when it is known how long the sink waits.
    pub(super) fn end(self, sink: &SinkName, next_attempt_in: Option<Duration>) {
        let Self { audience, rules, request, why } = self;
        let about = About { sinks: std::slice::from_ref(sink), rules: &rules };
        audience.tell(about, || match why {
            None => Happening::Delivered { request },
            Some(why) => {
                let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Happening::Failed { request, why, next_attempt_in_ms: next_attempt_in.map(millis) }
            }
        });
    }
}

/// Tells of letters that are durable; all for the same reason.
pub(super) fn tell_of_letters(tail: &Tail, letters: &[DeadLetter]) {
    let (Some(audience), Some(first)) = (tail.audience(), letters.first()) else { return };
    let rules = distinct(letters.iter().map(|letter| &letter.record.rule));
    let about = About { sinks: std::slice::from_ref(&first.sink), rules: &rules };
    audience.tell(about, || Happening::DeadLettered {
        sink: first.sink.to_string(),
        records: letters.len(),
        first: Some(first.record_id.to_string()),
        reason: first.reason.label().to_owned(),
        why: Happening::text(&first.why),
    });
}

fn rules_of<'a>(records: impl Iterator<Item = &'a Arc<StoredRecord>>) -> Vec<RuleName> {
    distinct(records.map(|record| &record.record.rule))
}

fn distinct<'a>(rules: impl Iterator<Item = &'a RuleName>) -> Vec<RuleName> {
    let mut distinct: Vec<RuleName> = Vec::new();
    for rule in rules {
        if !distinct.contains(rule) {
            distinct.push(rule.clone());
        }
    }
    distinct
}
