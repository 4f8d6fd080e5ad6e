//! The body of a web hook: one JSON object, an array of them, or one after another.
//!
//! A payload is kept apart, as bytes: NanoMQ writes it into its JSON as it is, UTF-8 or not.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Refusal;

/// Events of one body: what it may take in memory is not to be much more than its bytes.
pub(super) const EVENTS_MAX: usize = 10_000;

/// What is wrong with an object that has two values of one name.
pub(super) const TWICE: &str = "a name stands in it twice";

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Body {
    pub(super) fields: Map<String, Value>,
    /// A payload that is a text, escapes undone.
    pub(super) payload: Option<Vec<u8>>,
}

impl Body {
    /// Every event of `bytes`, in their order; at least one.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<Self>, Refusal> {
        let wrong = |error: serde_json::Error| Refusal::not_json(&error);
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let bodies = if first == Some(&b'[') {
            let Bodies(bodies) = serde_json::from_slice(bytes).map_err(wrong)?;
            bodies
        } else {
            let objects = serde_json::Deserializer::from_slice(bytes).into_iter();
            objects.take(EVENTS_MAX + 1).collect::<Result<Vec<Self>, _>>().map_err(wrong)?
        };
        match bodies.len() {
            0 => Err(Refusal::NotJson("there is nothing in it".to_owned())),
            1..=EVENTS_MAX => Ok(bodies),
            _ => Err(Refusal::TooMany),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Body;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
                let mut body = Body { fields: Map::new(), payload: None };
                while let Some(key) = map.next_key::<String>()? {
                    if key == "payload" {
                        body.payload = map.next_value_seed(Payload)?;
                    } else {
                        // Two values of one name are two readings.
                        let value = map.next_value()?;
                        if body.fields.insert(key, value).is_some() {
                            return Err(A::Error::custom(TWICE));
                        }
                    }
                }
                Ok(body)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The elements of an array, and one too many where there are more than [`EVENTS_MAX`].
struct Bodies(Vec<Body>);

impl<'de> Deserialize<'de> for Bodies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Bodies;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Bodies, A::Error> {
                let mut bodies = Vec::new();
                while let Some(body) = elements.next_element()? {
                    if bodies.len() <= EVENTS_MAX {
                        bodies.push(body);
                    }
                }
                Ok(Bodies(bodies))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

/// The bytes of a text; nothing for null.
struct Payload;

impl<'de> DeserializeSeed<'de> for Payload {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Payload {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text as `payload`")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Some(bytes.to_vec()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.as_bytes().to_vec()))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}
