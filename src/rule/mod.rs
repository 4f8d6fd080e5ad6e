//! Which events go to which sinks, and what becomes of them on the way. No counting, and no waiting but for
//! `jq`.
//!
//! Built once from the config. An event that several rules send to one sink is
//! one record for each of these rules: rules are independent, as in EMQX.

mod columns;
pub mod events;
pub mod functions;
mod index;
pub mod program;
pub mod run;
pub mod sql;
mod subscriptions;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

pub use columns::EventColumns;

use self::index::TopicIndex;
use self::program::{Input, Outcome, Program};
use self::run::RunError;
use self::value::Map;
use crate::event::{Event, EventKind, Subject, What};
use crate::name::{RuleName, SinkName, SourceName};
use crate::topic::{TopicFilter, levels_match};

/// `[rules.NAME]` or the rule of a `[webhooks.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Sources it listens to; every source when it names none.
    pub sources: Vec<SourceName>,
    /// Kinds of event it wants.
    pub events: Vec<EventKind>,
    /// Topic filters of the events that `narrowed` says.
    pub topics: Vec<TopicFilter>,
    /// Which events have to have one of the topics.
    pub narrowed: Narrowed,
    /// What it makes of an event, in SQL; without it the event goes on as it is.
    pub program: Option<Arc<Program>>,
    /// Where matches go. Not empty.
    pub sinks: Vec<SinkName>,
}

/// Which events a rule's topics filter; clients have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowed {
    /// Published messages, as in `FROM`.
    Published,
    /// All events of messages, as in EMQX 5's webhook.
    Messages,
    /// Those of subscriptions, too, as in EMQX 4's webhook plugin.
    MessagesAndSubscriptions,
}

impl Narrowed {
    /// Whether an event of this kind has to have one of the topics.
    #[must_use]
    pub fn concerns(self, kind: EventKind) -> bool {
        match self {
            Self::Published => kind == EventKind::MessagePublish,
            Self::Messages => kind.subject() == Subject::Message,
            Self::MessagesAndSubscriptions => {
                matches!(kind.subject(), Subject::Message | Subject::Subscription)
            }
        }
    }
}

/// All rules, ready for use.
#[derive(Debug, Clone)]
pub struct Router {
    /// The gateway's name, a column of every event.
    node: Arc<str>,
    rules: Box<[RouterRule]>,
    /// For each source, its rules.
    by_source: BTreeMap<SourceName, SourceRules>,
}

#[derive(Debug, Clone, Default)]
struct SourceRules {
    /// As indices into the router's rules, in the order of their names.
    all: Box<[usize]>,
    /// The same by topic.
    by_topic: TopicIndex,
}

#[derive(Debug, Clone)]
struct RouterRule {
    name: RuleName,
    kinds: Box<[EventKind]>,
    topics: Box<[TopicFilter]>,
    narrowed: Narrowed,
    program: Option<Arc<Program>>,
    /// Whether other rules have the very same program, which then runs once for an event.
    shared: bool,
    /// Without duplicates.
    sinks: Box<[SinkName]>,
}

/// A rule that wants an event, and where it sends it.
#[derive(Debug, Clone, Copy)]
pub struct Match<'router> {
    /// Position of the rule in [`Router::rules`], for tables that stand beside the router.
    pub index: usize,
    /// The rule.
    pub rule: &'router RuleName,
    /// One record goes to each. Not empty, no duplicates.
    pub sinks: &'router [SinkName],
    program: Option<&'router Program>,
    shared: bool,
}

/// What a rule makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// It does not want it.
    Nothing,
    /// The event as it is.
    Event,
    /// Objects, each on one line of JSON. Not empty.
    Outputs(Vec<Bytes>),
}

impl Match<'_> {
    /// Applies the rule to the event, whose columns and parsed payload all rules share.
    pub fn select(&self, input: &Input<'_>) -> Result<Selection, RunError> {
        match self.program {
            None => Ok(Selection::Event),
            Some(program) if self.shared => input.once(program, || Self::apply(program, input)),
            Some(program) => Self::apply(program, input),
        }
    }

    fn apply(program: &Program, input: &Input<'_>) -> Result<Selection, RunError> {
        Ok(match program.apply(input)? {
            Outcome::NotMatched => Selection::Nothing,
            Outcome::Event => Selection::Event,
            Outcome::Outputs(outputs) if outputs.is_empty() => Selection::Nothing,
            Outcome::Outputs(outputs) => {
                let json = |output: &Map| Bytes::from(output.to_json());
                Selection::Outputs(outputs.iter().map(json).collect())
            }
        })
    }
}

impl Router {
    /// The router of a config. Rules are tried in the order of their names. `node` is the gateway's name.
    pub fn new<'a>(
        node: &str,
        sources: impl Iterator<Item = &'a SourceName>,
        rules: &BTreeMap<RuleName, Rule>,
    ) -> Self {
        let wants = |rule: &Rule, source| rule.sources.is_empty() || rule.sources.contains(source);
        let by_source = sources.map(|source| {
            let mut wanted = Vec::new();
            let mut by_topic = TopicIndex::default();
            for (index, rule) in rules.values().enumerate().filter(|(_, rule)| wants(rule, source))
            {
                wanted.push(index);
                for filter in &rule.topics {
                    by_topic.insert(filter, index);
                }
            }
            (source.clone(), SourceRules { all: wanted.into(), by_topic })
        });
        let by_source = by_source.collect();
        let mut programs = Programs::default();
        let programs: Vec<_> = rules.values().map(|rule| programs.of(rule)).collect();
        let alike = |program: &Arc<Program>| {
            programs.iter().flatten().filter(|other| Arc::ptr_eq(other, program)).count()
        };
        let rule = |((name, rule), program): ((&RuleName, &Rule), &Option<Arc<Program>>)| {
            let shared = program.as_ref().is_some_and(|program| alike(program) > 1);
            RouterRule::new(name, rule, program.clone(), shared)
        };
        let rules = rules.iter().zip(&programs).map(rule).collect();
        Self { node: node.into(), rules, by_source }
    }

    /// Names of the rules, in the order of [`Match::index`].
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleName> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The columns of `event` as the rules see them.
    #[must_use]
    pub fn columns<'a>(&'a self, event: &'a Event) -> EventColumns<'a> {
        EventColumns::new(event, &self.node)
    }

    /// The rules that want `event`. An event of a source that the config does not have matches nothing, unless it is
    /// the gateway's own, which is every rule's to want.
    pub fn route(&self, event: &Event) -> impl Iterator<Item = Match<'_>> {
        let kind = event.kind();
        let indices = match &event.what {
            _ if kind == EventKind::GatewayStatus => (0..self.rules.len()).collect(),
            // The hot path: by topic, whatever the number of rules.
            What::Published(message) => {
                let of_topic =
                    |source: &SourceRules| source.by_topic.matches(message.topic.as_str());
                self.by_source.get(&event.source).map(of_topic).unwrap_or_default()
            }
            What::Other(_) => {
                let all = self.by_source.get(&event.source).map(|rules| rules.all.to_vec());
                let mut indices = all.unwrap_or_default();
                indices.retain(|index| {
                    self.rules.get(*index).is_some_and(|rule| rule.has_topic_of(event))
                });
                indices
            }
        };
        let rules = indices.into_iter().filter_map(|index| Some((index, self.rules.get(index)?)));
        rules.filter(move |(_, rule)| rule.kinds.contains(&kind)).map(|(index, rule)| Match {
            index,
            rule: &rule.name,
            sinks: &rule.sinks,
            program: rule.program.as_deref(),
            shared: rule.shared,
        })
    }

    /// The kinds of event that rules want of `source`: others need not be made.
    #[must_use]
    pub fn kinds(&self, source: &SourceName) -> Vec<EventKind> {
        let wanted =
            |kind: &EventKind| self.of_source(source).any(|(_, rule)| rule.kinds.contains(kind));
        EventKind::ALL.into_iter().filter(wanted).collect()
    }

    /// The topic filters that `source` must subscribe to so that its rules see what they want: no filter twice, and
    /// none that another one covers, since MQTT 5 brokers may send one copy for each subscription that matches.
    ///
    /// Shared and exclusive subscriptions are kept as they were written.
    #[must_use]
    pub fn subscriptions(&self, source: &SourceName) -> Vec<TopicFilter> {
        let rules = self.of_source(source);
        let publish = rules.filter(|(_, rule)| rule.kinds.contains(&EventKind::MessagePublish));
        subscriptions::without_covered(publish.flat_map(|(_, rule)| rule.topics.iter()))
    }

    fn of_source(&self, source: &SourceName) -> impl Iterator<Item = (usize, &RouterRule)> {
        let indices = self.by_source.get(source).map(|rules| &*rules.all).unwrap_or_default();
        indices.iter().filter_map(|index| Some((*index, self.rules.get(*index)?)))
    }
}

/// Programs by their SQL, so that rules that ask the same have the same one.
#[derive(Default)]
struct Programs(HashMap<String, Arc<Program>>);

impl Programs {
    fn of(&mut self, rule: &Rule) -> Option<Arc<Program>> {
        let program = rule.program.as_ref()?;
        if !program.answers_alike() {
            return Some(Arc::clone(program));
        }
        let known = self.0.entry(program.tree().to_string()).or_insert_with(|| Arc::clone(program));
        Some(Arc::clone(known))
    }
}

impl RouterRule {
    /// Whether the event has one of the topics, or needs none. The topic of a subscription is matched as it stands, as
    /// EMQX 4 does it, but for its `$share/GROUP/`.
    fn has_topic_of(&self, event: &Event) -> bool {
        if !self.narrowed.concerns(event.kind()) {
            return true;
        }
        let topic = event.topic().map(plain);
        topic.is_some_and(|topic| {
            self.topics.iter().any(|filter| levels_match(filter.plain(), topic))
        })
    }

    fn new(name: &RuleName, rule: &Rule, program: Option<Arc<Program>>, shared: bool) -> Self {
        let mut sinks: Vec<SinkName> = Vec::with_capacity(rule.sinks.len());
        for sink in &rule.sinks {
            if !sinks.contains(sink) {
                sinks.push(sink.clone());
            }
        }
        Self {
            name: name.clone(),
            kinds: rule.events.as_slice().into(),
            topics: rule.topics.as_slice().into(),
            narrowed: rule.narrowed,
            program,
            shared,
            sinks: sinks.into(),
        }
    }
}

/// A topic filter without `$share/GROUP/`; a topic as it is.
fn plain(topic: &str) -> &str {
    let shared = topic.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(topic, |(_, filter)| filter)
}
