//! `sprintf`: the format language of Erlang's `io:format`, as far as values of the rule language go.

use ::bytes::Bytes;

use super::argument::{made, wrong, wrong_type};
use super::convert::characters_of;
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::{Integer, Value, printable, shortest};

/// Widest field and most decimals.
const WIDTH_MAX: i64 = 100_000;
const DECIMALS_MAX: i64 = 253;

/// Puts `values` into `format`; every value must be used, and none may be missing.
pub(super) fn format(format: &[u8], values: &[Value]) -> Result<Value, RunError> {
    let mut reader = Reader { format, values };
    let mut out = Vec::new();
    while let Some(byte) = reader.next_byte() {
        if byte == b'~' {
            let directive = reader.directive()?;
            reader.write(&directive, &mut out)?;
        } else {
            out.push(byte);
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(RunError::text_too_long());
        }
    }
    if !reader.values.is_empty() {
        return Err(wrong(format!(
            "the format does not use {} of the values",
            reader.values.len()
        )));
    }
    made(out)
}

/// `~F.P.PadC`.
struct Directive {
    width: Option<i64>,
    precision: Option<i64>,
    pad: u8,
    /// `t`: what is not Latin-1 may be shown.
    unicode: bool,
    control: u8,
}

struct Reader<'call> {
    format: &'call [u8],
    values: &'call [Value],
}

impl<'call> Reader<'call> {
    fn next_byte(&mut self) -> Option<u8> {
        let (first, rest) = self.format.split_first()?;
        self.format = rest;
        Some(*first)
    }

    fn next_is(&mut self, byte: u8) -> bool {
        let is = self.format.first() == Some(&byte);
        if is {
            self.next_byte();
        }
        is
    }

    fn value(&mut self) -> Result<&'call Value, RunError> {
        let (first, rest) =
            self.values.split_first().ok_or_else(|| wrong("the format needs more values"))?;
        self.values = rest;
        Ok(first)
    }

    fn directive(&mut self) -> Result<Directive, RunError> {
        let left = self.next_is(b'-');
        let width = self.number()?.map(|width| if left { -width } else { width });
        let precision = if self.next_is(b'.') { self.number()? } else { None };
        let pad = if self.next_is(b'.') { self.next_byte().unwrap_or(b' ') } else { b' ' };
        let mut unicode = false;
        while let Some(modifier @ (b't' | b'l' | b'k' | b'K')) = self.format.first().copied() {
            self.next_byte();
            unicode |= modifier == b't';
        }
        let control = self.next_byte().ok_or_else(|| wrong("the format ends within `~`"))?;
        Ok(Directive { width, precision, pad, unicode, control })
    }

    /// Digits, or `*` for the next value.
    fn number(&mut self) -> Result<Option<i64>, RunError> {
        let number = if self.next_is(b'*') {
            self.value()?
                .as_i64()
                .ok_or_else(|| wrong_type("`*` in the format needs an integer"))?
        } else {
            let count = self.format.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count == 0 {
                return Ok(None);
            }
            let (digits, rest) = self.format.split_at(count);
            self.format = rest;
            Integer::parse(digits).and_then(|number| number.to_i64()).unwrap_or(i64::MAX)
        };
        if number.abs() > WIDTH_MAX {
            return Err(wrong(format!("a field of {number} characters is too wide")));
        }
        Ok(Some(number))
    }

    fn write(&mut self, directive: &Directive, out: &mut Vec<u8>) -> Result<(), RunError> {
        let text = match directive.control {
            b'~' | b'n' => {
                let byte = if directive.control == b'n' { b'\n' } else { b'~' };
                let count = usize::try_from(directive.width.unwrap_or(1)).unwrap_or(0);
                out.extend(std::iter::repeat_n(byte, count));
                return Ok(());
            }
            b'i' => {
                self.value()?;
                return Ok(());
            }
            b's' => return directive.text(self.value()?, out),
            b'c' => return directive.character(self.value()?, out),
            b'w' => written(self.value()?, Style::Plain),
            b'W' => {
                let text = written(self.value()?, Style::Plain);
                self.value()?;
                text
            }
            // Their width is that of a line.
            b'p' | b'P' => {
                out.extend_from_slice(written(self.value()?, directive.pretty()).as_bytes());
                if directive.control == b'P' {
                    self.value()?;
                }
                return Ok(());
            }
            b'f' | b'e' | b'g' => directive.float(self.value()?)?,
            b'b' | b'B' | b'x' | b'X' | b'+' | b'#' => {
                let number = self.value()?;
                let prefix = match directive.control {
                    b'x' | b'X' => self.value()?.to_text(),
                    _ => Bytes::new(),
                };
                directive.integer(number, &prefix)?
            }
            other => {
                let other = char::from(other).escape_default().to_string();
                return Err(wrong(format!("`~{other}` is not a directive of a format")));
            }
        };
        directive.field(&text, out);
        Ok(())
    }
}

impl Directive {
    fn pretty(&self) -> Style {
        if self.unicode { Style::Unicode } else { Style::Latin1 }
    }

    /// Puts a text into its field; what is wider than the field becomes `*`, as in Erlang.
    fn field(&self, text: &str, out: &mut Vec<u8>) {
        let width = self.width.map_or(0, i64::unsigned_abs);
        let width = usize::try_from(width).unwrap_or(0);
        let length = text.chars().count();
        if width > 0 && length > width {
            out.extend(std::iter::repeat_n(b'*', width));
        } else {
            self.padded(text.as_bytes(), width.saturating_sub(length), out);
        }
    }

    fn padded(&self, text: &[u8], missing: usize, out: &mut Vec<u8>) {
        let pad = std::iter::repeat_n(self.pad, missing);
        if self.width.is_some_and(i64::is_negative) {
            out.extend_from_slice(text);
            out.extend(pad);
        } else {
            out.extend(pad);
            out.extend_from_slice(text);
        }
    }

    /// `~s`: cut or filled up to the precision, then put into the field.
    fn text(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), RunError> {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Bool(_) | Value::Null | Value::Undefined => value.to_text(),
            Value::Array(elements) => characters_of(elements)
                .ok_or_else(|| wrong_type("`~s` needs a text, not an array"))?
                .into(),
            other => {
                let kind = other.kind();
                return Err(wrong_type(format!("`~s` needs a text, not {kind}; write `~p`")));
            }
        };
        let size = |number: i64| usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
        let (width, precision) = (self.width.map(size), self.precision.map(size));
        let Some(limit) = precision.or(width) else {
            out.extend_from_slice(&text);
            return Ok(());
        };
        let width = width.unwrap_or(limit);
        if width < limit {
            return Err(wrong("the precision of `~s` is more than its width"));
        }
        let text = String::from_utf8_lossy(&text);
        let mut kept: String = text.chars().take(limit).collect();
        if width > limit || self.width.is_none() {
            let missing = limit.saturating_sub(kept.chars().count());
            kept.extend(std::iter::repeat_n(char::from(self.pad), missing));
        }
        let length = kept.chars().count();
        self.padded(kept.as_bytes(), width.saturating_sub(length), out);
        Ok(())
    }

    /// `~c`: a character, as often as the precision says, or the width.
    fn character(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), RunError> {
        let code = value.as_i64().and_then(|code| u32::try_from(code).ok());
        let character = code
            .and_then(char::from_u32)
            .ok_or_else(|| wrong_type(format!("`~c` needs a code point, not {}", value.shown())))?;
        let width = self.width.map(i64::abs);
        let count = self.precision.map(i64::abs).or(width).unwrap_or(1);
        let text = String::from(character).repeat(usize::try_from(count).unwrap_or(0));
        let missing = width.unwrap_or(count).saturating_sub(count);
        self.padded(text.as_bytes(), usize::try_from(missing).unwrap_or(0), out);
        Ok(())
    }

    fn float(&self, value: &Value) -> Result<String, RunError> {
        let control = char::from(self.control);
        let Value::Float(number) = value else {
            let kind = value.kind();
            return Err(wrong_type(format!("`~{control}` needs a float, not {kind}; write `~p`")));
        };
        let precision = self.precision.unwrap_or(6);
        let least = if self.control == b'f' { 1 } else { 2 };
        if !(least..=DECIMALS_MAX).contains(&precision) {
            return Err(wrong(format!(
                "`~{control}` needs a precision from {least} to {DECIMALS_MAX}"
            )));
        }
        let precision = usize::try_from(precision).unwrap_or(6);
        let before_point = match number.abs() {
            tiny if tiny < 0.1 => None,
            fraction if fraction < 1.0 => Some(0),
            units if units < 10.0 => Some(1),
            tens if tens < 100.0 => Some(2),
            hundreds if hundreds < 1000.0 => Some(3),
            thousands if thousands < 10_000.0 => Some(4),
            _ => None,
        };
        Ok(match (self.control, before_point) {
            (b'f', _) => format!("{number:.precision$}"),
            (b'g', Some(before)) => {
                format!("{number:.0$}", precision.saturating_sub(before).max(1))
            }
            _ => with_exponent(*number, precision - 1),
        })
    }

    /// In the base that the precision names.
    fn integer(&self, value: &Value, prefix: &[u8]) -> Result<String, RunError> {
        let control = char::from(self.control);
        let Value::Int(number) = value else {
            return Err(wrong_type(format!("`~{control}` needs an integer, not {}", value.kind())));
        };
        let base = self.precision.unwrap_or(10);
        let base = u32::try_from(base)
            .ok()
            .filter(|base| (2..=36).contains(base))
            .ok_or_else(|| wrong(format!("base {base} is not from 2 to 36")))?;
        let mut digits = number.to_big().to_str_radix(base);
        if matches!(self.control, b'B' | b'X' | b'#') {
            digits.make_ascii_uppercase();
        }
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", digits.as_str()),
        };
        let prefix = match self.control {
            b'+' | b'#' => format!("{base}#"),
            _ => String::from_utf8_lossy(prefix).into_owned(),
        };
        Ok(format!("{sign}{prefix}{digits}"))
    }
}

/// `~e`: `3.14159e+0`.
fn with_exponent(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// How a term is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `~w`: texts as their bytes.
    Plain,
    /// `~p`: what is printable Latin-1 as text.
    Latin1,
    /// `~tp`: what is printable as text.
    Unicode,
}

/// A value as Erlang writes a term.
fn written(value: &Value, style: Style) -> String {
    match value {
        Value::Float(number) => shortest(*number),
        Value::Text(text) => written_text(text, style),
        Value::Array(elements) => {
            let text = printable(elements).filter(|text| style != Style::Plain && !text.is_empty());
            if let Some(text) = text {
                return format!("\"{}\"", escaped(&text));
            }
            let elements: Vec<_> = elements.iter().map(|it| written(it, style)).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Map(map) => {
            let entry = |(key, value): (&Bytes, &Value)| {
                format!("{} => {}", written_text(key, style), written(value, style))
            };
            format!("#{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        _ => String::from_utf8_lossy(&value.to_text()).into_owned(),
    }
}

fn written_text(bytes: &[u8], style: Style) -> String {
    let seen = |byte: u8| matches!(byte, 8..=13 | 27 | 32..=126 | 160..=255);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    match (style, text) {
        // The bytes of UTF-8 as they are: in EMQX they are taken for Latin-1 and come out the same.
        (Style::Latin1, Some(text)) if bytes.iter().all(|byte| seen(*byte)) => {
            format!("<<\"{}\">>", escaped(text))
        }
        (Style::Unicode, Some(text))
            if text.chars().all(|it| u8::try_from(it).is_ok_and(seen) || u32::from(it) > 255) =>
        {
            let encoding = if text.is_ascii() { "" } else { "/utf8" };
            format!("<<\"{}\"{encoding}>>", escaped(text))
        }
        _ => {
            let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
            format!("<<{}>>", bytes.join(","))
        }
    }
}

fn escaped(text: &str) -> String {
    let escape = |character: char| match character {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}
