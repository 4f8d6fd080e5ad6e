//! What a function takes and gives, and reading arguments whose kinds have been checked.

use std::borrow::Cow;

use ::bytes::Bytes;

use crate::rule::run::{Reason, RunError};
use crate::rule::value::{Integer, Value};

/// A kind of value, as signatures name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything, `undefined` and `null` included.
    Any,
    /// Only ever `undefined`.
    Undefined,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A float.
    Float,
    /// An integer or a float.
    Number,
    /// A text; its bytes need not be UTF-8.
    Text,
    /// A text or a boolean, which stands for its name: EMQX's atoms.
    Word,
    /// A text or an integer.
    TextOrInt,
    /// An array.
    Array,
    /// An object, a text that is the JSON of one, or `[]`.
    Object,
}

impl Kind {
    /// As signatures write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Undefined => "undefined",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Float => "float",
            Self::Number => "number",
            Self::Text | Self::Word => "text",
            Self::TextOrInt => "text or integer",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Undefined => value.is_undefined(),
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::Int => matches!(value, Value::Int(_)),
            Self::Float => matches!(value, Value::Float(_)),
            Self::Number => matches!(value, Value::Int(_) | Value::Float(_)),
            Self::Text => matches!(value, Value::Text(_)),
            Self::Word => matches!(value, Value::Text(_) | Value::Bool(_)),
            Self::TextOrInt => matches!(value, Value::Text(_) | Value::Int(_)),
            Self::Array => matches!(value, Value::Array(_)),
            Self::Object => match value {
                Value::Map(_) | Value::Text(_) => true,
                Value::Array(elements) => elements.is_empty(),
                _ => false,
            },
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Undefined => "undefined",
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Number => "a number",
            Self::Text | Self::Word => "a text",
            Self::TextOrInt => "a text or an integer",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// As signatures and messages name it.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out; those after it may be left out too.
    pub optional: bool,
    /// Whether it may be given any number of times, none included; the last one only.
    pub repeated: bool,
}

impl Argument {
    /// One that must be given.
    pub(super) const fn needed(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false, repeated: false }
    }

    /// One that may be left out.
    pub(super) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: true, repeated: false }
    }

    /// Any number of them, at the end.
    pub(super) const fn repeated(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: true, repeated: true }
    }

    /// Refuses what it does not take. `position` counts from 1.
    pub(super) fn check(
        &self,
        function: &str,
        position: usize,
        value: &Value,
    ) -> Result<(), RunError> {
        if self.kind.takes(value) {
            return Ok(());
        }
        let is = match value {
            Value::Undefined | Value::Null => format!("which is {}", value.kind()),
            _ => format!("not {}, {}", value.kind(), value.shown()),
        };
        let (name, wanted) = (self.name, self.kind.wanted());
        let place = format!("`{function}` needs {wanted} as argument {position} ({name})");
        Err(RunError::new(Reason::WrongType, format!("{place}, {is}")))
    }
}

/// A wrong value of the right type.
pub(super) fn wrong(message: impl Into<String>) -> RunError {
    RunError::new(Reason::WrongValue, message)
}

/// A wrong type that the signature could not tell.
pub(super) fn wrong_type(message: impl Into<String>) -> RunError {
    RunError::new(Reason::WrongType, message)
}

/// The argument at a place, from 0 on.
pub(super) fn any(arguments: &[Value], place: usize) -> &Value {
    arguments.get(place).unwrap_or(&Value::Undefined)
}

/// The text at a place.
pub(super) fn text(arguments: &[Value], place: usize) -> Result<&Bytes, RunError> {
    any(arguments, place).as_bytes().ok_or_else(|| unchecked(arguments, place))
}

/// The text at a place, where a boolean stands for its name.
pub(super) fn word(arguments: &[Value], place: usize) -> Result<Bytes, RunError> {
    match any(arguments, place) {
        Value::Text(text) => Ok(text.clone()),
        named @ Value::Bool(_) => Ok(named.to_text()),
        _ => Err(unchecked(arguments, place)),
    }
}

/// The text at a place, which must be UTF-8; a boolean stands for its name.
pub(super) fn characters(arguments: &[Value], place: usize) -> Result<Cow<'_, str>, RunError> {
    let not_utf8 = || wrong("the text is not UTF-8");
    match any(arguments, place) {
        Value::Text(text) => {
            std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_error| not_utf8())
        }
        Value::Bool(true) => Ok(Cow::Borrowed("true")),
        Value::Bool(false) => Ok(Cow::Borrowed("false")),
        _ => Err(unchecked(arguments, place)),
    }
}

/// The integer at a place.
pub(super) fn integer(arguments: &[Value], place: usize) -> Result<&Integer, RunError> {
    match any(arguments, place) {
        Value::Int(number) => Ok(number),
        _ => Err(unchecked(arguments, place)),
    }
}

/// The integer at a place, brought into 64 bits: what is beyond stands for its end.
pub(super) fn small(arguments: &[Value], place: usize) -> Result<i64, RunError> {
    let number = integer(arguments, place)?;
    let end = if *number < Integer::from(0) { i64::MIN } else { i64::MAX };
    Ok(number.to_i64().unwrap_or(end))
}

/// The number at a place as a float.
pub(super) fn float(arguments: &[Value], place: usize) -> Result<f64, RunError> {
    match any(arguments, place) {
        Value::Int(number) => number.to_f64().ok_or_else(RunError::number_too_large),
        Value::Float(number) => Ok(*number),
        _ => Err(unchecked(arguments, place)),
    }
}

/// The elements of the array at a place.
pub(super) fn array(arguments: &[Value], place: usize) -> Result<&[Value], RunError> {
    any(arguments, place).as_array().ok_or_else(|| unchecked(arguments, place))
}

/// One of some words that a function takes as an option; `default` where it is left out.
pub(super) fn option<'words>(
    arguments: &[Value],
    place: usize,
    words: &[&'words str],
    default: &'words str,
) -> Result<&'words str, RunError> {
    let Some(given) = arguments.get(place) else { return Ok(default) };
    let bytes = given.as_bytes().map(AsRef::as_ref).unwrap_or_default();
    let found = words.iter().find(|known| known.as_bytes() == bytes);
    found.copied().ok_or_else(|| {
        let known = words.join("', '");
        wrong(format!("{} is not one of '{known}'", given.shown()))
    })
}

/// A text that a function made.
pub(super) fn made(text: impl Into<Bytes>) -> Result<Value, RunError> {
    let text = text.into();
    if text.len() > crate::rule::run::TEXT_BYTES_MAX {
        return Err(RunError::text_too_long());
    }
    Ok(Value::Text(text))
}

/// An array that a function made.
pub(super) fn made_array(elements: Vec<Value>) -> Result<Value, RunError> {
    if elements.len() > crate::rule::run::ELEMENTS_MAX {
        return Err(RunError::array_too_long());
    }
    Ok(Value::array(elements))
}

/// What a checked argument cannot be: a mistake in the table, which the tests look for.
fn unchecked(arguments: &[Value], place: usize) -> RunError {
    wrong_type(format!("argument {} cannot be {}", place + 1, any(arguments, place).kind()))
}
