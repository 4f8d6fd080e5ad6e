//! The events of the catalogue as `FROM` sees them: by topics.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use crate::event::EventKind;
use crate::event::catalogue::{CATALOGUE, Entry, METADATA};
use crate::rule::value::{Map, Value};
use crate::topic::{TopicFilter, levels_match};

/// What the topics of all events but published messages begin with.
pub const PREFIX: &str = "$events/";

/// Every topic of an event, in every spelling.
pub fn topics() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().flat_map(Entry::topics)
}

/// A topic of `FROM` in the spelling in use: both spellings of an event topic select the same events, and
/// `$bridges/mqtt:NAME` is `$sources/mqtt:NAME`.
#[must_use]
pub fn topic_in_use(topic: &str) -> Cow<'_, str> {
    if let Some(source) = topic.strip_prefix("$bridges/") {
        return Cow::Owned(format!("$sources/{source}"));
    }
    let known = CATALOGUE.iter().find(|entry| entry.topics_old.contains(&topic));
    known.and_then(|entry| entry.topic).map_or(Cow::Borrowed(topic), Cow::Borrowed)
}

/// The kinds of event that are in one of the filters of a `FROM`.
#[must_use]
pub fn kinds_of(from: &[TopicFilter]) -> Vec<EventKind> {
    let of_message = |filter: &TopicFilter| !filter.as_str().starts_with(PREFIX);
    let selected = |kind: &EventKind| match kind.entry().topic {
        None => from.iter().any(of_message),
        Some(topic) => from.iter().any(|filter| levels_match(filter.plain(), topic)),
    };
    EventKind::ALL.into_iter().filter(selected).collect()
}

/// The kind of an event whose columns are given.
#[must_use]
pub fn kind_of(columns: &Map) -> EventKind {
    let named = columns.get(b"event").and_then(Value::as_str).and_then(EventKind::named);
    named.unwrap_or(EventKind::MessagePublish)
}

/// The topic that `FROM` is matched with for an event whose columns are given: that of its kind, or its own.
#[must_use]
pub fn topic_of(columns: &Map) -> Option<&str> {
    let own = || columns.get(b"topic").and_then(Value::as_str);
    kind_of(columns).entry().topic.or_else(own)
}

/// The columns of all events that are in one of the filters of a `FROM`, by their names.
#[must_use]
pub fn columns_of(from: &[TopicFilter]) -> BTreeSet<Bytes> {
    let columns = kinds_of(from).into_iter().flat_map(|kind| kind.entry().all_columns());
    columns.map(|column| Bytes::from_static(column.name.as_bytes())).collect()
}

/// The names of columns that templates may use of events of these kinds, in the order of their bodies, each once.
#[must_use]
pub fn template_names(kinds: &[EventKind]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for name in kinds.iter().flat_map(|kind| kind.entry().template_names()) {
        if name != METADATA && !names.contains(&name) {
            names.push(name);
        }
    }
    names.push(METADATA);
    names
}
