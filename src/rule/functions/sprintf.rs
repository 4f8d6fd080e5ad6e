//! `sprintf`: the format language of Erlang's `io:format`, as far as values of the rule language go.

use ::bytes::Bytes;

use super::argument::{made, wrong, wrong_type};
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::{Integer, Value, printable};

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
        while matches!(self.format.first(), Some(b't' | b'l' | b'k' | b'K')) {
            self.next_byte();
        }
        let control = self.next_byte().ok_or_else(|| wrong("the format ends within `~`"))?;
        Ok(Directive { width, precision, pad, control })
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
            b'w' => written(self.value()?, false),
            b'p' => written(self.value()?, true),
            b'W' | b'P' => {
                let text = written(self.value()?, directive.control == b'P');
                self.value()?;
                text
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

    /// `~s`: cut to the precision, or to the width.
    fn text(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), RunError> {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Bool(_) | Value::Null | Value::Undefined => value.to_text(),
            Value::Array(elements) => match printable(elements) {
                Some(text) => text.into(),
                None => return Err(wrong_type("`~s` needs a text, not an array")),
            },
            other => {
                let kind = other.kind();
                return Err(wrong_type(format!("`~s` needs a text, not {kind}; write `~p`")));
            }
        };
        let (width, precision) = (self.width.map(i64::abs), self.precision.map(i64::abs));
        let Some(limit) = precision.or(width).and_then(|limit| usize::try_from(limit).ok()) else {
            out.extend_from_slice(&text);
            return Ok(());
        };
        let text = String::from_utf8_lossy(&text);
        let kept: String = text.chars().take(limit).collect();
        let length = kept.chars().count();
        let width = width.and_then(|width| usize::try_from(width).ok()).unwrap_or(limit);
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

/// A value as Erlang writes a term: with `pretty`, what can be printed as text is.
fn written(value: &Value, pretty: bool) -> String {
    match value {
        Value::Float(number) => erlang_float(*number),
        Value::Text(text) => written_text(text, pretty),
        Value::Array(elements) => {
            let text = printable(elements).filter(|text| pretty && !text.is_empty());
            if let Some(text) = text {
                return format!("\"{}\"", escaped(&text));
            }
            let elements: Vec<_> = elements.iter().map(|it| written(it, pretty)).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Map(map) => {
            let entry = |(key, value): (&Bytes, &Value)| {
                format!("{} => {}", written_text(key, pretty), written(value, pretty))
            };
            format!("#{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        _ => String::from_utf8_lossy(&value.to_text()).into_owned(),
    }
}

fn written_text(text: &[u8], pretty: bool) -> String {
    let readable = std::str::from_utf8(text).ok().filter(|text| {
        pretty && text.chars().all(|it| !it.is_control() || matches!(it, '\n' | '\t' | '\r'))
    });
    match readable {
        Some(text) if text.is_ascii() => format!("<<\"{}\">>", escaped(text)),
        Some(text) => format!("<<\"{}\"/utf8>>", escaped(text)),
        None => {
            let bytes: Vec<_> = text.iter().map(u8::to_string).collect();
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
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}

/// The shortest digits that give the float back, with an exponent only where that is shorter (`io_lib_format`).
fn erlang_float(number: f64) -> String {
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let place = exponent + 1;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let exponent_cost =
        i32::try_from(exponent.to_string().len()).unwrap_or(0) + if count == 1 { 3 } else { 2 };
    let body = if number == 0.0 {
        "0.0".to_owned()
    } else if place == 0 {
        format!("0.{digits}")
    } else if place < 0 && 2 - place <= exponent_cost {
        format!("0.{}{digits}", zeros(-place))
    } else if place >= count && place - count + 2 <= exponent_cost {
        format!("{digits}{}.0", zeros(place - count))
    } else if place < 0 || place >= count {
        let (first, rest) = digits.split_at(1);
        format!("{first}.{}e{exponent}", if rest.is_empty() { "0" } else { rest })
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(place).unwrap_or(0));
        format!("{whole}.{fraction}")
    };
    format!("{sign}{body}")
}
