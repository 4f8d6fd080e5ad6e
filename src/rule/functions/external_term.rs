//! Erlang's external term format (version 131), as far as values of the rule language go.

use std::io::Read as _;

use ::bytes::{Buf, Bytes};
use flate2::read::ZlibDecoder;
use num_bigint::{BigInt, Sign};

use super::argument::{made_array, wrong};
use crate::rule::run::{ELEMENTS_MAX, RunError, TEXT_BYTES_MAX};
use crate::rule::value::{Integer, JSON_DEPTH_MAX, Map, Value};

const VERSION: u8 = 131;
const COMPRESSED: u8 = 80;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT_TEXT: u8 = 99;
const ATOM: u8 = 100;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;
const NEW_FLOAT: u8 = 70;

/// The bytes of a value, as `term_to_binary` makes them.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut out = vec![VERSION];
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Undefined | Value::Null | Value::Bool(_) => {
            let name = value.to_text();
            out.extend([SMALL_ATOM_UTF8, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
            out.extend_from_slice(&name);
        }
        Value::Int(number) => write_integer(number, out),
        Value::Float(number) => {
            out.push(NEW_FLOAT);
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(BINARY);
            out.extend(length(text.len()));
            out.extend_from_slice(text);
        }
        Value::Array(elements) => write_array(elements, out),
        Value::Map(map) => {
            out.push(MAP);
            out.extend(length(map.len()));
            for (key, value) in map.iter() {
                write(&Value::Text(key.clone()), out);
                write(value, out);
            }
        }
    }
}

/// Lengths are below the bounds on values, which are far below 4 GiB.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn write_integer(number: &Integer, out: &mut Vec<u8>) {
    let small = number.to_i64();
    if let Some(byte) = small.and_then(|number| u8::try_from(number).ok()) {
        out.extend([SMALL_INTEGER, byte]);
    } else if let Some(number) = small.and_then(|number| i32::try_from(number).ok()) {
        out.push(INTEGER);
        out.extend(number.to_be_bytes());
    } else {
        let (sign, digits) = number.to_big().to_bytes_le();
        if let Ok(count) = u8::try_from(digits.len()) {
            out.extend([SMALL_BIG, count]);
        } else {
            out.push(LARGE_BIG);
            out.extend(length(digits.len()));
        }
        out.push(u8::from(sign == Sign::Minus));
        out.extend(digits);
    }
}

fn write_array(elements: &[Value], out: &mut Vec<u8>) {
    let byte = |element: &Value| element.as_i64().and_then(|number| u8::try_from(number).ok());
    let bytes: Option<Vec<u8>> = elements.iter().map(byte).collect();
    match (bytes, u16::try_from(elements.len())) {
        (_, Ok(0)) => out.push(NIL),
        (Some(bytes), Ok(count)) => {
            out.push(STRING);
            out.extend(count.to_be_bytes());
            out.extend(bytes);
        }
        _ => {
            out.push(LIST);
            out.extend(length(elements.len()));
            for element in elements {
                write(element, out);
            }
            out.push(NIL);
        }
    }
}

/// The value of bytes, as `binary_to_term` reads them.
pub(super) fn decode(bytes: &Bytes) -> Result<Value, RunError> {
    let mut rest = bytes.clone();
    if take(&mut rest, 1)?.as_ref() != [VERSION] {
        return Err(broken());
    }
    if rest.first() == Some(&COMPRESSED) {
        rest.advance(1);
        let size = count(&mut rest)?;
        if size > TEXT_BYTES_MAX {
            return Err(RunError::text_too_long());
        }
        let mut plain = Vec::with_capacity(size.min(rest.len().saturating_mul(8)));
        let bound = u64::try_from(size).unwrap_or(u64::MAX);
        ZlibDecoder::new(rest.as_ref())
            .take(bound)
            .read_to_end(&mut plain)
            .map_err(|_error| broken())?;
        rest = plain.into();
    }
    read(&mut rest, 0)
}

fn broken() -> RunError {
    wrong("the bytes are not a term of Erlang")
}

fn take(rest: &mut Bytes, size: usize) -> Result<Bytes, RunError> {
    if rest.len() < size { Err(broken()) } else { Ok(rest.split_to(size)) }
}

fn byte(rest: &mut Bytes) -> Result<u8, RunError> {
    take(rest, 1)?.first().copied().ok_or_else(broken)
}

fn count(rest: &mut Bytes) -> Result<usize, RunError> {
    usize::try_from(take(rest, 4)?.get_u32()).map_err(|_error| broken())
}

fn read(rest: &mut Bytes, depth: usize) -> Result<Value, RunError> {
    if depth > JSON_DEPTH_MAX {
        return Err(wrong("the term is nested too deeply"));
    }
    match byte(rest)? {
        SMALL_INTEGER => Ok(Value::int(i64::from(byte(rest)?))),
        INTEGER => Ok(Value::int(i64::from(take(rest, 4)?.get_i32()))),
        NEW_FLOAT => Value::float(take(rest, 8)?.get_f64()).ok_or_else(broken),
        FLOAT_TEXT => {
            let text = take(rest, 31)?;
            let text = std::str::from_utf8(&text).map_err(|_error| broken())?;
            text.trim_end_matches('\0').parse().ok().and_then(Value::float).ok_or_else(broken)
        }
        BINARY => {
            let size = count(rest)?;
            take(rest, size).map(Value::Text)
        }
        SMALL_BIG => {
            let size = byte(rest)?.into();
            big(rest, size)
        }
        LARGE_BIG => {
            let size = count(rest)?;
            big(rest, size)
        }
        SMALL_ATOM | SMALL_ATOM_UTF8 => {
            let size = byte(rest)?.into();
            take(rest, size).map(atom)
        }
        ATOM | ATOM_UTF8 => {
            let size = take(rest, 2)?.get_u16().into();
            take(rest, size).map(atom)
        }
        NIL => Ok(Value::array(Vec::new())),
        STRING => {
            let size = take(rest, 2)?.get_u16().into();
            let bytes = take(rest, size)?;
            Ok(Value::array(bytes.iter().map(|byte| Value::int(i64::from(*byte))).collect()))
        }
        LIST => list(rest, depth),
        MAP => map(rest, depth),
        other => Err(wrong(format!("a term of kind {other} is no value here"))),
    }
}

fn big(rest: &mut Bytes, size: usize) -> Result<Value, RunError> {
    let sign = if byte(rest)? == 0 { Sign::Plus } else { Sign::Minus };
    let digits = take(rest, size)?;
    let number = Integer::from_big(BigInt::from_bytes_le(sign, &digits));
    number.map(Value::Int).ok_or_else(RunError::number_too_large)
}

fn atom(name: Bytes) -> Value {
    match name.as_ref() {
        b"true" => Value::Bool(true),
        b"false" => Value::Bool(false),
        b"null" => Value::Null,
        b"undefined" => Value::Undefined,
        _ => Value::Text(name),
    }
}

fn list(rest: &mut Bytes, depth: usize) -> Result<Value, RunError> {
    let size = count(rest)?;
    if size > ELEMENTS_MAX {
        return Err(RunError::array_too_long());
    }
    let elements: Result<Vec<_>, _> = (0..size).map(|_| read(rest, depth + 1)).collect();
    let elements = elements?;
    if byte(rest)? == NIL { made_array(elements) } else { Err(wrong("the list has a tail")) }
}

fn map(rest: &mut Bytes, depth: usize) -> Result<Value, RunError> {
    let size = count(rest)?;
    if size > ELEMENTS_MAX {
        return Err(RunError::array_too_long());
    }
    let entry = |_| match read(rest, depth + 1)? {
        key @ (Value::Map(_) | Value::Array(_)) => {
            Err(wrong(format!("a key of a map is {}", key.kind())))
        }
        key => Ok((key.to_text(), read(rest, depth + 1)?)),
    };
    let entries: Result<Vec<_>, _> = (0..size).map(entry).collect();
    Ok(Value::map(Map::from_entries(entries?)))
}
