//! Bits of integers, and bits in bytes.

use num_bigint::{BigInt, BigUint, Sign};

use super::argument::{Argument, Kind, any, integer, made, option, small, text, wrong, wrong_type};
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::{INTEGER_BITS_MAX, Integer, Value};

const X: Argument = Argument::needed("x", Kind::Int);
const TWO: &[Argument] = &[X, Argument::needed("y", Kind::Int)];
const SHIFT: &[Argument] = &[X, Argument::needed("bits", Kind::Int)];

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "bitnot",
        &[X],
        Kind::Int,
        |_, arguments| number(!integer(arguments, 0)?.to_big()),
        "All bits turned.",
        &[("bitnot(10)", "-11")],
    ),
    Function::new(
        "bitand",
        TWO,
        Kind::Int,
        |_, arguments| number(integer(arguments, 0)?.to_big() & integer(arguments, 1)?.to_big()),
        "The bits that both have.",
        &[("bitand(10, 8)", "8")],
    ),
    Function::new(
        "bitor",
        TWO,
        Kind::Int,
        |_, arguments| number(integer(arguments, 0)?.to_big() | integer(arguments, 1)?.to_big()),
        "The bits that either has.",
        &[("bitor(10, 8)", "10")],
    ),
    Function::new(
        "bitxor",
        TWO,
        Kind::Int,
        |_, arguments| number(integer(arguments, 0)?.to_big() ^ integer(arguments, 1)?.to_big()),
        "The bits that one of both has.",
        &[("bitxor(10, 8)", "2")],
    ),
    Function::new(
        "bitsl",
        SHIFT,
        Kind::Int,
        |_, arguments| shifted(integer(arguments, 0)?, small(arguments, 1)?),
        "Shifted to the left; by a negative number of bits to the right.",
        &[("bitsl(8, 2)", "32")],
    ),
    Function::new(
        "bitsr",
        SHIFT,
        Kind::Int,
        |_, arguments| shifted(integer(arguments, 0)?, small(arguments, 1)?.saturating_neg()),
        "Shifted to the right, the sign kept; by a negative number of bits to the left.",
        &[("bitsr(-8, 2)", "-2")],
    ),
    Function::new(
        "bitsize",
        &[Argument::needed("bytes", Kind::Text)],
        Kind::Int,
        |_, arguments| Ok(Value::int(text(arguments, 0)?.len().saturating_mul(8))),
        "How many bits a text has.",
        &[("bitsize('abc')", "24")],
    ),
    Function::new(
        "bytesize",
        &[Argument::needed("bytes", Kind::Any)],
        Kind::Int,
        |_, arguments| bytes_in(any(arguments, 0)).map(Value::int),
        "How many bytes a text has, or an array of texts and of bytes as integers.",
        &[("bytesize('abc')", "3"), ("bytesize([1, 'ab'])", "3")],
    ),
    Function::new(
        "subbits",
        &[
            Argument::needed("bytes", Kind::Text),
            Argument::needed("start or length", Kind::Int),
            Argument::optional("length", Kind::Int),
            Argument::optional("type", Kind::Text),
            Argument::optional("sign", Kind::Text),
            Argument::optional("order", Kind::Text),
        ],
        Kind::Any,
        |_, arguments| subbits(arguments),
        "Bits of a text: `subbits(bytes, length)` the first ones, `subbits(bytes, start, length)` those from a bit on, \
         counted from 1; fewer where the text ends, `undefined` where it ends before. `type` is 'integer' (default), \
         'float' (16, 32 or 64 bits) or 'bits' (a text; bits that fill no whole byte get zeros in front, where EMQX has \
         no byte), `sign` 'unsigned' (default) or 'signed', `order` 'big' (default) or 'little'.",
        &[
            ("subbits('abc', 8)", "97"),
            ("subbits('abc', 9, 16, 'integer', 'signed', 'little')", "25442"),
        ],
    ),
];

fn number(number: BigInt) -> Result<Value, RunError> {
    Integer::from_big(number).map(Value::Int).ok_or_else(RunError::number_too_large)
}

/// To the left by `bits`, or to the right by `-bits`.
fn shifted(value: &Integer, bits: i64) -> Result<Value, RunError> {
    let distance = bits.unsigned_abs();
    if bits <= 0 {
        return number(value.to_big() >> distance.min(INTEGER_BITS_MAX + 1));
    }
    if value.is_zero() {
        return Ok(Value::int(0));
    }
    let value = value.to_big();
    if value.bits().saturating_add(distance) > INTEGER_BITS_MAX {
        return Err(RunError::number_too_large());
    }
    number(value << distance)
}

/// The size of what Erlang calls an iolist.
fn bytes_in(value: &Value) -> Result<usize, RunError> {
    match value {
        Value::Text(text) => Ok(text.len()),
        Value::Array(elements) => elements.iter().try_fold(0, |sum, element| {
            Ok(sum
                + match element {
                    Value::Int(byte) if byte.to_i64().is_some_and(|it| (0..256).contains(&it)) => 1,
                    Value::Int(_) => return Err(wrong("an integer that is no byte")),
                    nested => bytes_in(nested)?,
                })
        }),
        other => {
            Err(wrong_type(format!("bytes are a text or an array of bytes, not {}", other.kind())))
        }
    }
}

fn subbits(arguments: &[Value]) -> Result<Value, RunError> {
    let bytes = text(arguments, 0)?;
    let (start, length) = match arguments.len() {
        2 => (1, small(arguments, 1)?),
        _ => (small(arguments, 1)?, small(arguments, 2)?),
    };
    let kind = option(arguments, 3, &["integer", "float", "bits"], "integer")?;
    let signed = option(arguments, 4, &["unsigned", "signed"], "unsigned")? == "signed";
    let little = option(arguments, 5, &["big", "little"], "big")? == "little";
    let all = bytes.len().saturating_mul(8);
    let skipped = start.checked_sub(1).and_then(|start| usize::try_from(start).ok());
    let Some(rest) = skipped.and_then(|skipped| all.checked_sub(skipped)).filter(|it| *it > 0)
    else {
        return Ok(Value::Undefined);
    };
    // A length that is negative or too long matches nothing in Erlang, and then the whole rest is taken.
    let wanted = usize::try_from(length).ok().filter(|length| *length <= rest);
    let floats = |length: &usize| matches!(length, 16 | 32 | 64);
    let wanted = if kind == "float" { wanted.filter(floats) } else { wanted };
    let length = wanted.unwrap_or(rest);
    let taken = taken(bytes, all - rest, length);
    match kind {
        "bits" => made(taken),
        "float" => float_of(&taken, little),
        _ => integer_of(&taken, length, signed, little),
    }
}

/// Some bits as whole bytes, with zeros in front where they fill none.
fn taken(bytes: &[u8], skipped: usize, length: usize) -> Vec<u8> {
    let (first, last) = (skipped / 8, (skipped + length).div_ceil(8));
    let covering = BigUint::from_bytes_be(bytes.get(first..last).unwrap_or_default());
    let behind = last * 8 - (skipped + length);
    let mask = (BigUint::from(1_u8) << length) - 1_u8;
    let mut digits = ((covering >> behind) & mask).to_bytes_be();
    let size = length.div_ceil(8);
    if digits.len() > size {
        digits.clear();
    }
    let mut padded = vec![0; size - digits.len()];
    padded.append(&mut digits);
    padded
}

fn integer_of(bytes: &[u8], length: usize, signed: bool, little: bool) -> Result<Value, RunError> {
    let mut value = BigUint::from_bytes_be(bytes);
    if little {
        value = little_endian(&value, length);
    }
    let negative = signed && length > 0 && value.bit(u64::try_from(length - 1).unwrap_or(0));
    let value = BigInt::from_biguint(Sign::Plus, value);
    number(if negative { value - (BigInt::from(1) << length) } else { value })
}

/// Whole bytes from the low ones up; what is left over at the end are the highest bits.
fn little_endian(bits: &BigUint, length: usize) -> BigUint {
    let (whole, left_over) = (length / 8, length % 8);
    let mut bytes = (bits >> left_over).to_bytes_le();
    bytes.resize(whole, 0);
    // `to_bytes_le` has the last byte of the text first.
    bytes.reverse();
    let highest = bits & ((BigUint::from(1_u8) << left_over) - 1_u8);
    BigUint::from_bytes_le(&bytes) | (highest << (whole * 8))
}

fn float_of(bytes: &[u8], little: bool) -> Result<Value, RunError> {
    let mut bytes = bytes.to_vec();
    if little {
        bytes.reverse();
    }
    let value = if let Ok(eight) = <[u8; 8]>::try_from(bytes.as_slice()) {
        f64::from_be_bytes(eight)
    } else if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        f32::from_be_bytes(four).into()
    } else if let Ok(two) = <[u8; 2]>::try_from(bytes.as_slice()) {
        half(u16::from_be_bytes(two))
    } else {
        return Err(wrong("a float has 16, 32 or 64 bits"));
    };
    Value::float(value).ok_or_else(|| wrong("the bits are no finite float"))
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}
