//! What other languages have and this one has not, and what is written here instead.

use super::cursor::Parser;
use super::lexer::{Keyword, TokenKind};
use super::tree::Comparison;

/// Words of other SQLs that are names here, where no name may stand.
const WORDS: [(&str, &str); 12] = [
    ("LIKE", "`regex_match(name, '^a')` looks into texts, `topic =~ 'a/#'` matches topics"),
    ("REGEXP", "`regex_match(name, '^a')` looks into texts"),
    ("BETWEEN", "write `x >= 1 AND x <= 2`"),
    ("IS", "`is_null(x)` and `is_not_null(x)` ask for what is not there"),
    ("DISTINCT", ONE_EVENT),
    ("GROUP", ONE_EVENT),
    ("ORDER", ONE_EVENT),
    ("HAVING", ONE_EVENT),
    ("LIMIT", ONE_EVENT),
    ("JOIN", ONE_EVENT),
    ("UNION", ONE_EVENT),
    ("ELSEIF", "write a further `WHEN`"),
];
const ONE_EVENT: &str = "a rule sees one event at a time";

/// What to say of something that stands where it cannot, and that means something elsewhere.
pub(super) fn instead(parser: &Parser<'_, '_>) -> Option<String> {
    let before = parser.position.checked_sub(1).and_then(|before| parser.tokens.get(before));
    let before = before.map(|token| &token.kind);
    let touches = parser.previous_span().end == parser.span().start;
    let advice = match parser.peek() {
        TokenKind::Name(word) => {
            let (word, advice) =
                WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word))?;
            return Some(format!("there is no `{word}` in a rule: {advice}"));
        }
        TokenKind::Keyword(Keyword::If) => {
            "there is no `if`; write `CASE WHEN a > 1 THEN b ELSE c END`"
        }
        TokenKind::Keyword(Keyword::Elsif) => "there is no `ELSIF`; write a further `WHEN`",
        TokenKind::Keyword(Keyword::From) if before == Some(&TokenKind::Symbol(',')) => {
            "there is no field behind the last `,`"
        }
        TokenKind::Keyword(Keyword::Do | Keyword::Incase) => {
            "`DO` and `INCASE` belong to `FOREACH` and stand in front of `FROM`, `DO` first"
        }
        TokenKind::Keyword(Keyword::Where) => {
            "`WHERE` stands behind `FROM`; what `FOREACH` asks of an element is `INCASE`"
        }
        TokenKind::Comparison(Comparison::Equal)
            if touches && before == Some(&TokenKind::Comparison(Comparison::Equal)) =>
        {
            "equal is written `=`"
        }
        TokenKind::Comparison(Comparison::Greater)
            if touches && before == Some(&TokenKind::Symbol('-')) =>
        {
            MEMBER
        }
        TokenKind::Text(_) if before == Some(&TokenKind::Symbol('[')) => MEMBER,
        TokenKind::Symbol('*') if before == Some(&TokenKind::Symbol('(')) => {
            "`*` is no argument, and a rule sees one event at a time: nothing can be counted"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

const MEMBER: &str = "a member stands behind a point: `payload.temp`, `payload.\"a b\"`";
