//! Arithmetic on numbers.

use std::cmp::Ordering;

use super::argument::{Argument, Kind, any, float, integer, wrong};
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::{Integer, Value};

const X: &[Argument] = &[Argument::needed("x", Kind::Number)];
const INTEGERS: &[Argument] = &[Argument::needed("x", Kind::Int), Argument::needed("y", Kind::Int)];
const NUMBERS: &[Argument] =
    &[Argument::needed("x", Kind::Number), Argument::needed("y", Kind::Number)];

/// A function of one number whose result is a float.
macro_rules! analytic {
    ($name:literal, $of:expr, $docs:literal, $example:literal, $result:literal) => {
        Function::new(
            $name,
            X,
            Kind::Float,
            |_, arguments| finite($of(float(arguments, 0)?)),
            $docs,
            &[($example, $result)],
        )
    };
}

/// A function of one number whose result is an integer.
macro_rules! rounding {
    ($name:literal, $of:expr, $docs:literal, $examples:expr) => {
        Function::new($name, X, Kind::Int, |_, arguments| whole(arguments, $of), $docs, $examples)
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "abs",
        &[Argument::needed("x", Kind::Int)],
        Kind::Int,
        |_, arguments| match integer(arguments, 0)? {
            negative if *negative < Integer::from(0) => Value::Int(negative.clone()).negated(),
            number => Ok(Value::Int(number.clone())),
        },
        "The absolute value of an integer (of integers only, as in EMQX).",
        &[("abs(-12)", "12")],
    ),
    rounding!(
        "ceil",
        f64::ceil,
        "The next integer above, or the number itself.",
        &[("ceil(1.34)", "2"), ("ceil(-1.34)", "-1")]
    ),
    rounding!(
        "floor",
        f64::floor,
        "The next integer below, or the number itself.",
        &[("floor(1.34)", "1"), ("floor(-3.6)", "-4")]
    ),
    rounding!(
        "round",
        f64::round,
        "The nearest integer; halves go away from zero.",
        &[("round(1.54)", "2"), ("round(-2.5)", "-3")]
    ),
    Function::new(
        "div",
        INTEGERS,
        Kind::Int,
        |_, arguments| any(arguments, 0).div(any(arguments, 1)),
        "The quotient of two integers, cut towards zero; also an operator: `x div y`.",
        &[("div(7, 2)", "3")],
    ),
    Function::new(
        "mod",
        INTEGERS,
        Kind::Int,
        |_, arguments| any(arguments, 0).modulo(any(arguments, 1)),
        "What is left of a division of integers, with the sign of `x`; also an operator: `x mod y`.",
        &[("mod(-7, 3)", "-1")],
    ),
    Function::new(
        "eq",
        &[Argument::needed("x", Kind::Any), Argument::needed("y", Kind::Any)],
        Kind::Bool,
        |_, arguments| {
            Ok(Value::Bool(any(arguments, 0).order(any(arguments, 1)) == Ordering::Equal))
        },
        "Whether two values are equal; unlike `=` it does not read numbers in texts, and `undefined` is a value like others.",
        &[("eq(1, 1.0)", "true"), ("eq('1', 1)", "false")],
    ),
    Function::new(
        "fmod",
        NUMBERS,
        Kind::Float,
        |_, arguments| finite(float(arguments, 0)? % float(arguments, 1)?),
        "What is left of a division of floats, with the sign of `x`.",
        &[("fmod(-32, 5)", "-2.0")],
    ),
    Function::new(
        "power",
        NUMBERS,
        Kind::Float,
        |_, arguments| finite(float(arguments, 0)?.powf(float(arguments, 1)?)),
        "`x` to the power of `y`.",
        &[("power(2, 10)", "1024.0")],
    ),
    analytic!(
        "sqrt",
        f64::sqrt,
        "The square root; of a negative number an error.",
        "sqrt(9)",
        "3.0"
    ),
    analytic!("exp", f64::exp, "`e` to the power of `x`.", "exp(0)", "1.0"),
    analytic!("log", f64::ln, "The natural logarithm; of 0 or less an error.", "log(1)", "0.0"),
    analytic!("log10", f64::log10, "The logarithm to base 10.", "log10(1000)", "3.0"),
    analytic!("log2", f64::log2, "The logarithm to base 2.", "log2(1024)", "10.0"),
    analytic!("sin", f64::sin, "The sine.", "sin(0)", "0.0"),
    analytic!("sinh", f64::sinh, "The hyperbolic sine.", "sinh(0)", "0.0"),
    analytic!("asin", f64::asin, "The inverse sine; from -1 to 1.", "asin(0)", "0.0"),
    analytic!("asinh", f64::asinh, "The inverse hyperbolic sine.", "asinh(0)", "0.0"),
    analytic!("cos", f64::cos, "The cosine.", "cos(0)", "1.0"),
    analytic!("cosh", f64::cosh, "The hyperbolic cosine.", "cosh(0)", "1.0"),
    analytic!("acos", f64::acos, "The inverse cosine; from -1 to 1.", "acos(1)", "0.0"),
    analytic!("acosh", f64::acosh, "The inverse hyperbolic cosine; from 1 on.", "acosh(1)", "0.0"),
    analytic!("tan", f64::tan, "The tangent.", "tan(0)", "0.0"),
    analytic!("tanh", f64::tanh, "The hyperbolic tangent.", "tanh(0)", "0.0"),
    analytic!("atan", f64::atan, "The inverse tangent.", "atan(0)", "0.0"),
    analytic!(
        "atanh",
        f64::atanh,
        "The inverse hyperbolic tangent; between -1 and 1.",
        "atanh(0)",
        "0.0"
    ),
    Function::new(
        "random",
        &[],
        Kind::Float,
        |_, _| finite(fastrand::f64()),
        "A float from 0 on and below 1, another one each time.",
        &[("floor(random())", "0")],
    )
    .changing(),
];

fn finite(number: f64) -> Result<Value, RunError> {
    Value::float(number).ok_or_else(|| wrong("there is no finite result"))
}

fn whole(arguments: &[Value], round: fn(f64) -> f64) -> Result<Value, RunError> {
    match any(arguments, 0) {
        number @ Value::Int(_) => Ok(number.clone()),
        _ => Integer::truncated(round(float(arguments, 0)?))
            .map(Value::Int)
            .ok_or_else(RunError::number_too_large),
    }
}
