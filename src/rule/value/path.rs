//! Going into values by key and index, and building values along a path.
//!
//! A text on the way that is JSON is decoded, as EMQX does it, so that `payload.inner.a` works where `inner` is a JSON
//! text. Putting below a text does not decode it: the text is replaced.

use std::sync::Arc;

use bytes::Bytes;

use super::{Map, Value};

/// One step of a path to an element of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// `[0]`: nothing to read; puts in front.
    Head,
    /// `[-0]`: nothing to read; puts behind.
    Tail,
    /// From 1 on; from -1 downwards counted from the end. Zero, of a variable, is nothing.
    At(i64),
}

impl Value {
    /// The value under a key of an object, or of a text that is the JSON of one; undefined otherwise.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Self {
        let found = match self {
            Self::Map(map) => map.get(key).cloned(),
            Self::Text(text) => match Self::parse_json(text) {
                Ok(Self::Map(map)) => map.get(key).cloned(),
                _ => None,
            },
            _ => None,
        };
        found.unwrap_or(Self::Undefined)
    }

    /// An element of an array, or of a text that is the JSON of one; undefined otherwise.
    #[must_use]
    pub fn element(&self, index: Index) -> Self {
        let of = |elements: &[Self]| {
            let position = index.position(elements.len())?;
            elements.get(position).cloned()
        };
        let found = match self {
            Self::Array(elements) => of(elements),
            Self::Text(text) => match Self::parse_json(text) {
                Ok(Self::Array(elements)) => of(&elements),
                _ => None,
            },
            _ => None,
        };
        found.unwrap_or(Self::Undefined)
    }

    /// Puts a value under a key; what is not an object becomes one.
    pub fn put_key(&mut self, key: Bytes, value: Self) {
        if let Self::Map(map) = self {
            Arc::make_mut(map).insert(key, value);
        } else {
            *self = Self::map(Map::from_entries(vec![(key, value)]));
        }
    }

    /// Puts a value at an index: replaces what is there, does nothing where nothing is. What is not an array becomes one
    /// of this element.
    pub fn put_element(&mut self, index: Index, value: Self) {
        let Self::Array(elements) = self else {
            *self = Self::array(vec![value]);
            return;
        };
        match index {
            Index::Head => Arc::make_mut(elements).insert(0, value),
            Index::Tail => Arc::make_mut(elements).push(value),
            Index::At(_) => {
                let position = index.position(elements.len());
                if let Some(element) =
                    position.and_then(|position| Arc::make_mut(elements).get_mut(position))
                {
                    *element = value;
                }
            }
        }
    }
}

impl Index {
    /// Where it points to in an array of this length, from 0 on; `None` where nothing is.
    #[must_use]
    pub fn position(self, length: usize) -> Option<usize> {
        let Self::At(index) = self else { return None };
        let distance = usize::try_from(index.unsigned_abs()).ok()?;
        match index {
            1.. => distance.checked_sub(1).filter(|position| *position < length),
            0 => None,
            i64::MIN..0 => length.checked_sub(distance),
        }
    }
}
