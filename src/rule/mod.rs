//! Which events go to which sinks. Pure: no clock, no counting, no waiting.
//!
//! Built once from the config; routing an event allocates nothing. An event that several rules send to one sink is
//! one record for each of these rules: rules are independent, as in EMQX.

pub mod events;
pub mod functions;
pub mod program;
pub mod run;
pub mod sql;
mod subscriptions;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::{Config, Rule};
use crate::event::{Event, EventKind};
use crate::name::{RuleName, SinkName, SourceName};
use crate::topic::{Topic, TopicFilter};

/// All rules, ready for use.
#[derive(Debug, Clone)]
pub struct Router {
    rules: Box<[RouterRule]>,
    /// For each source, its rules as indices into `rules`, in the order of their names.
    by_source: BTreeMap<SourceName, Box<[usize]>>,
}

#[derive(Debug, Clone)]
struct RouterRule {
    name: RuleName,
    kinds: Box<[EventKind]>,
    topics: Box<[TopicFilter]>,
    /// Without duplicates.
    sinks: Box<[SinkName]>,
}

/// A rule that wants an event, and where it sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'router> {
    /// Position of the rule in [`Router::rules`], for tables that stand beside the router.
    pub index: usize,
    /// The rule.
    pub rule: &'router RuleName,
    /// One record goes to each. Not empty, no duplicates.
    pub sinks: &'router [SinkName],
}

impl Router {
    /// The router of a config. Rules are tried in the order of their names.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::of(config.sources.keys(), &config.rules)
    }

    fn of<'a>(
        sources: impl Iterator<Item = &'a SourceName>,
        rules: &BTreeMap<RuleName, Rule>,
    ) -> Self {
        let wants = |rule: &Rule, source| rule.sources.is_empty() || rule.sources.contains(source);
        let by_source = sources.map(|source| {
            let indices = rules.values().enumerate();
            let wanted = indices.filter(|(_, rule)| wants(rule, source)).map(|(index, _)| index);
            (source.clone(), wanted.collect())
        });
        let by_source = by_source.collect();
        let rules = rules.iter().map(|(name, rule)| RouterRule::new(name, rule)).collect();
        Self { rules, by_source }
    }

    /// Names of the rules, in the order of [`Match::index`].
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleName> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The rules that want `event`. An event of a source that the config does not have matches nothing.
    pub fn route(&self, event: &Event) -> impl Iterator<Item = Match<'_>> {
        let kind = event.kind();
        let topic = &event.topic;
        self.of_source(&event.source)
            .filter(move |(_, rule)| rule.wants(kind, topic))
            .map(|(index, rule)| Match { index, rule: &rule.name, sinks: &rule.sinks })
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
        let indices = self.by_source.get(source).map(AsRef::as_ref).unwrap_or_default();
        indices.iter().filter_map(|index| Some((*index, self.rules.get(*index)?)))
    }
}

impl RouterRule {
    fn new(name: &RuleName, rule: &Rule) -> Self {
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
            sinks: sinks.into(),
        }
    }

    fn wants(&self, kind: EventKind, topic: &Topic) -> bool {
        self.kinds.contains(&kind) && self.topics.iter().any(|filter| filter.matches(topic))
    }
}
