//! Values as text.

use std::fmt::{self, Write as _};
use std::io;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize as _;
use serde_json::Value;

use super::{Escape, Form, Part, Placeholder, Template};
use crate::rule::value::{fixed_compact, shortest};

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Template {
    /// Renders with the columns in `data`; a path that leads nowhere gives `undefined`.
    #[must_use]
    pub fn render(&self, data: &Value, escape: Escape) -> String {
        let mut text = String::with_capacity(self.source.len() * 2);
        self.render_into(data, escape, &mut text);
        text
    }

    /// As [`Self::render`], at the end of `text`.
    pub fn render_into(&self, data: &Value, escape: Escape, text: &mut String) {
        let mut decoded = Decoded::default();
        let mut value_text = String::new();
        for part in &self.parts {
            match (part, escape) {
                (Part::Literal(literal), _) => text.push_str(literal),
                (Part::Placeholder(place), Escape::None) => place.write(data, &mut decoded, text),
                (Part::Placeholder(place), Escape::Url) => {
                    value_text.clear();
                    place.write(data, &mut decoded, &mut value_text);
                    text.extend(utf8_percent_encode(&value_text, RESERVED));
                }
            }
        }
    }
}

impl Template {
    /// The paths that lead nowhere in `data`, as they are written, in order.
    #[must_use]
    pub fn missing(&self, data: &Value) -> Vec<String> {
        let mut decoded = Decoded::default();
        let places = self.placeholders();
        let missing = places.filter(|place| lookup(&place.keys, data, &mut decoded).is_none());
        missing.map(|place| place.keys.join(".")).collect()
    }
}

impl Placeholder {
    fn write<'data>(&self, data: &'data Value, decoded: &mut Decoded<'data>, text: &mut String) {
        let value = lookup(&self.keys, data, decoded);
        let written = match (self.form, value) {
            (Form::Text, Some(value)) => write_text(value, text),
            (Form::Text, None) => text.write_str("undefined"),
            (Form::Json, Some(value)) => write_json(value, text),
            (Form::Json, None) => text.write_str("null"),
        };
        written.expect("a String takes all that is written to it");
    }
}

/// The texts that were decoded for this rendering, so that a payload is parsed once for all its placeholders.
#[derive(Default)]
struct Decoded<'data>(Vec<(&'data str, Option<Value>)>);

impl<'data> Decoded<'data> {
    /// The JSON in `text`, which is a value inside the data; `None` when it is not JSON.
    fn json(&mut self, text: &'data str) -> Option<&Value> {
        let known = self.0.iter().position(|(known, _)| std::ptr::eq(*known, text));
        let index = known.unwrap_or_else(|| {
            self.0.push((text, serde_json::from_str(text).ok()));
            self.0.len() - 1
        });
        self.0.get(index)?.1.as_ref()
    }
}

fn lookup<'data, 'found>(
    mut keys: &[Box<str>],
    data: &'data Value,
    decoded: &'found mut Decoded<'data>,
) -> Option<&'found Value>
where
    'data: 'found,
{
    let mut value = data;
    while let [key, rest @ ..] = keys {
        value = match value {
            Value::Object(object) => object.get(&**key)?,
            // Only one text on a path is decoded, as in EMQX: what is inside it is data.
            Value::String(text) => return lookup_plain(keys, decoded.json(text)?),
            _ => return None,
        };
        keys = rest;
    }
    Some(value)
}

fn lookup_plain<'found>(keys: &[Box<str>], data: &'found Value) -> Option<&'found Value> {
    keys.iter().try_fold(data, |value, key| value.as_object()?.get(&**key))
}

/// Writes a value as EMQX's `to_string` does.
fn write_text(value: &Value, text: &mut String) -> fmt::Result {
    match value {
        Value::String(string) => text.write_str(string),
        Value::Number(number) if number.is_f64() => {
            text.write_str(&fixed_compact(number.as_f64().unwrap_or_default(), 10))
        }
        Value::Array(elements) => match printable(elements) {
            Some(characters) => text.write_str(&characters),
            None => write_json(value, text),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => write!(text, "{value}"),
        Value::Object(_) => write_json(value, text),
    }
}

/// JSON with floats as EMQX writes them.
fn write_json(value: &Value, text: &mut String) -> fmt::Result {
    struct Floats;
    impl serde_json::ser::Formatter for Floats {
        fn write_f64<W: io::Write + ?Sized>(&mut self, out: &mut W, number: f64) -> io::Result<()> {
            out.write_all(shortest(number).as_bytes())
        }
    }
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Floats);
    value.serialize(&mut serializer).map_err(|_error| fmt::Error)?;
    text.push_str(std::str::from_utf8(&json).map_err(|_error| fmt::Error)?);
    Ok(())
}

/// The text that Erlang sees in a list whose elements are all printable code points; the empty list is one.
fn printable(elements: &[Value]) -> Option<String> {
    elements.iter().map(|element| printable_character(element.as_u64()?)).collect()
}

/// `io_lib:printable_unicode_list` for one element.
fn printable_character(code_point: u64) -> Option<char> {
    let code_point = u32::try_from(code_point).ok()?;
    let printable = matches!(
        code_point,
        0x08..=0x0d | 0x1b | 0x20..=0x7e | 0xa0..=0xd7ff | 0xe000..=0xfffd | 0x1_0000..=0x10_ffff
    );
    char::from_u32(code_point).filter(|_| printable)
}
