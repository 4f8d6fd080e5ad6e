//! Taking texts apart, and putting them together.

use super::argument::{
    Argument, Kind, array, characters, made, made_array, option, text, word, wrong_type,
};
use super::entry::Function;
use super::sprintf::format;
use super::strings::{first_place, last_place};
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::Value;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "split",
        &[
            Argument::needed("text", Kind::Word),
            Argument::needed("separator", Kind::Text),
            Argument::optional("where", Kind::Text),
        ],
        Kind::Array,
        |_, arguments| split(arguments),
        "The parts between the separators, empty ones left out. `where` is 'notrim' (with empty parts), 'leading' (two parts, \
         at the first separator), 'leading_notrim', 'trailing' (at the last one) or 'trailing_notrim'.",
        &[
            ("split('/a/b', '/')", "['a', 'b']"),
            ("split('/a/b', '/', 'notrim')", "['', 'a', 'b']"),
            ("split('a/b/c', '/', 'trailing')", "['a/b', 'c']"),
        ],
    ),
    Function::new(
        "tokens",
        &[
            Argument::needed("text", Kind::Word),
            Argument::needed("separators", Kind::Text),
            Argument::optional("line ends", Kind::Text),
        ],
        Kind::Array,
        |_, arguments| tokens(arguments),
        "The parts between any of these characters, empty ones left out; with 'nocrlf' line ends separate too.",
        &[("tokens(' /a/ b', ' /')", "['a', 'b']")],
    ),
    Function::new(
        "concat",
        &[Argument::needed("value or array", Kind::Any), Argument::optional("value", Kind::Any)],
        Kind::Text,
        |_, arguments| match arguments {
            [Value::Array(elements)] => joined(b"", elements),
            [single] => {
                Err(wrong_type(format!("one argument must be an array, not {}", single.kind())))
            }
            two => joined(b"", two),
        },
        "Two values, or the elements of an array, put together as texts; `undefined` as its name.",
        &[("concat('a', 1)", "'a1'"), ("concat(['a', 'b', 'c'])", "'abc'")],
    ),
    Function::new(
        "join_to_string",
        &[
            Argument::needed("separator or array", Kind::Any),
            Argument::optional("array", Kind::Array),
        ],
        Kind::Text,
        |_, arguments| match arguments {
            [Value::Array(elements)] => joined(b", ", elements),
            [Value::Text(separator), Value::Array(elements)] => joined(separator, elements),
            _ => Err(wrong_type("the arguments must be a text and an array, or an array")),
        },
        "The elements of an array as texts, with the separator (', ' where none is given) between them.",
        &[("join_to_string(['a', 1])", "'a, 1'"), ("join_to_string('-', ['a', 1])", "'a-1'")],
    ),
    Function::new(
        "join_to_sql_values_string",
        &[Argument::needed("array", Kind::Array)],
        Kind::Text,
        |_, arguments| {
            let quoted: Vec<Value> = array(arguments, 0)?.iter().map(as_sql).collect();
            joined(b", ", &quoted)
        },
        "The elements of an array as SQL: numbers as they are, `undefined` as NULL, all else as text in single quotes with \
         `'` and `\\` escaped by `\\`.",
        &[(
            "join_to_sql_values_string([1, 'a'])",
            "concat('1, ', concat(hexstr2bin('27'), concat('a', hexstr2bin('27'))))",
        )],
    ),
    Function::new(
        "sprintf",
        &[Argument::needed("format", Kind::Text), Argument::repeated("value", Kind::Any)],
        Kind::Text,
        |_, arguments| format(text(arguments, 0)?, arguments.get(1..).unwrap_or_default()),
        "Values put into a format of Erlang's `io:format`: `~s` a text, `~p` and `~w` any value as Erlang writes it, `~.2f` a \
         float with two decimals, `~4..0w` padded with zeros, `~n` a line end, `~~` a tilde. Texts are UTF-8 with `~s` as \
         with `~ts`; long values are not broken into lines.",
        &[("sprintf('~s: ~.2f', 't', 21.456)", "'t: 21.46'"), ("sprintf('~4..0w', 7)", "'0007'")],
    ),
    Function::new(
        "sprintf_s",
        &[Argument::needed("format", Kind::Text), Argument::needed("values", Kind::Array)],
        Kind::Text,
        |_, arguments| format(text(arguments, 0)?, array(arguments, 1)?),
        "As `sprintf`, the values in an array.",
        &[("sprintf_s('~s-~w', ['a', 1])", "'a-1'")],
    ),
];

/// Where `split` splits, and whether it keeps empty parts.
const WHERE: [&str; 5] = ["notrim", "leading", "leading_notrim", "trailing", "trailing_notrim"];

fn split(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = word(arguments, 0)?;
    let separator = text(arguments, 1)?;
    let place = match arguments.get(2) {
        Some(_) => option(arguments, 2, &WHERE, "notrim")?,
        None => "all",
    };
    let places: Vec<usize> = match place {
        _ if separator.is_empty() => Vec::new(),
        "leading" | "leading_notrim" => first_place(&whole, separator).into_iter().collect(),
        "trailing" | "trailing_notrim" => last_place(&whole, separator).into_iter().collect(),
        _ => memchr::memmem::find_iter(&whole, separator).collect(),
    };
    let mut parts = Vec::with_capacity(places.len() + 1);
    let mut after = 0;
    for place in places {
        parts.push(whole.slice(after..place));
        after = place + separator.len();
    }
    parts.push(whole.slice(after..));
    let with_empty = place.ends_with("notrim");
    let kept = parts.into_iter().filter(|part| with_empty || !part.is_empty());
    made_array(kept.map(Value::Text).collect())
}

fn tokens(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = word(arguments, 0)?;
    let separators = characters(arguments, 1)?;
    let line_ends = arguments.len() > 2;
    option(arguments, 2, &["nocrlf"], "nocrlf")?;
    // A line end of two bytes is one character: `\n` alone does not separate at it.
    let separator_at = |rest: &[u8]| {
        if rest.starts_with(b"\r\n") {
            return if line_ends { Some(2) } else { None };
        }
        let first = *rest.first()?;
        if line_ends && matches!(first, b'\r' | b'\n') {
            return Some(1);
        }
        let starts =
            |character: &char| rest.starts_with(character.encode_utf8(&mut [0; 4]).as_bytes());
        separators.chars().find(starts).map(char::len_utf8)
    };
    let (mut parts, mut start, mut position) = (Vec::new(), 0, 0);
    while let Some(rest) = whole.get(position..).filter(|rest| !rest.is_empty()) {
        match separator_at(rest) {
            Some(length) => {
                parts.push(whole.slice(start..position));
                position += length;
                start = position;
            }
            None => position += if rest.starts_with(b"\r\n") { 2 } else { 1 },
        }
    }
    parts.push(whole.slice(start..));
    made_array(parts.into_iter().filter(|part| !part.is_empty()).map(Value::Text).collect())
}

fn joined(separator: &[u8], elements: &[Value]) -> Result<Value, RunError> {
    let mut out = Vec::new();
    for (place, element) in elements.iter().enumerate() {
        out.extend_from_slice(if place > 0 { separator } else { b"" });
        out.extend_from_slice(&element.to_text());
        if out.len() > TEXT_BYTES_MAX {
            return Err(RunError::text_too_long());
        }
    }
    made(out)
}

fn as_sql(value: &Value) -> Value {
    match value {
        Value::Undefined => "NULL".into(),
        Value::Int(_) | Value::Float(_) => value.clone(),
        other => {
            let text = match other {
                Value::Array(_) => other.to_json().into(),
                _ => other.to_text(),
            };
            let mut quoted = vec![b'\''];
            for byte in text {
                if matches!(byte, b'\'' | b'\\') {
                    quoted.push(b'\\');
                }
                quoted.push(byte);
            }
            quoted.push(b'\'');
            Value::text(quoted)
        }
    }
}
