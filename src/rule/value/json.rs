//! JSON in and out.
//!
//! In: RFC 8259, integers kept to the last digit, texts without escapes share the bytes they came in, of a key that is
//! there twice the last counts. Bounded in depth, and a number too large for its type is no JSON.
//!
//! Out: `undefined` is the text `"undefined"`, each run of bytes that are not UTF-8 is one U+FFFD, floats are shortest
//! with a point, as EMQX 6.3 writes them (`1.0e3`).

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::float::write_shortest;
use super::scan::{digits_length, plain_length};
use super::{Integer, Map, Value};

/// Deepest nesting that is read.
pub const JSON_DEPTH_MAX: usize = 100;

/// A text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {position}")]
pub struct NotJson {
    /// Where reading stopped.
    pub position: usize,
}

impl Value {
    /// Reads JSON. The texts in the result share the bytes of `text`.
    pub fn parse_json(text: &Bytes) -> Result<Self, NotJson> {
        if let Err(error) = std::str::from_utf8(text) {
            return Err(NotJson { position: error.valid_up_to() });
        }
        let mut reader = Reader::new(text, 0);
        let value = reader.value(0);
        reader.skip_blanks();
        match value {
            Some(value) if reader.position == text.len() => Ok(value),
            _ => Err(NotJson { position: reader.position }),
        }
    }

    /// Writes JSON at the end of `out`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Undefined => out.extend_from_slice(b"\"undefined\""),
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(number) => write!(out, "{number}").expect("memory takes all"),
            Self::Float(number) => write_shortest(*number, out),
            Self::Text(text) => write_text(text, out),
            Self::Array(elements) => {
                out.push(b'[');
                for (place, element) in elements.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    element.write_json(out);
                }
                out.push(b']');
            }
            Self::Map(map) => write_map(map, out),
        }
    }

    /// The JSON of it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.write_json(&mut out);
        out
    }
}

/// Writes an object at the end of `out`.
pub(super) fn write_map(map: &Map, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (key, value)) in map.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        value.write_json(out);
    }
    out.push(b'}');
}

/// Writes a JSON text at the end of `out`.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if let Ok(text) = std::str::from_utf8(text) {
        write_escaped(text.as_bytes(), out);
    } else {
        let mut inside_bad_run = false;
        for chunk in text.utf8_chunks() {
            inside_bad_run &= chunk.valid().is_empty();
            write_escaped(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() && !inside_bad_run {
                out.extend_from_slice("\u{fffd}".as_bytes());
                inside_bad_run = true;
            }
        }
    }
    out.push(b'"');
}

fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain_length(text));
        out.extend_from_slice(plain);
        let Some((special, rest)) = rest.split_first() else { return };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => write!(out, "\\u{control:04X}").expect("memory takes all"),
        }
        text = rest;
    }
}

/// Where reading stands in a text.
pub(super) struct Reader<'text> {
    text: &'text Bytes,
    /// The same, without the way through [`Bytes`].
    bytes: &'text [u8],
    pub(super) position: usize,
}

impl<'text> Reader<'text> {
    pub(super) fn new(text: &'text Bytes, position: usize) -> Self {
        Self { text, bytes: text, position }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'text [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    pub(super) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.position += 1)
    }

    pub(super) fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_blanks();
        match self.peek()? {
            b'{' if depth < JSON_DEPTH_MAX => self.object(depth),
            b'[' if depth < JSON_DEPTH_MAX => self.array(depth),
            b'"' => self.text().map(Value::Text),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Option<Value> {
        self.rest().starts_with(word).then(|| {
            self.position += word.len();
            value
        })
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.take(b'{')?;
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(Value::map(Map::new()));
        }
        loop {
            self.skip_blanks();
            let key = self.text()?;
            self.skip_blanks();
            self.take(b':')?;
            entries.push((key, self.value(depth + 1)?));
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Value::Map(Arc::new(Map::from_entries(entries))));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.take(b'[')?;
        let mut elements = Vec::new();
        self.skip_blanks();
        if self.take(b']').is_some() {
            return Some(Value::array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Value::array(elements));
            }
        }
    }

    pub(super) fn text(&mut self) -> Option<Bytes> {
        self.take(b'"')?;
        let start = self.position;
        let rest = self.rest();
        let stop = plain_length(rest);
        self.position = start + stop;
        if self.take(b'"').is_some() {
            return Some(self.text.slice(start..start + stop));
        }
        let mut unescaped = rest.get(..stop)?.to_vec();
        loop {
            match self.peek()? {
                b'"' => {
                    self.position += 1;
                    return Some(unescaped.into());
                }
                b'\\' => {
                    self.position += 1;
                    self.escape(&mut unescaped)?;
                }
                control if control < 0x20 => return None,
                plain => {
                    self.position += 1;
                    unescaped.push(plain);
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let escape = self.peek()?;
        self.position += 1;
        match escape {
            b'"' | b'\\' | b'/' => out.push(escape),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let first = self.four_digits()?;
                let code_point = if (0xd800..0xdc00).contains(&first) {
                    self.take(b'\\')?;
                    self.take(b'u')?;
                    let second =
                        self.four_digits()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    0x1_0000 + ((first - 0xd800) << 10) + second
                } else {
                    first
                };
                let character = char::from_u32(code_point)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
        Some(())
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        self.position += 4;
        Some(number)
    }

    pub(super) fn digits(&mut self) -> usize {
        let digits = digits_length(self.rest());
        self.position += digits;
        digits
    }

    pub(super) fn number(&mut self) -> Option<Value> {
        let start = self.position;
        let negative = self.take(b'-').is_some();
        let leading_zero = self.peek()? == b'0';
        let whole_digits = self.digits();
        if whole_digits == 0 || (leading_zero && whole_digits > 1) {
            return None;
        }
        let mut is_float = false;
        if self.take(b'.').is_some() {
            is_float = true;
            (self.digits() > 0).then_some(())?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_float = true;
            self.position += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            (self.digits() > 0).then_some(())?;
        }
        let text = self.bytes.get(start..self.position)?;
        if is_float {
            return Value::float(std::str::from_utf8(text).ok()?.parse().ok()?);
        }
        if whole_digits <= 18 {
            let digits = text.get(usize::from(negative)..)?;
            let number = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            return Some(Value::int(if negative { -number } else { number }));
        }
        Integer::parse(text).map(Value::Int)
    }
}
