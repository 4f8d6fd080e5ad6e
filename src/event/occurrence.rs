//! Events of any kind, as a kind and the values of its columns.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::EventKind;

/// Something that happened: the values of its columns by their EMQX 5 names. What is not in it is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    kind: EventKind,
    columns: Map<String, Value>,
    payload: Option<Bytes>,
}

/// Columns that an event says of itself, whatever its source says.
const ITS_OWN: [&str; 3] = ["event", "metadata", "record_id"];

/// What a column takes in memory beside its texts: measured as nodes of the map and values.
const COLUMN_BYTES: usize = 96;

impl Occurrence {
    /// Nothing is known of it yet.
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self { kind, columns: Map::new(), payload: None }
    }

    /// An event with these columns. `event`, `metadata` and `record_id` are left out, for they are said again, and a
    /// `payload` that is text is what was published.
    #[must_use]
    pub fn with_columns(kind: EventKind, mut columns: Map<String, Value>) -> Self {
        for name in ITS_OWN {
            columns.remove(name);
        }
        let payload = match columns.remove("payload") {
            Some(Value::String(text)) => Some(Bytes::from(text)),
            Some(other) => Some(Bytes::from(other.to_string())),
            None => None,
        };
        Self { kind, columns, payload }
    }

    /// With a column that is known.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Self {
        debug_assert!(
            !ITS_OWN.contains(&column) && column != "payload",
            "{column} is not set here"
        );
        self.columns.insert(column.to_owned(), value.into());
        self
    }

    /// With a column that may be known.
    #[must_use]
    pub fn with_some(self, column: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(column, value),
            None => self,
        }
    }

    /// With what was published.
    #[must_use]
    pub fn with_payload(self, payload: Bytes) -> Self {
        Self { payload: Some(payload), ..self }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// Every column that is known but for the payload.
    #[must_use]
    pub const fn columns(&self) -> &Map<String, Value> {
        &self.columns
    }

    /// What was published, where the kind has that.
    #[must_use]
    pub const fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// A column that is known and is text.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.columns.get(column)?.as_str()
    }

    pub(super) fn without_content(&self) -> Self {
        let mut kept = Self::new(self.kind);
        for name in ["clientid", "topic"] {
            kept = kept.with_some(name, self.columns.get(name).cloned());
        }
        kept
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter();
        columns.map(|(name, value)| name.len() + memory_bytes(value)).sum::<usize>()
            + self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// Not deeper than `serde_json` reads, which is 128.
fn memory_bytes(value: &Value) -> usize {
    COLUMN_BYTES
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(elements) => elements.iter().map(memory_bytes).sum(),
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| key.len() + memory_bytes(value)).sum()
            }
        }
}
