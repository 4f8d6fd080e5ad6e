//! The tree of a rule.

use bytes::Bytes;

use crate::rule::value::{Index, Integer};

/// A place in the text, in bytes. All places are equal: trees are compared by what they say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

impl Span {
    /// From the start of `self` to the end of `last`.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

/// A whole rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// `SELECT` or `FOREACH`.
    pub what: What,
    /// `FROM`, at least one.
    pub topics: Vec<Topic>,
    /// `WHERE`.
    pub condition: Option<Expression>,
}

/// What a rule makes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// `SELECT fields`: one output.
    Select(Vec<Field>),
    /// `FOREACH fields DO each INCASE condition`: one output for each element of the last field.
    Foreach {
        /// At least one.
        fields: Vec<Field>,
        /// `DO`; without it the output is all columns and the element.
        each: Option<Vec<Field>>,
        /// `INCASE`.
        condition: Option<Expression>,
    },
}

/// A topic filter or event topic in `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// As it stands between its quotes.
    pub text: String,
    /// With its quotes.
    pub span: Span,
}

/// One of the things a rule selects.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// `*`
    All(Span),
    /// `expression AS alias`
    One {
        /// Its value.
        expression: Expression,
        /// Where the value goes.
        alias: Option<Path>,
    },
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// What it is.
    pub kind: Kind,
    /// Without parentheses around it.
    pub span: Span,
}

/// Kinds of expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `true`, `false`
    Bool(bool),
    /// `12`
    Int(Integer),
    /// `1.5`
    Float(f64),
    /// `'text'`
    Text(Bytes),
    /// `payload.list[1].x`
    Path(Path),
    /// `path[1..-2]`
    Slice(Path, i64, i64),
    /// `[1..3]`
    Range(i64, i64),
    /// `[a, b]`
    List(Vec<Expression>),
    /// `name(arguments)`
    Call(Path, Vec<Expression>),
    /// `CASE subject WHEN .. THEN .. ELSE .. END`
    Case {
        /// What `WHEN` compares with; without it each `WHEN` is a condition.
        subject: Option<Box<Expression>>,
        /// At least one.
        branches: Vec<Branch>,
        /// `ELSE`.
        otherwise: Option<Box<Expression>>,
    },
    /// `+x`
    Plus(Box<Expression>),
    /// `-x`
    Minus(Box<Expression>),
    /// `x + y`
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>),
    /// `x = y`
    Compare(Comparison, Box<Expression>, Box<Expression>),
    /// `x IN (a, b)`
    In(Box<Expression>, Vec<Expression>),
    /// `x NOT IN (a, b)`
    NotIn(Box<Expression>, Vec<Expression>),
    /// `NOT x`
    Not(Box<Expression>),
    /// `a AND b AND c`, at least two.
    And(Vec<Expression>),
    /// `a OR b OR c`, at least two.
    Or(Vec<Expression>),
}

/// `WHEN condition THEN value`
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// After `WHEN`.
    pub when: Expression,
    /// After `THEN`.
    pub then: Expression,
}

/// Operators on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `div`
    Div,
    /// `mod`
    Mod,
}

impl Arithmetic {
    /// As it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Div => "div",
            Self::Mod => "mod",
        }
    }
}

/// Operators that compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<>`, the same as `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `=~`: a topic and a topic filter
    MatchesTopic,
    /// `~=`, which EMQX reads and cannot evaluate
    TildeEqual,
}

impl Comparison {
    /// As it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Unequal => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::MatchesTopic => "=~",
            Self::TildeEqual => "~=",
        }
    }
}

/// A name and the way from there: a place to read or to put a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The column or alias.
    pub first: Name,
    /// From there inwards.
    pub steps: Vec<Step>,
    /// The whole path.
    pub span: Span,
}

/// A name and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Without quotes.
    pub text: Bytes,
    /// With quotes.
    pub span: Span,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.key`
    Key(Name),
    /// `[1]`
    Index(Index),
    /// `[path]`
    IndexOf(Path),
}
