//! Objects: keys in the order of their bytes, each once.

use bytes::Bytes;

use super::json::write_map;
use super::{Excess, Value};

/// The keys and values of an object, sorted by key as Erlang sorts them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(Vec<(Bytes, Value)>);

impl Map {
    /// Nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Entries in any order; of a key that is there twice the last counts.
    #[must_use]
    pub fn from_entries(mut entries: Vec<(Bytes, Value)>) -> Self {
        if !entries.is_sorted_by(|(left, _), (right, _)| left < right) {
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            // `dedup_by` keeps the first of equal neighbours: hand it the later value before it goes.
            entries.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    std::mem::swap(&mut later.1, &mut kept.1);
                }
                same
            });
        }
        Self(entries)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        let position = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        self.0.get(position).map(|(_, value)| value)
    }

    /// Puts a value under a key, over what was there.
    pub fn insert(&mut self, key: Bytes, value: Value) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(position) => {
                if let Some((_, known)) = self.0.get_mut(position) {
                    *known = value;
                }
            }
            Err(position) => self.0.insert(position, (key, value)),
        }
    }

    /// Keys and values in the order of the keys.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The JSON of the object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        write_map(self, &mut out);
        out
    }

    /// As [`Value::weight_up_to`].
    pub fn weight_up_to(&self, most: usize) -> Result<usize, Excess> {
        let mut left = most;
        self.weigh(&mut left, 1).map(|()| most - left)
    }

    pub(super) fn weigh(&self, left: &mut usize, depth: usize) -> Result<(), Excess> {
        self.iter().try_for_each(|(key, value)| {
            *left = left.checked_sub(key.len()).ok_or(Excess::Bytes)?;
            value.weigh(left, depth)
        })
    }
}
