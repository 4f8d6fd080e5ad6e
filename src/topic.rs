//! MQTT topic names and topic filters (MQTT 5 sections 4.7 and 4.8.2).
//!
//! A [`Topic`] or [`TopicFilter`] is valid or was never built. Matching is exact: `+` is one level, `#` the
//! rest and its parent, and a filter that starts with a wildcard never matches a topic that starts with `$`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest topic or filter that MQTT can carry, in bytes (a two-byte length in front of UTF-8).
const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// Nothing between the quotes.
    #[error("must not be empty")]
    Empty,
    /// More bytes than the length field can say.
    #[error("must not be longer than 65,535 bytes")]
    TooLong,
    /// U+0000, which MQTT forbids.
    #[error("must not contain U+0000")]
    Null,
    /// `+` or `#` in a topic name.
    #[error("a topic name must not contain the wildcards `+` and `#`")]
    Wildcard,
    /// `a#`, `a/#/b`.
    #[error("`#` must be the last level and stand alone, as in `a/#`")]
    MisplacedHash,
    /// `a+/b`.
    #[error("`+` must fill its level, as in `a/+/b`")]
    MisplacedPlus,
    /// `$share/`, `$share//t`, `$share/a+b/t`, `$share/g/$share/h/t`.
    #[error(
        "a shared subscription is `$share/GROUP/FILTER`, where GROUP has no wildcard and is not empty"
    )]
    Share,
}

fn check_text(text: &str) -> Result<(), InvalidTopic> {
    match text {
        "" => Err(InvalidTopic::Empty),
        _ if text.len() > TOPIC_BYTES_MAX => Err(InvalidTopic::TooLong),
        _ if text.contains('\0') => Err(InvalidTopic::Null),
        _ => Ok(()),
    }
}

/// A topic name: what a message was published to. Copies share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks `text` against MQTT 5 sections 3.3.2.1 and 4.7.3.
    pub fn new(text: &str) -> Result<Self, InvalidTopic> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Topic {
    type Error = InvalidTopic;
    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        Self::new(&text)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.as_str().to_owned()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

/// A topic filter, with its `$share/GROUP/` or `$exclusive/` prefix where it has one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter {
    text: Arc<str>,
    /// Where the filter proper starts behind the prefix, in bytes.
    filter_start: usize,
}

impl TopicFilter {
    /// Checks `text` against MQTT 5 sections 4.7.1, 4.7.3 and 4.8.2.
    pub fn new(text: &str) -> Result<Self, InvalidTopic> {
        check_text(text)?;
        let filter_start = if let Some(rest) = text.strip_prefix("$share/") {
            let (group, filter) = rest.split_once('/').ok_or(InvalidTopic::Share)?;
            let nested = filter.starts_with("$share/") || filter.starts_with("$exclusive/");
            if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() || nested {
                return Err(InvalidTopic::Share);
            }
            text.len() - filter.len()
        } else if let Some(filter) = text.strip_prefix("$exclusive/") {
            if filter.is_empty() {
                return Err(InvalidTopic::Empty);
            }
            text.len() - filter.len()
        } else {
            0
        };
        let filter = Self { text: text.into(), filter_start };
        check_wildcards(filter.plain())?;
        Ok(filter)
    }

    /// The whole filter as it is sent to a broker.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The filter without `$share/GROUP/` or `$exclusive/`.
    #[must_use]
    pub fn plain(&self) -> &str {
        self.text.get(self.filter_start..).unwrap_or_default()
    }

    /// Whether it is a filter and nothing else: neither shared nor exclusive.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.filter_start == 0
    }

    /// Whether some topic belongs to both filters.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(self.plain(), other.plain())
    }

    /// Whether a message published to `topic` belongs to this filter.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        levels_match(self.plain(), topic.as_str())
    }
}

/// MQTT 5 section 4.7, on a filter without a prefix; neither text is checked.
#[must_use]
pub fn levels_match(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for filter_level in filter.split('/') {
        match (filter_level, topic_levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (filter_level, Some(topic_level)) if filter_level == topic_level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

/// Whether some topic matches both.
fn overlap(left: &str, right: &str) -> bool {
    let wild = |filter: &str| filter.starts_with(['+', '#']);
    if (left.starts_with('$') && wild(right)) || (right.starts_with('$') && wild(left)) {
        return false;
    }
    let (mut left, mut right) = (left.split('/'), right.split('/'));
    loop {
        match (left.next(), right.next()) {
            // `a/#` matches `a` too.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(left), Some(right)) if left == right => {}
            _ => return false,
        }
    }
}

fn check_wildcards(filter: &str) -> Result<(), InvalidTopic> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(InvalidTopic::MisplacedHash);
        }
        if level.contains('+') && level != "+" {
            return Err(InvalidTopic::MisplacedPlus);
        }
    }
    Ok(())
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors made by running EMQX's own code.
    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/topics.dev.jsonl"));

    #[test]
    fn every_topic_vector_of_emqx_holds() {
        let mut count = 0;
        for line in VECTORS.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| case[key].as_str().unwrap();
            let (expected, actual) = match text("kind") {
                "match" => (&case["match"], levels_match(text("filter"), text("topic"))),
                "subscription" => {
                    let topic = Topic::new(text("topic"));
                    let filter = TopicFilter::new(text("filter"));
                    let matches = matches!((filter, topic), (Ok(f), Ok(t)) if f.matches(&t));
                    (&case["match"], matches)
                }
                "valid_filter" => (&case["valid"], TopicFilter::new(text("filter")).is_ok()),
                "valid_topic_name" => (&case["valid"], Topic::new(text("topic")).is_ok()),
                kind => panic!("unknown kind {kind}"),
            };
            assert_eq!(expected.as_bool(), Some(actual), "{line}");
            count += 1;
        }
        assert!(count > 60, "only {count} vectors were read");
    }

    #[test]
    fn a_shared_subscription_needs_a_group_and_a_filter() {
        for bad in ["$share", "$share/", "$share/g", "$share/g/", "$share/g#/t", "$exclusive/"] {
            let filter = TopicFilter::new(bad);
            assert!(filter.is_err() || bad == "$share", "{bad:?} gave {filter:?}");
        }
        assert_eq!(TopicFilter::new("$share/g/t/+").unwrap().plain(), "t/+");
    }
}
