//! A table of the source that knows what has been taken from it, so that the rest can be named.

use serde_json::{Map, Value};

use super::notes::Notes;

pub(super) struct Tree {
    path: String,
    fields: Map<String, Value>,
}

impl Tree {
    pub(super) fn new(path: impl Into<String>, value: Value) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { path: path.into(), fields }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.remove(key).filter(|value| !value.is_null())
    }

    /// Puts back what was taken.
    pub(super) fn give_back(&mut self, key: &str, value: Value) {
        self.fields.insert(key.to_owned(), value);
    }

    pub(super) fn table(&mut self, key: &str) -> Self {
        let path = self.place(key);
        Self::new(path, self.take(key).unwrap_or_default())
    }

    /// The tables under a key, by name.
    pub(super) fn tables(&mut self, key: &str) -> Vec<(String, Self)> {
        let path = self.place(key);
        let inner = Self::new(path, self.take(key).unwrap_or_default());
        let table = |(name, value): (String, Value)| {
            let path = inner.place(&name);
            (name, Self::new(path, value))
        };
        inner.fields.clone().into_iter().map(table).collect()
    }

    /// A text, or a number or boolean as one.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            other => {
                self.fields.insert(key.to_owned(), other);
                None
            }
        }
    }

    /// True unless it says `false`.
    pub(super) fn enabled(&mut self) -> bool {
        self.text("enable").as_deref() != Some("false")
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    /// Names what was not taken, with the reason that `why` knows for a key.
    pub(super) fn finish(self, why: fn(&str) -> Option<&'static str>, notes: &mut Notes) {
        for key in self.keys() {
            let reason = why(&key).unwrap_or("has no meaning here that this import knows");
            notes.left_out(&self.place(&key), reason);
        }
    }
}

/// The elements of an array, or of an answer of EMQX's API that has them as `data`, with what it tells of them.
pub(super) fn elements(value: Value) -> Result<Vec<Value>, Value> {
    match value {
        Value::Array(elements) => Ok(elements),
        Value::Object(mut fields) => match fields.remove("data") {
            Some(Value::Array(elements)) => Ok(elements),
            Some(other) => {
                fields.insert("data".to_owned(), other);
                Err(Value::Object(fields))
            }
            None => Err(Value::Object(fields)),
        },
        other => Err(other),
    }
}
