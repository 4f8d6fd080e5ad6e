//! What templates may name: the columns of events, or what the rules that feed a sink select.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Config;
use super::reader::Reader;
use super::words::{known_words, nearest};
use crate::event::EventKind;
use crate::name::RuleName;
use crate::rule::{Rule, events};

/// What every record has, whatever its rule selects.
const RECORD_ID: &str = "record_id";

/// A column that a template names.
#[derive(Debug, Clone)]
pub(super) struct ColumnUse {
    /// Key of the template from the top of the document.
    pub(super) key: String,
    /// Where it stands.
    pub(super) span: Range<usize>,
    pub(super) column: String,
}

/// Reports templates that name what no rule gives them, and warns of what only some give.
pub(super) fn check(reader: &Reader<'_>, config: &Config) {
    if reader.has_problem(|key| key.rsplit_once('.').is_some_and(|(_, last)| last == "sql")) {
        // What the rule was meant to select is not known.
        return;
    }
    for place in reader.columns_used() {
        let rules: Vec<_> =
            config.rules.iter().filter(|(_, rule)| feeds(rule, &place.key)).collect();
        let (with, without): (Vec<_>, Vec<_>) =
            rules.iter().partition(|(_, rule)| gives(rule, &place.column));
        let always = place.column == RECORD_ID || of_messages().contains(&place.column.as_str());
        if rules.is_empty() && always {
            continue;
        }
        if with.is_empty() {
            reader.problem(&place.key, Some(place.span.clone()), unknown(&place.column, &rules));
        } else if let Some((name, _)) = without.first()
            && !place.key.starts_with("connectors.")
        {
            let column = &place.column;
            let message = format!(
                "the rule `{name}` does not select `{column}`, which renders `undefined` for it"
            );
            reader.warn_of(&place.key, message);
        }
    }
}

/// Whether a rule feeds the sink or webhook that a key belongs to; a connector may belong to every sink.
fn feeds(rule: &Rule, key: &str) -> bool {
    let mut parts = key.split('.');
    match (parts.next(), parts.next()) {
        (Some("sinks" | "webhooks"), Some(name)) => {
            rule.sinks.iter().any(|sink| sink.as_str() == name)
        }
        _ => true,
    }
}

fn gives(rule: &Rule, column: &str) -> bool {
    column == RECORD_ID || selected(rule).iter().any(|selected| selected == column)
}

fn selected(rule: &Rule) -> Vec<String> {
    let all = || events::template_names(&rule.events).into_iter().map(str::to_owned).collect();
    rule.program.as_ref().map_or_else(all, |program| program.output_names())
}

/// What a sink can count on that no rule feeds.
fn of_messages() -> Vec<&'static str> {
    events::template_names(&[EventKind::MessagePublish])
}

fn unknown(column: &str, rules: &[(&RuleName, &Rule)]) -> String {
    let known: BTreeSet<String> = if rules.is_empty() {
        of_messages().into_iter().map(str::to_owned).collect()
    } else {
        rules.iter().flat_map(|(_, rule)| selected(rule)).collect()
    };
    let names = || known.iter().map(String::as_str);
    let in_sql = rules.iter().any(|(_, rule)| rule.program.is_some());
    let what = if in_sql {
        format!("no rule that sends here selects `{column}`")
    } else {
        format!("there is no column `{column}` in an event")
    };
    let kinds: Vec<_> = rules.iter().flat_map(|(_, rule)| rule.events.iter().copied()).collect();
    let in_bodies = if rules.is_empty() { of_messages() } else { events::template_names(&kinds) };
    let order =
        |name: &&str| in_bodies.iter().position(|column| column == name).unwrap_or(in_bodies.len());
    let mut in_order: Vec<&str> = names().collect();
    in_order.sort_by_key(order);
    match nearest(column, names()) {
        Some(meant) => format!("{what}; did you mean `{meant}`?"),
        None if in_sql => format!("{what}; selected are {}", known_words(in_order.into_iter())),
        None => format!("{what}; known are {}", known_words(in_order.into_iter())),
    }
}
