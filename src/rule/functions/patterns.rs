//! Regular expressions, in time that grows with the text only: look-around and back-references are not there.
//!
//! They work on bytes, as EMQX's PCRE without its `unicode` option does.

use std::cell::RefCell;

use ::bytes::Bytes;
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::argument::{Argument, Kind, made, made_array, text, word, wrong};
use super::entry::Function;
use super::pcre::{End, translated};
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::Value;

/// Compiled expressions that a thread keeps.
const KEPT: usize = 64;
/// Bytes that one compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

const SUBJECT: Argument = Argument::needed("text", Kind::Word);
const PATTERN: Argument = Argument::needed("pattern", Kind::Text);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "regex_match",
        &[SUBJECT, PATTERN],
        Kind::Bool,
        |_, arguments| {
            let subject = word(arguments, 0)?;
            with(text(arguments, 1)?, &subject, |regex| Ok(Value::Bool(regex.is_match(&subject))))
        },
        "Whether the pattern matches somewhere. Patterns are those of PCRE but for look-around, back-references, atomic \
         groups and `\\p`, which are errors; they work on bytes, as in EMQX.",
        &[
            ("regex_match('abc123', '^[a-z]+\\d+$')", "true"),
            ("regex_match('{7}', '^{\\d}$')", "true"),
        ],
    ),
    Function::new(
        "regex_replace",
        &[SUBJECT, PATTERN, Argument::needed("by", Kind::Text)],
        Kind::Text,
        |_, arguments| {
            let (subject, by) = (word(arguments, 0)?, text(arguments, 2)?);
            with(text(arguments, 1)?, &subject, |regex| replaced(regex, &subject, by))
        },
        "With every match replaced; in `by`, `&` stands for the match, `\\1` or `\\g{1}` for a group, `\\&` and `\\\\` for \
         themselves. What may be empty matches once more behind a match, as in EMQX: '.*' twice.",
        &[
            ("regex_replace('accbcd', 'c+', '[&]')", "'a[cc]b[c]d'"),
            ("regex_replace('abc', '.*', 'x')", "'xx'"),
        ],
    ),
    Function::new(
        "regex_extract",
        &[SUBJECT, PATTERN],
        Kind::Array,
        |_, arguments| {
            let subject = word(arguments, 0)?;
            with(text(arguments, 1)?, &subject, |regex| extracted(regex, &subject))
        },
        "The groups of the first match, '' for those that took no part; empty where nothing matches.",
        &[("regex_extract('Date: 2021-05-20', '(\\d{4})-(\\d{2})')", "['2021', '05']")],
    ),
];

/// Uses an expression for a text, compiled once for a while.
fn with(
    pattern: &Bytes,
    subject: &[u8],
    apply: impl FnOnce(&Regex) -> Result<Value, RunError>,
) -> Result<Value, RunError> {
    thread_local! {
        static COMPILED: RefCell<Vec<(Bytes, End, Regex)>> = const { RefCell::new(Vec::new()) };
    }
    let only_break_ends_it =
        || memchr::memchr(b'\n', subject).is_some_and(|place| place + 1 == subject.len());
    let has_end = pattern.iter().any(|byte| matches!(byte, b'$' | b'Z'));
    let end = if has_end && only_break_ends_it() { End::Line } else { End::Text };
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.iter().position(|(known, of, _)| known == pattern && *of == end);
        let entry = match known {
            Some(place) => compiled.remove(place),
            // A pattern out of a payload would hold on to all of it.
            None => (Bytes::copy_from_slice(pattern), end, compile(pattern, end)?),
        };
        let result = apply(&entry.2);
        compiled.truncate(KEPT - 1);
        compiled.insert(0, entry);
        result
    })
}

fn compile(pattern: &[u8], end: End) -> Result<Regex, RunError> {
    let refused = |why: &str| {
        let shown = String::from_utf8_lossy(pattern).into_owned();
        wrong(format!("`{shown}` is not a pattern: {why}"))
    };
    let text = translated(pattern, end).map_err(|why| refused(&why))?;
    let built = RegexBuilder::new(&text).unicode(false).size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|error| {
        let whole = error.to_string();
        // The last line says what is wrong; those before point into the pattern.
        refused(whole.lines().last().unwrap_or_default().trim_start_matches("error: "))
    })
}

/// As Erlang walks: behind a match comes the next one at once, an empty one too (`.*` matches `abc` twice); behind an
/// empty match one byte stays as it is.
fn replaced(regex: &Regex, subject: &[u8], by: &[u8]) -> Result<Value, RunError> {
    let mut out = Vec::new();
    let (mut kept, mut start) = (0, 0);
    while start <= subject.len()
        && let Some(captures) = regex.captures_at(subject, start)
        && let Some(found) = captures.get(0)
    {
        out.extend_from_slice(subject.get(kept..found.start()).unwrap_or_default());
        expand(&captures, by, &mut out);
        kept = found.end();
        start = if found.is_empty() { found.end() + 1 } else { found.end() };
        if out.len() > TEXT_BYTES_MAX {
            return Err(RunError::text_too_long());
        }
    }
    out.extend_from_slice(subject.get(kept..).unwrap_or_default());
    made(out)
}

/// Erlang's `re:replace`: `&`, `\N`, `\gN`, `\g{N}`.
fn expand(captures: &Captures<'_>, by: &[u8], out: &mut Vec<u8>) {
    let group = |number: usize| captures.get(number).map_or(&b""[..], |group| group.as_bytes());
    let mut rest = by;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'&', _) => out.extend_from_slice(group(0)),
            (b'\\', Some(next)) => {
                let length = if let Some((number, length)) = number_at(after) {
                    out.extend_from_slice(group(number));
                    length
                } else {
                    out.push(*next);
                    1
                };
                rest = after.get(length..).unwrap_or_default();
            }
            _ => out.push(byte),
        }
    }
}

/// The number of a group behind a backslash, and how many bytes it takes there.
fn number_at(text: &[u8]) -> Option<(usize, usize)> {
    let (before, closed) = match text {
        [b'g', b'{', ..] => (2, true),
        [b'g', ..] => (1, false),
        [b'0', ..] => return None,
        _ => (0, false),
    };
    let digits: Vec<u8> =
        text.get(before..)?.iter().copied().take_while(u8::is_ascii_digit).take(4).collect();
    let number = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    let end = before + digits.len();
    if closed && text.get(end) != Some(&b'}') {
        return None;
    }
    Some((number, end + usize::from(closed)))
}

fn extracted(regex: &Regex, subject: &[u8]) -> Result<Value, RunError> {
    let Some(captures) = regex.captures(subject) else { return Ok(Value::array(Vec::new())) };
    let mut groups: Vec<_> = captures.iter().skip(1).collect();
    while groups.last().is_some_and(Option::is_none) {
        groups.pop();
    }
    let text = |group: Option<regex::bytes::Match<'_>>| {
        Value::text_of(group.map_or(&b""[..], |group| group.as_bytes()))
    };
    made_array(groups.into_iter().map(text).collect())
}
