//! From text to tokens, as EMQX's lexer cuts it.

use super::{Comparison, Span, SqlError};
use crate::rule::value::Integer;

/// One token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'sql> {
    pub(super) kind: TokenKind<'sql>,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'sql> {
    Keyword(Keyword),
    /// `name`
    Name(&'sql str),
    /// `"name"`
    QuotedName(&'sql str),
    /// `'text'`
    Text(&'sql str),
    Int(Integer),
    Float(f64),
    /// `[1..3]`
    Range(i64, i64),
    Comparison(Comparison),
    Div,
    Mod,
    /// One of `( ) [ ] , . * + - /`
    Symbol(char),
    /// Behind the last token.
    End,
}

macro_rules! keywords {
    ($($name:ident $text:literal,)*) => {
        /// Reserved words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Keyword { $($name,)* }

        impl Keyword {
            /// All of them, in capitals.
            pub(super) const ALL: [(Self, &'static str); 18] = [$((Self::$name, $text),)*];
        }
    };
}

keywords! {
    And "AND", As "AS", Case "CASE", Do "DO", Else "ELSE", Elsif "ELSIF", End "END", Foreach "FOREACH",
    From "FROM", If "IF", In "IN", Incase "INCASE", Not "NOT", Or "OR", Select "SELECT", Then "THEN", When "WHEN",
    Where "WHERE",
}

impl Keyword {
    /// The keyword that a name is, whatever its case.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, text)| text.eq_ignore_ascii_case(name)).map(|(word, _)| *word)
    }
}

/// Cuts a text into tokens; the last one is [`TokenKind::End`].
pub(super) fn tokens(sql: &str) -> Result<Vec<Token<'_>>, SqlError> {
    let mut lexer = Lexer { sql, position: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks_and_comments();
        let start = lexer.position;
        let kind = lexer.token()?;
        let done = kind == TokenKind::End;
        tokens.push(Token { kind, span: Span { start, end: lexer.position } });
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'sql> {
    sql: &'sql str,
    position: usize,
}

impl<'sql> Lexer<'sql> {
    fn rest(&self) -> &'sql str {
        self.sql.get(self.position..).unwrap_or_default()
    }

    /// Takes the next `length` bytes, which end at a character.
    fn take(&mut self, length: usize) -> &'sql str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.position += taken.len();
        taken
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.position += blanks;
            // As in EMQX, only a line break makes a comment of `--`; without one it is two signs.
            match self.rest().strip_prefix("--").and_then(|comment| comment.find('\n')) {
                Some(end) => self.position += "--".len() + end + 1,
                None if blanks == 0 => return,
                None => {}
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind<'sql>, SqlError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(TokenKind::End) };
        if let Some((range, length)) = range(rest) {
            self.take(length);
            return Ok(range);
        }
        if let Some(comparison) = comparison(rest) {
            self.take(comparison.sign().len());
            return Ok(TokenKind::Comparison(comparison));
        }
        match first {
            'A'..='Z' | 'a'..='z' => Ok(self.word()),
            '0'..='9' => self.number(),
            '\'' => self.quoted('\'').map(TokenKind::Text),
            '"' => self.quoted('"').map(TokenKind::QuotedName),
            '(' | ')' | '[' | ']' | ',' | '.' | '*' | '+' | '-' | '/' => {
                self.take(first.len_utf8());
                Ok(TokenKind::Symbol(first))
            }
            _ => {
                let span = Span { start: self.position, end: self.position + first.len_utf8() };
                Err(SqlError::new(span, unexpected_character(first)))
            }
        }
    }

    fn word(&mut self) -> TokenKind<'sql> {
        let rest = self.rest();
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '@' | '~');
        let word = self.take(rest.find(|c| !inside(c)).unwrap_or(rest.len()));
        match (word, Keyword::of(word)) {
            ("div", _) => TokenKind::Div,
            ("mod", _) => TokenKind::Mod,
            (_, Some(keyword)) => TokenKind::Keyword(keyword),
            _ => TokenKind::Name(word),
        }
    }

    fn number(&mut self) -> Result<TokenKind<'sql>, SqlError> {
        let start = self.position;
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let rest = self.rest();
        let whole = digits(rest);
        let fraction = rest.get(whole..).and_then(|tail| tail.strip_prefix('.')).map_or(0, digits);
        let point = if fraction > 0 { whole + 1 + fraction } else { whole };
        let exponent = rest.get(point..).and_then(|tail| {
            let power = tail.strip_prefix(['e', 'E'])?;
            let power = power.strip_prefix(['+', '-']).unwrap_or(power);
            (digits(power) > 0).then(|| tail.len() - power.len() + digits(power))
        });
        let length = point + exponent.unwrap_or(0);
        let text = self.take(length);
        let suffix = self.rest().starts_with(['f', 'F', 'd', 'D']);
        let span = Span { start, end: self.position };
        if (fraction == 0 && exponent.is_some()) || suffix {
            let message = "a float is digits, a point and digits, as in `1.0e3`";
            return Err(SqlError::new(span, message));
        }
        if fraction == 0 {
            let number = Integer::parse(text.as_bytes());
            return number.map(TokenKind::Int).ok_or_else(|| too_large(span));
        }
        match text.parse() {
            Ok(number) if f64::is_finite(number) => Ok(TokenKind::Float(number)),
            _ => Err(too_large(span)),
        }
    }

    /// What stands between quotes. A quote that is there twice is part of it, and stays two, as in EMQX; quotes at the
    /// two ends are left out.
    fn quoted(&mut self, quote: char) -> Result<&'sql str, SqlError> {
        let start = self.position;
        self.take(1);
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(quote) else {
                let span = Span { start, end: self.sql.len() };
                let escaped = self.sql.contains(&format!("\\{quote}"));
                let advice = if escaped { ", and a `\\` escapes none" } else { "" };
                let message = format!("there is no closing {quote} to this{advice}");
                return Err(SqlError::new(span, message));
            };
            self.take(end + 1);
            if !self.rest().starts_with(quote) {
                let inside = self.sql.get(start + 1..self.position - 1).unwrap_or_default();
                return Ok(inside.trim_matches(quote));
            }
            self.take(1);
        }
    }
}

/// `[1..-2]`, without blanks.
fn range(text: &str) -> Option<(TokenKind<'_>, usize)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(']')?;
    let (from, to) = inside.get(..end)?.split_once("..")?;
    let number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    Some((TokenKind::Range(number(from)?, number(to)?), end + "[]".len()))
}

fn comparison(text: &str) -> Option<Comparison> {
    use Comparison::{
        Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MatchesTopic, NotEqual, TildeEqual,
        Unequal,
    };
    // Longer signs first.
    let all = [
        MatchesTopic,
        TildeEqual,
        NotEqual,
        Unequal,
        LessOrEqual,
        GreaterOrEqual,
        Equal,
        Less,
        Greater,
    ];
    all.into_iter().find(|comparison| text.starts_with(comparison.sign()))
}

fn too_large(span: Span) -> SqlError {
    SqlError::new(span, "this number is too large")
}

fn unexpected_character(character: char) -> String {
    match character {
        ';' => "a rule is one statement and has no `;` at its end".to_owned(),
        '!' => "`!` alone means nothing; write `NOT` or `!=`".to_owned(),
        '#' => "a topic filter stands between quotes, as in `FROM \"plant/#\"`".to_owned(),
        '&' => "both is written `AND`".to_owned(),
        '|' => "either is written `OR`".to_owned(),
        '`' => "names are quoted with `\"`".to_owned(),
        '_' => "a name starts with a letter; write other names in `\"`".to_owned(),
        _ => format!("`{character}` means nothing here"),
    }
}
