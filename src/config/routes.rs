//! `[webhooks.NAME]`, `[rules.NAME]` and `[sinks.NAME]`: who sends what where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::connector::Connectors;
use super::reader::{Table, Value};
use super::rule_sql::SqlRule;
use super::words::{known_words, nearest};
use super::{Rule, Sink, events, sink};
use crate::event::EventKind;
use crate::name::{RuleName, SinkName, SourceName};
use crate::rule::Narrowed;
use crate::topic::TopicFilter;

/// What can be named elsewhere in the file, also where its own table is wrong.
pub(super) struct Names {
    sources: BTreeSet<String>,
    sinks: BTreeSet<String>,
}

impl Names {
    /// The names that `root` has tables for.
    pub(super) fn declared(root: &mut Table<'_>) -> Self {
        let keys = |table: &Table<'_>| table.entries().map(|(name, _)| name.to_owned()).collect();
        let sources = keys(&root.quiet_table("sources"));
        let mut sinks: BTreeSet<String> = keys(&root.quiet_table("sinks"));
        for (name, webhook) in root.quiet_table("webhooks").entries() {
            if !webhook.has("sink") {
                sinks.insert(name.to_owned());
            }
        }
        Self { sources, sinks }
    }
}

/// Rules and sinks as they were read so far.
struct Routes<'a> {
    names: &'a Names,
    connectors: &'a Connectors,
    queue_bytes_default: std::num::NonZeroU64,
    rules: BTreeMap<RuleName, Rule>,
    sinks: BTreeMap<SinkName, Sink>,
}

/// Everything that routes, with webhooks taken apart into a rule and a sink of the same name.
pub(super) fn rules_and_sinks(
    root: &mut Table<'_>,
    names: &Names,
    connectors: &Connectors,
    data_dir: &Path,
) -> (BTreeMap<RuleName, Rule>, BTreeMap<SinkName, Sink>) {
    let partition_bytes = (root.reader.surroundings.partition_bytes)(data_dir);
    let queue_bytes_default = sink::queue_bytes_default(partition_bytes);
    let (rules, sinks) = (BTreeMap::new(), BTreeMap::new());
    let mut routes = Routes { names, connectors, queue_bytes_default, rules, sinks };
    let (sinks, rules, webhooks) =
        (root.table("sinks"), root.table("rules"), root.table("webhooks"));
    for (name, value) in sinks.entries() {
        routes.add_sink(name, &value);
    }
    for (name, value) in rules.entries() {
        routes.add_rule(name, &value);
    }
    for (name, value) in webhooks.entries() {
        if rules.has(name) {
            value.wrong_key(format!(
                "there is a rule of this name too, `[rules.{name}]`: a webhook is a rule"
            ));
        }
        if sinks.has(name) && !value.has("sink") {
            value.wrong_key(format!(
                "there is a sink of this name too, `[sinks.{name}]`; to send there write `sink = \"{name}\"`"
            ));
        }
        routes.add_webhook(name, &value);
    }
    for rule in routes.rules.values_mut().filter(|rule| rule.program.is_none()) {
        rule.narrowed = events::narrowed(rule, &routes.sinks);
    }
    (routes.rules, routes.sinks)
}

impl Routes<'_> {
    fn add_sink(&mut self, name: &str, value: &Value<'_>) {
        let name = value.name(name, SinkName::new);
        let Some(mut table) = value.table() else { return };
        let sink = sink::sink(&mut table, self.connectors, self.queue_bytes_default);
        table.finish();
        if let (Some(name), Some(sink)) = (name, sink) {
            self.sinks.insert(name, sink);
        }
    }

    fn add_rule(&mut self, name: &str, value: &Value<'_>) {
        let name = value.name(name, RuleName::new);
        let Some(mut table) = value.table() else { return };
        let sources = self.sources(&mut table);
        let sql = table.sql();
        let plain = (!table.has("sql")).then(|| events_and_topics(&mut table));
        let sinks = table.require("sinks", "[\"cloud\"]").and_then(|value| {
            value.some("a rule without a sink would do nothing", |element| self.sink_name(element))
        });
        let tests = if table.has("sql") { table.rule_tests() } else { Vec::new() };
        table.finish();
        let (Some(name), Some(sinks)) = (name, sinks) else { return };
        let rule = match (sql, plain) {
            (Some(SqlRule { program, topics, events }), _) => {
                let program = program.named(&name);
                for test in &tests {
                    test.run(&program);
                }
                let program = Some(Arc::new(program));
                Rule { sources, events, topics, narrowed: Narrowed::Published, program, sinks }
            }
            (None, plain) => {
                let (events, topics) = plain.unwrap_or_default();
                let narrowed = Narrowed::Messages;
                Rule { sources, events, topics, narrowed, program: None, sinks }
            }
        };
        self.rules.insert(name, rule);
    }

    fn add_webhook(&mut self, name: &str, value: &Value<'_>) {
        let rule_name = value.name(name, RuleName::new);
        let Some(mut table) = value.table() else { return };
        let sources = self.sources(&mut table);
        let (events, topics) = events_and_topics(&mut table);
        let sink_name = if let Some(named) = table.get("sink") {
            only_here(&mut table);
            self.sink_name(&named)
        } else {
            self.inline_sink(name, &mut table)
        };
        table.finish();
        if let (Some(rule_name), Some(sink_name)) = (rule_name, sink_name) {
            let (narrowed, sinks) = (Narrowed::Messages, vec![sink_name]);
            let rule = Rule { sources, events, topics, narrowed, program: None, sinks };
            self.rules.insert(rule_name, rule);
        }
    }

    /// The sink of a webhook, under the name of the webhook.
    fn inline_sink(&mut self, name: &str, table: &mut Table<'_>) -> Option<SinkName> {
        let sink = sink::sink(table, self.connectors, self.queue_bytes_default);
        // A bad name was told of with the webhook.
        let name = SinkName::new(name).ok()?;
        if let Some(sink) = sink {
            self.sinks.insert(name.clone(), sink);
        }
        Some(name)
    }

    fn sources(&self, table: &mut Table<'_>) -> Vec<SourceName> {
        table.or("sources", Vec::new(), |value| {
            value.some("leave it out for every source", |element| {
                let names = self.names.sources.iter().map(String::as_str);
                // A bad name is told of where it is given.
                SourceName::new(&element.declared("source", names)?).ok()
            })
        })
    }

    fn sink_name(&self, value: &Value<'_>) -> Option<SinkName> {
        let names = self.names.sinks.iter().map(String::as_str);
        SinkName::new(&value.declared("sink", names)?).ok()
    }
}

impl Value<'_> {
    /// A name that is one of `there`.
    pub(super) fn declared<'n>(
        &self,
        kind: &str,
        there: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<String> {
        let name = self.text()?;
        if there.clone().any(|other| other == name) {
            return Some(name);
        }
        let advice = match nearest(&name, there.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are {}", known_words(there)),
        };
        self.wrong(format!("there is no {kind} `{name}`; {advice}"))
    }
}

fn events_and_topics(table: &mut Table<'_>) -> (Vec<EventKind>, Vec<TopicFilter>) {
    let events = table.events();
    events::check_topics(table, &events);
    (events, topics(table))
}

fn topics(table: &mut Table<'_>) -> Vec<TopicFilter> {
    let all = || vec![TopicFilter::new("#").expect("`#` is a filter")];
    let topics = table.get("topics").and_then(|value| {
        value.some("leave it out for every topic", |element| element.parsed(TopicFilter::new))
    });
    topics.unwrap_or_else(all)
}

/// With `sink = "NAME"`, the keys of a sink stand there and not here.
fn only_here(table: &mut Table<'_>) {
    for key in sink::KEYS {
        if let Some(value) = table.get(key) {
            value.wrong_key("belongs to the sink that `sink` names; leave one of the two out");
        }
    }
}
