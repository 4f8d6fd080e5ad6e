//! What a value is, and the first of several that is something.

use super::argument::{Argument, Kind, any, wrong_type};
use super::entry::Function;
use super::maps::object;
use crate::rule::run::RunError;
use crate::rule::value::Value;

const ANYTHING: &[Argument] = &[Argument::needed("value", Kind::Any)];
const CHOICES: &[Argument] =
    &[Argument::needed("value or array", Kind::Any), Argument::optional("otherwise", Kind::Any)];

macro_rules! test {
    ($name:literal, $pattern:pat, $docs:literal, $examples:expr) => {
        Function::new(
            $name,
            ANYTHING,
            Kind::Bool,
            |_, arguments| Ok(Value::Bool(matches!(any(arguments, 0), $pattern))),
            $docs,
            $examples,
        )
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    test!(
        "is_null",
        Value::Undefined,
        "Whether it is `undefined`; JSON's `null` is not.",
        &[("is_null(nosuch)", "true"), ("is_null('')", "false")]
    ),
    Function::new(
        "is_not_null",
        ANYTHING,
        Kind::Bool,
        |_, arguments| Ok(Value::Bool(!any(arguments, 0).is_undefined())),
        "Whether it is not `undefined`.",
        &[("is_not_null(nosuch)", "false")],
    ),
    test!(
        "is_null_var",
        Value::Undefined | Value::Null,
        "Whether it is `undefined` or JSON's `null`.",
        &[("is_null_var(json_decode('null'))", "true")]
    ),
    Function::new(
        "is_not_null_var",
        ANYTHING,
        Kind::Bool,
        |_, arguments| {
            Ok(Value::Bool(!matches!(any(arguments, 0), Value::Undefined | Value::Null)))
        },
        "Whether it is neither `undefined` nor JSON's `null`.",
        &[("is_not_null_var(json_decode('null'))", "false")],
    ),
    test!("is_str", Value::Text(_), "Whether it is a text.", &[("is_str('1')", "true")]),
    test!("is_bool", Value::Bool(_), "Whether it is a boolean.", &[("is_bool('true')", "false")]),
    test!("is_int", Value::Int(_), "Whether it is an integer.", &[("is_int(1.0)", "false")]),
    test!("is_float", Value::Float(_), "Whether it is a float.", &[("is_float(1.0)", "true")]),
    test!(
        "is_num",
        Value::Int(_) | Value::Float(_),
        "Whether it is a number.",
        &[("is_num(1)", "true")]
    ),
    test!(
        "is_map",
        Value::Map(_),
        "Whether it is an object; a text that is JSON is not.",
        &[("is_map('{}')", "false")]
    ),
    test!("is_array", Value::Array(_), "Whether it is an array.", &[("is_array([1])", "true")]),
    Function::new(
        "is_empty",
        ANYTHING,
        Kind::Bool,
        |_, arguments| is_empty(arguments),
        "Whether nothing is in a text, an array, an object or a text that is the JSON of one; other texts and other values \
         are errors.",
        &[("is_empty('')", "true"), ("is_empty('{\"a\":1}')", "false")],
    ),
    Function::new(
        "coalesce",
        CHOICES,
        Kind::Any,
        |_, arguments| first(arguments, |value| !value.is_undefined()),
        "The first of two values, or of an array, that is not `undefined`; JSON's `null` is a value.",
        &[("coalesce(nosuch, 7)", "7"), ("coalesce([nosuch, 'a', 'b'])", "'a'")],
    ),
    Function::new(
        "coalesce_ne",
        CHOICES,
        Kind::Any,
        |_, arguments| {
            first(arguments, |value| match value {
                Value::Undefined => false,
                Value::Text(text) => !text.is_empty(),
                // Erlang's empty list is its empty string.
                Value::Array(elements) => !elements.is_empty(),
                _ => true,
            })
        },
        "As `coalesce`, and empty texts are passed over too.",
        &[("coalesce_ne('', 'x')", "'x'")],
    ),
];

fn is_empty(arguments: &[Value]) -> Result<Value, RunError> {
    let empty = match any(arguments, 0) {
        Value::Array(elements) => elements.is_empty(),
        Value::Text(text) if text.is_empty() => true,
        Value::Text(_) | Value::Map(_) => object(arguments, 0)?.is_empty(),
        other => return Err(wrong_type(format!("{} is neither empty nor full", other.kind()))),
    };
    Ok(Value::Bool(empty))
}

/// Of an array, or of two values.
fn first(arguments: &[Value], is_something: impl Fn(&Value) -> bool) -> Result<Value, RunError> {
    let choices = match arguments {
        [Value::Array(elements)] => elements.as_slice(),
        [single] => {
            return Err(wrong_type(format!(
                "one argument must be an array, not {}",
                single.kind()
            )));
        }
        several => several,
    };
    Ok(choices.iter().find(|value| is_something(value)).cloned().unwrap_or(Value::Undefined))
}
