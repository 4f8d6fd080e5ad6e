//! The text of a rule: from SQL to a tree, and back.
//!
//! The language is that of EMQX's rule engine, token for token. Every part of a tree knows where it stands in the text;
//! a tree prints as SQL that parses to the same tree. Pure; bounded in length and depth; never panics.

mod cursor;
mod elsewhere;
mod infix;
mod lexer;
mod parser;
mod print;
mod tree;

#[cfg(test)]
mod tests;

pub use tree::{
    Arithmetic, Branch, Comparison, Expression, Field, Kind, Name, Path, Query, Span, Step, Topic,
    What,
};

/// Longest text of a rule, in bytes.
pub const SQL_BYTES_MAX: usize = 64 << 10;
/// Deepest nesting of an expression, operators in a row included (`AND` and `OR` count once for a row of them).
pub const DEPTH_MAX: usize = 100;

/// Why a text is not a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// The place in the text.
    pub span: Span,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SqlError {
    /// An error at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// Parses the text of a rule.
pub fn parse(sql: &str) -> Result<Query, SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        let span = Span { start: SQL_BYTES_MAX, end: sql.len() };
        return Err(SqlError::new(
            span,
            format!("a rule has at most {SQL_BYTES_MAX} bytes, this one has {}", sql.len()),
        ));
    }
    parser::query(&lexer::tokens(sql)?, sql)
}
