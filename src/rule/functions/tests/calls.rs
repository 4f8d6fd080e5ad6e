//! Reads calls of functions with literals, arrays and columns, which is most of what the vectors are made of.

use std::collections::BTreeMap;

use crate::rule::functions::lookup;
use crate::rule::run::Context;
use crate::rule::value::{Value, number_in};

/// Columns by name.
#[derive(Debug, Default)]
pub(super) struct Columns(BTreeMap<String, Value>);

impl Columns {
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Context for Columns {
    fn column(&self, name: &str) -> Value {
        self.0.get(name).cloned().unwrap_or(Value::Undefined)
    }
}

/// The value or the error message of an expression; `None` for those that are more than calls.
pub(super) fn evaluate(text: &str, columns: &Columns) -> Option<Result<Value, String>> {
    let mut reader = Reader { rest: text, columns };
    let value = reader.value()?;
    reader.rest.trim().is_empty().then_some(value)
}

struct Reader<'call> {
    rest: &'call str,
    columns: &'call Columns,
}

impl Reader<'_> {
    fn take(&mut self, character: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn values(&mut self, end: char) -> Option<Result<Vec<Value>, String>> {
        let mut values = Vec::new();
        while !self.take(end) {
            values.push(self.value()?);
            if !self.take(',') {
                return self.take(end).then(|| values.into_iter().collect());
            }
        }
        Some(values.into_iter().collect())
    }

    fn value(&mut self) -> Option<Result<Value, String>> {
        if self.take('\'') {
            let (text, rest) = self.rest.split_once('\'')?;
            self.rest = rest;
            return Some(Ok(Value::text_of(text)));
        }
        if self.take('[') {
            return Some(self.values(']')?.map(Value::array));
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|it: char| !it.is_alphanumeric() && !"_.-".contains(it));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if let Some(number) = number_in(word.as_bytes()) {
            return Some(Ok(number));
        }
        if word.is_empty() || word.contains(['.', '-']) {
            return None;
        }
        if !self.take('(') {
            return Some(Ok(match word {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                name => self.columns.column(name),
            }));
        }
        let values = self.values(')')?;
        Some(values.and_then(|values| self.call(word, &values)))
    }

    fn call(&mut self, name: &str, values: &[Value]) -> Result<Value, String> {
        let function = lookup(name).ok_or("no such function")?;
        if !function.takes(values.len()) {
            return Err(function.arity());
        }
        function.call(self.columns, values).map_err(|error| error.message)
    }
}
