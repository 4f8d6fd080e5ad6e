//! Topic patterns of access rules: topic filters in which `${clientid}` and `${username}` stand for the client's own.
//!
//! What a client calls itself is text, never syntax: a client id `+` or `a/#` stands for exactly that level text, so it
//! can widen nothing. A client without a user name matches no pattern that asks for one.

use std::fmt;

use crate::topic::{InvalidTopic, TopicFilter};

/// Why a text is not a topic pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Not a topic filter, whatever the placeholders stand for.
    #[error(transparent)]
    Filter(#[from] InvalidTopic),
    /// `${something}` or an open `${`.
    #[error("only `${{clientid}}` and `${{username}}` can stand in a topic of an access rule")]
    Placeholder,
    /// `$share/..` or `$exclusive/..`.
    #[error(
        "write the filter without `$share/GROUP/`: the rule holds for shared subscriptions too"
    )]
    Shared,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// As in its CONNECT, or as assigned.
    pub client_id: &'a str,
    /// As in its CONNECT.
    pub username: Option<&'a str>,
}

/// A topic filter with placeholders, valid or never built.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: String,
    levels: Vec<Level<Vec<Piece>>>,
}

/// One level of a filter; `Text` is literal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level<Text> {
    Plus,
    Hash,
    Text(Text),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    ClientId,
    Username,
}

impl TopicPattern {
    /// Checks that `text` is a topic filter once its placeholders are filled.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        let filled = text.replace("${clientid}", "x").replace("${username}", "x");
        if filled.contains("${") {
            return Err(InvalidPattern::Placeholder);
        }
        let filter = TopicFilter::new(&filled)?;
        if filter.plain() != filter.as_str() {
            return Err(InvalidPattern::Shared);
        }
        let levels = text.split('/').map(|level| level_of(level, pieces)).collect();
        Ok(Self { text: text.to_owned(), levels })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `topic`, a topic name, belongs to the pattern of `client`.
    #[must_use]
    pub fn matches(&self, client: Client<'_>, topic: &str) -> bool {
        let name: Vec<_> = topic.split('/').map(Level::Text).collect();
        self.filled(client).is_some_and(|own| own_first_level(&own, &name) && overlap(&own, &name))
    }

    /// Whether every topic of `filter` belongs to the pattern of `client`.
    #[must_use]
    pub fn covers(&self, client: Client<'_>, filter: &str) -> bool {
        let other = levels_of(filter);
        self.filled(client).is_some_and(|own| own_first_level(&own, &other) && cover(&own, &other))
    }

    /// Whether some topic of `filter` belongs to the pattern of `client`.
    #[must_use]
    pub fn touches(&self, client: Client<'_>, filter: &str) -> bool {
        let other = levels_of(filter);
        self.filled(client)
            .is_some_and(|own| own_first_level(&own, &other) && overlap(&own, &other))
    }

    /// Whether its first level is made of what the client calls itself.
    #[must_use]
    pub fn starts_with_placeholder(&self) -> bool {
        self.text.starts_with("${")
    }

    fn filled(&self, client: Client<'_>) -> Option<Vec<Level<String>>> {
        let fill = |piece: &Piece| match piece {
            Piece::Literal(text) => Some(text.clone()),
            Piece::ClientId => Some(client.client_id.to_owned()),
            Piece::Username => client.username.map(str::to_owned),
        };
        let level = |level: &Level<Vec<Piece>>| match level {
            Level::Plus => Some(Level::Plus),
            Level::Hash => Some(Level::Hash),
            Level::Text(pieces) => pieces.iter().map(fill).collect::<Option<_>>().map(Level::Text),
        };
        self.levels.iter().map(level).collect()
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.text)
    }
}

fn level_of<'a, Text>(level: &'a str, text: impl Fn(&'a str) -> Text) -> Level<Text> {
    match level {
        "+" => Level::Plus,
        "#" => Level::Hash,
        literal => Level::Text(text(literal)),
    }
}

fn levels_of(filter: &str) -> Vec<Level<&str>> {
    filter.split('/').map(|level| level_of(level, |text| text)).collect()
}

/// Splits a level at its placeholders. They were checked before: every `${` starts one of the two.
fn pieces(level: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = level;
    while let Some((literal, tail)) = rest.split_once("${") {
        let (name, tail) = tail.split_once('}').unwrap_or((tail, ""));
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(if name == "username" { Piece::Username } else { Piece::ClientId });
        rest = tail;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces
}

/// Topics that start with `$` are outside the reach of a wildcard in the first level (MQTT 5 section 4.7.2).
fn own_first_level(own: &[Level<String>], other: &[Level<&str>]) -> bool {
    match (own.first(), other.first()) {
        (Some(Level::Plus | Level::Hash), Some(Level::Text(text))) => !text.starts_with('$'),
        (Some(Level::Text(text)), Some(Level::Plus | Level::Hash)) => !text.starts_with('$'),
        _ => true,
    }
}

/// Whether every topic of `other` is one of `own`.
fn cover(own: &[Level<String>], other: &[Level<&str>]) -> bool {
    match (own, other) {
        ([Level::Hash, ..], _) | ([], []) => true,
        ([Level::Plus, own @ ..], [Level::Plus | Level::Text(_), other @ ..]) => cover(own, other),
        ([Level::Text(a), own @ ..], [Level::Text(b), other @ ..]) => a == b && cover(own, other),
        _ => false,
    }
}

/// Whether a topic can be one of both.
fn overlap(own: &[Level<String>], other: &[Level<&str>]) -> bool {
    match (own, other) {
        ([Level::Hash, ..], _) | (_, [Level::Hash, ..]) | ([], []) => true,
        ([Level::Text(a), own @ ..], [Level::Text(b), other @ ..]) => a == b && overlap(own, other),
        ([_, own @ ..], [_, other @ ..]) => overlap(own, other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Client<'_> = Client { client_id: "pump-1", username: Some("alice") };

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    #[test]
    fn placeholders_stand_for_the_clients_own_names() {
        let own = pattern("plant/${username}/dev-${clientid}/#");
        assert!(own.matches(ALICE, "plant/alice/dev-pump-1/t"));
        assert!(!own.matches(ALICE, "plant/bob/dev-pump-1/t"));
        assert!(!own.matches(ALICE, "plant/alice/pump-1/t"));
        let nameless = Client { username: None, ..ALICE };
        assert!(!own.matches(nameless, "plant//dev-pump-1/t"), "no user name, no match");
    }

    #[test]
    fn what_a_client_calls_itself_never_becomes_syntax() {
        for id in ["+", "#", "a/b", "a/#", "x/+", "${username}", ""] {
            let client = Client { client_id: id, username: Some("alice") };
            let own = pattern("dev/${clientid}/t");
            for topic in ["dev/other/t", "dev/a/t", "dev/a/b/t", "dev/alice/t", "dev/x/y/t"] {
                assert!(!own.matches(client, topic), "{id:?} reaches {topic}");
            }
            for filter in ["dev/+/t", "dev/#", "#", "dev/other/t", "dev/a/b/t"] {
                assert!(!own.covers(client, filter), "{id:?} covers {filter}");
            }
        }
    }

    #[test]
    fn a_filter_is_covered_only_when_all_its_topics_are() {
        let cases = [
            ("#", "#", true, true),
            ("#", "a/+/b", true, true),
            ("#", "$SYS/#", false, false),
            ("$SYS/#", "#", false, false),
            ("+/a", "$SYS/a", false, false),
            ("a/#", "a", true, true),
            ("a/#", "a/#", true, true),
            ("a/#", "#", false, true),
            ("a/#", "+", false, true),
            ("a/+", "a/#", false, true),
            ("a/+", "a/+", true, true),
            ("a/+", "a/b", true, true),
            ("a/+", "a", false, false),
            ("a/+/#", "a/#", false, true),
            ("a", "a/#", false, true),
            ("a", "a/b", false, false),
            ("a/b", "a/+", false, true),
            ("a/b", "+/c", false, false),
            ("secret/#", "+/key", false, true),
        ];
        for (own, filter, covers, touches) in cases {
            let pattern = pattern(own);
            assert_eq!(pattern.covers(ALICE, filter), covers, "{own} covers {filter}");
            assert_eq!(pattern.touches(ALICE, filter), touches, "{own} touches {filter}");
        }
    }

    #[test]
    fn matching_without_placeholders_is_that_of_topic_filters() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/topics.dev.jsonl"));
        let mut count = 0;
        for line in vectors.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let (Some(filter), Some(topic)) = (case["filter"].as_str(), case["topic"].as_str())
            else {
                continue;
            };
            let topic_is_valid = crate::topic::Topic::new(topic).is_ok();
            let Ok(pattern) = TopicPattern::new(filter) else { continue };
            let matches = topic_is_valid && pattern.matches(ALICE, topic);
            assert_eq!(case["match"].as_bool(), Some(matches), "{line}");
            count += 1;
        }
        assert!(count > 20, "only {count} vectors were read");
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        assert_eq!(TopicPattern::new("${client}/#"), Err(InvalidPattern::Placeholder));
        assert_eq!(TopicPattern::new("a/${clientid"), Err(InvalidPattern::Placeholder));
        assert_eq!(TopicPattern::new("$share/g/t"), Err(InvalidPattern::Shared));
        let misplaced = InvalidPattern::Filter(InvalidTopic::MisplacedHash);
        assert_eq!(TopicPattern::new("a#/${clientid}"), Err(misplaced));
    }
}
