//! All topic filters of the rules of a source in one tree, so that finding the rules of an event costs what its topic
//! and its matches cost, and hardly more where there are more rules.

use std::collections::BTreeMap;

use crate::topic::TopicFilter;

/// A tree of topic levels with the rules whose filters end there.
#[derive(Debug, Clone, Default)]
pub(super) struct TopicIndex {
    root: Node,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Few names are compared faster than one is hashed, and many are still few steps.
    levels: BTreeMap<Box<str>, Node>,
    /// `+`
    any: Option<Box<Node>>,
    /// Filters that end here.
    here: Vec<usize>,
    /// Filters that end here with `#`.
    below: Vec<usize>,
}

impl TopicIndex {
    /// Adds a filter of a rule.
    pub(super) fn insert(&mut self, filter: &TopicFilter, rule: usize) {
        let mut node = &mut self.root;
        for level in filter.plain().split('/') {
            node = match level {
                "#" => {
                    node.below.push(rule);
                    return;
                }
                "+" => node.any.get_or_insert_default(),
                level => node.levels.entry(level.into()).or_default(),
            };
        }
        node.here.push(rule);
    }

    /// The rules with a filter that matches, in order and each once.
    pub(super) fn matches(&self, topic: &str) -> Vec<usize> {
        let mut rules = Vec::new();
        self.root.collect(Some(topic), topic.starts_with('$'), &mut rules);
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

impl Node {
    /// `rest` is what is left of the topic; a wildcard on the first level does not match what starts with `$`.
    fn collect(&self, rest: Option<&str>, dollar: bool, rules: &mut Vec<usize>) {
        if !dollar {
            rules.extend_from_slice(&self.below);
        }
        let Some(rest) = rest else {
            rules.extend_from_slice(&self.here);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(node) = self.levels.get(level) {
            node.collect(rest, false, rules);
        }
        if let Some(node) = self.any.as_ref().filter(|_| !dollar) {
            node.collect(rest, false, rules);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Topic;

    proptest! {
        #[test]
        fn the_index_finds_what_each_filter_alone_matches(
            filters in prop::collection::vec("[+a$](/[+ab]?){0,3}(/#)?|#|\\$share/g/a/[+b]", 0..12),
            topic in "[ab$](/[ab]?){0,3}",
        ) {
            let filters: Vec<_> = filters.iter().filter_map(|text| TopicFilter::new(text).ok()).collect();
            let topic = Topic::new(&topic).unwrap();
            let mut index = TopicIndex::default();
            for (rule, filter) in filters.iter().enumerate() {
                index.insert(filter, rule / 2);
            }
            let each = filters.iter().enumerate().filter(|(_, filter)| filter.matches(&topic));
            let mut expected: Vec<_> = each.map(|(rule, _)| rule / 2).collect();
            expected.dedup();
            prop_assert_eq!(index.matches(topic.as_str()), expected, "{:?}", filters);
        }
    }
}
