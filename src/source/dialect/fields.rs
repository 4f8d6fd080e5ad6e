//! The values of a JSON object, each checked as it is taken.

use serde_json::{Map, Value};

use super::Refusal;

/// Times below this are seconds: as milliseconds it is in 1973, as seconds in the year 5138.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// An object that a broker sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A value; null, the text `undefined` and an empty one stand for no value.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty() && text != "undefined",
            _ => true,
        })
    }

    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = Refusal::Wrong { column: name, should: "a text" };
        value.as_str().map(Some).ok_or(wrong)
    }

    /// A text that must be there. Here `undefined` is a text as any other: a client may be called so.
    pub(super) fn required_text(self, name: &'static str) -> Result<&'a str, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Err(Refusal::Missing(name)),
            Some(Value::String(text)) if text.is_empty() => Err(Refusal::Missing(name)),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Refusal::Wrong { column: name, should: "a text" }),
        }
    }

    pub(super) fn number(self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // cJSON writes whole numbers of more than 53 bits, and some that are smaller, as decimals.
        let whole = value.as_u64().or_else(|| {
            let decimal = value.as_f64().filter(|number| number.fract() == 0.0)?;
            format!("{decimal:.0}").parse().ok()
        });
        let wrong = Refusal::Wrong { column: name, should: "a whole number from 0 up" };
        whole.map(Some).ok_or(wrong)
    }

    /// A time, in milliseconds whatever it was told in.
    pub(super) fn time(self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let time = self.number(name)?;
        Ok(time.map(|time| if time < SECONDS_BELOW { time * 1000 } else { time }))
    }

    pub(super) fn qos(self, name: &'static str) -> Result<Option<u64>, Refusal> {
        match self.number(name)? {
            Some(3..) => Err(Refusal::Wrong { column: name, should: "0, 1 or 2" }),
            qos => Ok(qos),
        }
    }

    /// `true`, `false`, 1 or 0.
    pub(super) fn boolean(self, name: &'static str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(value) if value.as_u64() == Some(0) => Ok(Some(false)),
            Some(value) if value.as_u64() == Some(1) => Ok(Some(true)),
            Some(_) => Err(Refusal::Wrong { column: name, should: "true or false" }),
        }
    }

    pub(super) fn object(
        self,
        name: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = Refusal::Wrong { column: name, should: "an object" };
        value.as_object().map(Some).ok_or(wrong)
    }
}
