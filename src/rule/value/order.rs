//! Comparison, with coercion as the language has it and without.

use std::cmp::Ordering;

use super::{Integer, Map, Value};
use crate::rule::run::{Reason, RunError};

impl Value {
    /// Compares as `=`, `<` and their like do. `None`: one side is undefined and the other is not, so that every
    /// comparison is false, `!=` too.
    ///
    /// A number against a text reads the text as a number, and fails where it is none. Booleans and null against a text
    /// are compared by their names. Otherwise numbers < booleans and null < objects < arrays < texts.
    pub fn compare(&self, other: &Self) -> Result<Option<Ordering>, RunError> {
        Ok(match (self, other) {
            (Self::Undefined, Self::Undefined) => Some(Ordering::Equal),
            (Self::Undefined, _) | (_, Self::Undefined) => None,
            (Self::Int(_) | Self::Float(_), Self::Text(text)) => {
                Some(self.order(&number_for_comparison(text)?))
            }
            (Self::Text(text), Self::Int(_) | Self::Float(_)) => {
                Some(number_for_comparison(text)?.order(other))
            }
            (Self::Text(left), right) => match right.atom() {
                Some(right) => Some(left.as_ref().cmp(right.as_bytes())),
                None => Some(self.order(other)),
            },
            (left, Self::Text(right)) => match left.atom() {
                Some(left) => Some(left.as_bytes().cmp(right.as_ref())),
                None => Some(self.order(other)),
            },
            _ => Some(self.order(other)),
        })
    }

    /// Erlang's order of all terms; an integer and a float of the same value are equal.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Int(left), Self::Float(right)) => left.compare_to_float(*right),
            (Self::Float(left), Self::Int(right)) => right.compare_to_float(*left).reverse(),
            (Self::Float(left), Self::Float(right)) => {
                left.partial_cmp(right).unwrap_or(Ordering::Equal)
            }
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Array(left), Self::Array(right)) => order_of_arrays(left, right),
            (Self::Map(left), Self::Map(right)) => order_of_maps(left, right),
            _ => self.rank().cmp(&other.rank()).then_with(|| self.atom().cmp(&other.atom())),
        }
    }

    /// The name of what is an atom in Erlang.
    fn atom(&self) -> Option<&'static str> {
        match self {
            Self::Undefined => Some("undefined"),
            Self::Null => Some("null"),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) | Self::Float(_) => 0,
            Self::Undefined | Self::Null | Self::Bool(_) => 1,
            Self::Map(_) => 2,
            Self::Array(_) => 3,
            Self::Text(_) => 4,
        }
    }
}

/// The number in a text as Erlang reads one: `12`, `-1.5`, `1.0e3`; not `1e3`, `.5` or ` 1`.
#[must_use]
pub fn number_in(text: &[u8]) -> Option<Value> {
    match Integer::parse(text) {
        Some(number) => Some(Value::Int(number)),
        None => float_in(text),
    }
}

/// The float in a text as Erlang reads one: digits on both sides of the point.
#[must_use]
pub fn float_in(text: &[u8]) -> Option<Value> {
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] | rest => rest,
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(unsigned);
    let (b'.', fraction) = unsigned.get(whole..)?.split_first()? else { return None };
    let decimals = digits(fraction);
    let exponent = fraction.get(decimals..)?;
    let exponent_is_good = match exponent {
        [] => true,
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => {
            !power.is_empty() && digits(power) == power.len()
        }
        _ => false,
    };
    let good = whole > 0 && decimals > 0 && exponent_is_good;
    Value::float(good.then(|| std::str::from_utf8(text).ok()?.parse().ok())??)
}

fn number_for_comparison(text: &[u8]) -> Result<Value, RunError> {
    number_in(text).ok_or_else(|| {
        let shown = Value::text_of(text).shown();
        RunError::new(
            Reason::WrongType,
            format!("cannot compare {shown} with a number: it is none"),
        )
    })
}

fn order_of_arrays(left: &[Value], right: &[Value]) -> Ordering {
    let mut pairs = left.iter().zip(right);
    let differing = pairs.find_map(|(left, right)| {
        let order = left.order(right);
        order.is_ne().then_some(order)
    });
    differing.unwrap_or_else(|| left.len().cmp(&right.len()))
}

/// By size, then by keys, then by values.
fn order_of_maps(left: &Map, right: &Map) -> Ordering {
    let keys = || left.iter().map(|(key, _)| key).cmp(right.iter().map(|(key, _)| key));
    let values = || {
        let mut pairs = left.iter().zip(right.iter());
        let differing = pairs.find_map(|((_, left), (_, right))| {
            let order = left.order(right);
            order.is_ne().then_some(order)
        });
        differing.unwrap_or(Ordering::Equal)
    };
    left.len().cmp(&right.len()).then_with(keys).then_with(values)
}
