//! Texts as characters: what people see as one, as Unicode's extended grapheme clusters.

use unicode_segmentation::UnicodeSegmentation as _;

use super::argument::{Argument, Kind, characters, made, option, small, text, word, wrong};
use super::entry::Function;
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::{Integer, Value};

const TEXT: Argument = Argument::needed("text", Kind::Word);
/// What `trim` takes away: Unicode's `Pattern_White_Space`, and a line end of two characters.
const BLANKS: [&str; 12] = [
    "\r\n", "\t", "\n", "\u{b}", "\u{c}", "\r", " ", "\u{85}", "\u{200e}", "\u{200f}", "\u{2028}",
    "\u{2029}",
];

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "lower",
        &[TEXT],
        Kind::Text,
        // Letter by letter: Erlang knows no final sigma.
        |_, arguments| {
            let text = characters(arguments, 0)?;
            made(text.chars().flat_map(char::to_lowercase).collect::<String>())
        },
        "In small letters.",
        &[("lower('AbC')", "'abc'")],
    ),
    Function::new(
        "upper",
        &[TEXT],
        Kind::Text,
        |_, arguments| made(characters(arguments, 0)?.to_uppercase()),
        "In capital letters.",
        &[("upper('AbC')", "'ABC'")],
    ),
    Function::new(
        "trim",
        &[TEXT],
        Kind::Text,
        |_, arguments| trimmed(arguments, true, true),
        "Without the blanks and line ends at both ends.",
        &[("trim(' a ')", "'a'")],
    ),
    Function::new(
        "ltrim",
        &[TEXT],
        Kind::Text,
        |_, arguments| trimmed(arguments, true, false),
        "Without the blanks and line ends in front.",
        &[("ltrim(' a ')", "'a '")],
    ),
    Function::new(
        "rtrim",
        &[TEXT, Argument::optional("characters", Kind::Text)],
        Kind::Text,
        |_, arguments| trimmed(arguments, false, true),
        "Without the blanks and line ends at the end, or without these characters there.",
        &[("rtrim(' a ')", "' a'"), ("rtrim('a0010', '01')", "'a'")],
    ),
    Function::new(
        "reverse",
        &[TEXT],
        Kind::Text,
        |_, arguments| made(characters(arguments, 0)?.graphemes(true).rev().collect::<String>()),
        "From the end to the beginning.",
        &[("reverse('abc')", "'cba'")],
    ),
    Function::new(
        "strlen",
        &[TEXT],
        Kind::Int,
        |_, arguments| Ok(Value::int(characters(arguments, 0)?.graphemes(true).count())),
        "How many characters it has; for bytes there is `bytesize`.",
        &[("strlen('abc')", "3")],
    ),
    Function::new(
        "substr",
        &[TEXT, Argument::needed("start", Kind::Int), Argument::optional("length", Kind::Int)],
        Kind::Text,
        |_, arguments| substr(arguments),
        "The rest from a character on, counted from 0, or so many characters of it. A negative number is an error.",
        &[("substr('abcdef', 2)", "'cdef'"), ("substr('abcdef', 2, 3)", "'cde'")],
    ),
    Function::new(
        "ascii",
        &[TEXT],
        Kind::Int,
        |_, arguments| {
            let text = word(arguments, 0)?;
            let byte = text.first().ok_or_else(|| wrong("an empty text has no first byte"))?;
            Ok(Value::Int(Integer::from(i64::from(*byte))))
        },
        "The first byte.",
        &[("ascii('abc')", "97")],
    ),
    Function::new(
        "find",
        &[TEXT, Argument::needed("part", Kind::Text), Argument::optional("from", Kind::Text)],
        Kind::Text,
        |_, arguments| find(arguments),
        "The rest of the text from its first ('leading', the default) or last ('trailing') such part on; '' where it has none.",
        &[("find('a,b,c', ',')", "',b,c'"), ("find('a,b,c', ',', 'trailing')", "',c'")],
    ),
    Function::new(
        "rm_prefix",
        &[TEXT, Argument::needed("prefix", Kind::Text)],
        Kind::Text,
        |_, arguments| {
            let whole = word(arguments, 0)?;
            let rest = whole.strip_prefix(text(arguments, 1)?.as_ref());
            made(rest.map_or_else(|| whole.clone(), |rest| whole.slice_ref(rest)))
        },
        "Without the prefix, where it has it.",
        &[("rm_prefix('foo/bar', 'foo/')", "'bar'")],
    ),
    Function::new(
        "pad",
        &[
            TEXT,
            Argument::needed("length", Kind::Int),
            Argument::optional("where", Kind::Text),
            Argument::optional("with", Kind::Text),
        ],
        Kind::Text,
        |_, arguments| pad(arguments),
        "Made up to so many characters: blanks, or copies of a text, at the end ('trailing', the default), in front \
         ('leading') or on both sides ('both'). Each copy counts as one character.",
        &[("pad('abc', 5)", "'abc  '"), ("pad('abc', 5, 'leading', '0')", "'00abc'")],
    ),
    Function::new(
        "replace",
        &[
            TEXT,
            Argument::needed("part", Kind::Text),
            Argument::needed("by", Kind::Text),
            Argument::optional("which", Kind::Text),
        ],
        Kind::Text,
        |_, arguments| replace(arguments),
        "With every such part ('all', the default), the first ('leading') or the last ('trailing') replaced.",
        &[
            ("replace('ab c', ' ', '-')", "'ab-c'"),
            ("replace('a a', 'a', 'b', 'trailing')", "'a b'"),
        ],
    ),
    Function::new(
        "unescape",
        &[TEXT],
        Kind::Text,
        |_, arguments| unescape(&characters(arguments, 0)?),
        "With escapes resolved: `\\n \\t \\r \\b \\f \\v \\a \\' \\\" \\\\ \\?` and `\\xHH`, with any number of hexadecimal digits, \
         for a character; other escapes are errors. (Texts in SQL have no escapes of their own.)",
        &[("unescape('\\x41')", "'A'")],
    ),
];

fn trimmed(arguments: &[Value], front: bool, end: bool) -> Result<Value, RunError> {
    let whole = characters(arguments, 0)?;
    let own = match arguments.get(1) {
        Some(_) => Some(characters(arguments, 1)?),
        None => None,
    };
    let goes = |cluster: &str| match &own {
        Some(own) => {
            let mut characters = cluster.chars();
            let single = characters.next().filter(|_| characters.next().is_none());
            single.is_some_and(|character| own.contains(character))
        }
        None => BLANKS.contains(&cluster),
    };
    let mut rest: &str = &whole;
    while let Some(first) = rest.graphemes(true).next().filter(|first| front && goes(first)) {
        rest = rest.strip_prefix(first).unwrap_or_default();
    }
    while let Some(last) = rest.graphemes(true).next_back().filter(|last| end && goes(last)) {
        rest = rest.strip_suffix(last).unwrap_or_default();
    }
    made(rest.to_owned())
}

fn substr(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = characters(arguments, 0)?;
    let count = |place: usize| {
        let number = small(arguments, place)?;
        usize::try_from(number).map_err(|_error| wrong(format!("{number} is negative")))
    };
    let length = if arguments.len() > 2 { count(2)? } else { usize::MAX };
    if length == 0 {
        return made("");
    }
    let start = count(1)?;
    made(whole.graphemes(true).skip(start).take(length).collect::<String>())
}

fn find(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = word(arguments, 0)?;
    let part = text(arguments, 1)?;
    let last = option(arguments, 2, &["leading", "trailing"], "leading")? == "trailing";
    if part.is_empty() {
        return Ok(Value::Text(whole));
    }
    let found = if last { last_place(&whole, part) } else { first_place(&whole, part) };
    Ok(found.map_or_else(|| "".into(), |place| Value::Text(whole.slice(place..))))
}

/// Where a part stands first.
pub(super) fn first_place(whole: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(whole, part)
}

/// Where a part stands last.
pub(super) fn last_place(whole: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(whole, part)
}

fn pad(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = characters(arguments, 0)?;
    let length = usize::try_from(small(arguments, 1)?).unwrap_or(0);
    let place = option(arguments, 2, &["trailing", "leading", "both"], "trailing")?;
    let with = match arguments.get(3) {
        Some(_) => characters(arguments, 3)?,
        None => " ".into(),
    };
    let missing = length.saturating_sub(whole.graphemes(true).count());
    if whole.len().saturating_add(missing.saturating_mul(with.len().max(1))) > TEXT_BYTES_MAX {
        return Err(RunError::text_too_long());
    }
    let front = match place {
        "leading" => missing,
        "both" => missing / 2,
        _ => 0,
    };
    made(with.repeat(front) + &whole + &with.repeat(missing - front))
}

fn replace(arguments: &[Value]) -> Result<Value, RunError> {
    let whole = word(arguments, 0)?;
    let (part, by) = (text(arguments, 1)?, text(arguments, 2)?);
    let which = option(arguments, 3, &["all", "leading", "trailing"], "all")?;
    if part.is_empty() {
        return Ok(Value::Text(whole));
    }
    let places: Vec<usize> = match which {
        "leading" => first_place(&whole, part).into_iter().collect(),
        "trailing" => last_place(&whole, part).into_iter().collect(),
        _ => memchr::memmem::find_iter(&whole, part).collect(),
    };
    let size = whole.len() - places.len() * part.len();
    if size.saturating_add(places.len().saturating_mul(by.len())) > TEXT_BYTES_MAX {
        return Err(RunError::text_too_long());
    }
    let mut out = Vec::with_capacity(size + places.len() * by.len());
    let mut after = 0;
    for place in places {
        out.extend_from_slice(whole.get(after..place).unwrap_or_default());
        out.extend_from_slice(by);
        after = place + part.len();
    }
    out.extend_from_slice(whole.get(after..).unwrap_or_default());
    made(out)
}

fn unescape(text: &str) -> Result<Value, RunError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        // At the end it stands for itself.
        out.push(match rest.next().unwrap_or('\\') {
            escape @ ('\\' | '\'' | '"' | '?') => escape,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'a' => '\u{7}',
            'x' => {
                let digits: &str = rest.as_str();
                let end = digits.find(|it: char| !it.is_ascii_hexdigit()).unwrap_or(digits.len());
                let (digits, after) = digits.split_at(end);
                rest = after.chars();
                let significant = digits.trim_start_matches('0');
                let code = match (digits, significant) {
                    ("", _) => return Err(wrong("`\\x` needs hexadecimal digits")),
                    (_, "") => Some(0),
                    (_, digits) => u32::from_str_radix(digits, 16).ok(),
                };
                let character = code.and_then(char::from_u32);
                character.ok_or_else(|| wrong(format!("`\\x{digits}` is no character")))?
            }
            other => return Err(wrong(format!("`\\{other}` is not an escape"))),
        });
    }
    made(out)
}
