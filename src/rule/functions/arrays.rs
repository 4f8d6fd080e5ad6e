//! Arrays. Elements are counted from 1.

use super::argument::{Argument, Kind, any, array, made_array, small, wrong};
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::Value;

const ARRAY: Argument = Argument::needed("array", Kind::Array);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "nth",
        &[Argument::needed("place", Kind::Int), ARRAY],
        Kind::Any,
        |_, arguments| {
            let elements = array(arguments, 1)?;
            let wanted = small(arguments, 0)?;
            let place = usize::try_from(wanted).ok().and_then(|wanted| wanted.checked_sub(1));
            let found = place.and_then(|place| elements.get(place)).cloned();
            found.ok_or_else(|| {
                wrong(format!("there is no element {wanted} in an array of {}", elements.len()))
            })
        },
        "The element at a place, which must exist.",
        &[("nth(2, ['a', 'b'])", "'b'")],
    ),
    Function::new(
        "length",
        &[ARRAY],
        Kind::Int,
        |_, arguments| Ok(Value::int(array(arguments, 0)?.len())),
        "How many elements it has.",
        &[("length([1, 2, 3])", "3")],
    ),
    Function::new(
        "sublist",
        &[
            Argument::needed("start or length", Kind::Int),
            Argument::needed("length or array", Kind::Any),
            Argument::optional("array", Kind::Array),
        ],
        Kind::Array,
        |_, arguments| match arguments.len() {
            2 => sublist(1, small(arguments, 0)?, array(arguments, 1)?),
            _ => sublist(small(arguments, 0)?, small(arguments, 1)?, array(arguments, 2)?),
        },
        "`sublist(length, array)`: the first elements; `sublist(start, length, array)`: those from a place on. Fewer where \
         the array ends.",
        &[("sublist(2, [1, 2, 3])", "[1, 2]"), ("sublist(2, 2, [1, 2, 3])", "[2, 3]")],
    ),
    Function::new(
        "first",
        &[ARRAY],
        Kind::Any,
        |_, arguments| array(arguments, 0)?.first().cloned().ok_or_else(empty),
        "The first element; of an empty array an error.",
        &[("first([1, 2])", "1")],
    ),
    Function::new(
        "last",
        &[ARRAY],
        Kind::Any,
        |_, arguments| array(arguments, 0)?.last().cloned().ok_or_else(empty),
        "The last element; of an empty array an error.",
        &[("last([1, 2])", "2")],
    ),
    Function::new(
        "contains",
        &[Argument::needed("value", Kind::Any), ARRAY],
        Kind::Bool,
        |_, arguments| Ok(Value::Bool(array(arguments, 1)?.contains(any(arguments, 0)))),
        "Whether an element is the value: `1` is neither `'1'` nor `1.0`.",
        &[("contains('a', ['a'])", "true"), ("contains(1, ['1'])", "false")],
    ),
];

/// As Erlang's `lists:sublist`: a start below 1 is an error, and so is a negative length where there is a first element.
fn sublist(start: i64, length: i64, elements: &[Value]) -> Result<Value, RunError> {
    let bad = || wrong(format!("no elements from {start} on, {length} of them"));
    let skipped =
        usize::try_from(start).ok().and_then(|start| start.checked_sub(1)).ok_or_else(bad)?;
    if skipped > elements.len() {
        return made_array(Vec::new());
    }
    let length = usize::try_from(length).map_err(|_error| bad())?;
    made_array(elements.iter().skip(skipped).take(length).cloned().collect())
}

fn empty() -> RunError {
    wrong("the array is empty")
}
