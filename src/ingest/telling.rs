//! What becomes of events on their way into the queues, for those who look on: `waypost tail`.

use crate::event::{Event, Record};
use crate::name::{RuleName, SinkName};
use crate::rule::run::RunError;
use crate::rule::{Match, Selection};
use crate::tail::{About, Audience, Happening, Seen};

/// What a rule made of an event.
pub(super) fn selected(
    audience: &Audience,
    found: &Match<'_>,
    event: &Event,
    selected: &Result<Selection, RunError>,
) {
    let about = About { sinks: found.sinks, rules: std::slice::from_ref(found.rule) };
    audience.tell(about, || {
        let (rule, event) = (found.rule.to_string(), Seen::of(event));
        let matched = |output, records, event| {
            let sinks = found.sinks.iter().map(ToString::to_string).collect();
            Happening::Matched { rule: found.rule.to_string(), sinks, output, records, event }
        };
        match selected {
            Ok(Selection::Nothing) => Happening::NotWanted { rule, event },
            Ok(Selection::Event) => matched(None, 1, event),
            Ok(Selection::Outputs(outputs)) => {
                let first = outputs.first().map(|output| Happening::payload(output));
                matched(first, outputs.len(), event)
            }
            Err(error) => {
                let error = Happening::text(&error.to_string());
                Happening::RuleFailed { rule, error, event }
            }
        }
    });
}

/// Records on their way into a queue.
pub(super) struct Appending {
    audience: Audience,
    sink: SinkName,
    rules: Vec<RuleName>,
    records: usize,
}

impl Appending {
    pub(super) fn begin(audience: &Audience, sink: &SinkName, records: &[Record]) -> Self {
        let mut rules: Vec<RuleName> = Vec::new();
        for record in records {
            if !rules.contains(&record.rule) {
                rules.push(record.rule.clone());
            }
        }
        Self { audience: audience.clone(), sink: sink.clone(), rules, records: records.len() }
    }

    /// Whether the queue holds them.
    pub(super) fn end(self, is_held: bool) {
        let Self { audience, sink, rules, records } = self;
        let about = About { sinks: std::slice::from_ref(&sink), rules: &rules };
        audience.tell(about, || {
            let sink = sink.to_string();
            if is_held {
                Happening::Queued { sink, records }
            } else {
                Happening::Refused { sink, records }
            }
        });
    }
}
