//! `--cases FILE`: one JSON object a line in, one out.

use std::io::{BufRead as _, Read as _};

use bytes::Bytes;

use super::outcome::{Tested, columns, test_sql};
use crate::cli::{Failure, input, say};
use crate::rule::value::Value;

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Answers each line of a file, or of standard input, with one line; blank ones with none.
pub(in crate::cli) fn answer_lines(
    file: &str,
    answer: impl Fn(&Bytes) -> String,
) -> Result<(), Failure> {
    let mut reader = input::open(file)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = reader.by_ref().take(LINE_BYTES_MAX + 1);
        let read = bounded.read_until(b'\n', &mut line).map_err(|error| Failure::failed(&error))?;
        if read == 0 {
            return Ok(());
        }
        if bounded.limit() == 0 {
            return Err(input::failure(file, "has a line of more than 16 MiB"));
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            say(&answer(&Bytes::copy_from_slice(text)));
        }
    }
}

/// One case: `sql`, `event` and, for what is no message, `event_topic`.
pub(super) fn answer(line: &Bytes) -> String {
    tested(line).unwrap_or_else(Tested::Failed).to_json(None)
}

fn tested(line: &Bytes) -> Result<Tested, String> {
    let case = Value::parse_json(line).map_err(|error| format!("the case is {error}"))?;
    let text = |key: &str| case.key(key.as_bytes()).as_str().map(str::to_owned);
    let sql = text("sql").ok_or("a case has `sql`, a text")?;
    let columns = match case.key(b"event") {
        Value::Undefined => columns(&Value::map(crate::rule::value::Map::new()))?,
        event => columns(&event)?,
    };
    Ok(test_sql(&sql, &columns, text("event_topic").as_deref()))
}
