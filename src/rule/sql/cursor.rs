//! Where the parser stands in the tokens, and how it says what it did not expect there.

use super::lexer::{Keyword, Token, TokenKind};
use super::tree::Span;
use super::{SqlError, elsewhere};

pub(super) type Parsed<T> = Result<T, SqlError>;

pub(super) struct Parser<'a, 'sql> {
    pub(super) tokens: &'a [Token<'sql>],
    pub(super) sql: &'sql str,
    pub(super) position: usize,
    pub(super) depth: usize,
    /// Whether operands may be `CASE` or a comparison in parentheses: between the parentheses of a call.
    pub(super) in_arguments: bool,
}

impl<'sql> Parser<'_, 'sql> {
    pub(super) fn peek(&self) -> &TokenKind<'sql> {
        self.tokens.get(self.position).map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn span(&self) -> Span {
        let end = Span { start: self.sql.len(), end: self.sql.len() };
        self.tokens.get(self.position).map_or(end, |token| token.span)
    }

    pub(super) fn previous_span(&self) -> Span {
        let previous = self.position.checked_sub(1).and_then(|before| self.tokens.get(before));
        previous.map_or_else(Span::default, |token| token.span)
    }

    pub(super) fn text_of(&self, span: Span) -> &'sql str {
        self.sql.get(span.start..span.end).unwrap_or_default()
    }

    pub(super) fn advance(&mut self) {
        self.position += 1;
    }

    pub(super) fn take_keyword(&mut self, keyword: Keyword) -> bool {
        let there = *self.peek() == TokenKind::Keyword(keyword);
        self.position += usize::from(there);
        there
    }

    pub(super) fn take_symbol(&mut self, symbol: char) -> bool {
        let there = *self.peek() == TokenKind::Symbol(symbol);
        self.position += usize::from(there);
        there
    }

    pub(super) fn expect_symbol(&mut self, symbol: char, expected: &str) -> Parsed<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn unexpected(&self, expected: &str) -> SqlError {
        let span = self.span();
        if let Some(instead) = elsewhere::instead(self) {
            return SqlError::new(span, instead);
        }
        let found = self.text_of(span);
        let message = match self.peek() {
            TokenKind::End => format!("the rule ends where {expected} is expected"),
            TokenKind::Keyword(_) if matches!(expected, "a name" | "a value" | "a key") => format!(
                "`{found}` is a reserved word; as a name it is written `\"{found}\"`; here {expected} is expected"
            ),
            TokenKind::Symbol('-') if self.sql.get(span.start..span.start + 2) == Some("--") => {
                "a `--` comment ends with a line break, and there is none behind this one"
                    .to_owned()
            }
            TokenKind::Name(word) => match meant(word, expected) {
                Some(keyword) => format!("expected {expected}; did you mean `{keyword}`?"),
                None => format!("expected {expected}, not `{found}`"),
            },
            _ => format!("expected {expected}, not `{found}`"),
        };
        SqlError::new(span, message)
    }
}

/// The expected keyword that a misspelt word may have been meant to be.
pub(super) fn meant(word: &str, expected: &str) -> Option<&'static str> {
    let word = word.to_ascii_uppercase();
    let expected = Keyword::ALL.iter().filter(|(_, text)| expected.contains(&format!("`{text}`")));
    let distances = expected.map(|(_, text)| (strsim::damerau_levenshtein(&word, text), *text));
    distances.filter(|(distance, text)| distance * 2 < text.len()).min().map(|(_, text)| text)
}
