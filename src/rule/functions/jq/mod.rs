//! `jq`: programs in another language, which can run for ever, fill memory and overflow the stack.
//!
//! So they run in a process of their own, this same binary as `waypost jq-helper`, started when the first program runs. It
//! ends itself when a program is over its time, and its memory is limited by the system; whatever becomes of it, the rule
//! fails for that event and the next program starts another one. Promises: an answer or an error within the time limit, and
//! never more output than other functions may give.
//!
//! EMQX has jq 1.6, and here is jaq: `dialect` rewrites what jaq would do otherwise, `native` and `prelude.jq` define what
//! it lacks, and `print` writes results as jq does.

mod client;
mod dialect;
mod frame;
mod native;
mod places;
mod print;
mod program;
mod server;

use super::argument::{Argument, Kind, any, small, text, wrong};
use super::entry::Function;
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::Value;

pub use client::set_helper;
pub use server::serve;

/// How long a program may run where its call does not say.
const TIMEOUT_MS: i64 = 1000;
/// The longest that a call may ask for.
const TIMEOUT_MS_MAX: i64 = 10_000;

pub(super) static FUNCTIONS: &[Function] = &[Function::new(
    "jq",
    &[
        Argument::needed("program", Kind::Text),
        Argument::needed("input", Kind::Any),
        Argument::optional("timeout in ms", Kind::Int),
    ],
    Kind::Array,
    |_, arguments| jq(arguments),
    "All results of a jq program on a value, or on the JSON that a text holds. A program that fails, or runs longer than its \
     time, is an error. Without a number it has 1000 ms (EMQX: 10,000), with one at most 10,000: other events wait for it. \
     Programs run in a process of their own that may use 512 MiB and sees no environment. They are run by jaq \
     (https://github.com/01mf02/jaq), made to give what jq 1.6 gives, which EMQX has: what is whole is an integer, also in \
     texts. Known differences: integers beyond 2^53 stay exact; `.[0]` of an object is null, not an error; `.[] |= empty` \
     takes away every element; `limit(0; f)` gives nothing; `from_entries` makes texts of keys; texts are repeated by \
     integers only; `match` leaves out groups that matched nothing, and patterns have no look-around and no \
     back-references; `strptime` needs a whole date and reads no `%Z`; there is no `?//`, `$__loc__`, `@base32`, \
     `input_line_number`, `input_filename` and no module; errors have other words.",
    &[
        ("jq('.a[] | .b', '{\"a\":[{\"b\":1},{\"b\":2}]}')", "[1, 2]"),
        ("jq('map(. + 1)', [1, 2])", "[[2, 3]]"),
        ("jq('.c * 1.8 + 32', '{\"c\":10}')", "[50]"),
    ],
)
.changing()];

fn jq(arguments: &[Value]) -> Result<Value, RunError> {
    let program = text(arguments, 0)?;
    let input = match any(arguments, 1) {
        Value::Text(text) => text.clone(),
        other => other.to_json().into(),
    };
    if program.len().max(input.len()) > TEXT_BYTES_MAX {
        return Err(RunError::text_too_long());
    }
    let timeout = if arguments.len() > 2 { small(arguments, 2)? } else { TIMEOUT_MS };
    let timeout = u32::try_from(timeout.min(TIMEOUT_MS_MAX))
        .map_err(|_error| wrong(format!("a timeout of {timeout} ms is negative")))?;
    let answer = client::ask(&frame::Request { timeout, program: program.clone(), input })?;
    Value::parse_json(&answer.into()).map_err(|_error| wrong("a result of the program is no JSON"))
}
