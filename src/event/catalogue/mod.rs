//! What every kind of event is called, which topics select it, which columns it has and how it looks in EMQX's bodies:
//! each kind once, as data.
//!
//! Rules, templates, default bodies, samples, `waypost events` and `config/events.md` come from here. A column that a source
//! cannot know is undefined, and `undefined_as` says how a body shows it.

mod columns;
mod kinds;
mod reference;
mod version4;

use std::fmt::Write as _;

use super::EventKind;

pub use kinds::CATALOGUE;
pub use reference::{described, example, page};
pub use version4::{Field4, From4, Profile, Version4};

/// A kind of event.
#[derive(Debug)]
pub struct Entry {
    /// Which.
    pub kind: EventKind,
    /// In the `event` column and in the config.
    pub name: &'static str,
    /// The topic in the `FROM` of rules; `None` where it is the topic of the message.
    pub topic: Option<&'static str>,
    /// The same in older spellings, EMQX's before 5.10 among them.
    pub topics_old: &'static [&'static str],
    /// Who has it, and since when.
    pub since: &'static str,
    /// When it happens, as the end of a sentence.
    pub happens: &'static str,
    /// Its own columns, in the order of bodies, without those of every event.
    pub columns: &'static [Column],
    /// Its body in the form of EMQX 4's webhook plugin.
    pub version4: Version4,
}

/// A column of an event.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in rules, templates and EMQX 5's bodies.
    pub name: &'static str,
    /// What values it has.
    pub holds: Holds,
    /// What it says.
    pub means: &'static str,
    /// A value, as JSON.
    pub example: &'static str,
    /// Where it is seen.
    pub shown: Shown,
}

/// Values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Text.
    Text,
    /// The bytes of a message, in the form that `payload_as` says.
    Payload,
    /// A whole number.
    Integer,
    /// A whole number of seconds.
    Seconds,
    /// Milliseconds since 1970 or, where it is a period, milliseconds.
    Milliseconds,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// An array.
    Array,
}

impl Holds {
    /// In a word or three.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Payload => "payload",
            Self::Integer => "integer",
            Self::Seconds => "integer, s",
            Self::Milliseconds => "integer, ms",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

/// Where a column is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In every body: undefined where the source does not know it.
    Always,
    /// Where the source knows it.
    WhereKnown,
    /// By rules that name it, and in bodies of EMQX 4 that have it.
    ByName,
}

/// In every event, in front of its own columns.
pub const EVENT: Column = columns::EVENT;
/// When it happened, in every event.
pub const TIMESTAMP: &str = columns::TIMESTAMP.name;
/// In every event, behind its own columns.
pub const COMMON: [Column; 2] = [columns::TIMESTAMP, columns::NODE];
/// In bodies and rules, last: which rule it was.
pub const METADATA: &str = "metadata";
/// In bodies, behind a payload that is not text.
pub const PAYLOAD_ENCODING: &str = "payload_encoding";

/// The entry of a kind.
#[must_use]
pub fn entry(kind: EventKind) -> &'static Entry {
    CATALOGUE.iter().find(|entry| entry.kind == kind).expect("a test counts them")
}

impl Entry {
    /// Every column, in the order of bodies, as rules see them.
    pub fn all_columns(&self) -> impl Iterator<Item = &'static Column> + use<> {
        const FIRST: &[Column] = &[EVENT];
        const LAST: &[Column] = &COMMON;
        FIRST.iter().chain(self.columns).chain(LAST)
    }

    /// The names that templates may use, in the order of bodies.
    pub fn template_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let names = self.all_columns().filter(|column| column.shown != Shown::ByName);
        let with_encoding = names.flat_map(|column| {
            let encoding = (column.holds == Holds::Payload).then_some(PAYLOAD_ENCODING);
            std::iter::once(column.name).chain(encoding)
        });
        with_encoding.chain(std::iter::once(METADATA))
    }

    /// Every spelling of its topic, the one in use first.
    pub fn topics(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.topic.into_iter().chain(self.topics_old.iter().copied())
    }

    /// An event of this kind, one JSON object on one line: the columns of EMQX 6.
    #[must_use]
    pub fn sample(&self) -> String {
        let mut text = format!("{{\"event\":\"{}\"", self.name);
        let shown = self.all_columns().skip(1).filter(|column| column.shown != Shown::ByName);
        for column in shown {
            write!(text, ",\"{}\":{}", column.name, column.example)
                .expect("a String takes all that is written to it");
        }
        text.push('}');
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_there_once_with_names_topics_and_columns_of_its_own() {
        let kinds: Vec<_> = CATALOGUE.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, EventKind::ALL);
        let names: BTreeSet<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        let topics: Vec<_> = CATALOGUE.iter().flat_map(Entry::topics).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len());
        for entry in &CATALOGUE {
            let columns: Vec<_> = entry.all_columns().map(|column| column.name).collect();
            assert_eq!(
                columns.iter().collect::<BTreeSet<_>>().len(),
                columns.len(),
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn every_example_is_a_value_of_its_column() {
        for entry in &CATALOGUE {
            let sample: serde_json::Value = serde_json::from_str(&entry.sample()).unwrap();
            for column in entry.all_columns().filter(|column| column.shown != Shown::ByName) {
                let value = &sample[column.name];
                let fits = match column.holds {
                    Holds::Text | Holds::Payload => value.is_string(),
                    Holds::Integer | Holds::Seconds | Holds::Milliseconds => value.is_u64(),
                    Holds::Boolean => value.is_boolean(),
                    Holds::Object => value.is_object(),
                    Holds::Array => value.is_array(),
                };
                assert!(fits, "{} {}: {value}", entry.name, column.name);
            }
        }
    }

    #[test]
    fn keys_of_emqx_4_name_columns_that_the_event_has() {
        for entry in &CATALOGUE {
            for field in entry.version4.fields {
                let (From4::Column(name) | From4::Moment(name)) = field.from else { continue };
                let there = entry.columns.iter().any(|column| column.name == name);
                assert!(there, "{} {}", entry.name, field.key);
            }
        }
    }
}
