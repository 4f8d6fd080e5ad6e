//! `waypost graph`: sources, rules and sinks, and what flows between them.
//!
//! The picture is that of the config; the numbers are those of the daemon that answers on its admin socket, where one does.

mod draw;

#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{ConfigArguments, Failure, runtime, say};
use crate::admin::{Status, client};
use crate::config::{self, Config, Source};
use crate::event::EventKind;
use crate::rule::Rule;

/// How to draw it.
#[derive(Debug, Args)]
pub(super) struct GraphArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For documents that draw Mermaid
    Mermaid,
    /// One object with nodes and edges
    Json,
}

/// The picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Graph {
    gateway: String,
    /// A daemon has answered: there are numbers.
    live: bool,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Source,
    Rule,
    Sink,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Node {
    kind: Kind,
    name: String,
    /// Type of the source, topics or SQL of the rule, URL of the sink.
    what: String,
    /// `None` without a daemon, or with one whose config has no such thing.
    live: Option<Live>,
}

/// What flows, as `status` has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Live {
    state: String,
    /// Events received, events matched, records enqueued.
    taken: u64,
    taken_per_second: f64,
    /// Events acknowledged, events that something came out of, records delivered.
    given: u64,
    given_per_second: f64,
    /// Records that wait; only of a sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
}

/// From a source to a rule, or from a rule to a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Edge {
    from: (Kind, String),
    to: (Kind, String),
}

pub(super) fn graph(arguments: &GraphArguments) -> Result<(), Failure> {
    let loaded = config::load(&arguments.config.config);
    let (config, _warnings) = loaded.map_err(|report| Failure::config(&report))?;
    let asked = runtime()?.block_on(client::status(&config.gateway.admin_socket));
    let status = match asked {
        Ok(status) => Some(status),
        Err(client::ClientError::NotRunning { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let graph = Graph::new(&config, status.as_ref());
    let format = if arguments.json { Format::Json } else { arguments.format };
    say(&match format {
        Format::Text => draw::text(&graph),
        Format::Mermaid => draw::mermaid(&graph),
        Format::Json => serde_json::to_string_pretty(&graph).map_err(|e| Failure::failed(&e))?,
    });
    Ok(())
}

impl Graph {
    fn new(config: &Config, status: Option<&Status>) -> Self {
        let mut nodes = Vec::new();
        let mut edges = Vec::new();
        for (name, source) in &config.sources {
            let what = match source {
                Source::Mqtt(options) => format!("mqtt {}:{}", options.host, options.port),
                #[cfg(feature = "broker")]
                Source::Broker(options) => {
                    format!("broker {}", config::addresses(&options.listeners))
                }
                Source::Http(options) => format!("http {}", config::addresses(&options.listeners)),
            };
            let live = status.and_then(|status| Live::of_source(status, name.as_str()));
            nodes.push(Node { kind: Kind::Source, name: name.to_string(), what, live });
        }
        for (name, rule) in &config.rules {
            let what = match &rule.program {
                Some(program) => program.sql(),
                None => wanted(rule),
            };
            let live = status.and_then(|status| Live::of_rule(status, name.as_str()));
            nodes.push(Node { kind: Kind::Rule, name: name.to_string(), what, live });
            for source in config.sources.keys() {
                if rule.sources.is_empty() || rule.sources.contains(source) {
                    let (from, to) = (source.to_string(), name.to_string());
                    edges.push(Edge { from: (Kind::Source, from), to: (Kind::Rule, to) });
                }
            }
            for sink in &rule.sinks {
                let (from, to) = (name.to_string(), sink.to_string());
                edges.push(Edge { from: (Kind::Rule, from), to: (Kind::Sink, to) });
            }
        }
        for (name, sink) in &config.sinks {
            let url = &sink.request.url;
            let what =
                format!("{} {}", sink.request.method.name(), url.origin().ascii_serialization());
            let live = status.and_then(|status| Live::of_sink(status, name.as_str()));
            nodes.push(Node { kind: Kind::Sink, name: name.to_string(), what, live });
        }
        Self { gateway: config.gateway.name.clone(), live: status.is_some(), nodes, edges }
    }

    fn node(&self, kind: Kind, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.kind == kind && node.name == name)
    }
}

/// The topics of a rule without SQL, with its kinds of event where those are others than usual.
fn wanted(rule: &Rule) -> String {
    let topics = rule.topics.iter().map(ToString::to_string);
    if rule.events == [EventKind::MessagePublish] {
        return topics.collect::<Vec<_>>().join(", ");
    }
    let kinds = rule.events.iter().map(|kind| kind.name().to_owned());
    kinds.chain(topics).collect::<Vec<_>>().join(", ")
}

impl Live {
    fn of_source(status: &Status, name: &str) -> Option<Self> {
        let source = status.sources.get(name)?;
        Some(Self {
            state: source.state.clone(),
            taken: source.received,
            taken_per_second: source.received_rate.now,
            given: source.acknowledged,
            given_per_second: source.acknowledged_rate.now,
            queued: None,
        })
    }

    fn of_rule(status: &Status, name: &str) -> Option<Self> {
        let rule = status.rules.get(name)?;
        Some(Self {
            state: rule.state.clone(),
            taken: rule.matched,
            taken_per_second: rule.matched_rate.now,
            given: rule.passed,
            given_per_second: rule.passed_rate.now,
            queued: None,
        })
    }

    fn of_sink(status: &Status, name: &str) -> Option<Self> {
        let sink = status.sinks.get(name)?;
        Some(Self {
            state: sink.word().to_owned(),
            taken: sink.enqueued,
            taken_per_second: sink.enqueued_rate.now,
            given: sink.delivered,
            given_per_second: sink.delivered_rate.now,
            queued: Some(sink.queued),
        })
    }
}
