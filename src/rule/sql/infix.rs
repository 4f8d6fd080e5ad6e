//! Operators between two operands, and how tightly each binds.

use super::cursor::Parser;
use super::lexer::{Keyword, TokenKind};
use super::tree::{Arithmetic, Comparison};

pub(super) const OR: u8 = 1;
pub(super) const AND: u8 = 2;
pub(super) const NOT: u8 = 3;
pub(super) const COMPARISON: u8 = 4;
pub(super) const SUM: u8 = 5;
pub(super) const PRODUCT: u8 = 6;
pub(super) const SIGN: u8 = 7;

#[derive(Clone, Copy)]
pub(super) enum Infix {
    Or,
    And,
    Compare(Comparison),
    In,
    NotIn,
    Arithmetic(Arithmetic),
}

impl Infix {
    pub(super) fn power(self) -> u8 {
        match self {
            Self::Or => OR,
            Self::And => AND,
            Self::Compare(_) | Self::In | Self::NotIn => COMPARISON,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => SUM,
            Self::Arithmetic(_) => PRODUCT,
        }
    }
}

impl Parser<'_, '_> {
    /// The operator that comes next.
    pub(super) fn peek_infix(&self) -> Option<Infix> {
        Some(match self.peek() {
            TokenKind::Keyword(Keyword::Or) => Infix::Or,
            TokenKind::Keyword(Keyword::And) => Infix::And,
            TokenKind::Keyword(Keyword::In) => Infix::In,
            TokenKind::Keyword(Keyword::Not) => match self.tokens.get(self.position + 1)?.kind {
                TokenKind::Keyword(Keyword::In) => Infix::NotIn,
                _ => return None,
            },
            TokenKind::Comparison(comparison) => Infix::Compare(*comparison),
            TokenKind::Symbol('+') => Infix::Arithmetic(Arithmetic::Add),
            TokenKind::Symbol('-') => Infix::Arithmetic(Arithmetic::Subtract),
            TokenKind::Symbol('*') => Infix::Arithmetic(Arithmetic::Multiply),
            TokenKind::Symbol('/') => Infix::Arithmetic(Arithmetic::Divide),
            TokenKind::Div => Infix::Arithmetic(Arithmetic::Div),
            TokenKind::Mod => Infix::Arithmetic(Arithmetic::Mod),
            _ => return None,
        })
    }
}
