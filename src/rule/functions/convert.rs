//! From one kind of value to another.

use super::argument::{Argument, Kind, any, float, made, small, text, word, wrong, wrong_type};
use super::bytes::{from_hexadecimal, hexadecimal};
use super::entry::Function;
use super::maps::object;
use crate::rule::run::RunError;
use crate::rule::value::{Integer, Value, fixed, fixed_compact, float_in};

const ANYTHING: &[Argument] = &[Argument::needed("value", Kind::Any)];
/// Most decimals that Erlang prints.
const DECIMALS_MAX: i64 = 253;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "str",
        ANYTHING,
        Kind::Text,
        |_, arguments| made(any(arguments, 0).to_text()),
        "As a text: a float with at most ten decimals, trailing zeros cut but one; objects and arrays as JSON; \
         `undefined` and `null` as their names. `[]` and an array of codes of Latin-1 characters are texts, as in Erlang.",
        &[
            ("str(100)", "'100'"),
            ("str(2.0)", "'2.0'"),
            ("str([1, 'a'])", "'[1,\"a\"]'"),
            ("str([72, 105])", "'Hi'"),
        ],
    ),
    Function::new(
        "str_utf8",
        ANYTHING,
        Kind::Text,
        |_, arguments| {
            let text = any(arguments, 0).to_text();
            std::str::from_utf8(&text).map_err(|_error| wrong("the text is not UTF-8"))?;
            made(text)
        },
        "As `str`, and an error where the text is not UTF-8.",
        &[("str_utf8('abc')", "'abc'"), ("str_utf8([1, 'ä'])", "'[1,\"ä\"]'")],
    ),
    Function::new(
        "str_utf16_le",
        ANYTHING,
        Kind::Text,
        |_, arguments| {
            let text = any(arguments, 0).to_text();
            let text =
                std::str::from_utf8(&text).map_err(|_error| wrong("the text is not UTF-8"))?;
            made(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        },
        "As `str`, in the UTF-16 (little endian) of Microsoft SQL Server.",
        &[("bin2hexstr(str_utf16_le('ab'))", "'61006200'")],
    ),
    Function::new(
        "int",
        ANYTHING,
        Kind::Int,
        |_, arguments| int(any(arguments, 0)),
        "As an integer: floats are rounded down, texts read as `12` or `12.5`, `true` is 1 and `false` 0.",
        &[("int('0010')", "10"), ("int(-3.14)", "-4"), ("int(true)", "1")],
    ),
    Function::new(
        "float",
        &[Argument::needed("value", Kind::Any), Argument::optional("decimals", Kind::Int)],
        Kind::Float,
        |_, arguments| to_float(arguments),
        "As a float, rounded to so many decimals (1 to 253) where they are given.",
        &[("float('20')", "20.0"), ("float(3.14159, 2)", "3.14")],
    ),
    Function::new(
        "float2str",
        &[Argument::needed("number", Kind::Float), Argument::needed("decimals", Kind::Int)],
        Kind::Text,
        |_, arguments| {
            let number = float(arguments, 0)?;
            made(fixed_compact(number, decimals(arguments, 0)?))
        },
        "A float with at most so many decimals (0 to 253), trailing zeros cut but one.",
        &[("float2str(20.2, 10)", "'20.2'"), ("float2str(20.2, 16)", "'20.1999999999999993'")],
    ),
    Function::new(
        "bool",
        ANYTHING,
        Kind::Bool,
        |_, arguments| bool(any(arguments, 0)),
        "As a boolean: `true`, 'true' and 1 are true, `false`, 'false' and 0 are false, all else is an error.",
        &[("bool('true')", "true"), ("bool(0)", "false")],
    ),
    Function::new(
        "map",
        &[Argument::needed("object", Kind::Object)],
        Kind::Object,
        |_, arguments| object(arguments, 0).map(Value::Map),
        "As an object: a text must be the JSON of one.",
        &[("map('{\"a\":1}')", "map_put('a', 1, map_new())")],
    ),
    Function::new(
        "bin2hexstr",
        &[Argument::needed("bytes", Kind::Text), Argument::optional("prefix", Kind::Text)],
        Kind::Text,
        |_, arguments| {
            let prefix = any(arguments, 1).as_bytes().cloned().unwrap_or_default();
            made([prefix.as_ref(), hexadecimal(text(arguments, 0)?).as_bytes()].concat())
        },
        "Bytes as hexadecimal digits, upper case, behind a prefix.",
        &[("bin2hexstr('abc')", "'616263'"), ("bin2hexstr('a', '0x')", "'0x61'")],
    ),
    Function::new(
        "hexstr2bin",
        &[Argument::needed("digits", Kind::Text), Argument::optional("prefix", Kind::Text)],
        Kind::Text,
        |_, arguments| {
            let digits = text(arguments, 0)?;
            let prefix = any(arguments, 1).as_bytes().cloned().unwrap_or_default();
            let digits = digits.strip_prefix(prefix.as_ref()).ok_or_else(|| {
                let prefix = String::from_utf8_lossy(&prefix).into_owned();
                wrong(format!("the text does not begin with the prefix `{prefix}`"))
            })?;
            made(from_hexadecimal(digits)?)
        },
        "The bytes of hexadecimal digits of either case; an odd number of digits gets a zero in front. With a prefix the \
         text must begin with it.",
        &[("hexstr2bin('6162')", "'ab'"), ("hexstr2bin('0x61', '0x')", "'a'")],
    ),
    Function::new(
        "sqlserver_bin2hexstr",
        &[Argument::needed("bytes", Kind::Word)],
        Kind::Text,
        |_, arguments| made(format!("0x{}", hexadecimal(&word(arguments, 0)?))),
        "Bytes as Microsoft SQL Server writes them: hexadecimal digits behind `0x`.",
        &[("sqlserver_bin2hexstr('hello')", "'0x68656C6C6F'")],
    ),
];

/// The text that Erlang takes an array for: texts, codes of characters, and arrays of these.
pub(super) fn characters_of(elements: &[Value]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut left: Vec<_> = elements.iter().rev().collect();
    while let Some(element) = left.pop() {
        match element {
            Value::Text(part) => text.extend_from_slice(part),
            Value::Array(inner) => left.extend(inner.iter().rev()),
            code => {
                let code = u32::try_from(code.as_i64()?).ok()?;
                text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Some(text)
}

fn int(value: &Value) -> Result<Value, RunError> {
    let floor = |number: f64| {
        Integer::truncated(number.floor()).map(Value::Int).ok_or_else(RunError::number_too_large)
    };
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Float(number) => floor(*number),
        Value::Bool(truth) => Ok(Value::int(i64::from(*truth))),
        Value::Text(text) => match (Integer::parse(text), float_in(text)) {
            (Some(number), _) => Ok(Value::Int(number)),
            (None, Some(Value::Float(number))) => floor(number),
            _ => Err(wrong(format!("{} is no number as EMQX reads one", value.shown()))),
        },
        _ => Err(wrong_type(format!("{} cannot be an integer", value.kind()))),
    }
}

fn to_float(arguments: &[Value]) -> Result<Value, RunError> {
    let value = any(arguments, 0);
    let number = match value {
        Value::Text(text) => match (float_in(text), Integer::parse(text)) {
            (Some(number), _) => number,
            (None, Some(number)) => Value::Int(number),
            _ => return Err(wrong(format!("{} is no number as EMQX reads one", value.shown()))),
        },
        Value::Int(_) | Value::Float(_) => value.clone(),
        _ => return Err(wrong_type(format!("{} cannot be a float", value.kind()))),
    };
    let mut number = float(&[number], 0)?;
    if arguments.len() > 1 {
        let decimals = decimals(arguments, 1)?;
        // What was printed from a float reads as one.
        number = fixed(number, decimals).parse().unwrap_or(number);
    }
    Value::float(number).ok_or_else(RunError::number_too_large)
}

/// The second argument, a number of decimals.
fn decimals(arguments: &[Value], min: i64) -> Result<usize, RunError> {
    let decimals = small(arguments, 1)?;
    let good = (min..=DECIMALS_MAX).contains(&decimals);
    usize::try_from(decimals).ok().filter(|_| good).ok_or_else(|| {
        wrong(format!("decimals must be from {min} to {DECIMALS_MAX}, not {decimals}"))
    })
}

fn bool(value: &Value) -> Result<Value, RunError> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::Text(text) => match text.as_ref() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        },
        Value::Int(_) | Value::Float(_) => [(0, false), (1, true)]
            .into_iter()
            .find(|(number, _)| value.order(&Value::int(*number)).is_eq())
            .map(|(_, truth)| truth),
        _ => None,
    };
    truth.map(Value::Bool).ok_or_else(|| wrong(format!("{} is no boolean", value.shown())))
}
