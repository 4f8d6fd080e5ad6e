//! Values of the rule language: what columns hold, expressions give and outputs are made of.
//!
//! They follow Erlang's terms as far as a rule can see them: integers of any size (up to a bound), finite floats, texts that
//! are bytes, and `undefined` (nothing there) beside JSON's `null`. Copies are cheap: what is large is shared.
//!
//! `==` is strict, as in `IN` and `CASE x WHEN`: `1` is not `1.0`. Comparison with coercion is [`Value::compare`].

mod arithmetic;
mod float;
mod integer;
mod json;
mod map;
mod members;
mod order;
mod path;
mod scan;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub use float::{fixed, fixed_compact, shortest};
pub use integer::{INTEGER_BITS_MAX, Integer};
pub use json::{JSON_DEPTH_MAX, NotJson, write_text};
pub use map::Map;
pub use members::Members;
pub use order::{float_in, number_in};
pub use path::Index;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing there: a column or key that does not exist.
    Undefined,
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(Integer),
    /// A finite number that is not whole by type; made by [`Value::float`].
    Float(f64),
    /// Bytes, usually UTF-8.
    Text(Bytes),
    /// Elements, counted from 1.
    Array(Arc<Vec<Value>>),
    /// Keys and values.
    Map(Arc<Map>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A text from one that is not kept.
    #[must_use]
    pub fn text_of(text: impl AsRef<[u8]>) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_ref()))
    }

    /// A whole number.
    pub fn int(number: impl Into<Integer>) -> Self {
        Self::Int(number.into())
    }

    /// A float; `None` when it is infinite or not a number, which no value is.
    #[must_use]
    pub fn float(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Float(number))
    }

    /// An array.
    #[must_use]
    pub fn array(elements: Vec<Self>) -> Self {
        Self::Array(Arc::new(elements))
    }

    /// A map.
    #[must_use]
    pub fn map(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }

    /// Whether it is undefined.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// The bytes of a text.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A text that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// A whole number that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self { number.to_i64() } else { None }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    /// The keys and values of a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// What kind of value it is, for messages: `an integer`, `a text`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Array(_) => "an array",
            Self::Map(_) => "an object",
        }
    }

    /// As text, in the way of EMQX's `str()` and of `+` with a text: a float has at most ten decimals with trailing zeros
    /// cut but one, arrays and objects are JSON, `undefined` and `null` are their names. An array that [`printable`] takes
    /// for a text is that text.
    #[must_use]
    pub fn to_text(&self) -> Bytes {
        match self {
            Self::Undefined => Bytes::from_static(b"undefined"),
            Self::Null => Bytes::from_static(b"null"),
            Self::Bool(true) => Bytes::from_static(b"true"),
            Self::Bool(false) => Bytes::from_static(b"false"),
            Self::Int(number) => Bytes::from(number.to_string()),
            Self::Float(number) => Bytes::from(fixed_compact(*number, 10)),
            Self::Text(text) => text.clone(),
            Self::Array(elements) => match printable(elements) {
                Some(text) => Bytes::from(text),
                None => Bytes::from(self.to_json()),
            },
            Self::Map(_) => Bytes::from(self.to_json()),
        }
    }

    /// For a message to a person: the JSON of it, cut to a length that fits a line.
    #[must_use]
    pub fn shown(&self) -> String {
        const CHARACTERS_MAX: usize = 60;
        if self.is_undefined() {
            return "undefined".to_owned();
        }
        let json = String::from_utf8_lossy(&self.to_json()).into_owned();
        match json.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", json.get(..end).unwrap_or_default()),
            None => json,
        }
    }

    /// The bytes that this value stands for when it is written out, roughly. An error when they are more than `most` or when
    /// it is too deep, which is found out without walking further: shared parts can stand for more than memory holds.
    pub fn weight_up_to(&self, most: usize) -> Result<usize, Excess> {
        let mut left = most;
        self.weigh(&mut left, 0).map(|()| most - left)
    }

    /// As [`Self::weight_up_to`], for a value that is known to be bounded.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight_up_to(usize::MAX).unwrap_or(usize::MAX)
    }

    fn weigh(&self, left: &mut usize, depth: usize) -> Result<(), Excess> {
        const FLAT: usize = 16;
        let own = match self {
            Self::Text(text) => text.len(),
            Self::Int(number) => number.digits_beyond_64_bits(),
            _ => 0,
        };
        *left = left.checked_sub(FLAT + own).ok_or(Excess::Bytes)?;
        match self {
            Self::Array(_) | Self::Map(_) if depth >= MADE_DEPTH_MAX => Err(Excess::Depth),
            Self::Array(elements) => {
                elements.iter().try_for_each(|element| element.weigh(left, depth + 1))
            }
            Self::Map(map) => map.weigh(left, depth + 1),
            _ => Ok(()),
        }
    }

    /// The same value with bytes of its own, for what is kept: texts read from a payload hold on to all of it.
    #[must_use]
    pub fn detached(&self) -> Self {
        match self {
            Self::Text(text) => Self::text_of(text),
            Self::Array(elements) => Self::array(elements.iter().map(Self::detached).collect()),
            Self::Map(map) => {
                let own =
                    |(key, value): (&Bytes, &Self)| (Bytes::copy_from_slice(key), value.detached());
                Self::map(Map::from_entries(map.iter().map(own).collect()))
            }
            other => other.clone(),
        }
    }
}

/// Why a value is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// More bytes than it may stand for.
    Bytes,
    /// Deeper than [`MADE_DEPTH_MAX`].
    Depth,
}

/// Deepest nesting of what expressions make: more than is read, for a payload that goes into another object, and less
/// than the 127 that `serde_json` reads.
pub const MADE_DEPTH_MAX: usize = 120;

/// The text that Erlang sees in a list whose elements are all codes of printable Latin-1 characters; the empty list is one.
#[must_use]
pub fn printable(elements: &[Value]) -> Option<String> {
    let character = |element: &Value| {
        let code = element.as_i64()?;
        let seen = matches!(code, 8..=13 | 27 | 32..=126 | 160..=255);
        u8::try_from(code).ok().filter(|_| seen).map(char::from)
    };
    elements.iter().map(character).collect()
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
