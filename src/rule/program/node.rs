//! A rule made ready to run: names are bytes, functions are found, literals are values.

use bytes::Bytes;

use crate::rule::functions::Function;
use crate::rule::sql::{Arithmetic, Comparison};
use crate::rule::value::{Index, Value};

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Value),
    Path(Path),
    /// Elements of an array, both ends included.
    Slice(Path, i64, i64),
    List(Box<[Node]>),
    Call(&'static Function, Box<[Node]>),
    /// The first branch whose condition holds.
    Case(Box<[(Condition, Node)]>, Box<Node>),
    /// The first branch whose value is the subject.
    Switch(Box<Node>, Box<[(Node, Node)]>, Box<Node>),
    Plus(Box<Node>),
    Minus(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// What EMQX reads and cannot evaluate; why.
    Never(&'static str),
}

/// A condition, and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) kind: ConditionKind,
    pub(super) text: Box<str>,
}

#[derive(Debug, Clone)]
pub(super) enum ConditionKind {
    And(Box<[Condition]>),
    Or(Box<[Condition]>),
    Not(Node),
    In(Node, Box<[Node]>),
    Compare(Comparison, Node, Node),
    /// A call, whose result says it.
    Call(Node),
    Constant(bool),
    /// As [`Node::Never`].
    Never(&'static str),
}

/// A place to read or to put a value.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) first: Bytes,
    pub(super) steps: Box<[Step]>,
    /// It starts at `payload`, which is decoded where it is a text.
    pub(super) in_payload: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(Bytes),
    Index(Index),
    IndexOf(Path),
}

impl Step {
    pub(super) fn key(&self) -> Option<&[u8]> {
        if let Self::Key(key) = self { Some(key) } else { None }
    }
}

/// What is selected.
#[derive(Debug, Clone)]
pub(super) enum Field {
    All,
    One {
        value: Node,
        to: Path,
        /// The path is not an alias but where the value came from.
        in_place: bool,
    },
}
