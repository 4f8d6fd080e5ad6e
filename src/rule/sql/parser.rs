//! From tokens to the tree: statements by descent, expressions by precedence.
//!
//! What may stand where follows EMQX's grammar: fields take one comparison and no `AND`, parentheses in arithmetic hold
//! arithmetic, `CASE` stands alone or as an argument. So one walk reads all operators and each place asks what it got.

use bytes::Bytes;

use super::cursor::{Parsed, Parser, meant};
use super::infix::{COMPARISON, Infix, NOT, OR, SIGN, SUM};
use super::lexer::{Keyword, Token, TokenKind};
use super::tree::{Branch, Expression, Field, Kind, Name, Path, Query, Span, Step, Topic, What};
use super::{DEPTH_MAX, SqlError};
use crate::rule::value::Index;

/// Reads a whole rule. The last token is [`TokenKind::End`].
pub(super) fn query(tokens: &[Token<'_>], sql: &str) -> Parsed<Query> {
    let mut parser = Parser { tokens, sql, position: 0, depth: 0, in_arguments: false };
    let query = parser.query()?;
    match parser.peek() {
        TokenKind::End => Ok(query),
        _ if query.condition.is_none() => Err(parser.unexpected("`,`, `WHERE` or the end")),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

/// What an expression is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// An operand of arithmetic and comparisons.
    Value,
    Case,
    Comparison,
    /// `AND`, `OR`, `NOT`, `IN`, and comparisons in parentheses: conditions only.
    Condition,
}

struct Part {
    expression: Expression,
    class: Class,
    /// Levels of operators in it.
    depth: usize,
}

impl Parser<'_, '_> {
    fn query(&mut self) -> Parsed<Query> {
        let what = if self.take_keyword(Keyword::Select) {
            What::Select(self.fields()?)
        } else if self.take_keyword(Keyword::Foreach) {
            let fields = self.fields()?;
            let each = self.take_keyword(Keyword::Do).then(|| self.fields()).transpose()?;
            let condition =
                self.take_keyword(Keyword::Incase).then(|| self.condition()).transpose()?;
            What::Foreach { fields, each, condition }
        } else {
            return Err(self.unexpected("`SELECT` or `FOREACH`"));
        };
        if !self.take_keyword(Keyword::From) {
            let expected = "`,`, `AS` or `FROM`";
            // `a FORM t` is an alias called FORM and a `t` too many.
            let before = self.text_of(self.previous_span());
            return Err(match meant(before, "`FROM`") {
                Some(from) => SqlError::new(
                    self.previous_span(),
                    format!("expected {expected}; did you mean `{from}`?"),
                ),
                None => self.unexpected(expected),
            });
        }
        let topics = self.list(Self::topic)?;
        let condition = self.take_keyword(Keyword::Where).then(|| self.condition()).transpose()?;
        Ok(Query { what, topics, condition })
    }

    fn topic(&mut self) -> Parsed<Topic> {
        let span = self.span();
        match *self.peek() {
            TokenKind::Name(text) | TokenKind::QuotedName(text) | TokenKind::Text(text) => {
                self.advance();
                if matches!(self.peek(), TokenKind::Symbol('/')) {
                    let message = "a topic filter stands between quotes, as in `FROM \"plant/#\"`";
                    return Err(SqlError::new(span.to(self.span()), message));
                }
                Ok(Topic { text: text.to_owned(), span })
            }
            _ => Err(self.unexpected("a topic filter between quotes")),
        }
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        self.list(Self::field)
    }

    fn field(&mut self) -> Parsed<Field> {
        if self.take_symbol('*') {
            return Ok(Field::All(self.previous_span()));
        }
        let part = self.part(0)?;
        if part.class == Class::Condition {
            let message = "`AND`, `OR`, `NOT`, `IN` and comparisons in parentheses stand in `WHERE`, `INCASE` \
                           and `WHEN` only; a field may use `CASE WHEN .. THEN true ELSE false END`";
            return Err(SqlError::new(part.expression.span, message));
        }
        let named = self.take_keyword(Keyword::As);
        let starts_alias = matches!(self.peek(), TokenKind::Name(_) | TokenKind::QuotedName(_));
        let alias = (named || starts_alias).then(|| self.alias()).transpose()?;
        Ok(Field::One { expression: part.expression, alias })
    }

    fn alias(&mut self) -> Parsed<Path> {
        let path = self.path()?;
        if matches!(self.peek(), TokenKind::Range(..)) {
            return Err(SqlError::new(self.span(), "a value cannot be put into a slice"));
        }
        Ok(path)
    }

    fn condition(&mut self) -> Parsed<Expression> {
        let outside = std::mem::replace(&mut self.in_arguments, false);
        let part = self.part(0)?;
        self.in_arguments = outside;
        if part.class == Class::Case {
            let message = "`CASE` is no condition: compare its fields, or give it an alias first";
            return Err(SqlError::new(part.expression.span, message));
        }
        Ok(part.expression)
    }

    /// `arith [cmp arith]`
    fn simple(&mut self) -> Parsed<Expression> {
        let part = self.part(0)?;
        match part.class {
            Class::Value | Class::Comparison => Ok(part.expression),
            Class::Case | Class::Condition => Err(SqlError::new(
                part.expression.span,
                "here stands a value or one comparison; give this an alias in a field of its own",
            )),
        }
    }

    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut elements = vec![element(self)?];
        while self.take_symbol(',') {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// An expression of operators that bind at least as tightly as `power`.
    fn part(&mut self, power: u8) -> Parsed<Part> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::new(self.span(), too_deep()));
        }
        let mut left = self.prefix(power)?;
        while let Some(infix) = self.peek_infix().filter(|infix| infix.power() >= power.max(1)) {
            if infix.power() == COMPARISON && left.class == Class::Comparison {
                let message = "comparisons cannot follow each other; write `a < b AND b < c`";
                return Err(SqlError::new(self.span(), message));
            }
            left = self.infix(left, infix)?;
            if left.depth > DEPTH_MAX {
                return Err(SqlError::new(left.expression.span, too_deep()));
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    fn infix(&mut self, left: Part, infix: Infix) -> Parsed<Part> {
        if matches!(infix, Infix::Or | Infix::And) {
            return self.row(left, infix);
        }
        let left = self.operand(left)?;
        self.advance();
        if matches!(infix, Infix::NotIn) {
            self.advance();
        }
        if let Infix::In | Infix::NotIn = infix {
            self.expect_symbol('(', "`(` and the values to look for")?;
            let items = self.list(Self::simple)?;
            self.expect_symbol(')', "`,` or `)`")?;
            let span = left.expression.span.to(self.previous_span());
            let depth = left.depth + 1;
            let left = Box::new(left.expression);
            let kind = match infix {
                Infix::In => Kind::In(left, items),
                _ => Kind::NotIn(left, items),
            };
            return Ok(Part {
                expression: Expression { kind, span },
                class: Class::Condition,
                depth,
            });
        }
        let right = self.part(infix.power() + 1)?;
        let right = self.operand(right)?;
        let span = left.expression.span.to(right.expression.span);
        let depth = left.depth.max(right.depth) + 1;
        let (left, right) = (Box::new(left.expression), Box::new(right.expression));
        let (kind, class) = match infix {
            Infix::Arithmetic(operator) => (Kind::Arithmetic(operator, left, right), Class::Value),
            Infix::Compare(operator) => (Kind::Compare(operator, left, right), Class::Comparison),
            Infix::Or | Infix::And | Infix::In | Infix::NotIn => {
                unreachable!("these were dealt with above")
            }
        };
        Ok(Part { expression: Expression { kind, span }, class, depth })
    }

    /// `a AND b AND c`, which would nest to the left otherwise, as deep as the row is long.
    fn row(&mut self, first: Part, infix: Infix) -> Parsed<Part> {
        let power = infix.power();
        let mut depth = first.depth;
        let mut parts = vec![first.expression];
        while self.peek_infix().is_some_and(|infix| infix.power() == power) {
            self.advance();
            let part = self.part(power + 1)?;
            depth = depth.max(part.depth);
            parts.push(part.expression);
        }
        let spans = parts.first().zip(parts.last());
        let span = spans.map_or_else(Span::default, |(first, last)| first.span.to(last.span));
        let kind = if power == OR { Kind::Or(parts) } else { Kind::And(parts) };
        Ok(Part {
            expression: Expression { kind, span },
            class: Class::Condition,
            depth: depth + 1,
        })
    }

    fn operand(&self, part: Part) -> Parsed<Part> {
        let arguments = self.in_arguments && matches!(part.class, Class::Case | Class::Condition);
        if part.class == Class::Value || arguments {
            return Ok(part);
        }
        let message = "an operand is a value: a name, a literal, a call or arithmetic";
        Err(SqlError::new(part.expression.span, message))
    }

    fn prefix(&mut self, power: u8) -> Parsed<Part> {
        let start = self.span();
        match self.peek() {
            TokenKind::Keyword(Keyword::Not) if power <= NOT => {
                self.advance();
                let operand = self.part(NOT)?;
                let span = start.to(operand.expression.span);
                let kind = Kind::Not(Box::new(operand.expression));
                let class = Class::Condition;
                Ok(Part { expression: Expression { kind, span }, class, depth: operand.depth + 1 })
            }
            TokenKind::Symbol(sign @ ('+' | '-')) => {
                let negative = *sign == '-';
                self.advance();
                let operand = self.part(SIGN)?;
                let operand = self.operand(operand)?;
                let span = start.to(operand.expression.span);
                let inside = Box::new(operand.expression);
                let kind = if negative { Kind::Minus(inside) } else { Kind::Plus(inside) };
                let class = Class::Value;
                Ok(Part { expression: Expression { kind, span }, class, depth: operand.depth + 1 })
            }
            TokenKind::Symbol('(') => {
                self.advance();
                let mut inside = self.part(0)?;
                self.expect_symbol(')', "an operator or `)`")?;
                if inside.class == Class::Comparison {
                    inside.class = Class::Condition;
                }
                Ok(inside)
            }
            _ => self.primary(),
        }
    }

    fn primary(&mut self) -> Parsed<Part> {
        let span = self.span();
        let mut class = Class::Value;
        let kind = match self.peek().clone() {
            TokenKind::Int(number) => self.literal(Kind::Int(number)),
            TokenKind::Float(number) => self.literal(Kind::Float(number)),
            TokenKind::Text(text) => {
                self.literal(Kind::Text(Bytes::copy_from_slice(text.as_bytes())))
            }
            TokenKind::Range(from, to) => self.literal(Kind::Range(from, to)),
            TokenKind::Name("true") if !self.call_follows() => self.literal(Kind::Bool(true)),
            TokenKind::Name("false") if !self.call_follows() => self.literal(Kind::Bool(false)),
            TokenKind::Name(_) | TokenKind::QuotedName(_) => self.named()?,
            TokenKind::Div | TokenKind::Mod if self.call_follows() => {
                let text = Bytes::copy_from_slice(self.text_of(span).as_bytes());
                self.advance();
                let first = Name { text, span };
                self.call(Path { first, steps: Vec::new(), span })?
            }
            TokenKind::Symbol('[') => {
                self.advance();
                let elements = if matches!(self.peek(), TokenKind::Symbol(']')) {
                    Vec::new()
                } else {
                    self.list(Self::value)?
                };
                self.expect_symbol(']', "`,` or `]`")?;
                Kind::List(elements)
            }
            TokenKind::Keyword(Keyword::Case) => {
                class = Class::Case;
                self.case()?
            }
            _ => return Err(self.unexpected("a value")),
        };
        let span = span.to(self.previous_span());
        Ok(Part { expression: Expression { kind, span }, class, depth: 1 })
    }

    fn literal(&mut self, kind: Kind) -> Kind {
        self.advance();
        kind
    }

    fn call_follows(&self) -> bool {
        let next = self.tokens.get(self.position + 1);
        matches!(next, Some(Token { kind: TokenKind::Symbol('('), .. }))
    }

    /// An operand, in a list.
    fn value(&mut self) -> Parsed<Expression> {
        let part = self.part(SUM)?;
        Ok(self.operand(part)?.expression)
    }

    /// A path, a slice of one, or a call.
    fn named(&mut self) -> Parsed<Kind> {
        let path = self.path()?;
        match *self.peek() {
            TokenKind::Symbol('(') => self.call(path),
            TokenKind::Range(from, to) => {
                self.advance();
                self.nothing_indexed("a slice")?;
                Ok(Kind::Slice(path, from, to))
            }
            _ => Ok(Kind::Path(path)),
        }
    }

    fn call(&mut self, name: Path) -> Parsed<Kind> {
        self.expect_symbol('(', "`(`")?;
        let outside = std::mem::replace(&mut self.in_arguments, true);
        let arguments = if matches!(self.peek(), TokenKind::Symbol(')')) {
            Vec::new()
        } else {
            self.list(Self::argument)?
        };
        self.in_arguments = outside;
        self.expect_symbol(')', "`,` or `)`")?;
        self.nothing_indexed("the result of a function")?;
        Ok(Kind::Call(name, arguments))
    }

    fn argument(&mut self) -> Parsed<Expression> {
        let Expression { kind, span } = self.part(0)?.expression;
        if let Kind::And(_) | Kind::Or(_) | Kind::Not(_) | Kind::In(..) | Kind::NotIn(..) = kind {
            let message = "an argument is a value, one comparison or `CASE`";
            return Err(SqlError::new(span, message));
        }
        Ok(Expression { kind, span })
    }

    fn nothing_indexed(&self, what: &str) -> Parsed<()> {
        match self.peek() {
            TokenKind::Symbol('[' | '.') | TokenKind::Range(..) => Err(SqlError::new(
                self.span(),
                format!("{what} cannot be indexed: give it an alias in a field of its own first"),
            )),
            _ => Ok(()),
        }
    }

    fn case(&mut self) -> Parsed<Kind> {
        self.advance();
        let subject = match self.peek() {
            TokenKind::Keyword(Keyword::When) => None,
            _ => Some(Box::new(self.simple()?)),
        };
        let mut branches = Vec::new();
        while self.take_keyword(Keyword::When) {
            let when = self.condition()?;
            if !self.take_keyword(Keyword::Then) {
                return Err(self.unexpected("`THEN`"));
            }
            branches.push(Branch { when, then: self.simple()? });
        }
        if branches.is_empty() {
            return Err(self.unexpected("`WHEN`"));
        }
        let otherwise = self.take_keyword(Keyword::Else).then(|| self.simple()).transpose()?;
        let otherwise = otherwise.map(Box::new);
        if !self.take_keyword(Keyword::End) {
            return Err(self.unexpected("`WHEN`, `ELSE` or `END`"));
        }
        Ok(Kind::Case { subject, branches, otherwise })
    }

    fn path(&mut self) -> Parsed<Path> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::new(self.span(), too_deep()));
        }
        let start = self.span();
        let first = match *self.peek() {
            TokenKind::Name("true" | "false") if !self.call_follows() => {
                return Err(self.boolean_as_name());
            }
            TokenKind::Name(text) | TokenKind::QuotedName(text) => self.name(text),
            _ => return Err(self.unexpected("a name")),
        };
        let mut steps = Vec::new();
        loop {
            if self.take_symbol('.') {
                steps.push(Step::Key(self.key()?));
            } else if self.take_symbol('[') {
                steps.push(self.index()?);
                self.expect_symbol(']', "`]`")?;
            } else {
                self.depth -= 1;
                let span = start.to(self.previous_span());
                return Ok(Path { first, steps, span });
            }
        }
    }

    fn key(&mut self) -> Parsed<Name> {
        let span = self.span();
        match *self.peek() {
            TokenKind::Name("true" | "false") => Err(self.boolean_as_name()),
            TokenKind::Name(text) | TokenKind::QuotedName(text) | TokenKind::Text(text) => {
                Ok(self.name(text))
            }
            TokenKind::Int(_) => Ok(self.name(self.text_of(span))),
            _ => Err(self.unexpected("a key")),
        }
    }

    fn name(&mut self, text: &str) -> Name {
        let name = Name { text: Bytes::copy_from_slice(text.as_bytes()), span: self.span() };
        self.advance();
        name
    }

    fn boolean_as_name(&self) -> SqlError {
        let word = self.text_of(self.span());
        let message = format!("`{word}` is a value; as a name it is written `\"{word}\"`");
        SqlError::new(self.span(), message)
    }

    fn index(&mut self) -> Parsed<Step> {
        let negative = self.take_symbol('-');
        let signed = negative || self.take_symbol('+');
        let span = self.span();
        match self.peek().clone() {
            TokenKind::Int(number) => {
                self.advance();
                let number = number
                    .to_i64()
                    .ok_or_else(|| SqlError::new(span, "this index is too large"))?;
                Ok(Step::Index(match (number, negative) {
                    (0, false) => Index::Head,
                    (0, true) => Index::Tail,
                    (number, false) => Index::At(number),
                    (number, true) => Index::At(-number),
                }))
            }
            TokenKind::Name(_) | TokenKind::QuotedName(_) if !signed => {
                Ok(Step::IndexOf(self.path()?))
            }
            _ => Err(self.unexpected("an index: an integer or a name")),
        }
    }
}

fn too_deep() -> String {
    format!("this nests deeper than {DEPTH_MAX} levels of parentheses and operators")
}
